"""V3: whether another architecture has two branches over the same λ, and the gap between them by seed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from dglib.analysis import style, wording
from dglib.analysis.answer import Row
from dglib.analysis.curves import Curve, differences_at, is_frozen, mean_curve
from dglib.analysis.fields import (
    Entry,
    Record,
    Records,
    entries,
    has_diverged,
    is_running,
    mean_by_level,
    number,
    parameter,
    seed_of,
    starts_trapped,
)
from dglib.analysis.grid import DIVERGED, TRAPPED, Measure
from dglib.analysis.intervals import rounded
from dglib.analysis.style import PENS, THICK, Pen
from dglib.analysis.summary import UNMEASURED, Summary, common, exact, mean_error, missing, paired, quantity
from dglib.experiments import register
from dglib.experiments.base import Column, Drawing, Experiment, Sweep, rate
from dglib.experiments.parameters import Fraction, Milestones, Positive, SweepParameters, TwoStates, Upward
from dglib.protocol.spec import Arm, Criterion, ExperimentSpec, LearningRate, Phase, Success

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GAP_LEVEL, GAP_ERROR = 0.50, 0.10
BRANCHES = ("ordered", "collapse")
STARTS = ("collapsed", "trapped")  # of the collapse branch
FIELDS = tuple(f"{branch}{part}_trajectory" for branch in BRANCHES for part in ("_init", ""))


class V3Parameters(SweepParameters, TwoStates):
    """Two branches: an ordered network under rising λ, a collapsed one under falling λ."""

    in_cell: ClassVar[dict[str, str]] = {"Sweep": "sweep_lambdas", "Comparison": "gap_lambda gap_error"}

    ordered_error_max: Fraction
    """The ordered network's error after its training must be below this, 0 to 1."""
    ordered_milestones: Milestones
    """Epochs completed when the ordered network's LR drops by lr_decay, rising, from 1; [] for never."""
    collapse_milestones: Milestones
    """Epochs completed when the collapsed network's LR drops by lr_decay, rising, from 1; [] for never."""
    sweep_lambdas: Upward
    """Levels of λ, rising, 0 to 1, at least one; the collapse branch takes them backwards."""
    sweep_lr_factor: Positive = 0.01
    """LR of the sweep as a multiple of lr where sweep_lr is null, above 0."""
    gap_lambda: Fraction = 0.50
    """λ at which the branches are compared, 0 to 1."""
    gap_error: Fraction = 0.10
    """The branches are two if their errors differ by more than this, 0 to 1."""


