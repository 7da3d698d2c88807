"""What a Dask worker's process is asked: what it is, to do a job, to stop one after a checkpoint.

A task runs in a thread of its own, where no signal arrives. So while a job is done, another thread looks a
few times a second whether the job is still wanted, and asks it to stop where not: that was told, the
scheduler or the client has gone, or the worker is closing.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import platform
import signal
import socket
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from distributed import Status, Worker, get_worker

from dglib.campaign import worker
from dglib.control import Control
from dglib.runs import provenance

LOOK_SECONDS = 0.2
LEAVING = (Status.closing, Status.closing_gracefully, Status.closed, Status.stopping, Status.failed)


def describe() -> dict[str, Any]:
    """Which process this is (`pid`, `host`), and by what it would make results (the rest)."""
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
        "pid": os.getpid(),
        "host": socket.gethostname(),
    }


def sees(probe: str, content: str) -> str:
    """What is wrong with how this process sees the directory of a file just written; empty for nothing."""
    path = Path(probe)
    try:
        found = path.read_text(encoding="utf-8")
    except OSError as error:
        return f"does not see {path.parent} as it is here ({error.strerror or error})"
    if found != content:
        return f"sees another {path.parent}"
    if not os.access(path.parent, os.W_OK | os.X_OK):
        return f"cannot write to {path.parent}"
    return ""


def run_job(job: Mapping[str, Any]) -> dict[str, Any]:
    """As `dglib.campaign.worker.run_job`, as a task; a seed that another process trains is waited for."""
    me, control = get_worker(), Control()
    with _stopped_when_unwanted(control, me, me.get_current_task()):
        return worker.run_job(job, _kept(me).load, control=control, wait=True)


def stop(keys: Collection[str], dask_worker: Worker) -> None:
    """Have these tasks stopped after a checkpoint; one that has not begun yet, when it does."""
    _kept(dask_worker).stops.update(keys)


async def leave() -> None:
    """End this process once that has been answered; its nanny starts another."""
    await asyncio.sleep(0.5)
    os._exit(1)


def dask_setup(dask_worker: Worker) -> None:
    """Called when a worker of ours starts: the terminal's Ctrl-C is for the command, which tells us."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class _Kept:
    """What lasts from one job to the next. It hangs on the worker."""

    def __init__(self) -> None:
        self.stops: set[str] = set()
        self.load = worker.LastDataset()


def _kept(of: Worker) -> _Kept:
    kept: _Kept = vars(of).setdefault("_dglib", _Kept())
    return kept


@contextmanager
def _stopped_when_unwanted(control: Control, me: Worker, key: Any) -> Iterator[None]:
    over, stops = threading.Event(), _kept(me).stops

    def unwanted() -> bool:
        task = me.state.tasks.get(key)
        return key in stops or me.status in LEAVING or task is None or task.state != "executing"

    def look() -> None:
        while not over.wait(LOOK_SECONDS):
            if unwanted():
                control.stop()
                return

    threading.Thread(target=look, daemon=True).start()
    try:
        yield
    finally:
        over.set()
        stops.discard(key)
