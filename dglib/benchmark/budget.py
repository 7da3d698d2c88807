"""Ten minutes at most: which cases fit, and at which batch on a slow machine."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dglib.benchmark.settings import Case
from dglib.benchmark.timing import LEAST_PAIRS, Allowance

LEAST_BATCH = 4  # below it BatchNorm has too little to see in the last layers
SET_UP = {"cpu": 3.0, "cuda": 40.0}  # seconds before the first block, compiling included; then as measured
REQUIRED_PART = 0.6
PROCESS_SECONDS = 20.0  # to start one that imports torch


@dataclass
class Budget:
    """Time that is left, and what cases are expected to take of it.

    Attributes:
        seconds: for everything, from now on.
        per_pass: seconds of a forward and backward pass of an image, by setting's label; of the baseline.
        batches: by setting's label.
        set_up: seconds of building and warming up one side, by setting's label, once that is known.
    """

    seconds: float
    device: str
    per_pass: Mapping[str, float]
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
        label = case.setting.label
        images = passes_of(case) * self.batches[label]
        if case.kind == "epoch":
            images = LEAST_PAIRS * 2 * 17 / 16 * self.epoch_images
        elif case.kind == "at_once":
            images *= (1 + int(case.option)) / 2
            images += PROCESS_SECONDS / self.per_pass[label]
        return float(images * self.per_pass[label]) + self.set_up.get(label, SET_UP[self.device])

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


def _told(seconds: float) -> str:
    for size, unit in ((3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def passes_of(case: Case) -> float:
    """Forward and backward passes of a case over one image of each batch, with the least number of pairs."""
    a_pair = {"dual": 17 + 16, "logging": 18 + 17, "evaluation": 2 * 16 / 3}.get(case.kind, 17 + 17 + 1)
    return LEAST_PAIRS * a_pair + 8  # the warm-ups


def fitting_batches(wanted: Sequence[Case], per_pass: Mapping[str, float], seconds: float) -> dict[str, int]:
    """By label, the largest batches, powers of two up to the published ones, that fit the time.

    The required cases (or, without any, all) get `REQUIRED_PART` of it. A network whose images cost more gets
    more time a pass and the smaller batch: both in proportion to the square root of the cost.
    """
    decisive = [case for case in wanted if case.required] or list(wanted)
    weight = sum(passes_of(case) * per_pass[case.setting.label] ** 0.5 for case in decisive)
    batches = {}
    for setting in {case.setting for case in wanted}:
        fits = REQUIRED_PART * seconds / weight / per_pass[setting.label] ** 0.5
        batch = setting.batch
        while batch > max(LEAST_BATCH, fits):
            batch //= 2
        batches[setting.label] = batch
    return batches
