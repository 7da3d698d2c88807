"""One seed's pass over λ, sweep by sweep: what the loop is drawn of, on paper and under a cursor."""

from collections.abc import Sequence
from dataclasses import dataclass

from dglib.analysis.bounds import Bounds
from dglib.analysis.curves import Curve
from dglib.analysis.fields import Entry, Record, entries
from dglib.analysis.loops import return_bounds, return_event
from dglib.analysis.thresholds import DOWN, UP, threshold

RAISED, BACK, LOWERED, TRAPPED = "T1, λ raised", "T1, swept back", "T2, λ lowered", "T2, trapped"


@dataclass(frozen=True)
class Pass:
    """One sweep of one seed: its branch, its curve and the bounds of its threshold."""

    branch: str
    seed: int
    curve: Curve
    bounds: Bounds | None


def t1_passes(record: Record) -> list[Pass]:
    """The way up and, where it was made, the way back from the collapse; none without a sweep to read."""
    up = threshold(UP, record)
    sweep = entries(record, "trajectory", "sweep")
    if not sweep or up.bounds is None:
        return []
    rising = Curve.of([*_last_init(record), *sweep], up.level is not None)
    found = [Pass(RAISED, up.seed, rising, up.bounds)]
    way_back = entries(record, "return_trajectory")
    if way_back and up.fired is not None:
        # From where it collapsed, so that a seed's loop is one line.
        top, falling = dict(list(rising.errors.items())[-1:]), Curve.of(way_back).errors
        back = Curve(top | falling, fired=return_event(record).first is not None)
        found.append(Pass(BACK, up.seed, back, return_bounds(record, up.fired)))
    return found


def t2_passes(record: Record) -> list[Pass]:
    """The way down; a seed that began it trapped is on a branch of its own."""
    down = threshold(DOWN, record)
    sweep = entries(record, "trajectory", "sweep")
    if not sweep or down.bounds is None:
        return []
    branch = TRAPPED if down.start == "trapped" else LOWERED
    curve = Curve.of([*_last_init(record), *sweep], down.level is not None)
    return [Pass(branch, down.seed, curve, down.bounds)]


def _last_init(record: Record) -> Sequence[Entry]:
    return entries(record, "trajectory", "init")[-1:]
