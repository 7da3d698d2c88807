"""Tδ1's figure: error and step logs by the class in which a seed ended."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dglib.analysis import style, wording
from dglib.analysis.fields import Record, Records, entries, is_finite, parameter
from dglib.analysis.grid import DIVERGED, TRAPPED
from dglib.analysis.style import LOOKS, THICK, THIN, Look
from dglib.experiments.trapping.summary import (
    CLASS_NAMES,
    CLASSES,
    LIMITS,
    ORDERED,
    PARTIAL,
    by_epoch,
    category,
)

CLASS_LOOKS = {
    TRAPPED: LOOKS["trapped"],
    PARTIAL: LOOKS["collapsed"],
    ORDERED: LOOKS["ordered"],
    DIVERGED: LOOKS["diverged"],
    "unfinished": Look(style.GREY, "-", "."),
}
_PUBLISHED_LINES = (0.90, 0.55)
_BAND = "#EDEDED"
_LOGS = {
    "b": ("c_sv", "cos(g_s, g_v)", "Structure–value cosine c_sv"),
    "c": ("c_mc", "cos(g_mix, g_v)", "Mix–value cosine c_mc"),
    "d": ("norm_s", "‖g_s‖", "Norm of the structure gradient"),
    "e": ("loss_v", "Clean loss (nats)", "Clean training loss"),
}
_EARLY = 20

Curve = Mapping[int, float]


def draw_trapping(records: Records) -> Figure:
    """Six panels: error, c_sv, c_mc, ‖g_s‖, clean loss, early c_sv; seeds thin, class means thick."""
    figure = style.new_figure(height=4.6)
    axes = figure.subplot_mosaic("abc;def")
    seeds = [(category(record), record) for record in records]
    style.panel(axes["a"], "a  Test error", "Epoch", "Test error")
    _error_limits(axes["a"], records)
    _by_class(axes["a"], [(name, _errors(record)) for name, record in seeds])
    curves = {log: [(name, by_epoch(record, log)) for name, record in seeds] for log, _, _ in _LOGS.values()}
    for letter, (log, label, title) in _LOGS.items():
        style.panel(axes[letter], f"{letter}  {title}", "Epoch (from 0)", label)
        _by_class(axes[letter], curves[log])
    style.panel(axes["f"], f"f  c_sv in epochs 0 to {_EARLY}", "Epoch (from 0)", _LOGS["b"][1])
    early = [(name, {e: v for e, v in curve.items() if e <= _EARLY}) for name, curve in curves["c_sv"]]
    _by_class(axes["f"], early)
    style.legend_below(figure, _keys(Counter(name for name, _ in seeds)))
    return figure


def _errors(record: Record) -> Curve:
    return {
        int(e["epoch"]): e["error"]
        for e in entries(record, "error_trajectory")
        if is_finite(e) and "epoch" in e
    }


def _error_limits(axes: Axes, records: Records) -> None:
    style.error_axis(axes)
    trapped, partial = (parameter(records, name, default) for name, default in LIMITS.items())
    axes.axhspan(partial, trapped, color=_BAND, zorder=0, linewidth=0)
    for value in _PUBLISHED_LINES:
        style.limit_line(axes, value, wording.level(value), side="outside")


def _by_class(axes: Axes, curves: Sequence[tuple[str, Curve]]) -> None:
    """Every seed thin; each class's mean per epoch thick. Diverged seeds are no class and have no mean."""
    groups: defaultdict[str, list[Curve]] = defaultdict(list)
    if not any(curve for _, curve in curves):
        style.note(axes, "nothing recorded" if curves else "no records")
    for name, curve in curves:
        groups[name].append(curve)
        look = CLASS_LOOKS[name]
        axes.plot(list(curve), list(curve.values()), **look.line(THIN, 0.55))
        if name == DIVERGED and curve:
            last = max(curve)
            axes.plot([last], [curve[last]], look.marker, color=look.color, markersize=5, zorder=6)
    for name, members in groups.items():
        if name in CLASSES:
            epochs = sorted({epoch for member in members for epoch in member})
            means = [fmean(member[e] for member in members if e in member) for e in epochs]
            axes.plot(epochs, means, **CLASS_LOOKS[name].line(THICK))


def _keys(counts: Counter[str]) -> list[tuple[str, dict[str, Any]]]:
    keys: list[tuple[str, dict[str, Any]]] = [
        (f"{CLASS_NAMES.get(name, name)} ({counts[name]})", look.line(1.8))
        for name, look in CLASS_LOOKS.items()
        if counts[name]
    ]
    return [*keys, ("partial by final error", {"color": _BAND, "linewidth": 7})] if keys else []
