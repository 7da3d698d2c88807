"""Recorded runs under a cursor: choose a run, drag λ and the limits, and read what stands there."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from dglib.errors import UserError
from dglib.experiments import get, names
from dglib.explorer.canvas import hiding, lay_out, static_html
from dglib.explorer.readout import Limits, Readout, Selection, Thresholds, limits_of, readout, thresholds
from dglib.explorer.readout_html import readout_html
from dglib.explorer.recorded_picture import DPI, WIDTH, RecordedPicture
from dglib.explorer.runs import Choice, Places, Run, choices, first, load, notebook_settings
from dglib.explorer.traces import Seed, levels, seeds_of

_PIXELS = round(WIDTH * DPI)
_STATIC_NOTE = (
    "This is a still picture: in a running notebook, or under Voilà, λ, seeds and limits can be moved."
)
_WIDE = {"description_width": "152px"}


def recorded_panel(globals_: Mapping[str, object]) -> RecordedPanel:
    """The panel on the runs that a notebook's parameters name; closes what it finds under `recorded`.

    Raises:
        UserError: one line on what is wrong with the parameters, or that there is no run to look at.
    """
    places = notebook_settings(globals_)
    earlier = globals_.get("recorded")
    if isinstance(earlier, RecordedPanel):
        earlier.close()
    return RecordedPanel(places)


class RecordedPanel:
    """The recorded part of the explorer. Controls are attributes: `panel.lam.value = 0.5` drags the cursor.

    Attributes:
        widget: the root, to be displayed; `show` does it, with a still picture for where it cannot be.
        readout: what is shown now.
    """

    def __init__(self, places: Places) -> None:
        self._places = places
        available = choices(places)
        run = first(available)
        if run is None:
            place = places.base if places.runs is None else places.runs
            raise UserError(f"{place}: no record there to look at")
        self._run: Run = run
        self._seeds: list[Seed] = []
        self._picture: tuple[Any, RecordedPicture | None] = (None, None)
        self._thresholds: tuple[Limits | None, Thresholds] = (None, {})
        self._is_filling = True
        self._changing = threading.RLock()  # JupyterLab calls back in several threads
        self.readout: Readout
        self._make(available)
        self._take(run)

    def show(self) -> None:
        """Display the panel, with a still picture and its numbers for where widgets cannot be shown."""
        lay_out(self.still(), self.widget)

    def _ipython_display_(self) -> None:
        self.show()

    def still(self) -> str:
        """The picture and its reading as HTML, as they are now."""
        name = self._run.choice.label
        reading = readout_html(self.readout, f"Shown: {name}. {_STATIC_NOTE}")
        alternative = f"Error over λ and over epochs of the recorded runs in {name}, with the cursor at λ ="
        alternative += f" {self.lam.value:.2f}; the numbers stand below."
        return static_html("recorded", self.picture.value, alternative, reading, _PIXELS)

    def refresh(self, show: str | Path | None = None) -> None:
        """Look again which runs there are; show the one at a path, else that which was shown, read anew."""
        with self._changing:
            self._refresh(show)

    def _refresh(self, show: str | Path | None) -> None:
        available = choices(self._places)
        wanted = self._run.choice.path if show is None else Path(show)
        choice = next((c for c in available if c.path.resolve() == wanted.resolve()), None)
        run = load(choice) if choice else first(available)
        self._is_filling = True
        self.runs.options = [(each.label, each) for each in available]
        self._take(run or self._run)

    def close(self) -> None:
        """Take the panel off the page."""
        for control in self._controls:
            control.unobserve_all()
        for each in (*self._controls, self.picture, self.numbers, *self._boxes, self.widget):
            each.close()

    def _make(self, available: Sequence[Choice]) -> None:
        """The controls, each with a class of its own, and what they do."""
        wide, button = widgets.Layout(width="560px"), widgets.Layout(width="150px")
        self.runs = widgets.Dropdown(
            options=[(each.label, each) for each in available], description="Run", layout=wide, style=_WIDE
        )
        several = widgets.Layout(width="560px", height="92px")
        self.experiments = widgets.SelectMultiple(description="Experiments", layout=several, style=_WIDE)
        self.seeds = widgets.SelectMultiple(
            description="Seeds", layout=widgets.Layout(width="230px", height="126px")
        )
        self.again = widgets.Button(description="Look for runs again", layout=button)
        self.all_seeds = widgets.Button(description="Choose all seeds", layout=button)
        self.as_run = widgets.Button(description="Limits as it was run", layout=button)
        self._third = widgets.Layout(width="357px")
        line = widgets.Layout(width=f"{_PIXELS}px", max_width="100%")
        self.lam = widgets.FloatSlider(
            value=0.5, min=0.0, max=1.0, step=0.01, readout_format=".2f", description="λ (cursor)",
            layout=line, style=_WIDE,
        )  # fmt: skip
        self.collapse_error = self._error("Collapsed at or above")
        self.recovery_error = self._error("Recovered at or below")
        self.consecutive = widgets.IntSlider(
            value=3, min=1, max=10, description="Evaluations in a row", style=_WIDE, layout=self._third
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
        self._lay_out()
        self._connect()

    def _error(self, description: str) -> Any:
        look = {"description": description, "style": _WIDE, "layout": self._third}
        return widgets.FloatSlider(min=0.0, max=1.0, step=0.01, readout_format=".2f", **look)

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
        self.runs.observe(self._changed_run, "value")
        for control in (self.experiments, self.seeds, self.lam, self.collapse_error, self.recovery_error):
            control.observe(self._changed, "value")
        self.consecutive.observe(self._changed, "value")
        self.again.on_click(lambda _: self.refresh())
        self.as_run.on_click(lambda _: self._limits_as_run())
        self.all_seeds.on_click(lambda _: setattr(self.seeds, "value", self.seeds.options))

    def _changed_run(self, change: Any) -> None:
        with self._changing:
            if not self._is_filling and change["new"] is not None:
                self._is_filling = True
                self._take(load(change["new"]))

    def _changed(self, _: Any) -> None:
        with self._changing:
            if not self._is_filling:
                self._draw()

    def _limits_as_run(self) -> None:
        with self._changing:
            self._set_limits()

    def _take(self, run: Run) -> None:
        """Show another run: its experiments and seeds, the limits it was run under, λ where it tells most."""
        self._run, self._seeds = run, seeds_of(run)
        self._picture, self._thresholds = (None, None), (None, {})
        here = [name for name in names() if any(seed.experiment == name for seed in self._seeds)]
        self.runs.value = next((c for _, c in self.runs.options if c == run.choice), None)
        self.experiments.options = [(f"{get(name).symbol}: {get(name).line}", name) for name in here]
        loop = [name for name in here if get(name).direction]
        self.experiments.value = loop or here[:1]
        numbers = sorted({seed.seed for seed in self._seeds})
        self.seeds.options = numbers
        self.seeds.value = numbers
        visited = levels(self._seeds) or [0.0, 1.0]
        low, high = min(visited), max(visited)
        self.lam.min, self.lam.max = 0.0, 1.0
        self.lam.value = self._telling(visited)
        self.lam.min, self.lam.max = (
            (low, high) if low < high else (max(low - 0.1, 0.0), min(high + 0.1, 1.0))
        )
        self._set_limits()

    def _telling(self, visited: Sequence[float]) -> float:
        """The level with the widest gap between branches; without any, the one in the middle."""
        limits = limits_of(self._seeds)
        found = thresholds(self._seeds, limits)
        widest, where = -1.0, visited[len(visited) // 2]
        for lam in visited:
            gaps = readout(self._seeds, self._selection(lam, limits), found).gaps
            if gaps and gaps[0].value > widest:
                widest, where = gaps[0].value, lam
        return where

    def _set_limits(self) -> None:
        self._is_filling = True
        limits = limits_of(self._seeds)
        self.collapse_error.value = limits.collapse_error
        self.recovery_error.value = limits.recovery_error
        self.consecutive.value = limits.consecutive
        self._is_filling = False
        self._draw()

    def _selection(self, lam: float, limits: Limits) -> Selection:
        return Selection(tuple(self.experiments.value), tuple(self.seeds.value), lam, limits)

    def _draw(self) -> None:
        limits = Limits(self.collapse_error.value, self.recovery_error.value, self.consecutive.value)
        selection = self._selection(round(self.lam.value, 6), limits)
        if self._thresholds[0] != limits:
            self._thresholds = limits, thresholds(self._seeds, limits)
        self.readout = readout(self._seeds, selection, self._thresholds[1])
        key = selection.experiments, selection.seeds
        if self._picture[1] is None or self._picture[0] != key:
            self._picture = key, RecordedPicture(self._seeds, selection)
        drawn = self._picture[1]
        assert drawn is not None
        self.picture.value = drawn.draw(self.readout)
        self.numbers.value = readout_html(self.readout, "; ".join(self._run.problems))
