"""Values at the cursor as HTML: errors at λ, gaps, and the summaries under the current limits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from itertools import chain
from statistics import fmean

from dglib.analysis import wording
from dglib.analysis.fields import Record, state_of
from dglib.analysis.intervals import Bounds
from dglib.analysis.style import GREY, LOOKS
from dglib.analysis.summary import Summary
from dglib.analysis.thresholds import DOWN, UP, limits, rule_of
from dglib.experiments import Sweep, get, joints, names
from dglib.explorer.runs import Seed, Trace, branches, nearest

STYLE = """
.dglib-numbers table{border-collapse:collapse;margin:0 0 10px 0;font-size:13px}
.dglib-numbers caption{text-align:left;font-weight:bold;padding:2px 0;white-space:nowrap}
.dglib-numbers th,.dglib-numbers td{text-align:right;padding:1px 10px;white-space:nowrap}
.dglib-numbers th,.dglib-numbers td{border-bottom:1px solid #ddd}
.dglib-numbers th{font-weight:normal;color:#555;vertical-align:bottom}
.dglib-numbers p{margin:3px 0;font-size:14px;line-height:1.4}
.dglib-numbers .tables{display:flex;flex-wrap:wrap;gap:0 32px;margin-top:6px;align-items:flex-start}
.dglib-numbers i{display:inline-block;width:9px;height:9px;border-radius:5px;margin-right:5px}
.dglib-numbers .aside{color:#555}
"""


@dataclass(frozen=True)
class Limits:
    """What counts as an event: errors from 0 to 1, and evaluations in a row."""

    collapse_error: float = UP.default_limit
    recovery_error: float = DOWN.default_limit
    consecutive: int = 3


@dataclass(frozen=True)
class Threshold:
    """Where a sweep's event lies; `level`: its λ if any; `text`: the bounds, or why there are none."""

    bounds: Bounds | None
    level: float | None
    text: str


@dataclass(frozen=True)
class Analysis:
    """The chosen seeds under limits: what does not depend on λ.

    Attributes:
        summaries: by experiment, as the report has them.
        thresholds: by experiment and seed, then by the field of the record that holds the sweep.
        answers: those of the experiments, and of findings on several of them.
        verdicts: by experiment and λ.
    """

    seeds: Sequence[Seed]
    limits: Limits
    summaries: Mapping[str, Summary]
    thresholds: Mapping[tuple[str, int], Mapping[str, Threshold]]
    answers: tuple[str, ...]
    verdicts: Mapping[str, Mapping[float, str]]


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


@dataclass(frozen=True)
class Readout:
    """Values at λ.

    Attributes:
        gaps: of pairs of branches that both reached λ; the first is drawn.
        verdicts: where λ was held: the experiment, the λ, and what was decided there.
    """

    analysis: Analysis
    lam: float
    readings: Sequence[Reading]
    gaps: Sequence[Gap]
    verdicts: Sequence[tuple[str, float, str]]

    @cached_property
    def of_trace(self) -> dict[int, Reading]:
        return {id(reading.trace): reading for reading in self.readings}

    def html(self, note: str = "") -> str:
        """Sentences on λ, a table per experiment, answers under the limits."""
        tables = "".join(_table(name, self) for name in self.analysis.summaries)
        at_lam = f'<b>At λ = <span data-value="lambda">{self.lam:.2f}</span></b>: {_gap_line(self)}'
        for name, level, text in self.verdicts:
            verdict = f'<b data-value="verdict">{escape(text)}</b>'
            at_lam += f" {get(name).symbol}, held at λ = {wording.level(level)}: {verdict}."
        interpolated = any(r.error is not None and not r.measured for r in self.readings)
        lines = (at_lam, interpolated * "≈: between the levels of the sweep, interpolated", escape(note))
        above = "".join(f"<p>{line}</p>" for line in lines if line)
        answers = "".join(f'<p class="aside">{escape(answer)}</p>' for answer in self.analysis.answers)
        below = f"<p><b>Under these limits</b></p>{answers}" if answers else ""
        return f'<div class="dglib-numbers">{above}<div class="tables">{tables}</div>{below}</div>'


def limits_of(seeds: Sequence[Seed]) -> Limits:
    """The limits under which the runs were made; defaults where the records contain none."""
    swept = [seed.record for seed in seeds if get(seed.experiment).direction]
    recovery, collapse = limits(swept)
    return Limits(collapse, recovery, rule_of(UP, swept[0]).consecutive if swept else 3)


def analyse(seeds: Sequence[Seed], limits: Limits) -> Analysis:
    """The report's summaries, as if the runs had been made under these limits."""
    records: dict[str, list[Record]] = {}
    for seed in seeds:
        record = seed.record
        if get(seed.experiment).direction:
            record = {**record, "parameters": {**(record.get("parameters") or {}), **vars(limits)}}
        records.setdefault(seed.experiment, []).append(record)
    summaries = {name: get(name).summarise(mine) for name, mine in records.items()}
    answers = [get(name).answer_of(summary).line for name, summary in summaries.items()]
    for joint in joints():
        if records.keys() >= set(joint.experiments):
            answers.append(joint.answer(*(records[name] for name in joint.experiments)).line)
    thresholds = {
        (name, seed): found
        for name, summary in summaries.items()
        for seed, found in _thresholds(name, summary).items()
    }
    verdicts = {name: get(name).verdicts(summary) for name, summary in summaries.items()}
    return Analysis(seeds, limits, summaries, thresholds, tuple(answers), verdicts)


def _thresholds(name: str, summary: Summary) -> dict[int, dict[str, Threshold]]:
    """By seed and trajectory; {} of an experiment whose sweeps end at no event."""
    if get(name).direction is None:
        return {}
    outcome = get(name).seed_columns(summary)["Outcome"]
    found = {
        seed["seed"]: {"trajectory": _threshold(seed["lower"], seed["upper"], seed["level"], outcome(seed))}
        for seed in summary["seeds"]
    }
    for back in (summary.get("loop") or {"seeds": ()})["seeds"]:
        threshold = _threshold(
            back["return_lower"], back["return_upper"], back["lambda_down"], back["outcome"]
        )
        found[back["seed"]]["return_trajectory"] = threshold
    return found


def _threshold(lower: float | None, upper: float | None, level: float | None, without: str) -> Threshold:
    if lower is None and upper is None:
        return Threshold(None, level, without)
    return Threshold(Bounds.of({"lower": lower, "upper": upper}), level, wording.interval(lower, upper))


def readout(analysis: Analysis, lam: float) -> Readout:
    """The values of the chosen seeds at λ."""
    readings = [_reading(trace, lam, analysis.limits) for seed in analysis.seeds for trace in seed.traces]
    verdicts = [
        (name, level, known[level])
        for name, known in analysis.verdicts.items()
        if (level := nearest(known, lam)) is not None
    ]
    return Readout(analysis, lam, readings, gaps(analysis.seeds, lam), verdicts)


def _reading(trace: Trace, lam: float, limits: Limits) -> Reading:
    error = trace.error_at(lam)
    if error is None:
        return Reading(trace, None, "", False)
    state = state_of(error, limits.recovery_error, limits.collapse_error)
    return Reading(trace, error, "trapped" if trace.is_trapped(lam) else state, trace.has(lam))


def gaps(seeds: Iterable[Seed], lam: float) -> list[Gap]:
    """Gaps between branches at λ; where the same seeds are on both, seed by seed."""
    errors: dict[str, dict[int, float]] = {}
    for trace in (trace for seed in seeds for trace in seed.traces):
        if (error := trace.error_at(lam)) is not None:
            errors.setdefault(trace.branch.key, {})[trace.seed] = error
    found = []
    for above, below, paired in _pairs():
        high, low = errors.get(above, {}), errors.get(below, {})
        if paired:
            both = high.keys() & low.keys()
            high, low = ({seed: side[seed] for seed in both} for side in (high, low))
        if high and low:
            means = fmean(low.values()), fmean(high.values())
            found.append(Gap(above, below, means[1] - means[0], means, (len(high), len(low)), paired))
    return found


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


# ── as HTML ──


def _gap_line(readout: Readout) -> str:
    if readout.gaps:
        return "; ".join(_gap(gap, index == 0) for index, gap in enumerate(readout.gaps)) + "."
    if not readout.analysis.seeds:
        return "no seed is chosen."
    if all(reading.error is None for reading in readout.readings):
        return "no chosen seed was trained at this λ."
    return "only one branch reached this λ, so there is no gap."


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


def _table(name: str, readout: Readout) -> str:
    """A row per seed: the error on each branch, and its threshold; without branches, the report's columns."""
    about, seeds = get(name), [seed for seed in readout.analysis.seeds if seed.experiment == name]
    summary, thresholds = readout.analysis.summaries[name], readout.analysis.thresholds
    made = set(chain.from_iterable(thresholds.get((name, seed.seed), {}) for seed in seeds))
    groups: dict[str, list[Sweep]] = {}  # a seed is on one of the sweeps with the same trajectory
    for sweep in about.branches:
        if not about.direction or sweep.trajectory in made:
            groups.setdefault(sweep.trajectory, []).append(sweep)
    if about.branches:
        head = ["Seed"]
        for sweep, *_ in groups.values():
            head.append(f"error, {sweep.title.partition(', ')[2] or sweep.title}")
            head += [f"{(UP if sweep.rising else DOWN).symbol} lies"] if about.direction else []
        rows = [
            f"<td>{seed.seed}</td>" + "".join(_cells(seed, group, readout) for group in groups.values())
            for seed in seeds
        ]
    else:
        columns = about.seed_columns(summary)
        head = list(columns)
        rows = [
            "".join(f"<td>{escape(text(row))}</td>" for text in columns.values()) for row in summary["seeds"]
        ]
    top = "".join(f"<th>{escape(text)}</th>" for text in head)
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    caption = f"<caption>{about.symbol}: {about.title}</caption>"
    return f"<table>{caption}<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _cells(seed: Seed, sweeps: Sequence[Sweep], readout: Readout) -> str:
    """The error on one of the sweeps; with its threshold, if the experiment has any."""
    mine = (readout.of_trace.get(id(trace)) for trace in seed.traces if trace.branch in sweeps)
    reading = next(mine, None)
    found = readout.analysis.thresholds.get((seed.experiment, seed.seed), {}).get(sweeps[0].trajectory)
    cell = f"<td>{_error(reading, found)}</td>"
    if get(seed.experiment).direction:
        kind = "lambda-up" if sweeps[0].rising else "lambda-down"
        where = f'data-experiment="{seed.experiment}" data-seed="{seed.seed}"'
        cell += f'<td data-value="{kind}" {where}>{escape(found.text) if found else wording.NONE}</td>'
    return cell


def _error(reading: Reading | None, threshold: Threshold | None) -> str:
    if reading is None:
        return wording.NONE
    branch = reading.trace.branch
    if reading.error is None:  # the sweep had ended, at its event or not, or had not begun
        if threshold is None or threshold.level is None:
            return "not here"
        return f"{(UP if branch.rising else DOWN).event} at {wording.level(threshold.level)}"
    color = LOOKS[reading.state].color if reading.state in LOOKS else GREY
    return (
        f'<i style="background:{color}"></i>{"" if reading.measured else "≈ "}'
        f'<span data-value="error" data-branch="{branch.key}"'
        f' data-seed="{reading.trace.seed}" data-state="{reading.state}">'
        f"{wording.error(reading.error)}</span> {reading.state}"
    )
