"""Tδ1's figures: error and step logs by class, the early signs, and the networks on the way to their end."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from dglib.analysis import style, wording
from dglib.analysis.diagnostics import at_evaluation
from dglib.analysis.fields import Record, Records, entries, is_finite, number, parameter
from dglib.analysis.grid import DIVERGED, TRAPPED
from dglib.analysis.style import COLUMN_WIDTH, LOOKS, THICK, THIN, Look
from dglib.analysis.two_groups import LEVEL, smallest_p
from dglib.experiments.trapping.signs import Groups, compare_groups, primary_family, scan
from dglib.experiments.trapping.summary import (
    CLASS_NAMES,
    CLASSES,
    COMPARED,
    LIMITS,
    ORDERED,
    PARTIAL,
    by_epoch,
    category,
    early_mean,
    final_error,
    last_early_epoch,
    settled,
)
from dglib.experiments.trapping.words import p_value

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
_NAMES = {TRAPPED: "trapped", PARTIAL: "partial", ORDERED: "ordered"}
_SYMBOLS = {"c_sv": "c_sv", "c_mc": "c_mc", "norm_s": "‖g_s‖", "loss_v": "clean loss"}
# Dashes and grey values distinguish the curves without colour.
_CURVES = {
    "c_sv": Look(style.BLUE, "-", "o"),
    "c_mc": Look(style.VERMILION, (0, (5, 1.5)), "s"),
    "norm_s": Look(style.GREEN, (0, (5, 1.5, 1, 1.5)), "P"),
    "loss_v": Look(style.PURPLE, (0, (1, 1.2)), "D"),
}
_ERROR: dict[str, Any] = {"color": style.LIGHT_GREY, "linewidth": 3.5}
_BESIDE: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "va": "center", "fontsize": 6.5}
_HEIGHTS = {"a": 1.9, "b": 3.0, "c": 2.2}

Curve = Mapping[int, float]
Test = Mapping[str, Any]  # of `signs.compare_groups`


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


def draw_ends(records: Records) -> Figure:
    """Share of dead channels and entropy of predicted classes: seeds thin, class means thick."""
    panels = {
        "dead": ("a  Dead channels", "Share of channels"),
        "entropy": ("b  Evenness of predicted classes", "Entropy / log(classes)"),
    }
    figure = style.new_figure(height=2.4)
    seeds = [(category(record), entries(record, "error_trajectory")) for record in records]
    for axes, (name, (title, label)) in zip(figure.subplots(1, 2), panels.items(), strict=True):
        style.panel(axes, title, "Epoch", label)
        style.error_axis(axes)
        curves = [
            (
                kind,
                {
                    int(epoch): value
                    for entry in found
                    if (epoch := number(entry, "epoch")) and (value := at_evaluation(entry)[name]) is not None
                },
            )
            for kind, found in seeds
        ]
        _by_class(axes, curves)
    style.legend_below(figure, _keys(Counter(kind for kind, _ in seeds))[:-1])
    return figure


def draw_signs(records: Records) -> Figure:
    """Mean early c_sv against final error, by seed; where two classes can be compared, also their tests.

    b: the area under the ROC curve of each planned test, with its interval, and the test error's by then;
    filled where the corrected p is at most 0.05. c: the areas over all epochs. Without trapped or without
    partial seeds there is panel a alone.
    """
    groups = Groups.of(records)
    tested, _ = compare_groups(groups, primary_family(records))
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
    for limit, default in LIMITS.items():
        value = parameter(records, limit, default)
        axes.axhline(value, color=style.GREY, linewidth=0.8, linestyle=(0, (2, 2)), zorder=1)
    counts = dict.fromkeys(CLASSES, 0)
    for record in records:
        name, error, early = category(record), final_error(record), early_mean(record, last)
        if name in CLASSES and error is not None and early is not None:
            look = CLASS_LOOKS[name]
            axes.plot([early], [error], look.marker, color=look.color, markersize=5, alpha=0.85)
            counts[name] += 1
    keys = [
        Line2D([], [], linestyle="", marker=look.marker, color=look.color, markersize=5,
               label=f"{_NAMES[name]} ({counts[name]})")
        for name, look in CLASS_LOOKS.items() if counts.get(name)
    ]  # fmt: skip
    if keys:
        axes.margins(x=0.12)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        _legend(axes, keys, len(keys))
    else:
        style.note(axes, "nothing to compare" if records else "no records")


def _planned(axes: Axes, tested: Sequence[Test], groups: Groups) -> None:
    sizes = len(groups.trapped), len(groups.partial)
    reach = p_value(smallest_p(*sizes))
    style.panel(
        axes, f"b  Planned tests; corrected p ≥ {reach}", "AUC, trapped above partial", "Quantity, epoch"
    )
    for row, item in enumerate(tested):
        look = _CURVES[item["quantity"]]
        axes.plot([item["lower"], item["upper"]], [row, row], color=look.color, linewidth=1.4, zorder=2)
        face = look.color if item["p_corrected"] <= LEVEL else "white"
        axes.plot([item["auc"]], [row], look.marker, color=look.color, markerfacecolor=face, markersize=4.5)
        if item["error_auc"] is not None:
            axes.plot([item["error_auc"]], [row], "|", color="black", markersize=8, markeredgewidth=1.2)
        axes.annotate(p_value(item["p_corrected"]), (1.02, row), **_BESIDE)
    axes.annotate("p", (1.02, -1), style="italic", **_BESIDE)
    axes.axvline(0.5, color=style.GREY, linewidth=0.8, linestyle=(0, (2, 2)), zorder=1)
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(len(tested) - 0.5, -0.8)
    axes.set_yticks(range(len(tested)), [_label(item) for item in tested])
    axes.tick_params(axis="y", length=0)
    interval: dict[str, Any] = {"color": style.DARK_GREY, "linewidth": 1.4, "marker": "o", "markersize": 4.5}
    keys = [
        Line2D([], [], label="95 % interval; filled: p ≤ 0.05", **interval, markerfacecolor="white"),
        Line2D([], [], linestyle="", marker="|", color="black", markersize=8, label="test error by then"),
    ]
    _legend(axes, keys, 2)


def _label(item: Test) -> str:
    first, last = item["first_epoch"], item["last_epoch"]
    return f"{_SYMBOLS[item['quantity']]}, {last if first == last else f'{first}–{last}'}"


def _scanned(axes: Axes, groups: Groups) -> None:
    style.panel(axes, "c  All epochs (exploratory)", "Epochs completed", "AUC")
    tested, _ = scan(groups)
    points = [(epoch, groups.separation(errors)["auc"]) for epoch, errors in _errors_by_epoch(groups)]
    axes.plot([x for x, _ in points], [y for _, y in points], **_ERROR, zorder=1, solid_capstyle="round")
    keys = [Line2D([], [], label="test error", **_ERROR)]
    for quantity in COMPARED:
        mine = [item for item in tested if item["quantity"] == quantity]
        line = _CURVES[quantity].line(1.2)
        axes.plot([e["last_epoch"] + 1 for e in mine], [e["auc"] for e in mine], **line)
        keys.append(Line2D([], [], label=_SYMBOLS[quantity], **line))
    axes.axhline(0.5, color=style.GREY, linewidth=0.8, linestyle=(0, (2, 2)), zorder=1)
    for members, name, y in ((groups.trapped, TRAPPED, -0.13), (groups.partial, PARTIAL, -0.23)):
        since = [epoch for member in members if (epoch := settled(member)) is not None]
        look = CLASS_LOOKS[name]
        axes.plot(since, [y] * len(since), look.marker, color=look.color, markersize=4, alpha=0.7)
    axes.set_ylim(-0.31, 1.05)
    axes.set_yticks([-0.18, 0, 0.5, 1.0], ["settled", "0", "0.5", "1"])
    _legend(axes, keys, 3)


def _errors_by_epoch(groups: Groups) -> list[tuple[int, list[float]]]:
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
        options = {"frameon": False, "handlelength": 2.4, "columnspacing": 1.2}
        figure.legend(handles=keys, loc="outside lower center", ncols=columns, **options)
