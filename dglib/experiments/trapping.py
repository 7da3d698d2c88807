"""Tδ1: what marks, early, the seeds that end trapped at chance level.

The early tests are the protocol's: four quantities at three epochs, and the mean c_sv over the first epochs.
A sign is a test that is significant after correction for all of them and separates trapped from partial seeds
better than the test error does by then.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from dglib.analysis import intervals, style, wording
from dglib.analysis.answer import Row
from dglib.analysis.curves import mean_curve
from dglib.analysis.fields import (
    Record,
    Records,
    entries,
    has_diverged,
    is_finite,
    is_running,
    number,
    parameter,
    seed_of,
)
from dglib.analysis.grid import DIVERGED, TRAPPED, Measure
from dglib.analysis.intervals import rounded, welch
from dglib.analysis.style import PENS, THICK, Pen
from dglib.analysis.summary import Summary, common, missing, share
from dglib.experiments import register
from dglib.experiments.base import Column, Drawing, Experiment, rate
from dglib.experiments.parameters import Count, CountOrZero, Epochs, Field, Flag, Fraction, Number, OneState
from dglib.protocol.spec import Arm, ExperimentSpec, Phase

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PARTIAL, ORDERED = "partial_collapse", "ordered"
CLASSES = (TRAPPED, PARTIAL, ORDERED)
CLASS_NAMES = {TRAPPED: "trapped", PARTIAL: "partial collapse", ORDERED: "ordered", DIVERGED: "diverged"}
LIMITS = {"trapped_error": 0.85, "partial_error": 0.40}
COMPARED = ("c_sv", "c_mc", "norm_s", "loss_v")
COMPARE_EPOCHS, EARLY_EPOCHS, EARLY_DIFFERENCE = (5, 10, 20), 10, 0.05
_NAMES = {"c_sv": "c_sv", "c_mc": "c_mc", "norm_s": "‖g_s‖", "loss_v": "clean loss"}


class Td1Parameters(OneState):
    """Tδ1: one λ held, the two gradients logged until each seed's end."""

    in_cell: ClassVar[dict[str, str]] = {
        "From scratch": "milestones evaluate_every log_every",
        "Classes by final error": "trapped_error partial_error",
    }

    log_every: Count
    """Steps from one log of the gradients to the next, from 1."""
    two_pass_statistics: Flag
    """Whether BatchNorm's running statistics move as by two passes on every step: true or false."""
    trapped_error: Fraction = 0.85
    """A seed is trapped at this final error or above, 0 to 1."""
    partial_error: Fraction = 0.40
    """Below that, a seed is a partial collapse at this final error or above, 0 to 1."""
    compare_epochs: Epochs = Field([5, 10, 20])
    """Epochs, counted from 0, rising, at which the classes are compared, at least one."""
    early_epochs: CountOrZero = 10
    """Last epoch, counted from 0, of the early comparison."""
    early_difference: Annotated[Number, Field(ge=0)] = 0.05
    """The classes diverge early if their mean c_sv up to there differs by more than this, from 0."""


