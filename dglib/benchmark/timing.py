"""Two sides timed in turn, and what their pairs say."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median, median_low
from typing import Protocol

import torch

from dglib.analysis.intervals import median_interval

LEAST_PAIRS = 3


class Side(Protocol):
    """Something that runs blocks of a fixed number of images."""

    images: int

    def warm_up(self) -> None: ...

    def block(self) -> float:
        """Run a block; its seconds."""


def now(device: torch.device) -> float:
    """The time at which all that was asked of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


@dataclass(frozen=True)
class Allowance:
    """Time for a case: a share to spend on pairs beyond the least number, and the end of it all.

    Both are readings of `time.monotonic`.
    """

    share: float
    deadline: float
    most_pairs: int


@dataclass(frozen=True)
class Pairs:
    """Seconds per image of ours and of the other side, block by block; at least one pair."""

    ours: tuple[float, ...]
    other: tuple[float, ...]

    @property
    def n(self) -> int:
        return len(self.ours)

    def ratios(self, *, ours_over_other: bool) -> list[float]:
        pairs = zip(self.ours, self.other, strict=True)
        return [ours / other if ours_over_other else other / ours for ours, other in pairs]

    def medians(self) -> tuple[float, float]:
        """Each side's own."""
        return median(self.ours), median(self.other)

    def median_pair(self) -> tuple[float, float]:
        """The pair whose ratio is the median one; of two in the middle, the one with the lower ratio."""
        ratios = self.ratios(ours_over_other=True)
        place = ratios.index(median_low(ratios))
        return self.ours[place], self.other[place]


def interval(values: list[float]) -> tuple[float, float, str]:
    """Lower end, upper end and kind: the median's 95 % interval from order statistics, or the extremes.

    Below six values not even the extremes enclose the median with 95 % confidence, and they are given.
    """
    found = median_interval(values)
    if found is None:
        return min(values), max(values), "min..max"
    return found.lower, found.upper, f"{found.confidence:.1%} of the median"


def take_turns(ours: Side, other: Side, allowance: Allowance) -> Pairs:
    """Blocks of both sides in turn, after a warm-up of each; every second pair begins with the other side."""
    ours.warm_up()
    other.warm_up()
    times: dict[Side, list[float]] = {ours: [], other: []}
    began = time.monotonic()
    while more_pairs(len(times[ours]), began, allowance):
        order = (ours, other) if len(times[ours]) % 2 == 0 else (other, ours)
        for side in order:
            times[side].append(side.block() / side.images)
    return Pairs(tuple(times[ours]), tuple(times[other]))


def more_pairs(done: int, began: float, allowance: Allowance) -> bool:
    """Whether there is time for a pair more; always for the first one."""
    if done == 0:
        return True
    end = time.monotonic() + (time.monotonic() - began) / done
    if done >= allowance.most_pairs or end > allowance.deadline:
        return False
    return done < LEAST_PAIRS or end <= allowance.share
