"""What happened, numbered: the only output of a run.

Records, progress bars and heartbeats fold these. An event holds no clock and no path, so that an interrupted
and resumed run gives the same events as one that was never interrupted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Evaluation:
    """One pass over the test set in eval mode.

    Attributes:
        error: 1 − correct/total, 0 to 1.
        predicted: how often each class was predicted.
        finite: whether every logit was finite. If not, the argmax is no prediction and the error no error.
        metrics: every other number, by name; NaN where it is not known. A name that is added in
            `dglib.training.evaluation`, or registered by a user, appears in records and tables by itself.
    """

    error: float
    predicted: tuple[int, ...]
    finite: bool
    metrics: Mapping[str, float] = field(default_factory=dict)


LOG_FIELDS = ("c_sv", "c_mc", "norm_s", "norm_v", "norm_mix", "loss_s", "loss_v")


@dataclass(frozen=True)
class Event:
    """Common to all: `number` counts from 0 through the seed; arm and phase are names; λ as trained.

    `epoch` counts an arm's completed epochs, so it is 1 after the first and runs on through the sweep.
    """

    number: int
    arm: str
    phase: str
    lam: float
    epoch: int


@dataclass(frozen=True)
class StepsLogged(Event):
    """The logged steps of one epoch: rows of (step, c_sv, c_mc, norm_s, norm_v, norm_mix, loss_s, loss_v)."""

    rows: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class EpochDone(Event):
    """An epoch's mean losses (None where none was computed), and norms after its last step.

    `update_norm` is the norm of that step's change of the weights, `lr` the epoch's learning rate, `skipped`
    how many of its `steps` moved no weight (`dglib.training.step`): a gradient was not finite, or too many
    value gradients in a row had not been. `c_sv` is the mean of cos(g_s, g_v) over the epoch's refreshes,
    where both belong to one batch. Skipped steps are in no mean.
    """

    lr: float
    loss_s: float | None
    loss_v: float | None
    weight_norm: float | None
    update_norm: float | None
    steps: int = 0
    skipped: int = 0
    c_sv: float | None = None


@dataclass(frozen=True)
class Evaluated(Event):
    """A test-set evaluation; the error is None where logits were not finite.

    `metrics` holds every other number by name, None where it is not known: `test_loss`, the mean
    cross-entropy; `dead_channels`, the share of channels that no image of the evaluation's first
    batch activated; and a user's own.
    """

    lr: float
    error: float | None
    predicted: tuple[int, ...]
    finite: bool
    metrics: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class SuccessTested(Event):
    """The verdict on a phase that must succeed for the seed to continue."""

    success: bool
    error: float


@dataclass(frozen=True)
class LevelDone(Event):
    """A λ level was held for all its epochs."""


@dataclass(frozen=True)
class Fired(Event):
    """A stopping event: the last of enough evaluations in a row, at this λ."""


@dataclass(frozen=True)
class ArmFailed(Event):
    """An independent arm is over early: "init_failed" or "diverged". Arms that start from it are left out."""

    outcome: str
    reason: str | None = None


@dataclass(frozen=True)
class SeedDone(Event):
    """The seed is over. `reason` explains an outcome that needs words."""

    outcome: str
    reason: str | None = None


Sink = Callable[[Event], None]

_KINDS: dict[str, type[Event]] = {
    kind.__name__: kind
    for kind in (StepsLogged, EpochDone, Evaluated, SuccessTested, LevelDone, Fired, ArmFailed, SeedDone)
}


def to_plain(event: Event) -> dict[str, Any]:
    """The event as JSON-able data."""
    return {"kind": type(event).__name__, **asdict(event)}


def from_plain(plain: Mapping[str, Any]) -> Event:
    """The event that `to_plain` gave, also after a trip through JSON."""
    fields = dict(plain)
    kind = _KINDS[fields.pop("kind")]
    if kind is StepsLogged:
        fields["rows"] = tuple(tuple(row) for row in fields["rows"])
    if kind is Evaluated:
        fields["predicted"] = tuple(fields["predicted"])
        if "metrics" not in fields:  # as dglib 0.1.0 wrote it
            fields["metrics"] = {name: fields.pop(name) for name in ("test_loss", "dead_channels")}
    return kind(**fields)
