"""Hold: how long an ordered and a collapsed state last at one λ, and whether the start is remembered there.

Per seed one ordered and one collapsed network are trained from scratch, as T1's and T2's are; from the state
of each, branches jump to every λ of `hold_lambdas` and stay there.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from statistics import fmean, median
from typing import TYPE_CHECKING, Any, ClassVar

from dglib.analysis import lifetimes, style, wording
from dglib.analysis.answer import Row
from dglib.analysis.curves import Curve, is_frozen
from dglib.analysis.fields import (
    Entry,
    Record,
    Records,
    entries,
    is_finite,
    level_of,
    levels_of,
    mostly_constant,
    number,
    parameter,
    seed_of,
)
from dglib.analysis.fits import logistic
from dglib.analysis.grid import DIVERGED, Measure
from dglib.analysis.intervals import Bounds, rounded
from dglib.analysis.lifetimes import STARTS, STATES, Branch, Group, Start
from dglib.analysis.style import PENS
from dglib.analysis.summary import UNMEASURED, Summary, common, exact, missing, paired, quantity, share
from dglib.experiments import register
from dglib.experiments.base import Column, Drawing, Experiment, Sweep, rate
from dglib.experiments.parameters import Count, Fraction, Milestones, Positive, TwoStates, Upward
from dglib.protocol.spec import Arm, Criterion, ExperimentSpec, LearningRate, Phase, Success

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

THRESHOLD, CONSECUTIVE, DWELL = 0.40, 3, 4
_ARMS: dict[Start, str] = {"ordered": "ordered", "collapsed": "collapse"}  # as records name them
_COLORS = {state: PENS[state].color if state in PENS else style.LIGHT_GREY for state in STATES}


class HoldParameters(TwoStates):
    """Networks held at constant λ, from an ordered and from a collapsed state."""

    in_cell: ClassVar[dict[str, str]] = {
        "Hold": "hold_lambdas hold_epochs hold_lr",
        "Event": "threshold consecutive",
    }

    init_evaluate_every: Count
    """Epochs from one evaluation to the next before the hold, from 1."""
    milestones: Milestones
    """Epochs completed since scratch when the LR drops by lr_decay, rising, from 1; [] for never."""
    hold_lambdas: Upward
    """λ of the branches, rising, 0 to 1, at least one."""
    hold_epochs: Count
    """Epochs of each branch, from 1."""
    hold_lr: Positive | None = None
    """Constant LR of the branches, above 0; null: the milestones hold there too."""
    evaluate_every: Count = 1
    """Epochs from one evaluation of a branch to the next, from 1."""
    threshold: Fraction = THRESHOLD
    """Error between ordered (below) and collapsed (at or above), 0 to 1."""
    consecutive: Count = CONSECUTIVE
    """Evaluations in a row beyond the threshold by which a branch has left its start, from 1."""
    dwell_epochs: Count = DWELL
    """Epochs per level of the sweeps to compare with: a branch that moves within as many shows no lag."""


class Hold(Experiment):
    name = "Hold"
    notebook = "Hold_lifetimes"
    title = "How long a state lasts at one λ"
    question = "Does a network held at one λ keep the state in which it came there?"
    counts = (
        "The share of branches from each start that leave it, by exact bounds. Only a λ at which both states"
        " outlast the hold shows memory; a state that is left late shows a lag."
    )
    in_default_run = True
    branches = (
        Sweep("Hold-ordered", "held, from ordered", "ordered_trajectory", True, "ordered"),
        Sweep("Hold-collapsed", "held, from collapsed", "collapse_trajectory", False, "collapsed"),
    )
    parameters = HoldParameters
    reading = frozenset({"threshold", "consecutive", "dwell_epochs"})
    quantities = ("gap",)
    measure = Measure("gap after the hold", {"complete": "complete", DIVERGED: "diverged"}, field="gap")

    def spec(self, p: Any) -> ExperimentSpec:
        init_rate = rate(p, p.milestones)
        hold_rate = init_rate if p.hold_lr is None else LearningRate(p.hold_lr)
        arms: list[Arm] = []
        for start, lam, epochs, test in (
            ("ordered", p.ordered_lambda, p.ordered_epochs, Criterion("<=", p.ordered_error_max)),
            ("collapse", p.collapse_lambda, p.collapse_epochs, Criterion(">=", p.collapse_error_min)),
        ):
            success = Success(test, f"{start}_init", f"{start}_init_success")
            trunk = Phase(
                "init", (lam,), epochs, init_rate, p.init_evaluate_every, f"{start}_init_trajectory",
                success=success,
            )  # fmt: skip
            arms.append(Arm(start, (trunk,)))
            for level in p.hold_lambdas:
                hold = Phase(
                    "hold", (level,), p.hold_epochs, hold_rate, p.evaluate_every, f"{start}_trajectory"
                )
                arms.append(Arm(f"{start} {level:g}", (hold,), start=f"{start}/init"))
        constants = {"lr": p.lr, "hold_epochs": p.hold_epochs, "hold_lr": p.hold_lr}
        return self.protocol(
            p, *arms, outcome_without_event="complete", independent_arms=True, constants=constants
        )

    def summarise(self, records: Records) -> dict[str, Any]:
        """Each λ with its verdict and, by start, counts, survival, rate and states at the end."""
        threshold, consecutive, dwell = _reading(records)
        held = [_branches(record, threshold, consecutive) for record in records]
        seeds = [_seed(record, branches, threshold) for record, branches in zip(records, held, strict=True)]
        by_level: dict[float, dict[Start, list[Branch]]] = {}
        for branches in held:
            for (start, lam), branch in branches.items():
                if branch:
                    by_level.setdefault(lam, {s: [] for s in STARTS})[start].append(branch)
        summary = common(self.name, records, seeds, ("complete", *UNMEASURED))
        measured = sum(any(branches.values()) for branches in held)
        gaps = [seed["gap"] for seed in seeds if seed["gap"] is not None]
        # A passage takes some evaluations, however fast it is.
        passage = consecutive * int(parameter(records, "evaluate_every", 1))
        levels = [_level(lam, by_level[lam], max(dwell, passage)) for lam in sorted(by_level)]
        for level in levels:
            lam = level["lambda"]
            level["gap"] = paired([gap for branches in held if (gap := _gaps(branches).get(lam)) is not None])
        return summary | {
            "measured": measured,
            "consecutive": consecutive,
            "dwell_epochs": dwell,
            "levels": levels,
            "memory": [level["lambda"] for level in levels if level["memory"]],
            "gap": paired(gaps),
            "dose_response": {start: _dose_response(by_level, start) for start in STARTS},
            "limits": {"threshold": threshold},
            "estimates": {"gap": quantity(exact(gaps))},
            "notes": [*missing(summary["outcomes"], measured), *_notes(levels, seeds)],
        }

    def rows(self, summary: Summary) -> list[Row]:
        """For each λ the gap at the end with the verdict, and for each start the share that left it."""
        rows = []
        for level in summary["levels"]:
            at = f"λ = {wording.level(level['lambda'])}"
            more = {"verdict": level["verdict"]}
            rows.append(Row.of_mean(f"collapsed − ordered error, {at}", level["gap"], p=False, more=more))
            for start in STARTS:
                group = level["starts"][start]
                states = group["states"].items()
                ended = [f"{item['count']} {name}" for name, item in states if item and item["count"]]
                if group["n"]:
                    more = {"at the end": ", ".join(ended)}
                    rows.append(Row.of_share(f"left its start, {at}", group["left"], start=start, more=more))
        for start, fit in summary["dose_response"].items():
            if fit and summary["measured"] >= lifetimes.FEWEST:
                name = "λ at which half of the branches leave, logistic"
                rows.append(Row.of_fit(name, summary["measured"], fit["centre"], start=start))
        return rows

    def outcomes_text(self, summary: Summary) -> str:
        """How the seeds ended, and at which λ which verdict was reached."""
        by_kind: dict[str, list[str]] = {}
        for level in summary["levels"]:
            by_kind.setdefault(level["kind"], []).append(wording.level(level["lambda"]))
        verdicts = [f"{kind} at λ {wording.listing(levels)}" for kind, levels in by_kind.items()]
        return "; ".join([super().outcomes_text(summary), *verdicts])

    def dwell_text(self, summary: Summary) -> str:
        held = wording.listing([str(n) for n in sorted({level["held"] for level in summary["levels"]})], "or")
        rule = f"left after {summary['consecutive']} evaluations in a row"
        dwell = f"compared with a dwell of {summary['dwell_epochs']}"
        return f"Held {held or 'no'} epochs, {super().dwell_text(summary)}, {rule}, {dwell}"

    def verdicts(self, summary: Summary) -> dict[float, str]:
        return {level["lambda"]: level["verdict"] for level in summary["levels"]}

    def seed_columns(self, summary: Summary) -> dict[str, Column]:
        columns: dict[str, Column] = {
            "Seed": wording.seed,
            "Ordered init error": lambda seed: wording.error(seed["ordered_init"]),
            "Collapse init error": lambda seed: wording.error(seed["collapse_init"]),
            "Outcome": lambda seed: wording.outcome(seed["outcome"]),
        }
        for level in summary["levels"]:
            for start in STARTS:
                key = f"{start} {level['lambda']:g}"
                columns[f"{wording.level(level['lambda'])}, {start}"] = lambda seed, key=key: seed[
                    "branches"
                ].get(key, wording.NONE)  # type: ignore[misc]
        return columns

    def figures(self) -> dict[str, Drawing]:
        caption = "Hold: error of branches held at one λ, share still in the start's state, states at the end"
        return {"Hold_lifetimes": Drawing(caption, lambda records: _draw(records, self.summarise(records)))}

    def traces(self, record: Record) -> list[tuple[str, Curve, Sequence[Entry]]]:
        """The mean error in the last third of each branch, as in the gap."""
        threshold, consecutive, _ = _reading([record])
        held = _branches(record, threshold, consecutive)
        traces: list[tuple[str, Curve, Sequence[Entry]]] = []
        for start, sweep in zip(STARTS, self.branches, strict=True):
            last = {lam: branch.last for (of, lam), branch in held.items() if of == start and branch}
            traces += [(sweep.key, Curve(last), sweep.evaluations(record))] if last else []
        return traces

    def arms(self, record: Record) -> list[list[Any]]:
        return list(_held(record).values())

    def trajectories(self, record: Record) -> dict[str, tuple[str, str]]:
        return {
            f"{arm}{part}_trajectory": (arm, phase)
            for arm in ("ordered", "collapse")
            for part, phase in (("_init", "init"), ("", "hold"))
        }


Branches = dict[tuple[Start, float], Branch | None]  # of a seed, by start and λ; None: it diverged


def _reading(records: Records) -> tuple[float, int, int]:
    defaults = {"threshold": THRESHOLD, "consecutive": CONSECUTIVE, "dwell_epochs": DWELL}
    threshold, consecutive, dwell = (parameter(records, name, value) for name, value in defaults.items())
    return threshold, int(consecutive), int(dwell)


def _held(record: Record) -> dict[tuple[Start, float], list[Entry]]:
    """Start and λ -> the evaluations of each branch on record."""
    branches: dict[tuple[Start, float], list[Entry]] = {}
    for start in STARTS:
        evaluations = entries(record, f"{_ARMS[start]}_trajectory")
        for lam in sorted(levels_of(evaluations)):
            branches[start, lam] = [entry for entry in evaluations if level_of(entry) == lam]
    return branches


def _branches(record: Record, threshold: float, consecutive: int) -> Branches:
    failed = record.get("failed_arms") or {}
    branches: Branches = {}
    for (start, lam), evaluations in _held(record).items():
        diverged = f"{_ARMS[start]} {lam:g}" in failed or not all(map(is_finite, evaluations))
        made = None if diverged else _branch(record, start, lam, evaluations, threshold, consecutive)
        branches[start, lam] = made
    return branches


def _gaps(held: Branches) -> dict[float, float]:
    """λ -> mean error in the last third from the collapsed start less that from the ordered one."""
    pairs = {lam: (held.get(("ordered", lam)), held.get(("collapsed", lam))) for _, lam in held}
    return {lam: rounded(down.last - up.last) for lam, (up, down) in sorted(pairs.items()) if up and down}


def _seed(record: Record, held: Branches, threshold: float) -> dict[str, Any]:
    """A seed's inits, and its branches in words; a diverged branch does not change the seed's outcome."""
    texts = {}
    for (start, lam), branch in held.items():
        left = f"left after {branch.left} epochs" if branch and branch.left is not None else "stayed"
        texts[f"{start} {lam:g}"] = f"{left}, {branch.state}" if branch else "diverged"
    gaps, outcome = _gaps(held), str(record.get("outcome") or "unfinished")
    inits = {start: number(record, f"{_ARMS[start]}_init") for start in STARTS}
    branched = {start for (start, _), branch in held.items() if branch}
    beyond = [  # the trunks on the other side of the threshold already
        start
        for start, error in inits.items()
        if start in branched and error is not None and (error >= threshold) == (start == "ordered")
    ]
    failed = record.get("failed_arms") or {}
    return {
        "seed": seed_of(record),
        "outcome": outcome,
        "end": outcome if outcome in UNMEASURED else "complete",
        "ordered_init": inits["ordered"],
        "collapse_init": inits["collapsed"],
        "gap": rounded(fmean(gaps.values())) if gaps else None,
        "diverged_branches": sum(branch is None for branch in held.values()),
        "trunks_beyond": len(beyond),
        "failed_trunks": [name for name in ("ordered", "collapse") if name in failed],
        "branches": texts,
    }


def _branch(
    record: Record, start: Start, lam: float, evaluations: Sequence[Entry], threshold: float, consecutive: int
) -> Branch:
    errors = [entry["error"] for entry in evaluations]
    before = int(entries(record, f"{_ARMS[start]}_init_trajectory")[-1]["epoch"])
    left = lifetimes.first_passage(errors, start, threshold, consecutive)
    held = int(evaluations[-1]["epoch"]) - before
    if left == len(errors) and held < (number(record, "hold_epochs") or math.inf):  # ended by its event
        errors = errors[-consecutive:]
    trapped = mostly_constant(evaluations[-math.ceil(len(evaluations) / 4) :], lam)
    third = math.ceil(len(errors) / 3)
    return Branch(
        start=start,
        left=None if left is None else int(evaluations[left - 1]["epoch"]) - before,
        held=held,
        state=lifetimes.end_state(errors, trapped, threshold),
        middle=fmean(errors[-2 * third : -third] or errors),
        last=fmean(errors[-third:]),
        frozen=is_frozen(record, evaluations),
    )


def _level(lam: float, branches: dict[Start, list[Branch]], dwell: int) -> dict[str, Any]:
    groups = {start: Group.of(members) for start, members in branches.items()}
    every = [branch for members in branches.values() for branch in members]
    # A branch that left may have been stopped there.
    held = min((b.held for b in every if b.left is None), default=max((b.held for b in every), default=0))
    verdict = lifetimes.verdict(groups["ordered"], groups["collapsed"], held, dwell)
    starts = {}
    for start, members in branches.items():
        counts = Counter(branch.state for branch in members)
        starts[start] = {
            "n": len(members),
            "left": share(groups[start].left, len(members)),
            "frozen": groups[start].frozen,
            "states": {state: share(counts[state], len(members)) for state in STATES},
            "rate": lifetimes.rate(members),
            "survival": lifetimes.survival(members),
        }
    decided = {"verdict": verdict.text, "kind": verdict.kind, "memory": verdict.memory}
    return {"lambda": lam, "held": held, **decided, "starts": starts}


def _dose_response(levels: dict[float, dict[Start, list[Branch]]], start: Start) -> dict[str, Any] | None:
    """The logistic share of branches from one start that leave it, against λ; None of one λ."""
    cells = []
    for lam, members in levels.items():
        for branch in members[start]:
            # An ordered network leaves above its threshold, a collapsed one below it.
            below = (branch.left is not None) == (start == "ordered")
            cells.append(Bounds(-math.inf, lam) if below else Bounds(lam, math.inf))
    return logistic(cells) if len(levels) > 1 else None


def _notes(levels: Sequence[Summary], seeds: Sequence[Summary]) -> list[str]:
    frozen = sum(group["frozen"] for level in levels for group in level["starts"].values())
    counts = {
        "frozen branches, whose error did not move at a tenth of the starting LR or less": frozen,
        "branches that diverged and are in no count": sum(seed["diverged_branches"] for seed in seeds),
        "trunks without branches, as their init failed or diverged": sum(
            len(seed["failed_trunks"]) for seed in seeds
        ),
        "trunks beyond the threshold, whose branches leave at once": sum(
            seed["trunks_beyond"] for seed in seeds
        ),
    }
    return [f"{name}: {count}" for name, count in counts.items() if count]


def _draw(records: Records, summary: Summary) -> Figure:
    """Trajectories at each λ; the share still in the start's state; the states at the end over λ."""
    levels = summary["levels"]
    figure = style.new_figure(height=4.6)
    if not levels:
        axes = figure.subplots()
        style.panel(axes, "Error of held branches", "Epochs held", "Test error")
        style.note(axes, "no branch was held" if records else "no records")
        return figure
    subfigures: Any = figure.subfigures(2, 1)
    top, bottom = subfigures
    panels = top.subplots(1, len(levels), sharey=True, squeeze=False)[0]
    for axes, level in zip(panels, levels, strict=True):
        style.panel(axes, f"λ = {wording.level(level['lambda'])}", "Epochs held", "")
        style.error_axis(axes)
        axes.axhline(summary["limits"]["threshold"], **style.DASHED)
        for start in STARTS:
            _trajectories(axes, records, start, level["lambda"])
    panels[0].set_ylabel("Test error")
    *survivals, states = bottom.subplots(1, 3, width_ratios=(1, 1, 1.4))
    for axes, start in zip(survivals, STARTS, strict=True):
        _survival(axes, levels, start)
    _states(states, levels)
    keys = [(f"from {start}", PENS[start].line(style.THICK)) for start in STARTS]
    keys += [(f"{state} at the end", {"color": color, "linewidth": 5}) for state, color in _COLORS.items()]
    style.legend_below(figure, keys, columns=3)
    return figure


