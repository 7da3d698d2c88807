"""Functions that run in a Dask worker's process: describe it, run a job, stop one after a checkpoint.

A task runs in a thread of its own, where no signal arrives. So another thread checks a few times a second
whether the job is still wanted, and asks it to stop where not: it was stopped, the scheduler or the client
has gone, or the worker is closing.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import platform
import threading
from collections.abc import Collection, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from distributed import Status, Worker, get_worker

from dglib.campaign import worker
from dglib.control import Control
from dglib.runs import provenance
from dglib.runs.liveness import this_process

CHECK_SECONDS = 0.2
LEAVING = (Status.closing, Status.closing_gracefully, Status.closed, Status.stopping, Status.failed)


def describe(probes: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
    """This process (`pid`, `host`), its software, and `sees`: what is wrong with a shared directory.

    Args:
        probes: paths of files just written to the directories, and their contents.
    """
    known = provenance.versions()
    code = hashlib.sha256()
    for path in sorted(provenance.HERE.rglob("*.py")):
        code.update(f"{path.relative_to(provenance.HERE)}\n".encode() + path.read_bytes())
    return {
        "dglib": known["dglib"],
        "commit": known["commit"],
        "code": code.hexdigest(),
        "python": ".".join(platform.python_version_tuple()[:2]),
        "torch": version("torch"),
        **this_process(),
        "sees": next(filter(None, (_sees(Path(path), content) for path, content in probes)), ""),
    }


def _sees(probe: Path, content: str) -> str:
    try:
        found = probe.read_text(encoding="utf-8")
    except OSError as error:
        return f"does not see {probe.parent} as it is here ({error.strerror or error})"
    if found != content:
        return f"sees another {probe.parent}"
    return "" if os.access(probe.parent, os.W_OK | os.X_OK) else f"cannot write to {probe.parent}"


def run_job(job: Mapping[str, Any]) -> dict[str, Any]:
    """As `dglib.campaign.worker.run_job`, as a task; it waits for a seed that another process trains."""
    me, control, over = get_worker(), Control(), threading.Event()
    key, state = me.get_current_task(), _state(me)

    def watch() -> None:
        while not over.wait(CHECK_SECONDS):
            task = me.state.tasks.get(key)
            wanted = task is not None and task.state == "executing" and key not in state.stops
            if not wanted or me.status in LEAVING:
                control.stop()
                return

    threading.Thread(target=watch, daemon=True).start()
    try:
        return worker.run_job(job, state.load, control=control, wait=True)
    finally:
        over.set()
        state.stops.discard(key)


def stop(keys: Collection[str], dask_worker: Worker) -> None:
    """Stop these tasks after a checkpoint; one that has not started yet, when it does."""
    _state(dask_worker).stops.update(keys)


async def leave() -> None:
    """End this process once the call has been answered; its nanny starts another."""
    await asyncio.sleep(0.5)
    os._exit(1)


class _State:
    """What lasts from one job to the next."""

    def __init__(self) -> None:
        self.stops: set[str] = set()
        self.load = worker.LastDataset()


def _state(of: Worker) -> _State:
    state: _State = vars(of).setdefault("_dglib", _State())
    return state
