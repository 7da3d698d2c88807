"""The one protocol engine: where a seed stands, what to train next, and what an evaluation changes.

Pure functions of the specification and a cursor; they train nothing and know no tensor, file or clock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from dglib.protocol.events import (
    EpochDone,
    Evaluated,
    Evaluation,
    Event,
    Fired,
    LevelDone,
    SeedDone,
    StepsLogged,
    SuccessTested,
)
from dglib.protocol.spec import Arm, Criterion, ExperimentSpec, Phase

SKIPPED_AT_MOST = 0.5  # of an epoch's steps; beyond it the seed has diverged


@dataclass(frozen=True)
class Cursor:
    """A place in the protocol, as plain data.

    Attributes:
        arm, phase, level: indices; `level` counts within the levels that the phase holds for this seed.
        epoch: completed epochs at this level.
        phase_epochs, arm_epochs: completed epochs of the phase and of the arm.
        run_epochs: completed epochs since the last new optimizer; the learning rate goes by it.
        run_phase: index of the phase at which the current run began.
        consecutive: evaluations in a row that met the phase's stopping criterion.
        fired_at: λ of the stopping event that ended the phase before; None if none did.
        reached: the flag of the first event that fired in this seed.
        last_error: error of the latest evaluation.
        next_event: number of the next event.
        outcome: set when the seed is over.
    """

    arm: int = 0
    phase: int = 0
    level: int = 0
    epoch: int = 0
    phase_epochs: int = 0
    arm_epochs: int = 0
    run_epochs: int = 0
    run_phase: int = 0
    consecutive: int = 0
    fired_at: float | None = None
    reached: str | None = None
    last_error: float | None = None
    next_event: int = 0
    outcome: str | None = None

    @property
    def done(self) -> bool:
        return self.outcome is not None

    @property
    def run(self) -> tuple[int, int]:
        """The run that training state belongs to: another one means a restart, another arm a new network."""
        return (self.arm, self.run_phase)


@dataclass(frozen=True)
class Place:
    """What to train at a cursor: the phase, its λ and learning rate, and whether the epoch ends evaluated."""

    arm: Arm
    phase: Phase
    lam: float
    lr: float
    evaluates: bool


@dataclass(frozen=True)
class EpochStats:
    """What the trainer gathered in an epoch, fetched from the device at its end; NaN where nothing was."""

    loss_s: float
    loss_v: float
    weight_norm: float
    update_norm: float
    steps: tuple[tuple[float, ...], ...] = ()
    taken: int = 0  # steps
    skipped: int = 0  # of those, the ones whose gradient was not finite
    c_sv: float = float("nan")


def start(spec: ExperimentSpec) -> Cursor:
    """The cursor of a seed that has not begun."""
    return Cursor()


def levels(phase: Phase, fired_at: float | None) -> tuple[float, ...]:
    """The λ levels that a phase holds; `fired_at` is the λ at which the phase before it fired, or None."""
    if phase.only_after_event is None:
        return phase.levels
    if fired_at is None:
        return ()
    below = phase.only_after_event == "below"
    return tuple(lam for lam in phase.levels if (lam < fired_at if below else lam > fired_at))


def place(spec: ExperimentSpec, cursor: Cursor) -> Place:
    """What the epoch that begins (or goes on) at `cursor` trains."""
    arm = spec.arms[cursor.arm]
    phase = arm.phases[cursor.phase]
    epoch = cursor.epoch + 1
    return Place(
        arm,
        phase,
        lam=levels(phase, cursor.fired_at)[cursor.level],
        lr=phase.learning_rate.after(cursor.run_epochs),
        evaluates=epoch % phase.evaluate_every == 0 or epoch == phase.epochs_per_level,
    )


def advance(
    spec: ExperimentSpec, cursor: Cursor, stats: EpochStats, evaluation: Evaluation | None
) -> tuple[Cursor, tuple[Event, ...]]:
    """The cursor after one complete epoch, and what happened.

    Args:
        stats: of the epoch.
        evaluation: of the network after it, given if and only if `place(spec, cursor).evaluates`.
    """
    here = place(spec, cursor)
    if here.evaluates != (evaluation is not None):
        raise ValueError("an evaluation belongs to the epochs that the protocol evaluates, and to no others")
    phase = here.phase
    cursor = replace(
        cursor,
        epoch=cursor.epoch + 1,
        phase_epochs=cursor.phase_epochs + 1,
        arm_epochs=cursor.arm_epochs + 1,
        run_epochs=cursor.run_epochs + 1,
    )
    log = _Log(here, cursor)
    if stats.steps:
        log.add(StepsLogged, rows=stats.steps)
    log.add(
        EpochDone,
        lr=here.lr,
        loss_s=_number(stats.loss_s),
        loss_v=_number(stats.loss_v),
        weight_norm=_number(stats.weight_norm),
        update_norm=_number(stats.update_norm),
        steps=stats.taken,
        skipped=stats.skipped,
        c_sv=_number(stats.c_sv),
    )

    why, fired = _why_diverged(stats), False
    if evaluation is not None:
        error = evaluation.error if evaluation.finite else None
        log.add(
            Evaluated,
            lr=here.lr,
            error=error,
            predicted=evaluation.predicted,
            finite=evaluation.finite,
            metrics={name: _number(value) for name, value in evaluation.metrics.items()},
        )
        if error is None:
            return log.end(cursor, "diverged", why)
        consecutive = _in_a_row(phase, cursor, error)
        cursor = replace(cursor, last_error=error, consecutive=consecutive)
        fired = phase.event is not None and consecutive >= phase.event.consecutive

    if why is not None:
        return log.end(cursor, "diverged", why)

    if fired:
        assert phase.event is not None
        log.add(Fired)
        cursor = replace(cursor, fired_at=here.lam, reached=cursor.reached or phase.event.flag)
    elif cursor.epoch < phase.epochs_per_level:
        return log.close(cursor), log.events
    else:
        log.add(LevelDone)
        if cursor.level + 1 < len(levels(phase, cursor.fired_at)):
            return log.close(replace(cursor, level=cursor.level + 1, epoch=0)), log.events
        cursor = replace(cursor, fired_at=None)
    return _leave_phase(spec, phase, cursor, log)


def _leave_phase(
    spec: ExperimentSpec, phase: Phase, cursor: Cursor, log: _Log
) -> tuple[Cursor, tuple[Event, ...]]:
    """Judge the phase that is over and go to the next one that has levels to hold."""
    if phase.success is not None:
        assert cursor.last_error is not None
        success = phase.success.criterion.holds(cursor.last_error)
        log.add(SuccessTested, success=success, error=cursor.last_error)
        if not success:
            return log.end(cursor, "init_failed")
    phases = spec.arms[cursor.arm].phases
    for index in range(cursor.phase + 1, len(phases)):
        if levels(phases[index], cursor.fired_at):
            cursor = replace(cursor, phase=index, level=0, epoch=0, phase_epochs=0, consecutive=0)
            if phases[index].restart:
                cursor = replace(cursor, run_phase=index, run_epochs=0)
            return log.close(cursor), log.events
    if cursor.arm + 1 < len(spec.arms):
        cursor = Cursor(arm=cursor.arm + 1, reached=cursor.reached)
        return log.close(cursor), log.events
    return log.end(cursor, _outcome(spec, cursor))


def _why_diverged(stats: EpochStats) -> str | None:
    """A network may stay finite because its steps are left out; it has diverged all the same."""
    if stats.skipped <= SKIPPED_AT_MOST * stats.taken:
        return None
    return (
        f"{stats.skipped} of an epoch's {stats.taken} steps had a gradient that is not finite: try a smaller"
        " lr, or bf16 or fp32 where precision is fp16"
    )


def _in_a_row(phase: Phase, cursor: Cursor, error: float) -> int:
    met = phase.event is not None and phase.event.criterion.holds(error)
    return cursor.consecutive + 1 if met else 0


def _outcome(spec: ExperimentSpec, cursor: Cursor) -> str:
    if spec.final_classes:
        assert cursor.last_error is not None
        for name, least in spec.final_classes:
            if Criterion(">=", least).holds(cursor.last_error):
                return name
    return cursor.reached or spec.outcome_without_event


class _Log:
    """Numbers the events of one transition."""

    def __init__(self, here: Place, cursor: Cursor) -> None:
        self._common = (here.arm.name, here.phase.name, here.lam, cursor.arm_epochs)
        self._next = cursor.next_event
        self.events: tuple[Event, ...] = ()

    def add(self, kind: type[Event], **fields: Any) -> None:
        self.events += (kind(self._next, *self._common, **fields),)
        self._next += 1

    def close(self, cursor: Cursor) -> Cursor:
        return replace(cursor, next_event=self._next)

    def end(
        self, cursor: Cursor, outcome: str, reason: str | None = None
    ) -> tuple[Cursor, tuple[Event, ...]]:
        self.add(SeedDone, outcome=outcome, reason=reason)
        return self.close(replace(cursor, outcome=outcome)), self.events


def _number(value: float) -> float | None:
    """JSON knows no NaN and no infinity."""
    return value if math.isfinite(value) else None


def planned_epochs(spec: ExperimentSpec) -> int:
    """Epochs of a seed that no event ends early: an upper bound."""
    return sum(len(phase.levels) * phase.epochs_per_level for arm in spec.arms for phase in arm.phases)
