"""Tδ1: do the step logs mark, early, the seeds that end trapped, and before the test error itself does?

The primary family is the protocol's: four quantities at three epochs, and the mean c_sv over the first
epochs. A sign is a test of this family that is significant after correction and separates the classes
better than the test error does by then. The scan over all epochs is exploratory: it needs new seeds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean, median
from typing import Any, NamedTuple

import numpy as np

from dglib.analysis.fields import Record, Records, entries, is_finite, number, rounded, seed_of
from dglib.analysis.grid import TRAPPED
from dglib.analysis.two_groups import (
    LEVEL,
    Family,
    auc,
    auc_interval,
    permutation_test,
    seeds_needed,
    smallest_p,
)
from dglib.experiments.trapping.summary import (
    COMPARED,
    PARTIAL,
    by_epoch,
    category,
    compare_epochs,
    last_early_epoch,
    settled,
)

Tests = tuple[list[dict[str, Any]], Family | None]


class Candidate(NamedTuple):
    """A quantity averaged over the epochs `first` to `last` (from 0, both included)."""

    quantity: str
    first: int
    last: int


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

    @cached_property
    def curves(self) -> dict[str, list[dict[int, float]]]:
        """Quantity -> each member's means by epoch."""
        return {name: [by_epoch(member, name) for member in self.members] for name in COMPARED}

    def values(self, candidate: Candidate) -> list[float] | None:
        """The candidate by member; None unless every member was logged in the candidate's last epoch."""
        window = range(candidate.first, candidate.last + 1)
        curves = self.curves[candidate.quantity]
        if any(candidate.last not in curve for curve in curves):
            return None
        return [fmean(curve[epoch] for epoch in window if epoch in curve) for curve in curves]

    def errors(self, completed: int) -> list[float] | None:
        """Each member's latest test error after so many epochs; None unless all were evaluated by then."""
        found = [error_after(member, completed) for member in self.members]
        known = [error for error in found if error is not None]
        return known if len(known) == len(found) else None

    def separation(self, values: Sequence[float]) -> dict[str, float]:
        """Of values by member: the AUC, above 1/2 if trapped seeds lie higher, and its interval."""
        size = len(self.trapped)
        area = auc(values[:size], values[size:])
        interval = auc_interval(area, size, len(values) - size)
        return {"auc": rounded(area), "lower": rounded(interval.lower), "upper": rounded(interval.upper)}


def error_after(record: Record, completed: int) -> float | None:
    """The test error of the latest finite evaluation by the end of that epoch (from 1); None before any."""
    error = None
    for entry in entries(record, "error_trajectory"):
        epoch = number(entry, "epoch")
        if epoch is not None and epoch <= completed and is_finite(entry):
            error = number(entry, "error")
    return error


def primary_family(records: Records) -> list[Candidate]:
    """The protocol's tests, 13 unless other epochs were asked for: the mean c_sv first, then by quantity."""
    epochs = compare_epochs(records)
    single = [Candidate(quantity, epoch, epoch) for quantity in COMPARED for epoch in epochs]
    return [Candidate("c_sv", 0, last_early_epoch(records)), *single]


def scan(groups: Groups) -> Tests:
    """Every quantity at every epoch, corrected for all of these. Exploratory."""
    epochs = sorted({epoch for curves in groups.curves.values() for curve in curves for epoch in curve})
    return compare_groups(groups, [Candidate(quantity, e, e) for quantity in COMPARED for e in epochs])


