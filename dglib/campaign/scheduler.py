"""The scheduler: one loop that gives jobs to a backend and decides what becomes of them.

A backend runs jobs in worker processes: of this machine (`local.LocalBackend`) or of a Dask cluster
(`cluster.ClusterBackend`). Which job is next, how often a lost one is repeated and what is recorded is the
same for both. Each job's record is written at every change, see `status`.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any

from dglib.campaign.jobs import Job
from dglib.campaign.status import CampaignMonitor, write_record
from dglib.errors import UserError
from dglib.files import make_directory

RETRIES = 3  # of a job whose process died, without an epoch completed in between
UPDATE_SECONDS = 5.0  # between two updates of the records of running jobs
POLL_SECONDS = 0.2
STOP_SECONDS = 130.0  # for running jobs to save their state; a worker gives up somewhat earlier

Answer = Mapping[str, Any]
"""How a job ended: {"done": result}, {"failed": reason}, {"stopped": True} or {"lost": reason}."""


class Backend(AbstractContextManager["Backend", None]):
    """Worker processes, each of which runs one job at a time. A context: workers end with it.

    Attributes:
        at_once: how many jobs at a time, as far as that is known here.
    """

    at_once: int

    @abstractmethod
    def start(self, job: Job) -> bool:
        """Give a job to a free worker. False where none is free."""

    @abstractmethod
    def poll(self, timeout: float) -> list[tuple[Job, Answer]]:
        """The jobs that have ended, waiting up to `timeout` seconds for the first."""

    @abstractmethod
    def stop(self) -> None:
        """Ask all running jobs to save their state and end; `poll` returns how they did."""


def run(jobs: Sequence[Job], backend: Backend, monitor: CampaignMonitor, fail_fast: bool = False) -> None:
    """Run all jobs; one that fails does not stop the others.

    Args:
        jobs: in the order in which they may start.
        backend: entered already. Its workers get none of this process's signals.
        fail_fast: start no job after one has failed; those that run end by themselves.

    Raises:
        UserError: the backend cannot be used, or the directory of the jobs' records cannot be written to.
        KeyboardInterrupt: after all running jobs have saved their state and ended.
    """
    schedule = Schedule(jobs, monitor, fail_fast)
    try:
        while schedule.next() or schedule.running():
            while (job := schedule.next()) and backend.start(job):
                schedule.started(job)
            for job, answer in backend.poll(POLL_SECONDS):
                schedule.ended(job, answer)
            schedule.refresh()
    except BaseException:
        schedule.stopping = True
        backend.stop()
        deadline = time.monotonic() + STOP_SECONDS
        with suppress(UserError):  # the backend is gone; its workers end by themselves
            while schedule.running() and time.monotonic() < deadline:
                for job, answer in backend.poll(POLL_SECONDS):
                    schedule.ended(job, answer)
        raise
    finally:
        schedule.close()


class Schedule:
    """The jobs' states and records. Makes the directory for the records."""

    def __init__(self, jobs: Sequence[Job], monitor: CampaignMonitor, fail_fast: bool = False) -> None:
        self._jobs, self._monitor, self._fail_fast = jobs, monitor, fail_fast
        self.stopping = False
        self._updated = float("-inf")
        self._epochs_at_start: dict[Job, int] = {}
        self._deaths: Counter[Job] = Counter()  # in a row, without an epoch completed between them
        for job in jobs:
            make_directory(job.record.parent, parents=True)
            make_directory(job.log.parent, parents=True)
            self._write(job)

    def running(self) -> list[Job]:
        return [job for job in self._jobs if job.status == "running"]

    def next(self) -> Job | None:
        """The first job that can start now, or None."""
        if self._fail_fast and any(job.status == "failed" for job in self._jobs):
            return None
        for job in self._jobs:
            if job.status == "waiting" and all(other.is_over for other in job.after):
                if job.seed is not None or job.message()["parameters"]["seeds"]:
                    return job
                job.status = "skipped"  # a notebook without a seed to show
                self._write(job)
        return None

    def started(self, job: Job) -> None:
        job.status, job.began = "running", time.time()
        job.ended, job.reason = None, ""
        job.attempts += 1
        self._epochs_at_start[job] = self._epochs(job)
        self._changed(job, "job_started", attempt=job.attempts)

    def ended(self, job: Job, answer: Answer) -> None:
        """Settle a job by its worker's answer."""
        match answer:
            case {"done": result}:
                job.result = dict(result)
                self._end(job, "done", f"{job.kind}_done", **job.result)
            case {"failed": reason}:
                self._fail(job, reason)
            case _ if self.stopping:
                self._end(job, "stopped", "job_stopped")
            case _:
                self._retry(job, answer.get("lost", "its worker was asked to end"))

    def refresh(self) -> None:
        """Update the records of running jobs: other machines see by them that the campaign runs."""
        if time.monotonic() - self._updated >= UPDATE_SECONDS:
            self._updated = time.monotonic()
            waiting = (job for job in self._jobs if not job.is_over)
            for job in self.running() or list(waiting)[:1]:
                self._write(job)
        self._monitor.refresh()

    def close(self) -> None:
        """What still runs was stopped; what waits keeps that status."""
        for job in self.running():
            self._end(job, "stopped", "job_stopped")

    def _retry(self, job: Job, reason: str) -> None:
        """Repeat a job whose process died, unless it dies again and again without completing an epoch.

        Workers may have an hour each, so a seed that advances in between is repeated without limit.
        """
        if self._epochs(job) > self._epochs_at_start[job]:
            del self._deaths[job]
        self._deaths[job] += 1
        if self._deaths[job] > RETRIES:
            self._fail(job, f"{reason}, {self._deaths[job]} times")
            return
        job.status = "waiting"
        self._changed(job, "job_retried", reason=reason, attempt=job.attempts + 1)

    def _fail(self, job: Job, reason: str) -> None:
        job.reason = reason
        self._end(job, "failed", "job_failed", reason=reason, log=str(job.log))

    def _end(self, job: Job, status: str, event: str, **facts: Any) -> None:
        job.status, job.ended = status, time.time()
        self._changed(job, event, **facts)

    def _changed(self, job: Job, event: str, **facts: Any) -> None:
        self._write(job)
        self._monitor.event(event, job, **facts)

    def _epochs(self, job: Job) -> int:
        """The epochs that a seed has completed, by its heartbeat."""
        beat = job.heartbeat()
        return 0 if beat is None else int(beat["epochs_done"])

    def _write(self, job: Job) -> None:
        try:
            write_record(job)
        except UserError:
            if job.status == "waiting" and not job.attempts:  # before any training
                raise
