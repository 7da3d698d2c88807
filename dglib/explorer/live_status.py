"""Where a live run stands, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dglib.explorer.live_settings import Settings, Start

State = Literal["preparing", "running", "paused", "diverged", "kept"]  # "kept": read from a record


@dataclass(frozen=True)
class Point:
    """An evaluation: `epoch` counts those trained, with a fraction between two ends of epochs.

    `error` is None where the logits were not finite; `prepared` tells the preparation's from the hand's.
    """

    epoch: float
    lam: float
    error: float | None
    prepared: bool


@dataclass(frozen=True)
class Status:
    """Where a live run stands.

    Attributes:
        steps, epochs: trained since the network was new, its preparation included.
        settings: in force at the latest step.
        wanted: to be in force from the next step on, or, while preparing, from the end of that.
        points: all evaluations at epochs' ends, which are those on record.
        now: the latest evaluation, which may be one for the eye alone; None before any.
        seconds: spent in training.
    """

    start: Start
    state: State
    steps: int
    epochs: int
    settings: Settings
    wanted: Settings
    points: tuple[Point, ...]
    now: Point | None
    seconds: float

    @property
    def error(self) -> float | None:
        """Of the latest evaluation, 0 to 1."""
        return None if self.now is None else self.now.error
