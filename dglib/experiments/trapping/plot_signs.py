"""Tδ1's early signs at column width: the early cosine against the end, the planned tests, the scan."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from dglib.analysis import style
from dglib.analysis.fields import Records, number, parameter
from dglib.analysis.signs_permutation import LEVEL, smallest_p
from dglib.analysis.style import LOOKS, Look
from dglib.experiments.trapping.classes import (
    COMPARED,
    ORDERED,
    PARTIAL,
    PARTIAL_ERROR,
    TRAPPED,
    TRAPPED_ERROR,
    by_epoch,
    category,
    last_early_epoch,
)
from dglib.experiments.trapping.signs import Tested, primary, scan
from dglib.experiments.trapping.signs_groups import Groups, settled
from dglib.experiments.trapping.signs_wording import p_value

COLUMN_WIDTH = 3.5  # inches: one column of a journal
_CLASSES = {TRAPPED: LOOKS["trapped"], PARTIAL: LOOKS["collapsed"], ORDERED: LOOKS["ordered"]}
_NAMES = {TRAPPED: "trapped", PARTIAL: "partial", ORDERED: "ordered"}
_SYMBOLS = {"c_sv": "c_sv", "c_mc": "c_mc", "norm_s": "‖g_s‖", "loss_v": "clean loss"}
# Dashes and grey value both tell the curves apart without colour.
_CURVES = {
    "c_sv": Look(style.BLUE, "-", "o"),
    "c_mc": Look(style.VERMILION, (0, (5, 1.5)), "s"),
    "norm_s": Look(style.GREEN, (0, (5, 1.5, 1, 1.5)), "P"),
    "loss_v": Look(style.PURPLE, (0, (1, 1.2)), "D"),
}
_ERROR: dict[str, Any] = {"color": style.LIGHT_GREY, "linewidth": 3.5}
_HEIGHTS = {"a": 1.9, "b": 3.0, "c": 2.2}


def draw_signs(records: Records) -> Figure:
    """Mean early c_sv against final error, by seed; where two classes can be compared, also their tests.

    b: the area under the ROC curve of each planned test, with its interval, and the test error's by then;
    filled where the corrected p is at most 0.05. c: the areas over all epochs. Without trapped or without
    partial seeds panel a stands alone.
    """
    groups = Groups.of(records)
    tested, _ = primary(records, groups)
    letters = "abc" if tested else "a"
    ratios = [_HEIGHTS[letter] for letter in letters]
    figure = style.new_figure(height=sum(ratios), width=COLUMN_WIDTH)
    # Parts of their own, so that the long labels of one do not narrow the others.
    parts = figure.subfigures(len(letters), 1, height_ratios=ratios, squeeze=False)[:, 0]
    first, *others = (part.subplots() for part in parts)
    _outcomes(first, records)
    if tested:
        planned, scanned = others
        _planned(planned, tested, groups)
        _scanned(scanned, groups)
    return figure


def _outcomes(axes: Axes, records: Records) -> None:
    last = last_early_epoch(records)
    style.panel(
        axes, "a  Early cosine and the end, by seed", f"Mean c_sv of epochs 0 to {last}", "Final error"
    )
    style.error_axis(axes)
    partial, trapped = (
        parameter(records, name, default)
        for name, default in (("partial_error", PARTIAL_ERROR), ("trapped_error", TRAPPED_ERROR))
    )
    for value in (partial, trapped):
        axes.axhline(value, color=style.GREY, linewidth=0.8, linestyle=(0, (2, 2)), zorder=1)
    counts = dict.fromkeys(_CLASSES, 0)
    for record in records:
        name, error = category(record), number(record, "final_error")
        early = [value for epoch, value in by_epoch(record, "c_sv").items() if epoch <= last]
        if name in _CLASSES and error is not None and early:
            look = _CLASSES[name]
            x = sum(early) / len(early)
            axes.plot([x], [error], look.marker, color=look.color, markersize=5, alpha=0.85)
            counts[name] += 1
    keys = [
        Line2D([], [], linestyle="", marker=look.marker, color=look.color, markersize=5,
               label=f"{_NAMES[name]} ({counts[name]})")
        for name, look in _CLASSES.items() if counts[name]
    ]  # fmt: skip
    if keys:
        axes.margins(x=0.12)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        _legend(axes, keys, len(keys))
    else:
        style.note(axes, "nothing to compare" if records else "no records")


def _planned(axes: Axes, tested: Sequence[Tested], groups: Groups) -> None:
    sizes = len(groups.trapped), len(groups.partial)
    reach = p_value(smallest_p(*sizes))
    style.panel(
        axes, f"b  Planned tests; corrected p ≥ {reach}", "AUC, trapped above partial", "Quantity, epoch"
    )
    for row, each in enumerate(tested):
        look = _CURVES[each.candidate.quantity]
        found = each.separation
        axes.plot([found.lower, found.upper], [row, row], color=look.color, linewidth=1.4, zorder=2)
        face = look.color if each.p_corrected <= LEVEL else "white"
        axes.plot([found.auc], [row], look.marker, color=look.color, markerfacecolor=face, markersize=4.5)
        if each.error is not None:
            axes.plot([each.error.auc], [row], "|", color="black", markersize=8, markeredgewidth=1.2)
        axes.annotate(
            p_value(each.p_corrected),
            (1.02, row),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=6.5,
        )
    axes.annotate(
        "p", (1.02, -1), xycoords=("axes fraction", "data"), va="center", fontsize=6.5, style="italic"
    )
    axes.axvline(0.5, color=style.GREY, linewidth=0.8, linestyle=(0, (2, 2)), zorder=1)
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(len(tested) - 0.5, -0.8)
    axes.set_yticks(range(len(tested)), [_label(each) for each in tested])
    axes.tick_params(axis="y", length=0)
    interval: dict[str, Any] = {"color": style.DARK_GREY, "linewidth": 1.4, "marker": "o", "markersize": 4.5}
    keys = [
        Line2D([], [], label="95 % interval; filled: p ≤ 0.05", **interval, markerfacecolor="white"),
        Line2D([], [], linestyle="", marker="|", color="black", markersize=8, label="test error by then"),
    ]
    _legend(axes, keys, 2)


def _label(each: Tested) -> str:
    first, last = each.candidate.first, each.candidate.last
    return f"{_SYMBOLS[each.candidate.quantity]}, {last if first == last else f'{first}–{last}'}"


def _scanned(axes: Axes, groups: Groups) -> None:
    style.panel(axes, "c  All epochs (exploratory)", "Epochs completed", "AUC")
    tested, _ = scan(groups)
    points = [(epoch, groups.separation(errors).auc) for epoch, errors in _errors(groups)]
    axes.plot([x for x, _ in points], [y for _, y in points], **_ERROR, zorder=1, solid_capstyle="round")
    keys = [Line2D([], [], label="test error", **_ERROR)]
    for quantity in COMPARED:
        mine = [each for each in tested if each.candidate.quantity == quantity]
        line = _CURVES[quantity].line(1.2)
        axes.plot([e.candidate.known_after for e in mine], [e.separation.auc for e in mine], **line)
        keys.append(Line2D([], [], label=_SYMBOLS[quantity], **line))
    axes.axhline(0.5, color=style.GREY, linewidth=0.8, linestyle=(0, (2, 2)), zorder=1)
    for members, name, y in ((groups.trapped, TRAPPED, -0.13), (groups.partial, PARTIAL, -0.23)):
        since = [epoch for member in members if (epoch := settled(member)) is not None]
        look = _CLASSES[name]
        axes.plot(since, [y] * len(since), look.marker, color=look.color, markersize=4, alpha=0.7)
    axes.set_ylim(-0.31, 1.05)
    axes.set_yticks([-0.18, 0, 0.5, 1.0], ["settled", "0", "0.5", "1"])
    _legend(axes, keys, 3)


def _errors(groups: Groups) -> list[tuple[int, list[float]]]:
    """Completed epochs at which some seed was evaluated, and the latest errors by member then."""
    epochs = {
        int(epoch)
        for member in groups.members
        for entry in member.get("error_trajectory") or ()
        if (epoch := number(entry, "epoch")) is not None
    }
    found = [(epoch, groups.errors(epoch)) for epoch in sorted(epochs)]
    return [(epoch, errors) for epoch, errors in found if errors is not None]


def _legend(axes: Axes, keys: Sequence[Line2D], columns: int) -> None:
    """Beneath the panel, so that it hides no data."""
    figure = axes.get_figure()
    if figure is not None:
        figure.legend(
            handles=keys,
            loc="outside lower center",
            ncols=columns,
            frameon=False,
            handlelength=2.4,
            columnspacing=1.2,
        )
