"""Trains an experiment's seeds: those that have no record and that no other process trains."""

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
from dglib.runs.checkpoint import CHECKPOINT_EPOCHS, CHECKPOINT_SECONDS
from dglib.runs.progress import logged_attempt
from dglib.runs.seed import run_seed
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
    keep_states: bool = False,
    control: Control | None = None,
    sinks_for: Sequence[SinkFactory] = (),
    finished: Callable[[int], None] = lambda seed: None,
    wait: bool = False,
    made: Mapping[str, Any] | None = None,
    report: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True),
) -> list[Record]:
    """Train the seeds that have no record yet, one after the other, and rebuild the views after each.

    A seed that another process trains is left for last, then waited for a few seconds.

    Args:
        keep_states: keep the state at the end of every phase in the run directory's `states`.
        sinks_for: each called with (store, seed) when a seed begins, to give the sink for its events.
        finished: called with each seed that has its record without being trained here.
        wait: for as long as other processes train seeds, instead of a few seconds.
        made: of `dglib.runs.provenance.made_by`, for the records.
        report: given a line when a seed is resumed from a checkpoint.

    Raises:
        UserError: a seed is held by another process, or a finished seed's record is damaged.
        Interrupted: a stop was asked for; finished seeds and the unfinished one's state are saved.
    """
    control, left, patience = control or Control(), list(seeds), math.inf
    store.records()  # a damaged one is reported now, not after hours of training

    def train(seed: int) -> None:
        files, name = store.files(seed), f"{store.spec.name} seed {seed}"
        with logged_attempt(files.attempts, files.heartbeat) as begin:

            def resumed(steps: int, steps_per_epoch: int) -> None:
                lost = begin(steps, steps_per_epoch)
                if steps:
                    report(f"{name}: resuming at step {steps} (about {lost} steps lost)")

            record = run_seed(
                store.spec,
                seed,
                data,
                numerics,
                checkpoint_path=files.checkpoint,
                checkpoint_seconds=checkpoint_seconds,
                checkpoint_epochs=checkpoint_epochs,
                states=files.state.parent if keep_states else None,
                control=control,
                sinks=[make(store, seed) for make in sinks_for],
                resumed=resumed,
                made=made,
                former_jobs=store.former_jobs(seed),
            )
            if not store.save(record):
                report(f"{name}: finished elsewhere first; both records are kept")
            store.rebuild_views()

    with control.listening():
        while left:
            held = []
            for seed in left:
                with store.exclusive(seed) as mine:
                    if store.finished(seed):
                        if mine:  # a kill between the record and this leaves the checkpoint
                            store.clear(seed)
                        finished(seed)
                    elif mine:
                        train(seed)
                        patience = math.inf
                    else:
                        held.append(seed)
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
