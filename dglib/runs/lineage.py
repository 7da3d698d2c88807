"""The way of a seed up to an epoch, followed under two specifications at once."""

from __future__ import annotations

import math
from collections.abc import Iterable

from dglib.errors import UserError
from dglib.protocol import engine
from dglib.protocol.engine import EpochStats
from dglib.protocol.events import EpochDone, Evaluated, Evaluation, Event, StepsLogged
from dglib.protocol.records import Record
from dglib.protocol.spec import ExperimentSpec

_NOT_METRICS = {"phase", "lambda", "epoch", "lr", "error", "finite", "predicted"}


class Way:
    """A sink for a seed's events that sees to it that two specifications hold the same levels up to an epoch.

    Each epoch's arm, phase, λ, learning rate and evaluation must be equal, whatever the two make of the
    errors. Training knows nothing else of them, so that it gives the same bits under either up to that epoch.

    Args:
        old, new: the two; network, data and step must be equal.
        at: the epoch, counted through the seed.
        known: what happened under `old`; the events that come must repeat it bit for bit.

    Attributes:
        epochs: how many have come.
        cursor, events: what `new` makes of them.
        run: the run that the last of them belongs to.

    Raises:
        UserError: in the constructor and at any event, where one of this does not hold.
    """

    def __init__(
        self, old: ExperimentSpec, new: ExperimentSpec, at: int, known: Iterable[Event] = ()
    ) -> None:
        self._old, self._new, self._at = old, new, at
        comparable = (event for event in known if not isinstance(event, StepsLogged))  # those may hold NaN
        self._known = {_key(event): event for event in comparable}
        self._cursor_old = engine.start(old)
        self.cursor = engine.start(new)
        self.events: list[Event] = []
        self.epochs = 0
        self.run = self.cursor.run
        self._steps: tuple[tuple[float, ...], ...] = ()
        self._check()

    def __call__(self, event: Event) -> None:
        if self.epochs >= self._at:
            return
        self._compare(event)
        match event:
            case StepsLogged(rows=rows):
                self._steps = rows
            case EpochDone():
                self._stats = EpochStats(
                    loss_s=_float(event.loss_s),
                    loss_v=_float(event.loss_v),
                    weight_norm=_float(event.weight_norm),
                    update_norm=_float(event.update_norm),
                    steps=self._steps,
                    taken=event.steps,
                    skipped=event.skipped,
                    c_sv=_float(event.c_sv),
                )
                self._steps = ()
                if not engine.place(self._new, self.cursor).evaluates:
                    self._advance(None)
            case Evaluated():
                metrics = {name: _float(value) for name, value in event.metrics.items()}
                self._advance(Evaluation(_float(event.error), event.predicted, event.finite, metrics))

    def _advance(self, evaluation: Evaluation | None) -> None:
        self.run = self.cursor.run
        self._cursor_old, _ = engine.advance(self._old, self._cursor_old, self._stats, evaluation)
        self.cursor, events = engine.advance(self._new, self.cursor, self._stats, evaluation)
        self.events.extend(events)
        self.epochs += 1
        self._check()

    def _check(self) -> None:
        """Is there a next epoch, and the same one under both?"""
        old, new, at = self._cursor_old, self.cursor, self._at
        if old.done and self.epochs < at:
            raise UserError(f"epoch {at}: the seed ended at epoch {self.epochs} ({old.outcome})")
        if new.done:
            raise UserError(
                f"under the changed parameters the seed ends at epoch {self.epochs} ({new.outcome}): nothing"
                f" comes after epoch {at}"
            )
        if self.epochs == at:
            return
        here, there = engine.place(self._old, old), engine.place(self._new, new)
        for name, before, after in (
            ("phase", f"{here.arm.name}/{here.phase.name}", f"{there.arm.name}/{there.phase.name}"),
            ("λ", here.lam, there.lam),
            ("LR", here.lr, there.lr),
            ("evaluated", here.evaluates, there.evaluates),
        ):
            if before != after:
                raise UserError(
                    f"epoch {self.epochs + 1} would change: {name} {before} → {after}; only what comes after"
                    f" epoch {at} can"
                )

    def _compare(self, event: Event) -> None:
        known = self._known.get(_key(event), event)
        before, after = vars(known), vars(event)
        wrong = [name for name in before if name != "number" and before[name] != after[name]]
        if wrong:
            name = wrong[0]
            raise UserError(
                f"epoch {self.epochs + 1} comes out otherwise here ({name} {before[name]} → {after[name]}):"
                f" the state at epoch {self._at} is to be had only on the machine and versions it came from"
            )


def events_of(spec: ExperimentSpec, record: Record) -> list[Event]:
    """The epochs and evaluations that a record tells of, in order, without their numbers."""
    phases = {(arm.name, phase.name): phase for arm in spec.arms for phase in arm.phases}
    events: list[Event] = []
    for row in record["epoch_log"]:
        where = {"number": 0, "arm": row["arm"], "phase": row["phase"], "lam": row["lambda"]}
        where["epoch"] = row["epoch"]
        names = ("lr", "loss_s", "loss_v", "weight_norm", "update_norm", "steps", "c_sv")
        values = {name: row[name] for name in names} | {"skipped": row["skipped_steps"]}
        events.append(EpochDone(**where, **values))
        for point in record[phases[row["arm"], row["phase"]].trajectory]:
            if (point["phase"], point["epoch"]) == (row["phase"], row["epoch"]):
                values = {name: point[name] for name in ("lr", "error", "finite")}
                values["metrics"] = {name: point[name] for name in point.keys() - _NOT_METRICS}
                events.append(Evaluated(**where, **values, predicted=tuple(point["predicted"])))
    return events


def _key(event: Event) -> tuple[type[Event], str, int]:
    return type(event), event.arm, event.epoch


def _float(value: float | None) -> float:
    return math.nan if value is None else value
