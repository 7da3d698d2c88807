"""Plain data of a live run: its settings, the two states that it may begin from, its path and its status."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

from dglib.errors import UserError


@dataclass(frozen=True)
class Settings:
    """Settings of a step.

    Attributes:
        lam: λ, 0 to 1.
        lr: learning rate, above 0, at most 1.
        refresh_period: K, steps from one value gradient to the next, from 1.
        noise_rate: η, the share of training labels made wrong, 0 to 0.9.
    """

    lam: float = 0.35
    lr: float = 0.1
    refresh_period: int = 32
    noise_rate: float = 0.4

    def changed(self, **values: object) -> Settings:
        """These settings with some of them changed.

        Raises:
            UserError: an unknown name, or a value out of its range; one line.
        """
        for name, value in values.items():
            if name not in _LIMITS:
                raise UserError(f"{name} = {value!r}: a live run has {', '.join(_LIMITS)}")
            whole = name == "refresh_period"
            kind, told = (int, "a whole number") if whole else (int | float, "a number")
            if not isinstance(value, kind) or isinstance(value, bool) or not math.isfinite(value):
                raise UserError(f"{name} = {value!r}: must be {told}")
            low, high, rule = _LIMITS[name]
            if not low <= value <= high or (name == "lr" and value == 0):
                raise UserError(f"{name} = {value!r}: must be {rule}")
        given: dict[str, Any] = dict(values)
        return replace(self, **given)


_LIMITS = {
    "lam": (0.0, 1.0, "from 0 to 1"),
    "lr": (0.0, 1.0, "above 0 and at most 1"),
    "refresh_period": (1, 10_000, "from 1 to 10000"),
    "noise_rate": (0.0, 0.9, "from 0 to 0.9"),
}


@dataclass(frozen=True)
class Start:
    """A state to begin from: a new network trained at one λ for some epochs."""

    name: str
    lam: float
    epochs: int


# As the quick profiles of T1 and T2 prepare theirs. From higher λ a new network ends up trapped, one class
# predicted for everything, and comes back from there at no λ.
STARTS = {start.name: start for start in (Start("ordered", 0.35, 20), Start("collapsed", 0.55, 15))}


State = Literal["preparing", "running", "paused", "diverged"]


@dataclass(frozen=True)
class Point:
    """An evaluation on the path.

    Attributes:
        epoch: trained so far, with a fraction between two ends of epochs.
        lam: λ of the step before.
        error: 0 to 1; None where the logits were not finite.
        prepared: whether it belongs to the preparation.
        step, settings: at that point; None where they are not known.
        test_loss, loss_s, loss_v: in nats, the latter two means over the epoch; None where not measured.
    """

    epoch: float
    lam: float
    error: float | None
    prepared: bool
    step: int | None = None
    settings: Settings | None = None
    test_loss: float | None = None
    loss_s: float | None = None
    loss_v: float | None = None


@dataclass(frozen=True)
class Status:
    """Snapshot of a live run.

    Attributes:
        steps, epochs: trained since the network was new, its preparation included.
        settings: of the latest step.
        wanted: settings of the next step or, while preparing, of the first one after that.
        points: the evaluations at the ends of epochs.
        now: the latest evaluation, which may lie between two ends of epochs; None before any.
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
