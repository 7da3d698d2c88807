"""The figure that every experiment has unless it draws its own: error against λ, and against epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from dglib.analysis import style
from dglib.analysis.curves import Curve, median_curve
from dglib.analysis.fields import Records, entries, is_finite, number
from dglib.analysis.style import LOOKS, THICK, THIN
from dglib.experiments.general import swept

if TYPE_CHECKING:
    from dglib.experiments.base import Experiment


def draw_sweeps(experiment: Experiment, records: Records) -> Figure:
    """Two panels: each sweep of every seed with its median, and every evaluation against epoch."""
    figure = style.new_figure(height=3.4)
    left, right = figure.subplots(1, 2)
    style.panel(left, "a  Mean error at each level of λ", "λ", "Test error")
    style.panel(right, "b  Error of every seed", "Epoch", "Test error")
    keys = []
    for axes in (left, right):
        style.error_axis(axes)
    for sweep in experiment.sweeps:
        look = LOOKS[sweep.look]
        curves = [curve for record in records if (curve := Curve.of(swept(sweep, record))).errors]
        for curve in curves:
            left.plot(list(curve.errors), list(curve.errors.values()), **look.line(THIN, 0.5))
        xs, ys = median_curve(curves, sweep.rising)
        left.plot(xs, ys, **look.line(THICK), marker=look.marker, markersize=4, zorder=4)
        style.arrow(left, xs, ys, look.color)
        if curves:
            keys.append((f"{sweep.title} ({len(curves)})", look.line(THICK)))
    colors = {sweep.trajectory: LOOKS[sweep.look] for sweep in experiment.sweeps}
    for record in records:
        for field in experiment.trajectories():
            found = [e for e in entries(record, field) if is_finite(e) and number(e, "epoch") is not None]
            line = colors[field].line(THIN, 0.7) if field in colors else {"color": style.LIGHT_GREY}
            right.plot([e["epoch"] for e in found], [e["error"] for e in found], **line)
    if not records:
        for axes in (left, right):
            style.note(axes, "no records")
    style.legend_below(figure, keys)
    return figure
