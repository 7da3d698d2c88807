"""What a seed's epochs so far give under another specification: the position that a fork starts from."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import zip_longest

from dglib.protocol.engine import Cursor, EpochStats, advance, plan
from dglib.protocol.events import EpochDone, Evaluated, Evaluation, Event, StepsLogged
from dglib.protocol.spec import ExperimentSpec


def replay(spec: ExperimentSpec, events: Iterable[Event]) -> tuple[Cursor, list[Event]]:
    """The cursor and the events that a seed's epochs so far give under another specification.

    Raises:
        ValueError: the specification trains or evaluates one of these epochs otherwise.
    """
    cursor, found = Cursor(), list[Event]()
    rows: tuple[tuple[float, ...], ...] = ()
    given = [event for event in events if isinstance(event, StepsLogged | EpochDone | Evaluated)]
    for event, after in zip_longest(given, given[1:]):
        if isinstance(event, StepsLogged):
            rows = event.rows
        if not isinstance(event, EpochDone):
            continue
        evaluated = after if isinstance(after, Evaluated) else None
        _compare(spec, cursor, event, evaluated)
        stats = EpochStats(
            loss_s=_float(event.loss_s),
            loss_v=_float(event.loss_v),
            weight_norm=_float(event.weight_norm),
            update_norm=_float(event.update_norm),
            steps=rows,
            taken=event.steps,
            skipped=event.skipped,
            c_sv=_float(event.c_sv),
        )
        evaluation = None
        if evaluated is not None:
            metrics = {name: _float(value) for name, value in evaluated.metrics.items()}
            error = _float(evaluated.error)
            evaluation = Evaluation(error, evaluated.predicted, evaluated.finite, metrics)
        cursor, new = advance(spec, cursor, stats, evaluation)
        found, rows = [*found, *new], ()
    return cursor, found


def _compare(spec: ExperimentSpec, cursor: Cursor, event: EpochDone, evaluated: Evaluated | None) -> None:
    """Refuse an epoch that a specification trains or evaluates otherwise."""
    where = f"epoch {event.epoch} of {event.arm}/{event.phase}"
    if cursor.done:
        raise ValueError(f"{where}: the seed ends before it ({cursor.outcome})")
    here = plan(spec, cursor)
    for name, before, now in (
        ("phase", f"{event.arm}/{event.phase}", here.name),
        ("λ", event.lam, here.lam),
        ("LR", event.lr, here.lr),
        ("evaluated", evaluated is not None, here.evaluates),
    ):
        if before != now:
            raise ValueError(f"{where}: {name} {before} → {now}")


def _float(value: float | None) -> float:
    return math.nan if value is None else value
