"""Where along a sweep an event is met: its level is that at which the run of evaluations that fires begins.

Records keep the level of the last evaluation of that run, which may be a level further on.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from dglib.analysis.bounds import Bounds, censored_cell, event_cell
from dglib.analysis.fields import Entry, is_finite, level_of, levels_of, number


@dataclass(frozen=True)
class Rule:
    """`consecutive` evaluations in a row at or beyond the error `limit` make an event.

    Attributes:
        above: whether beyond means an error at or above the limit (collapse), or at or below (recovery).
    """

    limit: float
    above: bool
    consecutive: int = 3

    def holds(self, entry: Entry) -> bool:
        """Whether an evaluation is beyond the limit, in floats as they are; without a finite error never."""
        error = number(entry, "error")
        if error is None or not is_finite(entry):
            return False
        return error >= self.limit if self.above else error <= self.limit


@dataclass(frozen=True)
class Detection:
    """What a rule finds in a sweep.

    Attributes:
        visited: the sweep's levels, in the order visited.
        first: λ at which the run of evaluations that fires begins; None if none fires.
        last: λ of that run's last evaluation, which is what records keep.
        begun: λ at which a run began that the end of the sweep cut short; None if none was under way.
        full: whether the last level has as many evaluations as any; None where there is only one level.
    """

    visited: tuple[float, ...]
    first: float | None
    last: float | None
    begun: float | None
    full: bool | None


def detect(sweep: Sequence[Entry], rule: Rule) -> Detection:
    """Find the first event in a sweep's evaluations; the count runs on across levels, a miss resets it."""
    visited = tuple(levels_of(sweep))
    placed = [(level, rule.holds(entry)) for entry in sweep if (level := level_of(entry)) is not None]
    run: list[float] = []
    for level, holds in placed:
        run = [*run, level] if holds else []
        if len(run) == rule.consecutive:
            return Detection(visited, run[0], run[-1], None, _full(placed, visited))
    return Detection(visited, None, None, run[0] if run else None, _full(placed, visited))


def cell(found: Detection, start: float | None, rising: bool, finished: bool = True) -> Bounds | None:
    """The bounds of the threshold: (level before, level] of an event, else open beyond what was passed.

    Args:
        start: λ from which the first level was reached; None where it is not known.
        finished: whether the sweep ended because its levels did; an interrupted one may have been about to
            fire within its last level.

    A level is passed if no run that may yet fire began at it. So a run that the end cut short leaves its
    first level open. None where not even the first level was passed and `start` is not known.
    """
    if found.first is not None:
        return event_cell(found.first, found.visited, start, rising)
    if not found.visited:
        return None
    last = found.visited[-1]
    open_at = last if found.begun is None and not finished and not found.full else found.begun
    index = len(found.visited) if open_at is None else found.visited.index(open_at)
    passed = found.visited[index - 1] if index else start
    return None if passed is None else censored_cell(passed, rising)


def _full(placed: Sequence[tuple[float, bool]], visited: Sequence[float]) -> bool | None:
    if len(visited) < 2:
        return None
    counts = [sum(level == each for each, _ in placed) for level in visited]
    return counts[-1] >= max(counts[:-1])