class Td1(Experiment):
    name = "Td1"
    symbol = "Tδ1"
    directory_prefix = "exp_Td1_90_analysis"
    experiment_id = "Td1-seed{seed:02d}"
    notebook = "Td1_trapping"
    title = "What marks, early, the seeds that end trapped"
    question = "Do gradients early in training mark the seeds that will end trapped at chance level?"
    counts = (
        "A quantity that separates trapped from partial seeds, after correction for all that were"
        " tested, and better than the test error does by then."
    )
    grid_question = (
        "Where does training at one λ end: ordered, in partial collapse, or trapped at chance level?"
    )
    in_default_run = True
    parameters = Td1Parameters
    reading = frozenset({"compare_epochs", "early_epochs", "early_difference"})
    measure = Measure(
        "final error",
        {ORDERED: "ordered", PARTIAL: "partial collapse", TRAPPED: "trapped", DIVERGED: "diverged"},
        field="final_error",
        in_unit_interval=True,
        has_init=False,
    )
    limitation = "An early sign is an association over the seeds of one setting. It does not show its cause."

    def spec(self, p: Any) -> ExperimentSpec:
        train = Phase(
            "init", (p.init_lambda,), p.init_epochs, rate(p, p.milestones), p.evaluate_every,
            trajectory="error_trajectory", final="",
        )  # fmt: skip
        held = {"lambda": p.init_lambda, "epochs_per_level": p.init_epochs, "lr": p.lr, "sweep_lr": None}
        return self.protocol(
            p,
            Arm("main", (train,)),
            step={"two_pass_statistics": p.two_pass_statistics, "log_every": p.log_every},
            final_classes=((TRAPPED, p.trapped_error), (PARTIAL, p.partial_error), (ORDERED, 0.0)),
            constants=held,
        )

    def summarise(self, records: Records) -> dict[str, Any]:
        """Counts by class with shares, and the early comparison of trapped seeds with partial ones."""
        signs = early_tests(records)
        first, *_ = signs["tests"]
        seeds = [_seed(record, first["last_epoch"]) for record in records]
        summary = common("Td1", records, seeds, (*CLASSES, DIVERGED, "unfinished"))
        outcomes = summary["outcomes"]
        measured = sum(outcomes[name] for name in CLASSES)
        levels = {level for record in records if (level := number(record, "lambda")) is not None}
        limit = parameter(records, "early_difference", EARLY_DIFFERENCE)
        # A single seed differs from the mean of others by as much as they spread.
        apart = first["difference"] if min(signs["trapped"], signs["partial"]) > 1 else None
        return summary | {
            "measured": measured,
            "limits": {name: parameter(records, name, default) for name, default in LIMITS.items()},
            "shares": {name: share(outcomes[name], measured) for name in CLASSES},
            "levels": sorted(levels),
            "early": {
                "last_epoch": first["last_epoch"],
                "limit": limit,
                "early_divergence": None if apart is None else abs(apart) > limit,
            },
            "signs": signs,
            "notes": missing(outcomes, measured) + _too_few(signs),
        }

    def rows(self, summary: Summary) -> list[Row]:
        shares, signs = summary["shares"], summary["signs"]
        rows = [Row.of_share(f"share {CLASS_NAMES[name]}", shares[name]) for name in CLASSES]
        early, tests = summary["early"]["early_divergence"], signs["tests"]
        heading = (
            f"Early means of {signs['trapped']} trapped and {signs['partial']} partial seeds; value: trapped"
            f" less partial; p: exact, corrected for {len(tests)} tests"
        )
        for test in tests if signs["trapped"] or signs["partial"] else ():
            first, last = test["first_epoch"], test["last_epoch"]
            when = f"epoch {last}" if first == last else f"epochs {first} to {last}"
            more = {name: test[name] for name in ("trapped", "partial")} | {"AUC": test["auc"]}
            more |= {"AUC of error": test["error_auc"], "p": test["p_corrected"]}
            if first != last and early is not None:
                more["early divergence"] = "yes" if early else "no"
            rows.append(
                Row(
                    f"{_NAMES[test['quantity']]}, {when}",
                    signs["trapped"] + signs["partial"],
                    value=test["difference"],
                    ci95=test["difference_ci95"],
                    more=more,
                    table=heading,
                )
            )
        return rows

    def dwell_text(self, summary: Summary) -> str:
        """There is one level: the dwell time is the whole training."""
        levels = wording.listing([wording.level(level) for level in summary["levels"]])
        epochs = wording.listing([str(n) for n in summary["dwell"]["epochs_per_level"]], "or") or "unknown"
        at = f" at λ = {levels}" if levels else ""
        return f"{epochs} epochs{at}, LR {wording.rates(summary['dwell']['lr'])}"

    def seed_columns(self, summary: Summary) -> dict[str, Column]:
        return {
            "Seed": wording.seed,
            "Outcome": lambda seed: wording.outcome(seed["outcome"], CLASS_NAMES),
            "Final error": lambda seed: wording.error(seed["final_error"]),
            "Outcome settled from epoch": lambda seed: (
                wording.NONE if seed["settled"] is None else str(seed["settled"])
            ),
            f"Mean c_sv, epochs 0 to {summary['early']['last_epoch']}": (
                lambda seed: wording.error(seed["early_c_sv"])
            ),
        }

    def figures(self) -> dict[str, Drawing]:
        caption = "Tδ1: test error and step logs by the class in which a seed ended"
        return {"Td1_analysis": Drawing(caption, lambda records: _draw(records, self.summarise(records)))}

    def trajectories(self, record: Record) -> dict[str, tuple[str, str]]:
        return {"error_trajectory": ("main", "init")}


