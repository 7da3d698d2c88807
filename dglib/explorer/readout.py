"""Values at the cursor as HTML: errors at λ, gaps, and the summaries under the current limits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from statistics import fmean

from dglib.analysis import wording
from dglib.analysis.answer import Answer
from dglib.analysis.fields import Record, state_of
from dglib.analysis.intervals import Bounds
from dglib.analysis.style import GREY, PENS
from dglib.analysis.summary import Summary, known_cell
from dglib.analysis.thresholds import DOWN, UP, limits, rule_of
from dglib.experiments import Sweep, get, joints, names
from dglib.explorer.runs import Seed, Trace, branches, nearest
from dglib.protocol.records import under

STYLE = """
.dglib-numbers table{border-collapse:collapse;margin:0 0 10px 0;font-size:13px}
.dglib-numbers caption{text-align:left;font-weight:bold;padding:2px 0;white-space:nowrap}
.dglib-numbers th,.dglib-numbers td{text-align:right;padding:1px 10px;white-space:nowrap}
.dglib-numbers th,.dglib-numbers td{border-bottom:1px solid #ddd}
.dglib-numbers th{font-weight:normal;color:#555;vertical-align:bottom;white-space:normal}
.dglib-numbers p{margin:3px 0;font-size:14px;line-height:1.4}
.dglib-numbers .tables{display:flex;flex-wrap:wrap;gap:0 32px;align-items:flex-start}
.dglib-numbers .tables{margin-top:6px;overflow-x:auto}
.dglib-numbers i{display:inline-block;width:9px;height:9px;border-radius:5px;margin-right:5px}
.dglib-numbers .aside{color:#555}
"""


@dataclass(frozen=True)
class Limits:
    """What counts as an event: errors from 0 to 1, and evaluations in a row."""

    collapse_error: float = UP.default_limit
    recovery_error: float = DOWN.default_limit
    consecutive: int = 3

    @classmethod
    def of(cls, seeds: Sequence[Seed]) -> Limits:
        """Those under which the runs were made; defaults where the records contain none."""
        swept = [seed.record for seed in seeds if get(seed.experiment).direction]
        recovery, collapse = limits(swept)
        return cls(collapse, recovery, rule_of(UP, swept[0]).consecutive if swept else 3)


class Analysis:
    """The chosen seeds under limits, as if their runs had been made under these: what does not depend on λ.

    Attributes:
        summaries: by experiment, as the report has them.
        thresholds: by experiment, seed and the field of the record that holds the sweep; None: not measured.
        answers: those of the experiments, and of joint findings.
        verdicts: by experiment and λ.
    """

    def __init__(self, seeds: Sequence[Seed], limits: Limits) -> None:
        self.seeds, self.limits = seeds, limits
        records: dict[str, list[Record]] = {}
        for seed in seeds:
            record = seed.record
            if get(seed.experiment).direction:
                record = under(record, vars(limits))
            records.setdefault(seed.experiment, []).append(record)
        self.summaries = {name: get(name).summarise(members) for name, members in records.items()}
        self.answers = [Answer.of(get(name), summary).line for name, summary in self.summaries.items()]
        for joint in joints():
            if records.keys() >= set(joint.experiments):
                self.answers.append(joint.answer(*(records[name] for name in joint.experiments)).line)
        self.verdicts = {name: get(name).verdicts(summary) for name, summary in self.summaries.items()}
        self.thresholds: dict[tuple[str, int, str], Bounds | None] = {}
        for name, summary in self.summaries.items():
            for item in summary["seeds"] if get(name).direction else ():
                self.thresholds[name, item["seed"], "trajectory"] = known_cell(item)
            for back in (summary.get("loop") or {"seeds": ()})["seeds"]:
                cell = known_cell({"lower": back["return_lower"], "upper": back["return_upper"]})
                self.thresholds[name, back["seed"], "return_trajectory"] = cell


@dataclass(frozen=True)
class Reading:
    """A seed on one branch at the cursor.

    Attributes:
        error: None where λ was not reached.
        state: "ordered", "between" or "collapsed" by the current limits, or "trapped".
        measured: whether the seed was trained at this λ; otherwise the error is interpolated.
    """

    trace: Trace
    error: float | None
    state: str
    measured: bool


@dataclass(frozen=True)
class Gap:
    """Error above less error below at the same λ: the mean over `n` seeds if paired, else of the means."""

    above: str
    below: str
    value: float
    errors: tuple[float, float]  # below, above
    n: tuple[int, int]  # above, below
    paired: bool


class Readout:
    """Values at λ.

    Attributes:
        gaps: of pairs of branches that both reached λ; the first is drawn.
        verdicts: where λ was held: the experiment, the λ, and what was decided there.
    """

    def __init__(self, analysis: Analysis, lam: float) -> None:
        self.analysis, self.lam = analysis, lam
        traces = [trace for seed in analysis.seeds for trace in seed.traces]
        self.readings = [_reading(trace, lam, analysis.limits) for trace in traces]
        self._by_branch = {(r.trace.branch.key, r.trace.seed): r for r in self.readings}
        self.gaps = gaps(analysis.seeds, lam)
        self.verdicts = [
            (name, level, known[level])
            for name, known in analysis.verdicts.items()
            if (level := nearest(known, lam)) is not None
        ]

    def html(self, note: str = "") -> str:
        """Sentences on λ, a table per experiment, answers under the limits."""
        tables = "".join(self._table(name, summary) for name, summary in self.analysis.summaries.items())
        at_lam = f'<b>At λ = <span data-value="lambda">{self.lam:.2f}</span></b>: {self._gap_line()}'
        for name, level, text in self.verdicts:
            verdict = f'<b data-value="verdict">{escape(text)}</b>'
            at_lam += f" {get(name).symbol}, held at λ = {wording.level(level)}: {verdict}."
        interpolated = any(r.error is not None and not r.measured for r in self.readings)
        lines = (at_lam, interpolated * "≈: between the levels of the sweep, interpolated", escape(note))
        above = "".join(f"<p>{line}</p>" for line in lines if line)
        answers = "".join(f'<p class="aside">{escape(answer)}</p>' for answer in self.analysis.answers)
        below = f"<p><b>Under these limits</b></p>{answers}" if answers else ""
        return f'<div class="dglib-numbers">{above}<div class="tables">{tables}</div>{below}</div>'

    def _gap_line(self) -> str:
        if self.gaps:
            return "; ".join(_gap(gap, index == 0) for index, gap in enumerate(self.gaps)) + "."
        if not self.analysis.seeds:
            return "no seed is chosen."
        if all(reading.error is None for reading in self.readings):
            return "no chosen seed was trained at this λ."
        return "only one branch reached this λ, so there is no gap."

    def _table(self, name: str, summary: Summary) -> str:
        """The report's table of seeds, with the error of each sweep at λ behind the seed."""
        about = get(name)
        swept: dict[str, list[Sweep]] = {}  # a seed is on one of the sweeps with the same trajectory
        for sweep in about.branches:
            swept.setdefault(sweep.trajectory, []).append(sweep)
        columns = about.seed_columns(summary)
        errors = [f"error, {first.title.partition(', ')[2] or first.title}" for first, *_ in swept.values()]
        heads = ("Seed", *errors, *list(columns)[1:])
        head = "".join(f"<th>{escape(text)}</th>" for text in heads)
        rows = ""
        for row in summary["seeds"]:
            number, *texts = (escape(show(row)) for show in columns.values())
            at_lam = (self._error(row["seed"], group) for group in swept.values())
            where = f'data-experiment="{name}" data-seed="{row["seed"]}"'
            cells = zip(heads, (number, *at_lam, *texts), strict=True)
            shown = (f'<td data-column="{escape(column)}" {where}>{text}</td>' for column, text in cells)
            rows += f"<tr>{''.join(shown)}</tr>"
        caption = f"<caption>{about.symbol}: {about.title}</caption>"
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"

    def _error(self, seed: int, sweeps: Sequence[Sweep]) -> str:
        """A seed's error on one of the sweeps."""
        readings = (self._by_branch.get((sweep.key, seed)) for sweep in sweeps)
        reading = next(filter(None, readings), None)
        if reading is None:
            return wording.NONE
        if reading.error is None:  # the sweep had ended, at its event or not, or had not begun
            return "not here"
        color = PENS[reading.state].color if reading.state in PENS else GREY
        return (
            f'<i style="background:{color}"></i>{"" if reading.measured else "≈ "}'
            f'<span data-value="error" data-branch="{reading.trace.branch.key}"'
            f' data-seed="{seed}" data-state="{reading.state}">'
            f"{wording.error(reading.error)}</span> {reading.state}"
        )


def _reading(trace: Trace, lam: float, limits: Limits) -> Reading:
    error = trace.error_at(lam)
    if error is None:
        return Reading(trace, None, "", False)
    state = state_of(error, limits.recovery_error, limits.collapse_error)
    return Reading(trace, error, "trapped" if trace.is_trapped(lam) else state, trace.has(lam))


def gaps(seeds: Sequence[Seed], lam: float) -> list[Gap]:
    """Gaps between branches at λ; where the same seeds are on both, seed by seed."""
    errors: dict[str, dict[int, float]] = {}
    for trace in (trace for seed in seeds for trace in seed.traces):
        if (error := trace.error_at(lam)) is not None:
            errors.setdefault(trace.branch.key, {})[trace.seed] = error
    result = []
    for above, below, paired in _pairs():
        high, low = errors.get(above, {}), errors.get(below, {})
        if paired:
            both = high.keys() & low.keys()
            high, low = ({seed: side[seed] for seed in both} for side in (high, low))
        if high and low:
            means = fmean(low.values()), fmean(high.values())
            result.append(Gap(above, below, means[1] - means[0], means, (len(high), len(low)), paired))
    return result


def _pairs() -> Iterator[tuple[str, str, bool]]:
    """Branch above, branch below; whether one seed is on both."""
    for name in names():
        falling = [branch.key for branch in get(name).branches if not branch.rising]
        rising = [branch.key for branch in get(name).branches if branch.rising]
        yield from ((above, below, True) for above in falling for below in rising)
        for joint in joints():
            if joint.experiments[-1] == name:
                others = [s.key for n in joint.experiments[:-1] for s in get(n).sweeps if s.rising]
                yield from ((above, below, False) for above in falling for below in others)


def _gap(gap: Gap, is_first: bool) -> str:
    low, high = (wording.decimal(error, 2) for error in gap.errors)
    above, below = (escape(branches()[key].title) for key in (gap.above, gap.below))
    name = "gap" if is_first else f"gap-{gap.above}"
    value = f'<span data-value="{name}">{wording.decimal(gap.value, 3)}</span>'
    over = f"difference of the means of {gap.n[0]} and {wording.seeds(gap.n[1])}"
    if gap.paired:
        over = "one seed, on both" if gap.n[0] == 1 else f"mean of {gap.n[0]} seeds, each on both"
    first = f"error {low} ({below}) and " if is_first else ""
    return f"{first}{high} ({above}), <b>gap {value}</b> ({over})"
