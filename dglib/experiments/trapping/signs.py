"""Tδ1: do the step logs mark, early, the seeds that end trapped, and before the test error itself does?

The primary family is the protocol's: four quantities at three epochs, and the mean c_sv over the first
epochs. A sign is a test of this family that is significant after correction and tells the classes apart
better than the test error does by then. The scan over all epochs is exploratory: it needs new seeds.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, median
from typing import Any

import numpy as np

from dglib.analysis.fields import Record, Records, rounded, seed_of
from dglib.analysis.signs_permutation import LEVEL, Family, permutation_test, seeds_needed, smallest_p
from dglib.experiments.trapping.classes import COMPARED, category, compare_epochs, last_early_epoch
from dglib.experiments.trapping.signs_groups import Candidate, Groups, Separation, settled


@dataclass(frozen=True)
class Tested:
    """One candidate: the classes' means, how far they separate, and how far the test error does by then.

    Attributes:
        error: of the latest test errors by then; None where some seed had not been evaluated yet.
    """

    candidate: Candidate
    trapped: float
    partial: float
    separation: Separation
    error: Separation | None
    p: float
    p_corrected: float

    @property
    def beats_error(self) -> bool:
        """Whether it separates the classes strictly better than the test error by then, as points go."""
        return self.error is not None and self.separation.strength > self.error.strength

    @property
    def is_sign(self) -> bool:
        """Whether it is significant after correction and beats the error."""
        return self.p_corrected <= LEVEL and self.beats_error

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "quantity": self.candidate.quantity,
            "first_epoch": self.candidate.first,
            "last_epoch": self.candidate.last,
            "trapped": rounded(self.trapped),
            "partial": rounded(self.partial),
            "difference": rounded(self.trapped - self.partial),
            **asdict(self.separation),
            "error_auc": None if self.error is None else self.error.auc,
            "p": rounded(self.p),
            "p_corrected": rounded(self.p_corrected),
            "beats_error": self.beats_error,
            "sign": self.is_sign,
        }


def primary_family(records: Records) -> list[Candidate]:
    """The protocol's tests, 13 unless other epochs were asked for: the mean c_sv first, then by quantity."""
    last = last_early_epoch(records)
    epochs = compare_epochs(records)
    single = [Candidate(quantity, epoch, epoch) for quantity in COMPARED for epoch in epochs]
    return [Candidate("c_sv", 0, last), *single]


def primary(records: Records, groups: Groups) -> tuple[list[Tested], Family | None]:
    """The primary family on seeds that ended trapped and partial; a test without all values is left out."""
    return _tested(groups, primary_family(records))


def scan(groups: Groups) -> tuple[list[Tested], Family | None]:
    """Every quantity at every epoch, corrected for all of these. Exploratory."""
    epochs = sorted({epoch for curves in groups.curves.values() for curve in curves for epoch in curve})
    return _tested(groups, [Candidate(quantity, e, e) for quantity in COMPARED for e in epochs])


def _tested(groups: Groups, candidates: Sequence[Candidate]) -> tuple[list[Tested], Family | None]:
    columns = {c: values for c in candidates if (values := groups.values(c)) is not None}
    if not groups.comparable or not columns:
        return [], None
    family = permutation_test(np.array(list(columns.values())).T, groups.labels)
    size, tested = len(groups.trapped), []
    for (candidate, values), p, corrected in zip(columns.items(), family.p, family.corrected, strict=True):
        errors = groups.errors(candidate.known_after)
        tested.append(
            Tested(
                candidate,
                fmean(values[:size]),
                fmean(values[size:]),
                groups.separation(values),
                None if errors is None else groups.separation(errors),
                p,
                corrected,
            )
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
    reachable = smallest_p(trapped, partial) if groups.comparable else None
    tested, family = primary(records, groups)
    return {
        "trapped": trapped,
        "partial": partial,
        "without_logs": list(groups.without_logs),
        "level": LEVEL,
        "smallest_p": None if reachable is None else rounded(reachable),
        "needed": None if reachable is not None and reachable <= LEVEL else _needed(trapped, partial),
        "family": None if family is None else _family(records, tested, family),
        "sign": _earliest(tested, groups.members),
        "settled": _settled(groups.members),
        "scan": _scan(groups),
    }


def _needed(trapped: int, partial: int) -> dict[str, int]:
    """Class -> seeds needed in all: of the smaller class beside the other, or of both if that is fewer."""
    each, larger = seeds_needed(0), max(trapped, partial)
    beside = seeds_needed(larger) if larger else math.inf
    if 2 * each - trapped - partial < beside - min(trapped, partial) and larger < each:
        return {"trapped": each, "partial": each}
    return {"trapped" if trapped <= partial else "partial": int(beside)}


def _family(records: Records, tested: Sequence[Tested], family: Family) -> dict[str, Any]:
    return {
        "planned": len(primary_family(records)),
        "labellings": family.labellings,
        "enumerated": family.enumerated,
        "tests": [each.as_dict() for each in tested],
    }


def _earliest(tested: Sequence[Tested], members: Sequence[Record]) -> dict[str, Any] | None:
    signs = [each for each in tested if each.is_sign]
    if not signs:
        return None
    first = min(signs, key=lambda each: (each.candidate.known_after, each.p_corrected))
    epochs = [epoch for member in members if (epoch := settled(member)) is not None]
    leads = [epoch - first.candidate.known_after for epoch in epochs]
    lead = {"median": median(leads), "min": min(leads), "max": max(leads)} if leads else None
    return {**first.as_dict(), "known_after": first.candidate.known_after, "lead": lead}


def _settled(members: Sequence[Record]) -> dict[str, Any]:
    since = [settled(member) for member in members]
    epochs = [epoch for epoch in since if epoch is not None]
    seeds = [
        {"seed": seed_of(member), "category": category(member), "epoch": epoch}
        for member, epoch in zip(members, since, strict=True)
    ]
    if not epochs:
        return {"median": None, "min": None, "max": None, "seeds": seeds}
    return {"median": median(epochs), "min": min(epochs), "max": max(epochs), "seeds": seeds}


def _scan(groups: Groups) -> dict[str, Any] | None:
    tested, family = scan(groups)
    if family is None:
        return None
    signs = [each for each in tested if each.is_sign]
    earliest = min(signs, key=lambda each: each.candidate.known_after, default=None)
    best = min(tested, key=lambda each: (each.p_corrected, -each.separation.strength))
    return {
        "exploratory": True,
        "tests": len(tested),
        "signs": len(signs),
        "earliest": None if earliest is None else earliest.as_dict(),
        "best": best.as_dict(),
    }
