"""The bytes written to a mirror, and how many an hour may have."""

from __future__ import annotations

from collections.abc import Callable, Iterable

HOUR_S = 3600.0
Note = tuple[float, int]  # Unix time in s, bytes


class Ledger:
    """Counts what this process wrote, and what others noted in the mirror's manifests.

    Args:
        limit: bytes in any hour.
        clock: Unix time in seconds.
    """

    def __init__(self, limit: int, clock: Callable[[], float]) -> None:
        self.limit = limit
        self._clock = clock
        self._began = clock()
        self._mine: list[Note] = []
        self._others: set[Note] = set()

    def note(self, size: int) -> None:
        """Bytes that were written just now, in vain or not."""
        self._mine.append((self._clock(), size))

    def learn(self, notes: Iterable[Note]) -> None:
        """What manifests say was written, by this process or by others."""
        self._others = {note for note in self._others | set(notes) if self._is_recent(note)} - set(self._mine)

    def recent(self) -> list[Note]:
        """What was written in the last hour, by all."""
        return sorted(note for note in [*self._mine, *self._others] if self._is_recent(note))

    def used(self) -> int:
        """Bytes written in the last hour, by all."""
        return sum(size for _, size in self.recent())

    def fits(self, size: int, share: float) -> bool:
        """Whether `size` more bytes stay within this share of the limit."""
        return self.used() + size <= share * self.limit

    def summary(self) -> str:
        """What this process wrote, in words."""
        hours = max(0.0, self._clock() - self._began) / HOUR_S
        busiest = max(
            (sum(n for t, n in self._mine if end - HOUR_S < t <= end) for end, _ in self._mine), default=0
        )
        total = in_words(sum(size for _, size in self._mine))
        return f"{total} written in {hours:.1f} h, {in_words(busiest)} in the busiest hour"

    def _is_recent(self, note: Note) -> bool:
        # A clock that was set back an hour or more must not stop the mirror for as long.
        return abs(self._clock() - note[0]) < HOUR_S


def in_words(size: int) -> str:
    """Bytes for people: 134000000 is "134 MB"."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size} bytes"
