"""The panel on recorded runs: choose a run, drag λ and the limits, and read the values at the cursor."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import ipywidgets as widgets

from dglib.errors import UserError
from dglib.experiments import get
from dglib.explorer.canvas import hiding, show, static_html
from dglib.explorer.readout import Limits, Readout, Selection, Thresholds, limits_of, readout, thresholds
from dglib.explorer.readout_html import readout_html
from dglib.explorer.recorded_picture import DPI, WIDTH, RecordedPicture
from dglib.explorer.runs import Run, Source, choices, first, levels, load, notebook_source

STILL_NOTE = "A still picture: in a running notebook, or under Voilà, λ, seeds and limits can be moved."
_PIXELS = round(WIDTH * DPI)
_WIDE = {"description_width": "152px"}


def recorded_panel(globals_: Mapping[str, object]) -> RecordedPanel:
    """The panel from a notebook's parameters; an earlier one in the global `recorded` is closed.

    Raises:
        UserError: one line on what is wrong with the parameters, or that there is no run to show.
    """
    source = notebook_source(globals_)
    earlier = globals_.get("recorded")
    if isinstance(earlier, RecordedPanel):
        earlier.close()
    return RecordedPanel(source)


class RecordedPanel:
    """The recorded part of the explorer. Controls are attributes: `panel.lam.value = 0.5` drags the cursor.

    Attributes:
        widget: the root widget; `show` displays it, with a still picture where widgets cannot be shown.
        readout: the values shown.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        run = first(choices(source))
        if run is None:
            raise UserError(f"{source.runs or source.base}: no record to show")
        self._picture: tuple[object, RecordedPicture | None] = (None, None)
        self._thresholds: tuple[Limits | None, Thresholds] = (None, {})
        self._filling = True
        self._lock = threading.RLock()  # JupyterLab runs callbacks in several threads
        self.readout: Readout
        self._make_controls()
        self._lay_out()
        self._connect()
        self._list_runs()
        self._take(run)

    def show(self) -> None:
        show(self.still(), self.widget)

    def _ipython_display_(self) -> None:
        self.show()

    def still(self) -> str:
        """The picture and its numbers as HTML."""
        name = self._run.choice.label
        alternative = (
            f"Error over λ and over epochs of the recorded runs in {name}, with the cursor at λ ="
            f" {self.lam.value:.2f}; the numbers are below."
        )
        numbers = readout_html(self.readout, f"Shown: {name}. {STILL_NOTE}")
        return static_html("recorded", self.picture.value, alternative, numbers, _PIXELS)

    def refresh(self) -> None:
        """Search for runs again, and read the current one anew."""
        with self._lock:
            wanted = self._run.choice.path
            self._filling = True
            available = self._list_runs()
            choice = next((c for c in available if c.path.resolve() == wanted.resolve()), None)
            self._take((load(choice) if choice else first(available)) or self._run)

    def close(self) -> None:
        """Close the widgets."""
        for widget in (*self._controls, self.picture, self.numbers, *self._boxes, self.widget):
            widget.unobserve_all()
            widget.close()

    def _list_runs(self) -> Sequence[Any]:
        available = choices(self._source)
        self.runs.options = [(choice.label, choice) for choice in available]
        return available

    def _make_controls(self) -> None:
        """The controls, each with its own CSS class."""
        wide, button = widgets.Layout(width="560px"), widgets.Layout(width="150px")
        several = widgets.Layout(width="560px", height="92px")
        line, third = widgets.Layout(width=f"{_PIXELS}px", max_width="100%"), widgets.Layout(width="357px")
        seeds = widgets.Layout(width="230px", height="126px")

        def slider(description: str, layout: Any) -> Any:
            return widgets.FloatSlider(
                value=0.5, min=0.0, max=1.0, step=0.01, readout_format=".2f", description=description,
                layout=layout, style=_WIDE,
            )  # fmt: skip

        self.runs = widgets.Dropdown(description="Run", layout=wide, style=_WIDE)
        self.experiments = widgets.SelectMultiple(description="Experiments", layout=several, style=_WIDE)
        self.seeds = widgets.SelectMultiple(description="Seeds", layout=seeds)
        self.again = widgets.Button(description="Look for runs again", layout=button)
        self.all_seeds = widgets.Button(description="Choose all seeds", layout=button)
        self.as_run = widgets.Button(description="Limits as it was run", layout=button)
        self.lam = slider("λ (cursor)", line)
        self.collapse_error = slider("Collapsed at or above", third)
        self.recovery_error = slider("Recovered at or below", third)
        self.consecutive = widgets.IntSlider(
            value=3, min=1, max=10, description="Evaluations in a row", style=_WIDE, layout=third
        )
        self.picture = widgets.Image(format="png", layout=line)
        self.numbers = widgets.HTML(layout=line)
        classes = {
            "runs": self.runs, "again": self.again, "experiments": self.experiments, "seeds": self.seeds,
            "all-seeds": self.all_seeds, "lambda": self.lam, "collapse-error": self.collapse_error,
            "recovery-error": self.recovery_error, "consecutive": self.consecutive, "as-run": self.as_run,
        }  # fmt: skip
        self._controls = list(classes.values())
        for name, control in {**classes, "picture": self.picture, "readout": self.numbers}.items():
            control.add_class(f"dglib-{name}")

    def _lay_out(self) -> None:
        wrapped = widgets.Layout(flex_flow="row wrap", align_items="flex-start")
        left = widgets.VBox([self.runs, self.experiments])
        buttons = widgets.VBox([self.again, self.all_seeds, self.as_run])
        top = widgets.HBox([left, self.seeds, buttons], layout=wrapped)
        limits = [self.collapse_error, self.recovery_error, self.consecutive]
        below = widgets.HBox(limits, layout=wrapped)
        hidden = widgets.HTML(hiding("recorded"))
        self._boxes = [left, buttons, top, below, hidden]
        self.widget = widgets.VBox([hidden, top, below, self.lam, self.picture, self.numbers])
        self.widget.add_class("dglib-recorded")

    def _connect(self) -> None:
        self.runs.observe(self._run_changed, "value")
        for control in (
            self.experiments, self.seeds, self.lam, self.collapse_error, self.recovery_error, self.consecutive
        ):  # fmt: skip
            control.observe(self._changed, "value")
        self.again.on_click(lambda _: self.refresh())
        self.as_run.on_click(lambda _: self._reset_limits())
        self.all_seeds.on_click(lambda _: setattr(self.seeds, "value", self.seeds.options))

    def _run_changed(self, change: Any) -> None:
        with self._lock:
            if not self._filling and change["new"] is not None:
                self._take(load(change["new"]))

    def _changed(self, _: Any) -> None:
        with self._lock:
            if not self._filling:
                self._draw()

    def _take(self, run: Run) -> None:
        """Show a run: its experiments and seeds, the limits it was run under, and λ at the widest gap."""
        self._filling = True
        self._run = run
        self._picture, self._thresholds = (None, None), (None, {})
        self.runs.value = next((c for _, c in self.runs.options if c == run.choice), None)
        self.experiments.options = [
            (f"{get(name).symbol}: {get(name).line}", name) for name in run.experiments
        ]
        loop = [name for name in run.experiments if get(name).direction]
        self.experiments.value = loop or run.experiments[:1]
        self.seeds.options = self.seeds.value = sorted({seed.seed for seed in run.seeds})
        visited = levels(run.seeds) or [0.0, 1.0]
        low, high = visited[0], visited[-1]
        if low == high:
            low, high = max(low - 0.1, 0.0), min(high + 0.1, 1.0)
        self.lam.min, self.lam.max = 0.0, 1.0  # or a new limit could lie beyond the other old one
        self.lam.value = self._widest_gap(visited)
        self.lam.min, self.lam.max = low, high
        self._reset_limits()

    def _widest_gap(self, visited: Sequence[float]) -> float:
        """The level with the widest gap between branches; without any, the one in the middle."""
        limits = limits_of(self._run.seeds)
        known = thresholds(self._run.seeds, limits)
        widest, level = -1.0, visited[len(visited) // 2]
        for lam in visited:
            gaps = readout(self._run.seeds, self._selection(lam, limits), known).gaps
            if gaps and gaps[0].value > widest:
                widest, level = gaps[0].value, lam
        return level

    def _reset_limits(self) -> None:
        with self._lock:
            self._filling = True
            for name, value in vars(limits_of(self._run.seeds)).items():
                getattr(self, name).value = value
            self._filling = False
            self._draw()

    def _selection(self, lam: float, limits: Limits) -> Selection:
        return Selection(tuple(self.experiments.value), tuple(self.seeds.value), lam, limits)

    def _draw(self) -> None:
        limits = Limits(self.collapse_error.value, self.recovery_error.value, self.consecutive.value)
        selection = self._selection(round(self.lam.value, 6), limits)
        if self._thresholds[0] != limits:
            self._thresholds = limits, thresholds(self._run.seeds, limits)
        self.readout = readout(self._run.seeds, selection, self._thresholds[1])
        key, picture = self._picture
        if picture is None or key != (selection.experiments, selection.seeds):
            picture = RecordedPicture(self._run.seeds, selection)
            self._picture = (selection.experiments, selection.seeds), picture
        self.picture.value = picture.draw(self.readout)
        self.numbers.value = readout_html(self.readout, "; ".join(self._run.problems))
