"""What stands under the cursor: errors at λ, states, gaps, and thresholds under the limits in force."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from dglib.analysis import wording
from dglib.analysis.bounds import Bounds
from dglib.analysis.fields import Record, entries, is_finite, parameter
from dglib.analysis.loops import return_bounds, return_event
from dglib.analysis.states import state_of
from dglib.analysis.thresholds import DOWN, UP, rule_of, threshold
from dglib.experiments import get, joints, names
from dglib.explorer.traces import Seed, Trace, value_at

_OUTCOMES = {"init_failed": "init failed", "diverged": "diverged", "unfinished": "not finished"}


@dataclass(frozen=True)
class Limits:
    """What counts as an event: errors from 0 to 1, and evaluations in a row."""

    collapse_error: float = UP.default_limit
    recovery_error: float = DOWN.default_limit
    consecutive: int = 3

    def under(self, record: Record) -> Record:
        """The record as if it asked for these limits, so that every analysis reads it under them."""
        return {**record, "parameters": {**(record.get("parameters") or {}), **vars(self)}}


@dataclass(frozen=True)
class Selection:
    """What is looked at: experiments, seeds (of any of them), λ of the cursor, and limits."""

    experiments: tuple[str, ...]
    seeds: tuple[int, ...]
    lam: float
    limits: Limits = field(default_factory=Limits)

    def of(self, seeds: Iterable[Seed]) -> list[Seed]:
        """Those chosen."""
        return [s for s in seeds if s.experiment in self.experiments and s.seed in self.seeds]


@dataclass(frozen=True)
class Found:
    """Where a seed's threshold lies; `level`: λ of the event, None where there was none; `told`: in words."""

    bounds: Bounds | None
    level: float | None
    told: str


Thresholds = Mapping[tuple[str, int], Mapping[str, Found]]


@dataclass(frozen=True)
class Reading:
    """A seed on one branch at the cursor.

    Attributes:
        error: None where λ did not get there.
        state: "ordered", "between" or "collapsed" by the limits in force, or "trapped".
        held: whether λ was held there; else the error is read off the line between two levels.
    """

    trace: Trace
    error: float | None
    state: str | None
    held: bool


@dataclass(frozen=True)
class SeedReadout:
    """One seed; `thresholds` by "lambda-up" and "lambda-down", of those sweeps that it made."""

    seed: Seed
    readings: tuple[Reading, ...]
    thresholds: Mapping[str, Found]


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
    """Everything that is said about a selection.

    Attributes:
        gaps: of the pairs of branches that both got to λ; the first is the one that is drawn.
    """

    selection: Selection
    seeds: tuple[SeedReadout, ...]
    gaps: tuple[Gap, ...]


def limits_of(seeds: Sequence[Seed]) -> Limits:
    """Those under which the first seed of T1 and the first of T2 were run; published records state none."""
    limits = {}
    for direction in (UP, DOWN):
        mine = [s.record for s in seeds if get(s.experiment).direction is direction]
        limits[direction.limit] = parameter(mine, direction.limit, direction.default_limit)
    swept = [s.record for s in seeds if get(s.experiment).direction]
    count = rule_of(UP, swept[0]).consecutive if swept else 3
    return Limits(limits[UP.limit], limits[DOWN.limit], count)


def thresholds(seeds: Iterable[Seed], limits: Limits) -> Thresholds:
    """Every seed's thresholds under these limits, by experiment and seed."""
    return {(seed.experiment, seed.seed): _thresholds(seed, limits) for seed in seeds}


def readout(seeds: Sequence[Seed], selection: Selection, found: Thresholds | None = None) -> Readout:
    """Read the chosen seeds at the cursor; the thresholds come from the report's own analysis.

    Args:
        found: `thresholds` of the seeds under the selection's limits, where they are known already.
    """
    chosen = selection.of(seeds)
    found = thresholds(chosen, selection.limits) if found is None else found
    rows = tuple(
        SeedReadout(
            seed,
            tuple(_reading(trace, selection) for trace in seed.traces),
            found[seed.experiment, seed.seed],
        )
        for seed in chosen
    )
    readings = [reading for row in rows for reading in row.readings]
    return Readout(selection, rows, _gaps(readings))


def _thresholds(seed: Seed, limits: Limits) -> dict[str, Found]:
    """λ↑ of T1's sweep and λ↓ of its return, or λ↓ of T2; of other experiments none."""
    direction = get(seed.experiment).direction
    if direction is None:
        return {}
    record = limits.under(seed.record)
    found = threshold(direction, record)
    told = f"no {direction.noun}" if found.outcome == "no_event" else _OUTCOMES.get(found.outcome, "")
    key = "lambda-up" if direction.rising else "lambda-down"
    result = {key: Found(found.bounds, found.level, _told(found.bounds, told))}
    way_back = entries(record, "return_trajectory")
    if direction.rising and way_back and found.last is not None:
        level = return_event(record).first
        bounds = return_bounds(record, found.last)
        told = "diverged" if not all(is_finite(e) for e in way_back) and level is None else "no recovery"
        result["lambda-down"] = Found(bounds, level, _told(bounds, told))
    return result


def _told(bounds: Bounds | None, otherwise: str) -> str:
    """ "0.45 to 0.50", "above 0.70", "below 0.38"; without bounds, why there are none."""
    if bounds is None:
        return otherwise or "not measured"
    plain = bounds.as_dict()
    if plain["lower"] is None or plain["upper"] is None:
        return wording.interval(plain["lower"], plain["upper"])
    return f"{wording.level(bounds.lower)} to {wording.level(bounds.upper)}"


def _reading(trace: Trace, selection: Selection) -> Reading:
    error, limits = value_at(trace, selection.lam), selection.limits
    if error is None:
        return Reading(trace, None, None, False)
    held = any(abs(level - selection.lam) < 1e-9 for level in trace.curve.errors)
    if _is_trapped(trace, selection.lam):
        return Reading(trace, error, "trapped", held)
    return Reading(trace, error, state_of(error, limits.recovery_error, limits.collapse_error), held)


def _is_trapped(trace: Trace, lam: float) -> bool:
    """Whether the network was trapped at the level nearest to the cursor."""
    nearest = min(trace.curve.errors, key=lambda level: abs(level - lam), default=None)
    return nearest in trace.constant


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
    for each in readings:
        if each.error is not None:
            by_key.setdefault(each.trace.branch.key, {})[each.trace.seed] = each.error
    found = []
    for above, below, paired in _pairs():
        high, low = by_key.get(above, {}), by_key.get(below, {})
        if paired:
            both = high.keys() & low.keys()
            high, low = ({seed: side[seed] for seed in both} for side in (high, low))
        if high and low:
            ends = fmean(low.values()), fmean(high.values())
            found.append(Gap(above, below, ends[1] - ends[0], ends, (len(high), len(low)), paired))
    return tuple(found)
