"""Values at the cursor: errors at λ, states, gaps, and thresholds under the current limits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from dglib.analysis import wording
from dglib.analysis.bounds import Bounds
from dglib.analysis.fields import entries, is_finite, parameter
from dglib.analysis.loops import return_bounds, return_event
from dglib.analysis.states import state_of
from dglib.analysis.thresholds import DOWN, UP, rule_of, threshold
from dglib.experiments import get, joints, names
from dglib.explorer.runs import Seed, Trace, value_at

_OUTCOMES = {"init_failed": "init failed", "diverged": "diverged", "unfinished": "not finished"}


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


Thresholds = Mapping[tuple[str, int], Mapping[str, Threshold]]
"""By experiment and seed: thresholds by "lambda-up" and "lambda-down", of the sweeps that the seed made."""


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
    state: str | None
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


def limits_of(seeds: Sequence[Seed]) -> Limits:
    """The limits under which the runs were made; defaults where the records contain none."""
    limits = {}
    for direction in (UP, DOWN):
        records = [s.record for s in seeds if get(s.experiment).direction is direction]
        limits[direction.limit] = parameter(records, direction.limit, direction.default_limit)
    swept = [s.record for s in seeds if get(s.experiment).direction]
    consecutive = rule_of(UP, swept[0]).consecutive if swept else 3
    return Limits(limits[UP.limit], limits[DOWN.limit], consecutive)


def thresholds(seeds: Iterable[Seed], limits: Limits) -> Thresholds:
    """The thresholds of the report's analysis, under these limits."""
    return {(seed.experiment, seed.seed): _thresholds(seed, limits) for seed in seeds}


def readout(seeds: Sequence[Seed], selection: Selection, known: Thresholds | None = None) -> Readout:
    """Values of the chosen seeds; `known`: their thresholds under these limits, if already computed."""
    chosen = selection.of(seeds)
    known = thresholds(chosen, selection.limits) if known is None else known
    rows = tuple(
        SeedReadout(
            seed,
            tuple(_reading(trace, selection) for trace in seed.traces),
            known[seed.experiment, seed.seed],
        )
        for seed in chosen
    )
    return Readout(selection, rows, _gaps([reading for row in rows for reading in row.readings]))


def _thresholds(seed: Seed, limits: Limits) -> dict[str, Threshold]:
    """λ↑ and, of a return sweep, λ↓; or λ↓ alone; of experiments without a threshold nothing."""
    direction = get(seed.experiment).direction
    if direction is None:
        return {}
    # As if the run had asked for these limits, so that every analysis applies them.
    record = {**seed.record, "parameters": {**(seed.record.get("parameters") or {}), **vars(limits)}}
    found = threshold(direction, record)
    reason = f"no {direction.noun}" if found.outcome == "no_event" else _OUTCOMES.get(found.outcome, "")
    key = "lambda-up" if direction.rising else "lambda-down"
    result = {key: Threshold(found.bounds, found.level, _text(found.bounds, reason))}
    back = entries(record, "return_trajectory")
    if direction.rising and back and found.last is not None:
        level = return_event(record).first
        bounds = return_bounds(record, found.last)
        reason = "no recovery" if all(is_finite(e) for e in back) or level is not None else "diverged"
        result["lambda-down"] = Threshold(bounds, level, _text(bounds, reason))
    return result


def _text(bounds: Bounds | None, reason: str) -> str:
    """ "0.45 to 0.50", "above 0.70", "below 0.38"; without bounds the reason."""
    if bounds is None:
        return reason or "not measured"
    plain = bounds.as_dict()
    if plain["lower"] is None or plain["upper"] is None:
        return wording.interval(plain["lower"], plain["upper"])
    return f"{wording.level(bounds.lower)} to {wording.level(bounds.upper)}"


def _reading(trace: Trace, selection: Selection) -> Reading:
    lam, limits = selection.lam, selection.limits
    error = value_at(trace, lam)
    if error is None:
        return Reading(trace, None, None, False)
    nearest = min(trace.curve.errors, key=lambda level: abs(level - lam))
    state: str | None = state_of(error, limits.recovery_error, limits.collapse_error)
    return Reading(trace, error, "trapped" if nearest in trace.constant else state, abs(nearest - lam) < 1e-9)


def _pairs() -> Iterator[tuple[str, str, bool]]:
    """Branch above, branch below; whether one seed is on both, so that gaps are taken seed by seed."""
    for name in names():
        falling = [sweep.key for sweep in get(name).sweeps if not sweep.rising]
        rising = [sweep.key for sweep in get(name).sweeps if sweep.rising]
        yield from ((above, below, True) for above in falling for below in rising)
        for joint in joints():
            if joint.experiments[-1] == name:
                others = [s.key for n in joint.experiments[:-1] for s in get(n).sweeps if s.rising]
                yield from ((above, below, False) for above in falling for below in others)


def _gaps(readings: Sequence[Reading]) -> tuple[Gap, ...]:
    by_key: dict[str, dict[int, float]] = {}
    for reading in readings:
        if reading.error is not None:
            by_key.setdefault(reading.trace.branch.key, {})[reading.trace.seed] = reading.error
    gaps = []
    for above, below, paired in _pairs():
        high, low = by_key.get(above, {}), by_key.get(below, {})
        if paired:
            both = high.keys() & low.keys()
            high, low = ({seed: side[seed] for seed in both} for side in (high, low))
        if high and low:
            ends = fmean(low.values()), fmean(high.values())
            gaps.append(Gap(above, below, ends[1] - ends[0], ends, (len(high), len(low)), paired))
    return tuple(gaps)
