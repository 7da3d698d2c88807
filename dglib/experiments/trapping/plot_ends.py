"""Tδ1: dead channels and the evenness of predictions against epoch, by the class in which a seed ended."""

from collections import defaultdict
from statistics import fmean

from matplotlib.figure import Figure

from dglib.analysis import style
from dglib.analysis.diagnostics import evaluations
from dglib.analysis.fields import Records
from dglib.analysis.style import THICK, THIN
from dglib.experiments.trapping.classes import CLASS_NAMES, CLASSES, category
from dglib.experiments.trapping.plot import CLASS_LOOKS

_PANELS = {
    "dead": ("a  Dead channels", "Share of channels"),
    "entropy": ("b  Evenness of predicted classes", "Entropy / log(classes)"),
}


def draw_diagnostics(records: Records) -> Figure:
    """Two panels, both from 0 to 1: seeds thin, class means thick; dashes tell the classes apart in grey."""
    figure = style.new_figure(height=2.4)
    axes = dict(zip(_PANELS, figure.subplots(1, 2), strict=True))
    groups: defaultdict[str, list[dict[str, dict[int, float]]]] = defaultdict(list)
    for record in records:
        found = [each for each in evaluations(record, "error_trajectory") if each.epoch is not None]
        curves = {
            name: {e.epoch: value for e in found if e.epoch and (value := getattr(e, name)) is not None}
            for name in _PANELS
        }
        groups[category(record)].append(curves)
    for name, (title, label) in _PANELS.items():
        style.panel(axes[name], title, "Epoch", label)
        style.error_axis(axes[name])
        for kind, members in groups.items():
            for curves in members:
                axes[name].plot(*_points(curves[name]), **CLASS_LOOKS[kind].line(THIN, 0.55))
            epochs = sorted({epoch for curves in members for epoch in curves[name]})
            if kind in CLASSES:
                means = {e: fmean(c[name][e] for c in members if e in c[name]) for e in epochs}
                axes[name].plot(*_points(means), **CLASS_LOOKS[kind].line(THICK))
    style.legend_below(
        figure,
        [
            (f"{CLASS_NAMES.get(kind, kind)} ({len(groups[kind])})", look.line(1.8))
            for kind, look in CLASS_LOOKS.items()
            if kind in groups
        ],
    )
    return figure


def _points(curve: dict[int, float]) -> tuple[list[int], list[float]]:
    return list(curve), list(curve.values())
