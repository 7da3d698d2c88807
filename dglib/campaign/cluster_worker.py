"""Runs a job in a Dask worker's process.

A task runs in a thread of its own, where no signal arrives. So another thread checks a few times a second
whether the job is still wanted, and asks it to stop after a checkpoint where not: it was cancelled, the
scheduler or the client has gone, or the worker is closing.
"""

from __future__ import annotations

import platform
import threading
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from distributed import Status, Worker, get_worker

from dglib.campaign import worker
from dglib.control import Control
from dglib.runs import provenance

CHECK_SECONDS = 0.2
CLOSING = (Status.closing, Status.closing_gracefully, Status.closed, Status.stopping, Status.failed)


@lru_cache(maxsize=1)
def software() -> str:
    """What results depend on, in words: the code and versions."""
    python = ".".join(platform.python_version_tuple()[:2])
    made = {**provenance.code(), "python": python, "torch": version("torch")}
    return provenance.line(made).removeprefix("made by ")


def run_job(job: Mapping[str, Any]) -> dict[str, Any]:
    """As `dglib.campaign.worker.run_job`, as a task, with the address of the `worker`.

    It waits for a seed that another process trains. {"unsuitable": reason} where results would differ from
    those of the machine that gave the job.
    """
    me, control, over = get_worker(), Control(), threading.Event()
    key = me.get_current_task()

    def watch() -> None:
        while not over.wait(CHECK_SECONDS):
            task = me.state.tasks.get(key)
            if task is None or task.state != "executing" or me.status in CLOSING:
                control.stop()
                return

    threading.Thread(target=watch, daemon=True).start()
    try:
        reason = unsuitable(job, me)
        answer = {"unsuitable": reason} if reason else worker.run_job(job, control=control, wait=True)
        return {**answer, "worker": me.address}
    finally:
        over.set()


def unsuitable(job: Mapping[str, Any], me: Worker) -> str:
    """Why a worker cannot run a job as the machine that gave it would; empty for nothing."""
    if (threads := me.state.nthreads) > 1:
        return f"has {threads} threads; start it with --nthreads 1, one worker for each job"
    if software() != job["software"]:
        return f"has {software()}, and this machine {job['software']}: they must be the same"
    if not Path(job["record"]).exists():
        return f"does not see {Path(job['record']).parent} as it is here"
    return ""
