"""The panel on recorded runs: choose a run, drag λ and the limits, and read the values at the cursor."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from dglib.errors import UserError
from dglib.experiments import get
from dglib.explorer.panel import Panel
from dglib.explorer.readout import STYLE, Analysis, Limits, Readout, gaps
from dglib.explorer.recorded_picture import RecordedPicture
from dglib.explorer.runs import Run, Seed, choices, label, levels, load

_DESCRIBED = 20  # of the newest runs in the list, as that reads them; older ones by name


class RecordedPanel(Panel):
    """The recorded part of the explorer. Controls are attributes: `panel.lam.value = 0.5` drags the cursor.

    Args:
        base: the base directory, which need not exist.
        runs: a results file, a run directory or a folder of runs; None: all in `base`.

    Attributes:
        readout: the values shown.
    """

    part, css, rules = "recorded", "dglib", STYLE
    still_note = "A still picture: in a running notebook, or under Voilà, λ, seeds and limits can be moved."
    readout: Readout

    def __init__(self, base: Path, runs: Path | None) -> None:
        super().__init__()
        available = choices(base, runs)
        run = next((run for run in map(load, available) if run.seeds), None)
        if run is None:
            raise UserError(f"{runs or base}: no record to show")
        self._filling = True
        self._lock = threading.RLock()  # JupyterLab runs callbacks in several threads
        self._make_controls()
        described = {path: label(path) for path in (*available[:_DESCRIBED], *available[-1:])}
        self.runs.options = [(described.get(path, path.name), path) for path in available]
        self._take(run)

    def _make_controls(self) -> None:
        wide = {"description_width": "152px"}

        def layout(width: int, height: str | None = None) -> Any:
            return widgets.Layout(width=f"{width}px", height=height)

        def slider(description: str, layout: Any) -> Any:
            numbers = {"min": 0.0, "max": 1.0, "step": 0.01, "readout_format": ".2f"}
            return widgets.FloatSlider(0.5, description=description, layout=layout, style=wide, **numbers)

        limit = widgets.Layout(flex="1 1 310px", max_width="357px")  # three in a row of JupyterLab, too

        self.runs = widgets.Dropdown(description="Run", layout=self.line, style=wide)
        self.experiments = widgets.SelectMultiple(
            description="Experiments", layout=layout(560, "126px"), style=wide
        )
        self.seeds = widgets.SelectMultiple(description="Seeds", layout=layout(230, "126px"))
        self.all_seeds, self.as_run = (
            widgets.Button(description=text, layout=layout(150))
            for text in ("Choose all seeds", "Limits as it was run")
        )
        self.lam = slider("λ (cursor)", self.line)
        self.collapse_error = slider("Collapsed at or above", limit)
        self.recovery_error = slider("Recovered at or below", limit)
        self.consecutive = widgets.IntSlider(
            3, min=1, max=10, description="Evaluations in a row", style=wide, layout=limit
        )
        limits = [self.collapse_error, self.recovery_error, self.consecutive]
        buttons = widgets.VBox([self.all_seeds, self.as_run])
        self._lay_out([self.runs, [self.experiments, self.seeds, buttons], limits, self.lam])
        for control in (self.runs, self.experiments, self.seeds, self.lam, *limits):
            control.observe(self._changed, "value")
        self.as_run.on_click(lambda _: self._reset_limits())
        self.all_seeds.on_click(lambda _: setattr(self.seeds, "value", self.seeds.options))

    def _changed(self, change: Any) -> None:
        with self._lock:
            if self._filling:
                return
            if change["owner"] is not self.runs:
                self._draw()
            elif change["new"] is not None:
                try:
                    self._take(load(change["new"]))
                except UserError as error:  # it no longer exists
                    self.numbers.value = self._html(str(error))

    def _take(self, run: Run) -> None:
        """Show a run: its experiments and seeds, the limits it was run under, and λ at the widest gap."""
        self._filling = True
        self._run = run
        self._drawn: object = None  # what `_picture` was made for
        self.runs.value = run.path
        self.experiments.options = [
            (f"{get(name).symbol}: {get(name).title}", name) for name in run.experiments
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
        widest = {lam: at_level[0].value for lam in visited if (at_level := gaps(self._chosen(), lam))}
        return max(widest, key=lambda lam: widest[lam], default=visited[len(visited) // 2])

    def _reset_limits(self) -> None:
        with self._lock:
            self._filling = True
            for name, value in vars(Limits.of(self._run.seeds)).items():
                getattr(self, name).value = value
            self._filling = False
            self._draw()

    def _visible(self) -> list[Seed]:
        return [seed for seed in self._run.seeds if seed.experiment in self.experiments.value]

    def _chosen(self) -> list[Seed]:
        return [seed for seed in self._visible() if seed.seed in self.seeds.value]

    def _draw(self) -> None:
        limits = Limits(self.collapse_error.value, self.recovery_error.value, self.consecutive.value)
        selection = self.experiments.value, self.seeds.value
        if is_new := self._drawn != selection:
            self._picture, self._drawn = RecordedPicture(self._visible(), self._chosen()), selection
        is_new = is_new or self.readout.analysis.limits != limits
        analysis = Analysis(self._chosen(), limits) if is_new else self.readout.analysis
        self.readout = Readout(analysis, round(self.lam.value, 6))
        self._paint(self._picture.draw(self.readout))
        self.numbers.value = self._html("; ".join(self._run.problems))

    def _alternative(self) -> str:
        return (
            f"Error over λ and over epochs of the recorded runs in {label(self._run.path)}, with the cursor"
            f" at λ = {self.lam.value:.2f}; the numbers are below."
        )

    def _html(self, note: str) -> str:
        if note == self.still_note:
            note = f"Shown: {label(self._run.path)}. {note}"
        return self.readout.html(note)