class V3(Experiment):
    name = "V3"
    directory_prefix = "exp_V3_vgg11"
    experiment_id = "V3-s{seed}"
    notebook = "V3_vgg11"
    title = "Whether another architecture has two branches"
    question = "Is the error at one λ different for networks that come from order and from collapse?"
    counts = "The gap between the branches at one λ, with an interval that lies above the limit."
    in_default_run = True
    parameters = V3Parameters
    reading = frozenset({"gap_lambda", "gap_error"})
    quantities = ("gap",)
    measure = Measure(
        "gap",
        {
            "one_branch": "one branch",
            "two_branches": "two branches",
            "frozen": "frozen",
            TRAPPED: "trapped",
            "no_gap": "gap not measured",
            DIVERGED: "diverged",
        },
        field="gap",
        in_unit_interval=True,
        unusual=("no_gap",),
        glyphs={"no_gap": wording.NONE},
    )
    sweeps = (
        Sweep("V3-ordered", "V3, ordered branch", "ordered_trajectory", True, "ordered pale"),
        Sweep("V3-collapse", "V3, collapse branch", "collapse_trajectory", False, "collapsed pale"),
        Sweep("V3-trapped", "V3, began trapped", "collapse_trajectory", False, "trapped"),
    )

    def spec(self, p: Any) -> ExperimentSpec:
        sweep_rate = LearningRate(p.lr * p.sweep_lr_factor if p.sweep_lr is None else p.sweep_lr)

        def arm(
            name: str, lam: float, epochs: int, milestones: list[int], test: Criterion, offset: int
        ) -> Arm:
            levels = tuple(p.sweep_lambdas) if name == "ordered" else tuple(reversed(p.sweep_lambdas))
            success = Success(test, f"{name}_init", f"{name}_init_success")
            init = Phase(
                "init", (lam,), epochs, rate(p, milestones), p.init_evaluate_every,
                trajectory=f"{name}_init_trajectory", seed_offset=offset, success=success,
            )  # fmt: skip
            sweep = Phase(
                "sweep", levels, p.epochs_per_level, sweep_rate, p.epochs_per_level,
                trajectory=f"{name}_trajectory", restart=True,
            )  # fmt: skip
            return Arm(name, (init, sweep))

        ordered = Criterion("<", p.ordered_error_max)
        collapsed = Criterion(">=", p.collapse_error_min)
        return self.protocol(
            p,
            arm("ordered", p.ordered_lambda, p.ordered_epochs, p.ordered_milestones, ordered, 0),
            arm("collapse", p.collapse_lambda, p.collapse_epochs, p.collapse_milestones, collapsed, 100),
            outcome_without_event="complete",
            constants={
                "arch": "VGG11-BN" if p.network == "vgg11_bn" else p.network,
                "epochs_per_level": p.epochs_per_level,
                "lr": p.lr,
                "sweep_lr": sweep_rate.base,
            },
        )

    def summarise(self, records: Records) -> dict[str, Any]:
        """The gap between the branches, at `gap_lambda` (0.50) by seed and at every level over seeds.

        `two_branches` compares the gap's t interval there with `gap_error` (0.10), over the seeds that began
        the collapse branch collapsed, as a trapped network is on neither branch: "yes", "no", "undecided", or
        "frozen" where a branch of most seeds is.
        """
        level = round(parameter(records, "gap_lambda", GAP_LEVEL), 6)
        limit = parameter(records, "gap_error", GAP_ERROR)
        seeds = [_seed(record, level, limit) for record in records]
        groups = {
            state: [s["gap"] for s in seeds if s["start"] == state and s["gap"] is not None]
            for state in STARTS
        }
        apart, gap = groups["collapsed"], paired(groups["collapsed"])
        frozen = sum(seed["frozen"] for seed in seeds)
        verdict = "undecided"
        if 2 * sum(seed["frozen"] for seed in seeds if seed["start"] == "collapsed") > len(apart) > 0:
            verdict = "frozen"
        elif gap and gap["ci95"] and not gap["ci95"][0] <= limit <= gap["ci95"][1]:
            verdict = "yes" if gap["ci95"][0] > limit else "no"
        why = "a branch did not move at a small LR: the gap may be that of the inits"
        notes = [f"frozen: in {wording.seeds(frozen)} {why}"] * (frozen > 0)
        summary = common("V3", records, seeds, ("complete", *UNMEASURED))
        return summary | {
            "measured": len(apart),
            "gap_lambda": level,
            "two_branches": verdict,
            "frozen": frozen,
            "gap_by_level": {state: gap_curve(records, state) for state in STARTS},
            "start": {kind: sum(seed["start"] == kind for seed in seeds) for kind in STARTS},
            "by_start": {
                state: {
                    "n": len(members),
                    "above_limit": sum(gap > limit for gap in members),
                    "gap": quantity(exact(members)),
                    "gap_mean": paired(members),
                }
                for state, members in groups.items()
            },
            "final_errors": _final_errors(records),
            "limits": {"gap_error": limit},
            "estimates": {"gap": quantity(exact(apart))},
            "notes": [*notes, *_missing(summary["outcomes"], groups, level)],
        }

    def rows(self, summary: Summary) -> list[Row]:
        rows, name = [], f"gap at λ = {wording.level(summary['gap_lambda'])}"
        for state in STARTS:
            group = summary["by_start"][state]
            more = {"two branches": summary["two_branches"]} if state == "collapsed" else {}
            if group["n"] or state == "collapsed":
                rows.append(
                    Row.of_mean(name, group["gap_mean"], start=state, events=group["above_limit"], more=more)
                )
        return rows + [
            Row.of_mean(
                f"final error, {end['branch']} branch, λ = {wording.level(end['lambda'])}",
                end["error"],
                p=False,
                start=end["start"],
            )
            for end in summary["final_errors"]
        ]

    def seed_columns(self, summary: Summary) -> dict[str, Column]:
        return {
            "Seed": wording.seed,
            "Ordered init error": lambda seed: wording.error(seed["ordered_init"]),
            "Collapse init error": lambda seed: wording.error(seed["collapse_init"]),
            "Outcome": lambda seed: wording.outcome(seed["outcome"]),
            f"Gap at λ = {wording.level(summary['gap_lambda'])}": lambda seed: wording.error(seed["gap"]),
            "Collapse branch began": lambda seed: seed["start"] or wording.NONE,
        }

    def figures(self) -> dict[str, Drawing]:
        caption = "V3: error on both branches against λ, and the gap between them"
        return {"V3_hysteresis": Drawing(caption, lambda records: _draw(records, self.summarise(records)))}

    def traces(self, record: Record) -> list[tuple[str, Curve, Sequence[Entry]]]:
        """Both branches of a complete seed; a collapse branch that began trapped is apart."""
        state = start_state(record)
        traces: list[tuple[str, Curve, Sequence[Entry]]] = []
        for name in BRANCHES if state else ():
            key = "V3-trapped" if name == "collapse" and state == "trapped" else f"V3-{name}"
            curve = Curve(branch(record, name))
            traces.append((key, curve, entries(record, f"{name}_trajectory")))
        return traces

    def trajectories(self, record: Record) -> dict[str, tuple[str, str]]:
        inits = {f"{name}_init_trajectory": (name, "init") for name in BRANCHES}
        return inits | {f"{name}_trajectory": (name, "sweep") for name in BRANCHES}