# ── the summary ──


def final_error(record: Record) -> float | None:
    """The error of the last evaluation; of a record without any, what it states."""
    errors = entries(record, "error_trajectory")
    return number(errors[-1], "error") if errors else number(record, "final_error")


def category(record: Record) -> str:
    """The seed's class by its final error, under its own limits; published labels used others.

    A diverged seed is "diverged" whatever its error; a record without final error is "unfinished".
    """
    if has_diverged(record, "error_trajectory"):
        return DIVERGED
    error = final_error(record)
    return "unfinished" if error is None or is_running(record) else class_of(error, record)


def class_of(error: float, record: Record) -> str:
    """The class of an error under the record's own limits."""
    trapped, partial = (parameter([record], name, default) for name, default in LIMITS.items())
    return TRAPPED if error >= trapped else PARTIAL if error >= partial else ORDERED


def by_epoch(record: Record, quantity: str) -> dict[float, float]:
    """Epoch (from 0) -> mean of a step log's quantity over that epoch's rows, non-finite ones left out."""
    rows: defaultdict[float, list[float]] = defaultdict(list)
    for row in entries(record, "step_logs"):
        value = number(row, quantity)
        if value is not None and number(row, "epoch") is not None:
            rows[int(row["epoch"])].append(value)
    return {epoch: fmean(values) for epoch, values in sorted(rows.items())}


def settled(record: Record) -> int | None:
    """Completed epochs from which the test error's class is, at every evaluation, what it is at the end.

    None without evaluations. It is known only to the evaluations' spacing.
    """
    since = None
    final = category(record)
    for entry in entries(record, "error_trajectory"):
        epoch, error = number(entry, "epoch"), number(entry, "error")
        if epoch is None or error is None:
            continue
        if class_of(error, record) != final:
            since = None
        elif since is None:
            since = int(epoch)
    return since


def _seed(record: Record, last: int) -> dict[str, Any]:
    kind, recorded = category(record), record.get("category")
    recorded = recorded if isinstance(recorded, str) else None
    early = [value for epoch, value in by_epoch(record, "c_sv").items() if epoch <= last]
    return {
        "seed": seed_of(record),
        "outcome": kind,
        "end": kind,
        "recorded_category": recorded,
        "difference": f"category {recorded} on record, {kind} by final error"
        if recorded not in (None, kind)
        else None,
        "final_error": final_error(record),
        "settled": settled(record),
        "early_c_sv": rounded(fmean(early)) if early else None,
    }


def _planned(records: Records) -> list[tuple[str, int, int]]:
    """Quantity, first and last epoch, from 0, of each early mean that is tested."""
    given = ((record.get("parameters") or {}).get("compare_epochs") for record in records)
    epochs = next(filter(None, given), COMPARE_EPOCHS)
    last = int(parameter(records, "early_epochs", EARLY_EPOCHS))
    return [("c_sv", 0, last), *((quantity, int(e), int(e)) for quantity in COMPARED for e in epochs)]


