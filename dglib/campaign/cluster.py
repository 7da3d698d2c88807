"""Jobs done by the workers of a Dask cluster: `run_all.py --cluster`, see `cluster_kinds` for which.

The same jobs in the same order as on this machine (`scheduler`), each given to one worker, which does
one at a time in its own process. Dask starts workers and tells which are there; what becomes of a job whose
worker died is decided here, so that attempts are counted and told as on this machine. Any number of commands
may share a cluster, and any number of clusters a base directory: a seed is its lock's.
"""

from __future__ import annotations

import queue
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from dglib.campaign.cluster_kinds import Place
from dglib.campaign.jobs import Job
from dglib.campaign.scheduler import Schedule, Watch
from dglib.control import unwinding
from dglib.errors import UserError

if TYPE_CHECKING:
    from distributed import Client, Future

    from dglib.campaign.cluster_members import Member, Roll

STOP_SECONDS = 130.0
TURN_SECONDS = 0.2
LOOK_SECONDS = 1.0
RESULT_SECONDS = 30.0
UNFIT_SECONDS = 60.0  # without any other worker


def run(jobs: Sequence[Job], there: Place, watch: Watch, begin: Callable[[], None] = lambda: None) -> None:
    """Do all jobs on a cluster; one that fails does not stop the others.

    Nothing is written but a file that is gone again, until a worker is there that can do the jobs.

    Args:
        there: of `dglib.campaign.cluster_kinds.place`.
        begin: called when there is a worker and nothing has been written.

    Raises:
        UserError: the cluster cannot be had, its workers differ from this machine, or its scheduler went.
        KeyboardInterrupt: after all running jobs have saved their state and ended.
    """
    from dglib.campaign.cluster_members import Roll

    with unwinding(), there.connected() as client:
        roll = Roll(client, sorted({job.plan.home for job in jobs}))
        _wait_for_one(roll, there)
        begin()
        schedule = Schedule(jobs, watch)
        try:
            with _Crew(schedule, client, roll, there) as crew:
                while not schedule.over():
                    crew.turn()
        finally:
            schedule.close()


def _wait_for_one(roll: Roll, there: Place) -> None:
    """Wait for the first worker, and refuse a cluster in which any cannot do the jobs."""
    began, told = time.monotonic(), False
    while True:
        there.renew()
        _look(roll, there)
        problems = roll.news()
        if problems:
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            raise UserError(f"--cluster {there.text}: {problems[0]}{more}")
        if roll.members:
            return
        waited = time.monotonic() - began
        if waited > there.patience:
            raise UserError(f"--cluster {there.text}: no worker has come within {there.patience:g} s")
        if waited > 5 and not told:
            told = True
            _tell(f"--cluster {there.text}: waiting for the first worker")
        time.sleep(TURN_SECONDS)


def _look(roll: Roll, there: Place) -> list[Member]:
    try:
        return roll.look()
    except (OSError, RuntimeError) as error:  # a client that has been closed raises no OSError
        raise _gone(there) from error


def _gone(there: Place) -> UserError:
    return UserError(
        f"--cluster {there.text}: the scheduler is gone; its workers save their seeds' states and end, and"
        " the same command goes on from there once there is a cluster again"
    )


def _tell(line: str) -> None:
    tqdm.write(f"run_all: {line}", file=sys.stderr)


class _Crew:
    """The workers at work."""

    def __init__(self, schedule: Schedule, client: Client, roll: Roll, there: Place) -> None:
        self._schedule, self._client, self._roll, self._there = schedule, client, roll, there
        self._ended: queue.Queue[Future[Any]] = queue.Queue()
        self._looked = time.monotonic()
        self._none_since: float | None = None

    def turn(self) -> None:
        """Give jobs to who is free, and wait a moment for an answer."""
        self._look()
        for member in self._roll.members.values():
            if member.job is None:
                job = self._schedule.next()
                if job is None:
                    break
                self._give(member, job)
        with suppress(queue.Empty):
            self._take(self._ended.get(timeout=TURN_SECONDS))
        self._schedule.look()

    def _look(self) -> None:
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        self._there.renew()
        for member in _look(self._roll, self._there):
            job, future = member.job, member.future
            member.job = member.future = None
            if future is not None:
                future.cancel()
            if job is not None:
                self._schedule.lost(job, f"its worker ({member}) went")
        for problem in self._roll.news():
            _tell(f"{problem}; it gets no job")
        if self._roll.members:
            self._none_since = None
        elif self._none_since is None:
            self._none_since = time.monotonic()
            _tell("no worker is left; waiting for one")
        elif self._roll.unfit and time.monotonic() - self._none_since > UNFIT_SECONDS:
            worker, why = next(iter(self._roll.unfit.items()))
            none = "no worker is left that can do the jobs"
            raise UserError(f"--cluster {self._there.text}: {none}: worker {worker} {why}")

    def _give(self, member: Member, job: Job) -> None:
        from dglib.campaign import cluster_worker

        member.job = job
        member.future = self._client.submit(
            cluster_worker.do,
            job.message(),
            key=f"dglib-{job.key}-{time.monotonic_ns()}",
            workers=[member.address],
            resources={"GPU": 1} if member.has_gpu else None,
            pure=False,
        )
        member.future.add_done_callback(self._ended.put)
        self._schedule.begun(job, pid=member.pid, host=member.host)

    def _take(self, future: Future[Any], stopping: bool = False) -> None:
        """What a task came to: an answer, or an error of Dask's."""
        member = next((m for m in self._roll.members.values() if m.future is future), None)
        if member is None or member.job is None:  # its worker went, and the job is another's by now
            return
        job, member.job, member.future = member.job, None, None
        if future.status == "cancelled":  # not by us: Dask cancels all when it loses the scheduler
            raise _gone(self._there)
        try:
            answer = future.result(timeout=RESULT_SECONDS)
        except Exception as error:
            reason = " ".join(str(error).split())
            answer = {"lost": f"its worker ({member}) failed: {type(error).__name__}: {reason}"}
        if "done" in answer:
            self._schedule.done(job, answer["done"])
        elif "failed" in answer:
            self._schedule.failed(job, answer["failed"])
            if answer.get("last"):
                self._replace(member)
        elif stopping and "stopped" in answer:
            self._schedule.stopped(job)
        else:
            self._schedule.lost(job, answer.get("lost", f"its worker ({member}) is closing"))

    def _replace(self, member: Member) -> None:
        """Have a process end in which something broke: a CUDA context stays broken."""
        from dglib.campaign import cluster_worker

        if member.has_nanny:
            del self._roll.members[member.address]
            self._client.run(cluster_worker.leave, workers=[member.address], wait=False, on_error="ignore")

    def __enter__(self) -> _Crew:
        return self

    def __exit__(self, *_: object) -> None:
        """Have everything stopped after a checkpoint, and take the last answers."""
        from dglib.campaign import cluster_worker

        busy = [m for m in self._roll.members.values() if m.job is not None]
        if not busy or self._client.status != "running":
            return
        keys = [m.future.key for m in busy if m.future is not None]
        self._client.run(cluster_worker.stop, keys, workers=[m.address for m in busy], on_error="ignore")
        deadline = time.monotonic() + STOP_SECONDS
        with suppress(UserError):
            while any(m.job is not None for m in busy) and time.monotonic() < deadline:
                with suppress(queue.Empty):
                    self._take(self._ended.get(timeout=TURN_SECONDS), stopping=True)
                _look(self._roll, self._there)
                for member in busy:
                    if self._roll.members.get(member.address) is not member:
                        member.job = None  # gone, with what it had saved