# ── the summary ──


def branch(record: Record, name: str) -> dict[float, float]:
    """λ -> error on the "ordered" or the "collapse" branch, in the order swept."""
    return mean_by_level(entries(record, f"{name}_trajectory"))


def gaps(record: Record) -> dict[float, float]:
    """λ -> collapse error less ordered error, at the levels that both branches visited, ascending."""
    sides = (entries(record, f"{name}_trajectory") for name in BRANCHES)
    return {level: rounded(gap) for level, gap in differences_at(*sides).items()}


def outcome(record: Record) -> str:
    """The outcome of a seed: "complete", "init_failed", "diverged" or "unfinished"."""
    if has_diverged(record, *FIELDS):
        return "diverged"
    if is_running(record):
        return "unfinished"
    flags = ("init_success", "ordered_init_success", "collapse_init_success")
    if any(record.get(flag) is False for flag in flags):
        return "init_failed"
    return "complete" if all(branch(record, name) for name in BRANCHES) else "unfinished"


def start_state(record: Record) -> str | None:
    """The state in which the collapse branch began, "collapsed" or "trapped"; None of an incomplete seed."""
    if outcome(record) != "complete":
        return None
    return "trapped" if starts_trapped(entries(record, "collapse_trajectory")) else "collapsed"


def gap_curve(records: Records, state: str) -> list[dict[str, Any]]:
    """The gap at each level over seeds, as `summary.paired`.

    Of complete seeds whose collapse branch began in `state`.
    """
    seeds = [gaps(record) for record in records if start_state(record) == state]
    return [
        {"lambda": level, **(paired([seed[level] for seed in seeds if level in seed]) or {})}
        for level in sorted({level for seed in seeds for level in seed})
    ]


def _missing(outcomes: Mapping[str, int], groups: Mapping[str, Sequence[float]], level: float) -> list[str]:
    if outcomes["complete"] and not any(groups.values()):
        return [f"no gap: no seed has both branches at λ = {wording.level(level)}"]
    return missing(outcomes, sum(map(len, groups.values())))


def _final_errors(records: Records) -> list[dict[str, Any]]:
    """Of each branch and start state the λ at its end and the errors there, over complete seeds."""
    by_branch: defaultdict[tuple[str, str, float], list[float]] = defaultdict(list)
    for record in records:
        for name in BRANCHES if (state := start_state(record)) else ():
            level, error = list(branch(record, name).items())[-1]
            by_branch[name, "ordered" if name == "ordered" else str(state), level].append(error)
    return [
        {"branch": name, "start": state, "lambda": level, "error": mean_error(errors)}
        for (name, state, level), errors in sorted(by_branch.items(), reverse=True)
    ]


def _seed(record: Record, level: float, limit: float) -> dict[str, Any]:
    kind, start = outcome(record), start_state(record)
    gap = gaps(record).get(level) if start else None
    frozen = bool(start) and any(is_frozen(record, entries(record, f"{b}_trajectory")) for b in BRANCHES)
    if start is None:
        end = kind
    elif gap is None:
        end = "no_gap"
    elif start == "trapped":
        end = TRAPPED
    elif gap > limit:
        end = "frozen" if frozen else "two_branches"
    else:
        end = "one_branch"
    return {
        "seed": seed_of(record),
        "outcome": kind,
        "end": end,
        "ordered_init": number(record, "ordered_init"),
        "collapse_init": number(record, "collapse_init"),
        "gap": gap,
        "start": start,
        "frozen": frozen,
    }


# ── the figure ──

_PUBLISHED_LINE = 0.40
_LOWEST = -0.35  # of the gaps shown


