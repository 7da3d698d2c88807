"""Which job is next, and what becomes of one that ended: the same for this machine's workers and a cluster's.

    schedule = Schedule(jobs, watch)
    while not schedule.over():
        while (place is free) and (job := schedule.next()):
            ...  # have job.message() done by dglib.campaign.work
            schedule.begun(job)
        ...  # schedule.done(job, result), .failed(job, reason), .lost(job, reason) as answers come
        schedule.look()

Each job's record, `jobs/<key>.json` below its plan's home, is written at every change: `run_all.py status`
reads it.
"""

from __future__ import annotations

import os
import socket
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from dglib.campaign.jobs import Job
from dglib.errors import StorageError, UserError
from dglib.files import to_json, write_atomically
from dglib.heartbeats import standing

RETRIES = 3  # of a job whose process died, until it gets on
PULSE_SECONDS = 10.0


class Watch(Protocol):
    """Is told what happens."""

    def event(self, name: str, job: Job, **facts: Any) -> None:
        """Something happened to a job: "job_started", "seed_done" and the like."""

    def look(self) -> None:
        """Called a few times a second."""


class Schedule:
    """The jobs of a campaign from the first to the last. Makes the directory for their records.

    Raises:
        UserError: that directory cannot be made or written to.
    """

    def __init__(self, jobs: Sequence[Job], watch: Watch) -> None:
        self._jobs, self._watch = jobs, watch
        self._me = {"pid": os.getpid(), "host": socket.gethostname()}
        self._homes = sorted({job.plan.home / "jobs" for job in jobs})
        self._beaten = 0.0
        self._found: dict[Job, int] = {}  # the epochs at which each was begun last
        self._deaths: Counter[Job] = Counter()  # in a row, without an epoch between them
        self._placed: set[Job] = set()  # whose records name their directory
        for home in self._homes:
            try:
                home.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StorageError.of(home, error) from error
        for job in jobs:
            job.log.parent.mkdir(parents=True, exist_ok=True)
            self._write(job)

    def over(self) -> bool:
        return all(job.is_over for job in self._jobs)

    def running(self) -> list[Job]:
        return [job for job in self._jobs if job.status == "running"]

    def next(self) -> Job | None:
        """The first job that can begin now, None where there is none."""
        for job in self._jobs:
            if job.status == "waiting" and all(other.is_over for other in job.after):
                if job.seed is not None or job.message()["parameters"]["seeds"]:
                    return job
                job.status = "skipped"
                self._write(job)
        return None

    def begun(self, job: Job, **process: Any) -> None:
        """A job was given to a process, of which `pid` and `host` may be known."""
        job.status, job.began, job.process = "running", time.time(), process
        job.ended, job.reason = None, ""
        job.attempts += 1
        self._found[job] = self._epochs(job)
        self._change(job, "job_started", attempt=job.attempts)

    def done(self, job: Job, result: Mapping[str, Any]) -> None:
        """A job returned. A seed's record must be there: an answer alone is no proof."""
        job.result = dict(result)
        if job.seed is not None and not self._has_record(job):
            self.failed(job, f"no record of {job.seed_id} in {result.get('directory')}")
            return
        self._end(job, "done", "summary_done" if job.seed is None else "seed_done", **job.result)

    def failed(self, job: Job, reason: str) -> None:
        """A job failed for a reason that would be the same the next time."""
        job.reason = reason
        self._end(job, "failed", "job_failed", reason=reason, log=str(job.log))

    def lost(self, job: Job, reason: str) -> None:
        """The process that did a job has died: the job is begun again, unless that happens over and over.

        A seed that has got on in between may go on: its workers may be of those that have an hour each.
        """
        if self._epochs(job) > self._found[job]:
            del self._deaths[job]
        self._deaths[job] += 1
        if self._deaths[job] > RETRIES:
            self.failed(job, f"{reason}, {self._deaths[job]} times")
            return
        job.status = "waiting"
        self._change(job, "job_retried", reason=reason, attempt=job.attempts + 1)

    def stopped(self, job: Job) -> None:
        """A job was stopped on request; the same command goes on from there."""
        self._end(job, "stopped", "job_stopped")

    def look(self) -> None:
        """To be called a few times a second: keeps records and pulse up to date and lets the watcher look."""
        for job in self.running():
            if job not in self._placed and job.seed is not None and job.directory() is not None:
                self._placed.add(job)
                self._write(job)
        if time.monotonic() - self._beaten >= PULSE_SECONDS:
            self._beaten = time.monotonic()
            for home in self._homes:
                with suppress(StorageError):  # only a hint for watchers
                    write_atomically(self._pulse(home), to_json({**self._me, "updated": time.time()}))
        self._watch.look()

    def close(self) -> None:
        """Nothing more will be done: what still runs was stopped, what waits goes on waiting."""
        for job in self.running():
            self.stopped(job)
        for home in self._homes:
            with suppress(OSError):
                self._pulse(home).unlink(missing_ok=True)

    def _end(self, job: Job, status: str, event: str, **facts: Any) -> None:
        job.status, job.ended = status, time.time()
        self._change(job, event, **facts)

    def _change(self, job: Job, event: str, **facts: Any) -> None:
        self._write(job)
        self._watch.event(event, job, **facts)

    def _has_record(self, job: Job) -> bool:
        directory = job.directory()
        return directory is not None and (directory / "seeds" / f"{job.seed_id}.json").exists()

    def _epochs(self, job: Job) -> int:
        """The epochs that a seed is known to have been trained."""
        directory = job.directory() if job.seed_id is not None else None
        beat = None if directory is None else standing(directory, job.seed_id or "")
        return 0 if beat is None else int(beat["epochs_done"])

    def _pulse(self, home: Path) -> Path:
        return home / f"owner-{self._me['host']}-{self._me['pid']}.json"

    def _write(self, job: Job) -> None:
        home = job.plan.home.absolute()
        directory = None if job.seed is None or job.status == "waiting" else job.directory()
        record = {
            "key": job.key,
            "kind": job.kind,
            "experiment": job.plan.experiment,
            "seed": job.seed,
            "cell": job.plan.cell,
            "status": job.status,
            "reason": job.reason,
            "attempts": job.attempts,
            "began": job.began,
            "ended": job.ended,
            "directory": None if directory is None else _from(home, directory.absolute()),
            "base": _from(home, job.plan.base.absolute()),
            "seed_id": job.seed_id,
            "log": _from(home, job.log.absolute()),
            "owner": self._me,
            "process": job.process,
        }
        try:
            write_atomically(home / "jobs" / f"{job.key}.json", to_json(record, indent=1))
        except UserError:
            if (
                job.status == "waiting" and not job.attempts
            ):  # nothing has been done yet: a disk to be told of
                raise


def _from(home: Path, path: Path) -> str:
    """A path below `home` from there on, since other machines may see it elsewhere."""
    return str(path.relative_to(home)) if path.is_relative_to(home) else str(path)
