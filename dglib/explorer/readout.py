"""Values at the cursor: errors at λ, states, gaps, thresholds under the current limits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from dglib.analysis import wording
from dglib.analysis.fields import Record, entries, is_finite, parameter, state_of
from dglib.analysis.intervals import Bounds
from dglib.analysis.thresholds import DOWN, UP, return_bounds, return_event, rule_of, threshold
from dglib.experiments import get, joints, names
from dglib.explorer.runs import Seed, Trace, value_at


@dataclass(frozen=True)
class Limits:
    """What counts as an event: errors from 0 to 1, and evaluations in a row."""

    collapse_error: float = UP.default_limit
    recovery_error: float = DOWN.default_limit
    consecutive: int = 3


@dataclass(frozen=True)
class Selection:
    """Experiments, seeds (of any of them), λ of the cursor, and limits."""

    experiments: tuple[str, ...]
    seeds: tuple[int, ...]
    lam: float
    limits: Limits = field(default_factory=Limits)

    def of(self, seeds: Iterable[Seed]) -> list[Seed]:
        return [s for s in seeds if s.experiment in self.experiments and s.seed in self.seeds]


@dataclass(frozen=True)
class Threshold:
    """A seed's threshold; `level`: λ of the event, None without one; `text`: its bounds, or why none."""

    bounds: Bounds | None
    level: float | None
    text: str


@dataclass(frozen=True)
class Analysis:
    """What depends on the limits, but not on λ.

    Attributes:
        thresholds: by experiment and seed, then by the field of the record that holds the sweep.
        answers: those of the chosen experiments, and of findings on several of them.
    """

    thresholds: Mapping[tuple[str, int], Mapping[str, Threshold]]
    answers: tuple[str, ...]


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
class SeedReadout:
    seed: Seed
    readings: tuple[Reading, ...]
    thresholds: Mapping[str, Threshold]


@dataclass(frozen=True)
class Gap:
    """Error above less error below at the same λ: the mean over `n` seeds if paired, else of the means."""

    above: str
    below: str
    value: float
    ends: tuple[float, float]
    n: tuple[int, int]
    paired: bool


@dataclass(frozen=True)
class Readout:
    """A selection's values; `gaps`: of pairs of branches that both reached λ, the first is drawn."""

    selection: Selection
    seeds: tuple[SeedReadout, ...]
    gaps: tuple[Gap, ...]
    answers: tuple[str, ...]


def limits_of(seeds: Sequence[Seed]) -> Limits:
    """The limits under which the runs were made; defaults where the records contain none."""
    limits = {}
    for direction in (UP, DOWN):
        records = [s.record for s in seeds if get(s.experiment).direction is direction]
        limits[direction.limit] = parameter(records, direction.limit, direction.default_limit)
    swept = [s.record for s in seeds if get(s.experiment).direction]
    consecutive = rule_of(UP, swept[0]).consecutive if swept else 3
    return Limits(limits[UP.limit], limits[DOWN.limit], consecutive)


def analyse(seeds: Sequence[Seed], limits: Limits) -> Analysis:
    """Thresholds and answers of the report's analysis, as if the runs had asked for these limits."""
    thresholds, records = {}, dict[str, list[Record]]()
    for seed in seeds:
        record = seed.record
        if get(seed.experiment).direction:
            record = {**record, "parameters": {**(record.get("parameters") or {}), **vars(limits)}}
        records.setdefault(seed.experiment, []).append(record)
        thresholds[seed.experiment, seed.seed] = _thresholds(seed.experiment, record)
    answers = [get(name).answer(mine) for name, mine in records.items()]
    for joint in joints():
        if records.keys() >= set(joint.experiments):
            answers.append(joint.answer(*(records[name] for name in joint.experiments)))
    return Analysis(thresholds, tuple(answers))


def readout(seeds: Sequence[Seed], selection: Selection, analysis: Analysis | None = None) -> Readout:
    """Values of the chosen seeds; `analysis`: of these seeds under these limits, if already made."""
    chosen = selection.of(seeds)
    analysis = analysis or analyse(chosen, selection.limits)
    rows = tuple(
        SeedReadout(
            seed,
            tuple(_reading(trace, selection) for trace in seed.traces),
            analysis.thresholds[seed.experiment, seed.seed],
        )
        for seed in chosen
    )
    return Readout(selection, rows, gaps(chosen, selection.lam), analysis.answers)


def gaps(seeds: Iterable[Seed], lam: float) -> tuple[Gap, ...]:
    """Gaps between branches at λ; where the same seeds are on both, seed by seed."""
    errors: dict[str, dict[int, float]] = {}
    for trace in (trace for seed in seeds for trace in seed.traces):
        if (error := value_at(trace, lam)) is not None:
            errors.setdefault(trace.branch.key, {})[trace.seed] = error
    found = []
    for above, below, paired in _pairs():
        high, low = errors.get(above, {}), errors.get(below, {})
        if paired:
            both = high.keys() & low.keys()
            high, low = ({seed: side[seed] for seed in both} for side in (high, low))
        if high and low:
            ends = fmean(low.values()), fmean(high.values())
            found.append(Gap(above, below, ends[1] - ends[0], ends, (len(high), len(low)), paired))
    return tuple(found)


def _pairs() -> Iterator[tuple[str, str, bool]]:
    """Branch above, branch below; whether one seed is on both."""
    for name in names():
        falling = [sweep.key for sweep in get(name).sweeps if not sweep.rising]
        rising = [sweep.key for sweep in get(name).sweeps if sweep.rising]
        yield from ((above, below, True) for above in falling for below in rising)
        for joint in joints():
            if joint.experiments[-1] == name:
                others = [s.key for n in joint.experiments[:-1] for s in get(n).sweeps if s.rising]
                yield from ((above, below, False) for above in falling for below in others)


def _thresholds(experiment: str, record: Record) -> dict[str, Threshold]:
    """Of the sweeps that the seed made; nothing of experiments whose sweeps end at no event."""
    direction = get(experiment).direction
    if direction is None:
        return {}
    found = threshold(direction, record)
    reason = f"no {direction.noun}" if found.outcome == "no_event" else wording.outcome(found.outcome)
    result = {"trajectory": _threshold(found.bounds, found.level, reason)}
    back = entries(record, "return_trajectory")
    if direction.rising and back and found.last is not None:
        level = return_event(record).first
        reason = "no recovery" if all(is_finite(e) for e in back) or level is not None else "diverged"
        result["return_trajectory"] = _threshold(return_bounds(record, found.last), level, reason)
    return result


def _threshold(bounds: Bounds | None, level: float | None, reason: str) -> Threshold:
    return Threshold(bounds, level, wording.cell(**bounds.as_dict()) if bounds else reason)


def _reading(trace: Trace, selection: Selection) -> Reading:
    lam, limits = selection.lam, selection.limits
    error = value_at(trace, lam)
    if error is None:
        return Reading(trace, None, "", False)
    nearest = min(trace.curve.errors, key=lambda level: abs(level - lam))
    state = state_of(error, limits.recovery_error, limits.collapse_error)
    return Reading(trace, error, "trapped" if nearest in trace.constant else state, abs(nearest - lam) < 1e-9)
