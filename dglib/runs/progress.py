"""Sinks that show where a run stands: a bar for the eyes, heartbeats for other processes."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from tqdm.auto import tqdm

from dglib.errors import StorageError
from dglib.files import to_json, write_atomically
from dglib.protocol import engine
from dglib.protocol.events import EpochDone, Evaluated, Event, SeedDone, Sink
from dglib.protocol.spec import ExperimentSpec
from dglib.runs.store import Store

HEARTBEAT_SECONDS = 1.0


class Bar:
    """One bar for all seeds of an experiment, in epochs. A seed that ends early fills its share.

    Beside it stand seed, phase, λ, the seed's epoch and the last error. The time left is by the epochs that
    were trained here: what was found finished or was left out counts for no speed.
    """

    def __init__(self, spec: ExperimentSpec, n_seeds: int) -> None:
        self._planned = engine.planned_epochs(spec)
        self._bar = tqdm(total=self._planned * n_seeds, desc=spec.name, unit="epoch", dynamic_ncols=True)
        self._ended = 0

    def skip_seed(self) -> None:
        """Count a seed that is finished already."""
        self._ended += 1
        if self._bar.disable:  # it keeps no numbers then
            return
        leap = self._planned * self._ended - self._bar.n
        self._bar.initial += leap
        self._bar.last_print_n += leap
        self._bar.n += leap
        self._bar.refresh()

    def sink(self, store: Store, seed: int) -> Sink:
        shown: dict[str, Any] = {"seed": seed}
        done = 0

        def show(event: Event) -> None:
            nonlocal done
            match event:
                case EpochDone():
                    done += 1
                    shown.update(phase=event.phase, λ=f"{event.lam:g}", epoch=f"{done}/{self._planned}")
                    self._bar.set_postfix(shown, refresh=False)
                    self._bar.update(1)
                case Evaluated():
                    shown["error"] = "nan" if event.error is None else f"{event.error:.3f}"
                    self._bar.set_postfix(shown, refresh=False)
                case SeedDone():
                    self.skip_seed()

        return show

    def tell(self, line: str) -> None:
        """Print a line above the bar."""
        self._bar.write(line)

    def close(self) -> None:
        self._bar.close()


def heartbeat(store: Store, seed: int) -> Sink:
    """Keeps `heartbeats/<seed>.json`: phase, λ, epoch, error and planned epochs, at most once a second."""
    path = store.files(seed).heartbeat
    planned = engine.planned_epochs(store.spec)
    now: dict[str, Any] = {
        "experiment": store.spec.name,
        "seed": seed,
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "epochs_done": 0,
        "epochs_planned": planned,
    }
    written = 0.0

    def beat(event: Event) -> None:
        nonlocal written
        now.update(arm=event.arm, phase=event.phase, **{"lambda": event.lam}, epoch=event.epoch)
        if isinstance(event, EpochDone):
            now["epochs_done"] += 1
        if isinstance(event, Evaluated):
            now["error"] = event.error
        if isinstance(event, SeedDone):
            now["outcome"] = event.outcome
        if isinstance(event, SeedDone) or time.monotonic() - written >= HEARTBEAT_SECONDS:
            now["updated"] = datetime.now(UTC).isoformat(timespec="milliseconds")
            with suppress(StorageError):  # only a hint for watchers
                write_atomically(path, to_json(now))
            written = time.monotonic()

    return beat
