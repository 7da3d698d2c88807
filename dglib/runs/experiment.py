"""Runs an experiment's seeds: those that have no record and that no other process trains."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dglib.control import Control, Interrupted
from dglib.errors import UserError
from dglib.protocol.events import Sink
from dglib.protocol.records import Record
from dglib.runs.seed import CHECKPOINT_EPOCHS, CHECKPOINT_SECONDS, run_seed
from dglib.runs.store import Store
from dglib.training.data import Dataset
from dglib.training.numerics import Numerics

HELD_SECONDS = 5.0  # how long to wait for a seed that another process trains

SinkFactory = Callable[[Store, int], Sink]


def run_experiment(
    store: Store,
    seeds: Sequence[int],
    data: Dataset,
    numerics: Numerics,
    *,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    checkpoint_epochs: int = CHECKPOINT_EPOCHS,
    control: Control | None = None,
    sinks_for: Sequence[SinkFactory] = (),
    finished: Callable[[int], None] = lambda seed: None,
    wait: bool = False,
    made: Mapping[str, Any] | None = None,
    tell: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True),
) -> list[Record]:
    """Run the seeds that have no record yet, one after the other, and rebuild the views after each.

    A seed that another process trains is left for last, then waited for a few seconds.

    Args:
        sinks_for: each called with (store, seed) when a seed begins, to give the sink for its events.
        finished: called with each seed that has its record without being trained here.
        wait: for as long as other processes train seeds, instead of a few seconds.
        made: of `dglib.runs.provenance.made_by`, for the records.
        tell: given a line when a seed goes on from a checkpoint.

    Raises:
        UserError: a seed is held by another process, or a finished seed's record is damaged.
        Interrupted: a stop was asked for; finished seeds and the unfinished one's state are saved.
    """
    control = control or Control()
    left, patience = list(seeds), math.inf
    store.records()  # a damaged one is told now, not after hours of training
    with control.listening():
        while left:
            held = []
            for seed in left:
                with store.exclusive(seed) as mine:
                    if store.finished(seed):
                        if mine:  # a kill between the record and this leaves the checkpoint
                            store.clear(seed)
                        finished(seed)
                        continue
                    if not mine:
                        held.append(seed)
                    else:
                        _run_held_seed(
                            store,
                            seed,
                            data,
                            numerics,
                            checkpoint_seconds=checkpoint_seconds,
                            checkpoint_epochs=checkpoint_epochs,
                            control=control,
                            sinks=[make(store, seed) for make in sinks_for],
                            tell=tell,
                            made=made,
                        )
                        patience = math.inf
            if held and control.stopping():
                raise Interrupted
            patience = math.inf if wait else min(patience, time.monotonic() + HELD_SECONDS)
            if held and time.monotonic() > patience:
                raise UserError(
                    f"{store.spec.name} seed {held[0]} is being trained by {store.holder(held[0])} in"
                    f" {store.directory}; give the same command again when it has finished"
                )
            if held:
                time.sleep(0.2)
            left = held
    return [record for record in store.rebuild_views() if record["seed"] in set(seeds)]


def _run_held_seed(
    store: Store,
    seed: int,
    data: Dataset,
    numerics: Numerics,
    *,
    tell: Callable[[str], None],
    **options: Any,
) -> None:
    """Train a seed that this process holds, and note the attempt: when, from which step, how it ended."""
    attempt = store.begin_attempt(seed)

    def resumed(steps: int, steps_per_epoch: int) -> None:
        lost = attempt.begin(steps, steps_per_epoch)
        if steps:
            tell(f"{store.spec.name} seed {seed}: going on from step {steps}; about {lost} steps are lost")

    how = "failed"
    try:
        path = store.files(seed).checkpoint
        options |= {"checkpoint_path": path, "former_jobs": store.former_jobs(seed)}
        record = run_seed(store.spec, seed, data, numerics, resumed=resumed, **options)
        if not store.save(record):
            tell(f"{store.spec.name} seed {seed}: finished elsewhere first; our record lies beside that one")
        store.rebuild_views()
        how = "done"
    except Interrupted:
        how = "stopped"
        raise
    finally:
        attempt.end(how)