def early_tests(records: Records) -> dict[str, Any]:
    """Trapped against partial seeds with step logs, in each planned test; exact permutation tests.

    A test's `trapped` and `partial` are means over seeds, also where too few seeds allow no test; what is not
    known is null. `auc` is above 1/2 if trapped seeds lie higher, within `lower` and `upper`; `error_auc` is
    that of the test error by then. `smallest_p`: that these group sizes can give.
    """
    members, without_logs = [], []
    for kind in (TRAPPED, PARTIAL):
        for record in (record for record in records if category(record) == kind):
            curves = {quantity: by_epoch(record, quantity) for quantity in COMPARED}
            if any(curves.values()):
                members.append((kind, record, curves))
            else:
                without_logs.append(seed_of(record))
    size = sum(kind == TRAPPED for kind, *_ in members)
    sizes, tests, columns = (size, len(members) - size), [], []
    for quantity, first, last in _planned(records):
        values = [_over(curves[quantity], first, last) for *_, curves in members]
        errors = [error_after(record, last + 1) for _, record, _ in members]
        which = {"quantity": quantity, "first_epoch": first, "last_epoch": last}
        tests.append(which | _early_test(values, errors, size))
        columns.append(values)
    complete = [i for i, values in enumerate(columns) if all(sizes) and None not in values]
    family = None
    if complete:
        matrix = np.array([columns[i] for i in complete], dtype=float).T
        family = intervals.permutation_test(matrix, np.arange(len(members)) < size)
        for index, p, corrected in zip(complete, family.p, family.corrected, strict=True):
            sign = corrected <= intervals.LEVEL and tests[index]["beats_error"]
            tests[index] |= {"p": rounded(p), "p_corrected": rounded(corrected), "sign": sign}
    return {
        "trapped": sizes[0],
        "partial": sizes[1],
        "without_logs": without_logs,
        "level": intervals.LEVEL,
        "smallest_p": rounded(intervals.smallest_p(*sizes)) if all(sizes) else None,
        "labellings": family and family.labellings,
        "enumerated": family and family.enumerated,
        "tests": tests,
    }


def _too_few(signs: dict[str, Any]) -> list[str]:
    """Why no early test can be significant, whatever the logs hold."""
    smallest = signs["smallest_p"]
    if smallest is None or smallest <= signs["level"]:
        return []
    sizes = f"{signs['trapped']} trapped and {signs['partial']} partial seeds"
    return [f"{sizes} cannot give an early test a p below {wording.p_value(smallest)}"]


def _early_test(values: Sequence[float | None], errors: Sequence[float | None], size: int) -> dict[str, Any]:
    """Means of the first `size` values and of the others, their difference, and areas under the ROC curve."""
    one, other = ([v for v in side if v is not None] for side in (values[:size], values[size:]))
    trapped, partial = (fmean(side) if side else None for side in (one, other))
    interval, (area, error_area) = welch(one, other), (_auc(column, size) for column in (values, errors))
    area_interval = None if area is None else intervals.auc_interval(area, size, len(values) - size)
    known = {
        "trapped": trapped,
        "partial": partial,
        "difference": None if trapped is None or partial is None else trapped - partial,
        "auc": area,
        "lower": area_interval.lower if area_interval else None,
        "upper": area_interval.upper if area_interval else None,
        "error_auc": error_area,
    }
    beats = None not in (area, error_area) and abs(area - 0.5) > abs(error_area - 0.5)  # type: ignore[operator]
    return {
        **{name: value if value is None else rounded(value) for name, value in known.items()},
        "difference_ci95": interval and [rounded(interval.lower), rounded(interval.upper)],
        "beats_error": beats,
        **{"p": None, "p_corrected": None, "sign": False},
    }


def _auc(column: Sequence[float | None], size: int) -> float | None:
    """Of the first `size` values against the others; None unless all are known."""
    known = [value for value in column if value is not None]
    whole = len(known) == len(column) and 0 < size < len(column)
    return intervals.auc(known[:size], known[size:]) if whole else None


def _over(curve: Mapping[float, float], first: int, last: int) -> float | None:
    """The mean of the epochs `first` to `last`; None unless the last was logged."""
    if last not in curve:
        return None
    return fmean(value for epoch, value in curve.items() if first <= epoch <= last)


