"""Jobs done side by side on this machine, each in a process of its own that does one after the other."""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from dglib.campaign.jobs import Job
from dglib.campaign.scheduler import Schedule, Watch
from dglib.control import unwinding
from dglib.registry import module_path

STOP_SECONDS = 130.0  # a worker gives up by itself somewhat before
TURN_SECONDS = 0.2
WORKER = (sys.executable, "-m", "dglib.campaign.worker")

Answers = queue.Queue[tuple["_Worker", dict[str, Any] | None]]


def run(jobs: Sequence[Job], slots: Sequence[Mapping[str, str]], watch: Watch) -> None:
    """Do all jobs in their order, one at a time in each slot; one that fails does not stop the others.

    A worker that dies is replaced, and its job begun again.

    Args:
        slots: environment variables of each worker, as the GPU that it sees.

    Raises:
        KeyboardInterrupt: after all running jobs have saved their state and ended.
    """
    schedule = Schedule(jobs, watch)
    try:
        with unwinding(), _Pool(schedule, slots) as pool:
            while not schedule.over():
                pool.turn()
    finally:
        schedule.close()


class _Pool:
    """The workers, at most one in each slot."""

    def __init__(self, schedule: Schedule, slots: Sequence[Mapping[str, str]]) -> None:
        self._schedule, self._slots = schedule, slots
        self._workers: list[_Worker | None] = [None] * len(slots)
        self._alive: set[_Worker] = set()  # those that are leaving, too
        self._answers: Answers = queue.Queue()

    def turn(self) -> None:
        """Give jobs to who is free, and wait a moment for an answer."""
        for number, worker in enumerate(self._workers):
            if worker is not None and worker.job is not None:
                continue
            job = self._schedule.next()
            if job is None:
                break
            if worker is None or not worker.give(job):
                worker = self._workers[number] = _Worker(self._slots[number], self._answers)
                self._alive.add(worker)
                worker.give(job)  # one that ended at once is found out by its silence
            self._schedule.begun(job, pid=worker.process.pid, host=socket.gethostname())
        with suppress(queue.Empty):
            self._take(*self._answers.get(timeout=TURN_SECONDS))
        self._schedule.look()

    def _take(self, worker: _Worker, answer: dict[str, Any] | None) -> None:
        job, worker.job = worker.job, None
        if answer is None or answer.get("last"):
            self._workers = [None if each is worker else each for each in self._workers]
        if answer is None:  # the worker has ended
            self._alive.discard(worker)
            reason = worker.end(job)
            if job is not None:
                self._schedule.lost(job, reason)
        elif job is None:
            return
        elif "done" in answer:
            self._schedule.done(job, answer["done"])
        elif "failed" in answer:
            self._schedule.failed(job, answer["failed"])
        else:
            self._schedule.stopped(job)

    def __enter__(self) -> _Pool:
        return self

    def __exit__(self, *_: object) -> None:
        """Have everything stopped after a checkpoint, and take the last answers."""
        for worker in self._alive:
            worker.dismiss()
        deadline = time.monotonic() + STOP_SECONDS
        while self._alive:
            if time.monotonic() > deadline:
                for worker in self._alive:
                    worker.process.kill()
            with suppress(queue.Empty):
                worker, answer = self._answers.get(timeout=TURN_SECONDS)
                if answer is None and worker.job is not None:
                    self._schedule.stopped(worker.job)  # before it had anything to save
                    worker.job = None
                self._take(worker, answer)


class _Worker:
    """A process of `dglib.campaign.worker`, out of reach of the terminal's Ctrl-C."""

    def __init__(self, environment: Mapping[str, str], answers: Answers) -> None:
        self.job: Job | None = None
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # what it says while it does no job
        quiet = {"TQDM_DISABLE": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
        self.process = subprocess.Popen(
            WORKER,
            stdin=subprocess.PIPE,  # closed when this process ends, whatever ends it
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**os.environ, **quiet, "PYTHONPATH": module_path(), **environment},
            start_new_session=True,
        )
        threading.Thread(target=self._listen, args=(answers,), daemon=True).start()

    def give(self, job: Job) -> bool:
        """Hand a job over; False where the process has ended meanwhile."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(job.message()).encode() + b"\n")
            self.process.stdin.flush()
        except OSError:
            return False
        finally:
            self.job = job
        return True

    def dismiss(self) -> None:
        """Ask the process to end, after a checkpoint where it has a job."""
        assert self.process.stdin is not None
        with suppress(OSError):
            self.process.stdin.close()

    def end(self, job: Job | None) -> str:
        """Collect the process; how it ended, in words."""
        code = self.process.wait()
        self.dismiss()
        with self._log:
            self._log.seek(0)
            lines = self._log.read().decode(errors="replace").strip().splitlines()
        if code < 0:
            return f"its process was ended by {signal.Signals(-code).name}"
        if job is not None and job.log.exists():
            lines += job.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        last = next((line for line in reversed(lines) if not line.startswith("-- ")), "")
        return f"its process ended with status {code}" + (f" ({last})" if last else "")

    def _listen(self, answers: Answers) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                with suppress(ValueError):  # a line torn by a kill
                    answers.put((self, json.loads(line)))
        answers.put((self, None))