def _draw(records: Records, summary: Summary) -> Figure:
    """Two panels: error on each branch (every seed, mean ± SD); gap of every seed, mean and t interval.

    A collapse branch that began trapped is drawn apart and is not in the mean: it is another state.
    """
    figure = style.new_figure(height=3.4)
    left, right = figure.subplots(1, 2)
    style.panel(left, "a  Error on the two branches", "λ", "Test error")
    style.error_axis(left)
    style.limit_line(left, _PUBLISHED_LINE, f"collapse {wording.level(_PUBLISHED_LINE)}, as in T1")
    style.panel(right, "b  Gap by seed, mean with 95 % t interval", "λ", "Collapse error − ordered error")
    seeds: dict[str, list[Record]] = {state: [] for state in (*STARTS, "diverged")}
    for record, seed in zip(records, summary["seeds"], strict=True):
        if (state := "diverged" if seed["outcome"] == "diverged" else seed["start"]) is not None:
            seeds[state].append(record)
    keys = _draw_branches(left, **seeds)
    _draw_gaps(right, seeds, summary)
    for axes, drawn in ((left, keys), (right, any(seeds[state] for state in STARTS))):
        if not drawn:
            style.note(axes, "no seed has both branches" if records else "no records")
    style.legend_below(figure, keys)
    return figure


def _draw_branches(
    axes: Axes, collapsed: Records, trapped: Records, diverged: Records
) -> list[tuple[str, dict[str, Any]]]:
    """The branches of seeds by the state in which the collapse branch began; returns the legend's keys."""
    keys = []
    for name, state, records in (
        ("ordered", "ordered", [*collapsed, *trapped]),
        ("collapse", "collapsed", collapsed),
    ):
        pen, curves = PENS[state], [branch(record, name) for record in records]
        style.draw_seeds(axes, curves, pen, 0.8, mark=2.2)
        xs, ys, std = mean_curve(curves)
        low, high = ([y + sign * s for y, s in zip(ys, std, strict=True)] for sign in (-1, 1))
        axes.fill_between(xs, low, high, color=pen.color, alpha=0.18, linewidth=0)
        axes.plot(xs, ys, **pen.line(THICK))
        along = (xs, ys) if name == "ordered" else (xs[::-1], ys[::-1])
        style.arrow(axes, *along, pen.color)
        keys += [(f"{name} branch, mean ± SD ({len(records)})", pen.line(THICK))] if records else []
    apart = (
        ("began trapped", "trapped", trapped, ["collapse"]),
        ("diverged", "diverged", diverged, BRANCHES),
    )
    for title, state, records, names in apart:
        curves = [branch(record, name) for record in records for name in names]
        style.draw_seeds(axes, curves, PENS[state], 0.8, mark=2.2)
        keys += [(f"{title} ({len(records)})", PENS[state].line(1.2))] if records else []
    return keys


def _draw_gaps(axes: Axes, seeds: Mapping[str, Records], summary: Summary) -> None:
    limit, curves = summary["limits"]["gap_error"], summary["gap_by_level"]
    for state in STARTS:
        style.draw_seeds(axes, map(gaps, seeds[state]), PENS[state], 0.8, mark=2.2)
        _draw_mean_gap(axes, curves[state], PENS[state])
    axes.axhline(0, color=style.GREY, linewidth=0.6, zorder=1)
    style.limit_line(axes, limit, f"two branches above {wording.level(limit)}")
    if any(curves.values()):
        axes.axvline(summary["gap_lambda"], **style.DASHED)
    low, high = axes.get_ylim()
    # Of two seeds the interval may be nearly as wide as all gaps there can be.
    axes.set_ylim(max(min(low, -0.05), _LOWEST), min(max(high, 2.5 * limit), 1.05))


def _draw_mean_gap(axes: Axes, curve: Sequence[Summary], pen: Pen) -> None:
    """The mean over seeds at each level with its pointwise t interval, where there are two seeds or more.

    An interval that reaches below what is shown ends in an arrowhead there.
    """
    known = [item for item in curve if item["ci95"]]
    if not known:
        return
    levels, means = [item["lambda"] for item in known], [item["mean"] for item in known]
    reach = [[abs(item["ci95"][end] - item["mean"]) for item in known] for end in (0, 1)]
    bars: dict[str, Any] = {"elinewidth": 0.9, "capsize": 2.5, "zorder": 4}
    axes.errorbar(levels, means, yerr=reach, **pen.line(THICK), **bars)
    if cut := [item["lambda"] for item in known if item["ci95"][0] < _LOWEST]:
        axes.plot(cut, [_LOWEST] * len(cut), "v", color=pen.color, markersize=4, clip_on=False)


register(V3())