def error_after(record: Record, completed: int) -> float | None:
    """The test error of the latest finite evaluation by the end of that epoch (from 1); None before any."""
    error = None
    for entry in entries(record, "error_trajectory"):
        epoch = number(entry, "epoch")
        if epoch is not None and epoch <= completed and is_finite(entry):
            error = number(entry, "error")
    return error


# ── the figure ──

_LINES = {0.90: "chance", 0.55: "published"}  # the second: below it, published files call a seed ordered
_BAND = "#EDEDED"
_LOGS = {
    "b": ("c_sv", "cos(g_s, g_v)", "Structure–value cosine c_sv"),
    "c": ("c_mc", "cos(g_mix, g_v)", "Mix–value cosine c_mc"),
    "d": ("norm_s", "‖g_s‖", "Norm of the structure gradient"),
    "e": ("loss_v", "Clean loss (nats)", "Clean training loss"),
}
_EARLY = 20
# How each class is drawn, in the order of the legend.
_PENS = {
    TRAPPED: PENS["trapped"],
    PARTIAL: PENS["collapsed"],
    ORDERED: PENS["ordered"],
    DIVERGED: PENS["diverged"],
    "unfinished": Pen(style.GREY, "-", "."),
}


def _draw(records: Records, summary: Summary) -> Figure:
    """Six panels: error, c_sv, c_mc, ‖g_s‖, clean loss, early c_sv; seeds thin, class means thick."""
    figure = style.new_figure(height=4.6)
    axes = figure.subplot_mosaic("abc;def")
    names = [seed["outcome"] for seed in summary["seeds"]]
    style.panel(axes["a"], "a  Test error", "Epoch", "Test error")
    _error_limits(axes["a"], summary["limits"])
    _by_class(axes["a"], names, list(map(_errors, records)))
    for letter, (log, label, title) in _LOGS.items():
        style.panel(axes[letter], f"{letter}  {title}", "Epoch (from 0)", label)
        _by_class(axes[letter], names, [by_epoch(record, log) for record in records])
    style.panel(axes["f"], f"f  c_sv in epochs 0 to {_EARLY}", "Epoch (from 0)", _LOGS["b"][1])
    early = [{e: v for e, v in by_epoch(record, "c_sv").items() if e <= _EARLY} for record in records]
    _by_class(axes["f"], names, early)
    style.legend_below(figure, _keys(Counter(names)))
    return figure


def _errors(record: Record) -> Mapping[float, float]:
    return {
        int(e["epoch"]): e["error"]
        for e in entries(record, "error_trajectory")
        if is_finite(e) and "epoch" in e
    }


def _error_limits(axes: Axes, limits: Mapping[str, float]) -> None:
    style.error_axis(axes)
    axes.axhspan(limits["partial_error"], limits["trapped_error"], color=_BAND, zorder=0, linewidth=0)
    for value, name in _LINES.items():
        style.limit_line(axes, value, f"{wording.level(value)}\n{name}", side="outside")


def _by_class(axes: Axes, names: Sequence[str], curves: Sequence[Mapping[float, float]]) -> None:
    """Every seed thin; each class's mean per epoch thick. Diverged seeds are no class and have no mean."""
    if not any(curves):
        style.note(axes, "nothing recorded" if curves else "no records")
    for name, pen in _PENS.items():
        members = [curve for kind, curve in zip(names, curves, strict=True) if kind == name]
        style.draw_seeds(axes, members, pen, 0.55)
        if name in CLASSES:
            axes.plot(*mean_curve(members)[:2], **pen.line(THICK))
        for end in [max(curve.items()) for curve in members if curve and name == DIVERGED]:
            axes.plot(*end, pen.marker, color=pen.color, markersize=5, zorder=6)


def _keys(counts: Counter[str]) -> list[tuple[str, dict[str, Any]]]:
    keys: list[tuple[str, dict[str, Any]]] = [
        (f"{CLASS_NAMES.get(name, name)} ({counts[name]})", pen.line(1.8))
        for name, pen in _PENS.items()
        if counts[name]
    ]
    return [*keys, ("partial by final error", {"color": _BAND, "linewidth": 7})] if keys else []


register(Td1())