def _trajectories(axes: Axes, records: Records, start: Start, lam: float) -> None:
    """A thin line for each seed, paler the more there are, and from three seeds on their median."""
    curves: list[dict[float, float]] = []  # epochs held -> error
    for record in records:
        evaluations = [entry for entry in _held(record).get((start, lam), ()) if is_finite(entry)]
        inits = entries(record, f"{_ARMS[start]}_init_trajectory")
        if evaluations and inits:
            before = inits[-1]["epoch"]
            curves.append({entry["epoch"] - before: entry["error"] for entry in (inits[-1], *evaluations)})
    style.draw_seeds(axes, curves, PENS[start], max(0.15, 0.7 / max(len(curves), 1) ** 0.5))
    if len(curves) >= 3:
        shared = sorted(set.intersection(*map(set, curves)))
        medians = [median(errors[epoch] for errors in curves) for epoch in shared]
        axes.plot(shared, medians, **PENS[start].line(1.6) | {"zorder": 3})


def _survival(axes: Axes, levels: Sequence[Summary], start: Start) -> None:
    """Kaplan and Meier's curves of one start, darker for a larger λ, which stands at their end."""
    style.panel(axes, f"Share still {start}", "Epochs held", "")
    axes.set_ylim(-0.03, 1.06)
    pen = PENS[start]
    names: dict[tuple[float, float], list[str]] = {}
    for index, level in enumerate(levels):
        group = level["starts"][start]
        if not group["n"]:
            continue
        steps = [(0, 1.0), *((step["epochs"], step["share"]) for step in group["survival"])]
        xs, ys = zip(*steps, (level["held"], steps[-1][1]), strict=True)
        axes.step(xs, ys, where="post", **pen.line(1.6, 0.35 + 0.65 * (index + 1) / len(levels)))
        names.setdefault((xs[-1], ys[-1]), []).append(wording.level(level["lambda"]))
    lowest = -1.0
    for (x, y), levels_there in sorted(names.items(), key=lambda item: item[0][1]):
        lowest = max(y, lowest + 0.09 * len(levels_there))  # below it, labels of lower curves
        axes.annotate(
            "\n".join(levels_there), (x, lowest), xytext=(3, 0), textcoords="offset points",
            fontsize=6.5, va="center", color=pen.color, annotation_clip=False,
        )  # fmt: skip


def _states(axes: Axes, levels: Sequence[Summary]) -> None:
    """Stacked shares of the states at the end with their counts, a bar for each start at each λ."""
    style.panel(axes, "At the end; left: from ordered", "λ", "Share of branches")
    for x, level in enumerate(levels):
        for start, shift in zip(STARTS, (-0.2, 0.2), strict=True):
            bottom = 0.0
            for state, color in _COLORS.items():
                item = level["starts"][start]["states"][state]
                if not item or not item["count"]:
                    continue
                height = item["count"] / item["of"]
                axes.bar(x + shift, height, 0.36, bottom, color=color, edgecolor="white", linewidth=0.5)
                axes.text(
                    x + shift, bottom + height / 2, str(item["count"]), ha="center", va="center",
                    fontsize=7, color="black" if state == "in between" else "white",
                )  # fmt: skip
                bottom += height
    axes.set_xticks(range(len(levels)), [wording.level(level["lambda"]) for level in levels])
    axes.set_ylim(0, 1.0)


register(Hold())
