"""Tδ1: the two groups of seeds whose early step logs are compared, and what test errors say when."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from dglib.analysis.fields import Record, Records, entries, is_finite, number, rounded, seed_of
from dglib.analysis.signs_auc import auc, auc_interval
from dglib.experiments.trapping.classes import COMPARED, PARTIAL, TRAPPED, by_epoch, category, class_of


@dataclass(frozen=True)
class Candidate:
    """A quantity averaged over the epochs `first` to `last` (from 0, both included)."""

    quantity: str
    first: int
    last: int

    @property
    def known_after(self) -> int:
        """Completed epochs after which it is known; error trajectories count these."""
        return self.last + 1


@dataclass(frozen=True)
class Separation:
    """How well a number tells trapped from partial seeds: its AUC, above 1/2 if trapped ones lie higher."""

    auc: float
    lower: float
    upper: float

    @property
    def strength(self) -> float:
        """Distance from a coin's 1/2, whichever way the difference points: 0 to 1/2."""
        return abs(self.auc - 0.5)


@dataclass(frozen=True)
class Groups:
    """The seeds that ended trapped or partial and have step logs; `without_logs`: those that have none."""

    trapped: tuple[Record, ...]
    partial: tuple[Record, ...]
    without_logs: tuple[int, ...]

    @classmethod
    def of(cls, records: Records) -> "Groups":
        """By final error, under each record's own limits; diverged and unfinished seeds are in no group."""
        found: dict[str, list[Record]] = {TRAPPED: [], PARTIAL: []}
        without = []
        for record in records:
            name = category(record)
            if name in found:
                if any(by_epoch(record, quantity) for quantity in COMPARED):
                    found[name].append(record)
                else:
                    without.append(seed_of(record))
        return cls(tuple(found[TRAPPED]), tuple(found[PARTIAL]), tuple(without))

    @property
    def members(self) -> tuple[Record, ...]:
        """Trapped seeds, then partial ones: the order of all values."""
        return self.trapped + self.partial

    @property
    def comparable(self) -> bool:
        """Whether each group holds a seed."""
        return bool(self.trapped and self.partial)

    @property
    def labels(self) -> NDArray[np.bool_]:
        """(seeds,), true for trapped ones."""
        return np.arange(len(self.members)) < len(self.trapped)

    @cached_property
    def curves(self) -> dict[str, list[dict[int, float]]]:
        """Quantity -> each member's means by epoch."""
        return {name: [by_epoch(member, name) for member in self.members] for name in COMPARED}

    def values(self, candidate: Candidate) -> list[float] | None:
        """The candidate by member; None unless every member was logged in the candidate's last epoch."""
        window = range(candidate.first, candidate.last + 1)
        found = []
        for curve in self.curves[candidate.quantity]:
            if candidate.last not in curve:
                return None
            found.append(fmean(curve[epoch] for epoch in window if epoch in curve))
        return found

    def errors(self, completed: int) -> list[float] | None:
        """Each member's latest test error after so many epochs; None unless all were evaluated by then."""
        found = [error_after(member, completed) for member in self.members]
        known = [error for error in found if error is not None]
        return known if len(known) == len(found) else None

    def separation(self, values: Sequence[float]) -> Separation:
        """Of values by member."""
        size = len(self.trapped)
        area = auc(values[:size], values[size:])
        interval = auc_interval(area, size, len(values) - size)
        return Separation(rounded(area), rounded(interval.lower), rounded(interval.upper))


def error_after(record: Record, completed: int) -> float | None:
    """The test error of the latest finite evaluation by the end of that epoch (from 1); None before any."""
    error = None
    for entry in entries(record, "error_trajectory"):
        epoch = number(entry, "epoch")
        if epoch is not None and epoch <= completed and is_finite(entry):
            error = number(entry, "error")
    return error


def settled(record: Record) -> int | None:
    """Completed epochs from which the test error's class is, at every evaluation, what it is at the end.

    None without evaluations. It is known only to the evaluations' spacing.
    """
    since = None
    final = category(record)
    for entry in entries(record, "error_trajectory"):
        epoch, error = number(entry, "epoch"), number(entry, "error")
        if epoch is None or error is None:
            continue
        if class_of(error, record) != final:
            since = None
        elif since is None:
            since = int(epoch)
    return since
