"""The protocol engine: what a completed epoch and its evaluation change.

A pure function of the specification and a cursor; no tensors, files or clocks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from dglib.protocol.events import (
    ArmFailed,
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
from dglib.protocol.spec import CONTINUED, Arm, Criterion, Cursor, ExperimentSpec, Plan

SKIPPED_AT_MOST = 0.5  # of an epoch's steps; beyond it the seed has diverged
EPOCH_NUMBERS = ("loss_s", "loss_v", "weight_norm", "update_norm", "c_sv")


@dataclass(frozen=True)
class EpochStats:
    """What the trainer gathered in an epoch, fetched from the device at its end; NaN for what is unknown."""

    loss_s: float
    loss_v: float
    weight_norm: float
    update_norm: float
    steps: tuple[tuple[float, ...], ...] = ()
    taken: int = 0  # steps
    skipped: int = 0  # of those, the ones whose gradient was not finite
    c_sv: float = float("nan")


def advance(
    spec: ExperimentSpec, cursor: Cursor, stats: EpochStats, evaluation: Evaluation | None
) -> tuple[Cursor, tuple[Event, ...]]:
    """The cursor after one complete epoch, and what happened.

    Args:
        stats: of the epoch.
        evaluation: of the network after it, given if and only if `spec.plan(cursor).evaluates`.
    """
    here = spec.plan(cursor)
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
    numbers = {name: _number(getattr(stats, name)) for name in EPOCH_NUMBERS}
    log.add(EpochDone, lr=here.lr, steps=stats.taken, skipped=stats.skipped, **numbers)

    why, fires = _why_diverged(stats), False
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
            return _fail(spec, here, cursor, log, "diverged", why)
        met = phase.event is not None and phase.event.criterion.holds(error)
        consecutive = cursor.consecutive + 1 if met else 0
        cursor = replace(cursor, last_error=error, consecutive=consecutive)
        fires = phase.event is not None and consecutive >= phase.event.consecutive
    if why is not None:
        return _fail(spec, here, cursor, log, "diverged", why)

    if fires:
        assert phase.event is not None
        log.add(Fired)
        cursor = replace(cursor, reached=cursor.reached or phase.event.flag)
        return _leave_phase(spec, here, cursor, log, fired_at=here.lam)
    if cursor.epoch < phase.epochs_per_level:
        return log.close(cursor), log.events
    log.add(LevelDone)
    if cursor.level + 1 < len(phase.levels_for(cursor.fired_at)):
        return log.close(replace(cursor, level=cursor.level + 1, epoch=0)), log.events
    return _leave_phase(spec, here, cursor, log)


def _leave_phase(
    spec: ExperimentSpec, here: Plan, cursor: Cursor, log: _Log, fired_at: float | None = None
) -> tuple[Cursor, tuple[Event, ...]]:
    """Judge the phase that is over and go to the next one that has levels to hold."""
    if here.phase.success is not None:
        assert cursor.last_error is not None
        test = here.phase.success.criterion
        success = test.holds(cursor.last_error)
        log.add(SuccessTested, success=success, error=cursor.last_error)
        if not success:
            rule = f"must be {test.comparison} {test.threshold:g}"
            why = f"error {cursor.last_error:g} after {here.name}, {rule}"
            return _fail(spec, here, cursor, log, "init_failed", why)
    if here.name in spec.starts:
        stream = spec.stream_name(cursor)
        end = {"stream": stream, "run_epochs": cursor.run_epochs, "arm_epochs": cursor.arm_epochs}
        cursor = replace(cursor, ended={**cursor.ended, here.name: end})
    cursor = replace(cursor, fired_at=fired_at)
    phases = here.arm.phases
    for index in range(cursor.phase + 1, len(phases)):
        if phases[index].levels_for(cursor.fired_at):
            cursor = replace(cursor, phase=index, level=0, epoch=0, phase_epochs=0, consecutive=0)
            if phases[index].restart:
                cursor = replace(cursor, run_phase=index, run_epochs=0)
            return log.close(cursor), log.events
    return _leave_arm(spec, cursor, log)


def _fail(
    spec: ExperimentSpec, here: Plan, cursor: Cursor, log: _Log, outcome: str, reason: str | None = None
) -> tuple[Cursor, tuple[Event, ...]]:
    """A network that cannot be trained further ends the seed, or of independent arms its own arm."""
    if not spec.independent_arms:
        return log.end(cursor, outcome, reason)
    log.add(ArmFailed, outcome=outcome, reason=reason)
    return _leave_arm(spec, replace(cursor, failed={**cursor.failed, here.arm.name: outcome}), log)


def _leave_arm(spec: ExperimentSpec, cursor: Cursor, log: _Log) -> tuple[Cursor, tuple[Event, ...]]:
    """Go to the next arm whose start there is."""

    def can_start(arm: Arm) -> bool:
        return arm.start is None or arm.start in cursor.ended

    for index in range(cursor.arm + 1, len(spec.arms)):
        if can_start(spec.arms[index]):
            return log.close(_enter_arm(spec, cursor, index)), log.events
    if any(can_start(arm) and arm.name not in cursor.failed for arm in spec.arms):
        return log.end(cursor, _outcome(spec, cursor))
    return log.end(cursor, next(iter(cursor.failed.values())))


def _enter_arm(spec: ExperimentSpec, cursor: Cursor, index: int) -> Cursor:
    new = Cursor(arm=index, reached=cursor.reached, ended=cursor.ended, failed=cursor.failed)
    arm = spec.arms[index]
    if arm.start is None:
        return new
    end = cursor.ended[arm.start]
    new = replace(new, arm_epochs=end["arm_epochs"])
    if arm.phases[0].restart:
        return new
    return replace(new, run_phase=CONTINUED, run_epochs=end["run_epochs"])


def _why_diverged(stats: EpochStats) -> str | None:
    """A network may stay finite because its steps are left out; it has diverged all the same."""
    if stats.skipped <= SKIPPED_AT_MOST * stats.taken:
        return None
    return (
        f"{stats.skipped} of an epoch's {stats.taken} steps had a gradient that is not finite: try a smaller"
        " lr, or bf16 or fp32 where precision is fp16"
    )


def _outcome(spec: ExperimentSpec, cursor: Cursor) -> str:
    if spec.final_classes:
        assert cursor.last_error is not None
        for name, least in spec.final_classes:
            if Criterion(">=", least).holds(cursor.last_error):
                return name
    return cursor.reached or spec.outcome_without_event


class _Log:
    """Numbers the events of one transition."""

    def __init__(self, here: Plan, cursor: Cursor) -> None:
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


def _number(value: float | None) -> float | None:
    """JSON has no NaN and no infinity. None stays: a replayed event holds it."""
    return value if value is not None and math.isfinite(value) else None