def compare_groups(groups: Groups, candidates: Sequence[Candidate]) -> Tests:
    """Trapped against partial seeds; a candidate without all values is left out.

    `sign`: significant after correction, and strictly further from an AUC of 1/2 than the latest test errors
    by then (`error_auc`; null where some seed had not been evaluated yet).
    """
    columns = {c: values for c in candidates if (values := groups.values(c)) is not None}
    if not groups.trapped or not groups.partial or not columns:
        return [], None
    size, tested = len(groups.trapped), list[dict[str, Any]]()
    family = permutation_test(np.array(list(columns.values())).T, np.arange(len(groups.members)) < size)
    for (candidate, values), p, corrected in zip(columns.items(), family.p, family.corrected, strict=True):
        quantity, first, last = candidate
        errors = groups.errors(last + 1)  # error trajectories count completed epochs
        error_auc = None if errors is None else groups.separation(errors)["auc"]
        separation = groups.separation(values)
        beats_error = error_auc is not None and abs(separation["auc"] - 0.5) > abs(error_auc - 0.5)
        trapped, partial = fmean(values[:size]), fmean(values[size:])
        tested.append(
            {
                "quantity": quantity,
                "first_epoch": first,
                "last_epoch": last,
                "trapped": rounded(trapped),
                "partial": rounded(partial),
                "difference": rounded(trapped - partial),
                **separation,
                "error_auc": error_auc,
                "p": rounded(p),
                "p_corrected": rounded(corrected),
                "beats_error": beats_error,
                "sign": corrected <= LEVEL and beats_error,
            }
        )
    return tested, family


def summarise_signs(records: Records) -> dict[str, Any]:
    """The early-sign analysis as plain values; `family` and `scan` are null where there is nothing to test.

    `needed`: by class, how many seeds would make a p of 0.05 reachable; null where it is within reach.
    `sign`: the earliest sign; its `lead` is by seed, in epochs from when it is known to when the error has
    settled, positive where the sign is first. `settled`: completed epochs, by seed.
    """
    groups = Groups.of(records)
    trapped, partial = len(groups.trapped), len(groups.partial)
    reachable = smallest_p(trapped, partial) if trapped and partial else None
    planned = primary_family(records)
    tested, family = compare_groups(groups, planned)
    since = {seed_of(member): settled(member) for member in groups.members}
    epochs = [epoch for epoch in since.values() if epoch is not None]
    return {
        "trapped": trapped,
        "partial": partial,
        "without_logs": list(groups.without_logs),
        "level": LEVEL,
        "smallest_p": None if reachable is None else rounded(reachable),
        "needed": None if reachable is not None and reachable <= LEVEL else _needed(trapped, partial),
        "family": family
        and {
            "planned": len(planned),
            "labellings": family.labellings,
            "enumerated": family.enumerated,
            "tests": tested,
        },
        "sign": _earliest(tested, epochs),
        "settled": _spread(epochs)
        | {
            "seeds": [
                {"seed": seed_of(member), "category": category(member), "epoch": since[seed_of(member)]}
                for member in groups.members
            ]
        },
        "scan": _scan(groups),
    }


def _needed(trapped: int, partial: int) -> dict[str, int]:
    """Class -> seeds needed in all: of the smaller class with the other, or of both if that is fewer."""
    both, larger = seeds_needed(0), max(trapped, partial)
    more = seeds_needed(larger) if larger else math.inf
    if 2 * both - trapped - partial < more - min(trapped, partial) and larger < both:
        return {"trapped": both, "partial": both}
    return {"trapped" if trapped <= partial else "partial": int(more)}


def _spread(epochs: Sequence[int]) -> dict[str, Any]:
    if not epochs:
        return {"median": None, "min": None, "max": None}
    return {"median": median(epochs), "min": min(epochs), "max": max(epochs)}


def _earliest(tested: Sequence[dict[str, Any]], epochs: Sequence[int]) -> dict[str, Any] | None:
    signs = [item for item in tested if item["sign"]]
    if not signs:
        return None
    first = min(signs, key=lambda item: (item["last_epoch"], item["p_corrected"]))
    known = first["last_epoch"] + 1
    lead = _spread([epoch - known for epoch in epochs]) if epochs else None
    return {**first, "known_after": known, "lead": lead}


def _scan(groups: Groups) -> dict[str, Any] | None:
    tested, family = scan(groups)
    if family is None:
        return None
    signs = [item for item in tested if item["sign"]]
    return {
        "exploratory": True,
        "tests": len(tested),
        "signs": len(signs),
        "earliest": min(signs, key=lambda item: item["last_epoch"], default=None),
        "best": min(tested, key=lambda item: (item["p_corrected"], -abs(item["auc"] - 0.5))),
    }
