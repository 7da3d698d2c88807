"""Ten minutes at most: which cases fit, and at which batch on a slow machine."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dglib.benchmark.settings import REFRESH_PERIOD, Case
from dglib.benchmark.timing import LEAST_PAIRS, Allowance

LEAST_BATCH = 4  # below it BatchNorm has too little to see in the last layers
SET_UP = {"cpu": 3.0, "cuda": 40.0}  # seconds before the first block, compiling included; then as measured
REQUIRED_PART = 0.7  # of the time, for the required cases on a machine where not all fit
PROCESS_SECONDS = 20.0  # to start one that imports torch


@dataclass(frozen=True)
class Rate:
    """Seconds of a forward and backward pass of one image."""

    ours: float
    baseline: float


@dataclass
class Budget:
    """Time that is left, and what cases are expected to take of it.

    Attributes:
        seconds: for everything, from `began` on.
        rates: by setting's label.
        batches: by case's name.
        set_up: seconds of building and warming up one side, by setting's label, once that is known.
    """

    seconds: float
    device: str
    rates: Mapping[str, Rate]
    batches: Mapping[str, int]
    epoch_images: int
    most_pairs: int
    set_up: dict[str, float] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        return self.began + self.seconds - time.monotonic()

    def expected(self, case: Case) -> float:
        """Seconds that a case takes with the least number of pairs."""
        label, rate = case.setting.label, self.rates[case.setting.label]
        seconds = self.set_up.get(label, SET_UP[self.device])
        if case.kind == "epoch":
            both = rate.ours + rate.baseline
            return seconds + LEAST_PAIRS * (1 + 1 / REFRESH_PERIOD) * self.epoch_images * both
        if case.kind == "at_once":
            seconds += PROCESS_SECONDS
        return seconds + self.batches[case.name] * seconds_per_image(case, rate)

    def refusal(self, case: Case, still_to_come: Sequence[Case]) -> str:
        """Why a case is left out now, or "".

        A required one is measured if a single pair fits. The others have to leave room for the required ones
        that are still to come.
        """
        if case.required:
            needed, left, what = self.expected(case) / LEAST_PAIRS, self.left, "a pair of blocks"
        else:
            kept = sum(self.expected(other) for other in still_to_come if other.required)
            needed, left, what = self.expected(case), self.left - kept, f"{LEAST_PAIRS} pairs of blocks"
        if left >= needed:
            return ""
        return f"no time: {what} would take {_told(needed)}, and {_told(max(left, 0.0))} are left for it"

    def allowance(self, case: Case, still_to_come: Sequence[Case]) -> Allowance:
        """The case's part of the time left, in proportion to what it and those after it should take."""
        start, mine = time.monotonic(), self.expected(case)
        rest = mine
        for other in still_to_come:
            if not self.refusal(other, ()):
                rest += self.expected(other)
        share = start + max(self.left, 0.0) * mine / rest
        return Allowance(share, self.began + self.seconds, self.most_pairs)


def seconds_per_image(case: Case, rate: Rate) -> float:
    """Of the least number of pairs and the warm-up, for each image of a batch."""
    ours, other = rate.ours, rate.ours
    block = float(REFRESH_PERIOD)
    match case.kind:
        case "train":
            other = rate.baseline
            a_pair = (block + 1) * ours + (block + 2) * other
        case "evaluation":  # of 16 batches; a forward is a third of a pass
            other = rate.baseline
            a_pair = block * (ours + other) / 3
        case "dual":
            a_pair = (block + 1) * ours + block * other
        case "logging":
            a_pair = (block + 2) * ours + (block + 1) * other
        case "at_once":  # all processes share the machine
            a_pair = (block + 1) * (int(case.option) * ours + other)
        case _:  # a technique or precision, that may be as slow as the baseline
            a_pair = (block + 1) * (max(ours, rate.baseline) + other)
    return LEAST_PAIRS * a_pair + 3 * (ours + other)


def fitting_batches(
    wanted: Sequence[Case], rates: Mapping[str, Rate], seconds: float, *, equally: bool = False
) -> dict[str, int]:
    """By case's name, the largest batches, powers of two up to the published ones, that fit the time.

    The required cases get `REQUIRED_PART` of it: the dearest of them gets half the batch until they fit. The
    others have the smallest batch of their network's. With `equally` all count as required.
    """
    decisive = [case for case in wanted if case.kind != "epoch" and (case.required or equally)]
    batches = {case.name: case.setting.batch for case in decisive}
    cost = {case.name: seconds_per_image(case, rates[case.setting.label]) for case in decisive}
    while sum(cost[name] * batches[name] for name in batches) > REQUIRED_PART * seconds:
        reducible = [name for name in batches if batches[name] > LEAST_BATCH]
        if not reducible:
            break
        batches[max(reducible, key=lambda name: cost[name] * batches[name])] //= 2
    for case in wanted:
        if case.name not in batches:
            same = [batches[other.name] for other in decisive if other.setting is case.setting]
            batches[case.name] = min(same, default=case.setting.batch)
    return batches


def _told(seconds: float) -> str:
    for size, unit in ((3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
