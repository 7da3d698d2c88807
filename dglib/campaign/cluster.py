"""Jobs run by the workers of a Dask cluster: `run_all.py --cluster`; `cluster_kinds` says which clusters.

Dask starts workers and reports which are there; each gets one job at a time. What becomes of a job whose
worker died is decided by the scheduler, as for local workers. Any number of commands may share a cluster,
and any number of clusters a base directory: a seed is protected by its lock.
"""

from __future__ import annotations

import queue
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from dglib.campaign.cluster_kinds import Cluster
from dglib.campaign.jobs import Job
from dglib.campaign.scheduler import Answer
from dglib.errors import UserError

if TYPE_CHECKING:
    from distributed import Client, Future

    from dglib.campaign.cluster_members import Member, Members

FIRST_POLL_SECONDS = 0.2
REFRESH_SECONDS = 1.0
RESULT_SECONDS = 30.0
UNFIT_SECONDS = 60.0  # without any suitable worker


class ClusterBackend:
    """The suitable workers of a cluster.

    Args:
        homes: directories that workers must share with this machine.
    """

    def __init__(self, cluster: Cluster, homes: Sequence[Path]) -> None:
        self._cluster, self._homes = cluster, homes
        self._ended: queue.Queue[Future[Any]] = queue.Queue()
        self._lost: list[tuple[Job, Answer]] = []
        self._stopping = False
        self._refreshed = time.monotonic()
        self._none_since: float | None = None
        self._context = ExitStack()
        self._client: Client
        self._members: Members

    def __enter__(self) -> ClusterBackend:
        """Connect, and wait for the first suitable worker.

        Raises:
            UserError: the cluster cannot be reached, or a worker differs from this machine.
        """
        from dglib.campaign.cluster_members import Members

        with ExitStack() as stack:
            self._client = stack.enter_context(self._cluster.connected())
            self._members = Members(self._client, self._homes)
            self._wait_for_first()
            self._context = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._context.close()

    def start(self, job: Job) -> dict[str, Any] | None:
        from dglib.campaign import cluster_worker

        member = next((m for m in self._members.current.values() if m.job is None), None)
        if member is None:
            return None
        member.job = job
        member.future = self._client.submit(
            cluster_worker.run_job,
            job.message(),
            key=f"dglib-{job.key}-{time.monotonic_ns()}",
            workers=[member.address],
            resources={"GPU": 1} if member.has_gpu else None,
            pure=False,
        )
        member.future.add_done_callback(self._ended.put)
        return {"pid": member.pid, "host": member.host}

    def poll(self, timeout: float) -> list[tuple[Job, Answer]]:
        """As `Backend.poll`.

        Raises:
            UserError: the scheduler is gone, or for some time no worker was suitable.
        """
        self._refresh()
        found, self._lost = self._lost, []
        if found:
            return found
        try:
            return self._settle(self._ended.get(timeout=timeout))
        except queue.Empty:
            return []

    def stop(self) -> None:
        from dglib.campaign import cluster_worker

        self._stopping = True
        busy = [m for m in self._members.current.values() if m.job is not None]
        if busy and self._client.status == "running":
            keys = [m.future.key for m in busy if m.future is not None]
            self._client.run(cluster_worker.stop, keys, workers=[m.address for m in busy], on_error="ignore")

    def _wait_for_first(self) -> None:
        began, reported = time.monotonic(), False
        while True:
            self._cluster.renew()
            self._remove_gone()
            problems = self._members.new_problems()
            if problems:
                more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
                raise UserError(f"--cluster {self._cluster.text}: {problems[0]}{more}")
            if self._members.current:
                return
            waited = time.monotonic() - began
            if waited > self._cluster.patience:
                raise UserError(
                    f"--cluster {self._cluster.text}: no worker has come within {self._cluster.patience:g} s"
                )
            if waited > 5 and not reported:
                reported = True
                _print(f"--cluster {self._cluster.text}: waiting for the first worker")
            time.sleep(FIRST_POLL_SECONDS)

    def _refresh(self) -> None:
        """Take note of workers that came and went."""
        if time.monotonic() - self._refreshed < REFRESH_SECONDS:
            return
        self._refreshed = time.monotonic()
        if not self._stopping:
            self._cluster.renew()
        self._remove_gone()
        for problem in self._members.new_problems():
            _print(f"{problem}; it gets no job")
        if self._members.current or self._stopping:
            self._none_since = None
        elif self._none_since is None:
            self._none_since = time.monotonic()
            _print("no worker is left; waiting for one")
        elif self._members.unsuitable and time.monotonic() - self._none_since > UNFIT_SECONDS:
            worker, why = next(iter(self._members.unsuitable.items()))
            none = "no worker is left that can do the jobs"
            raise UserError(f"--cluster {self._cluster.text}: {none}: worker {worker} {why}")

    def _remove_gone(self) -> None:
        try:
            gone = self._members.refresh()
        except (OSError, RuntimeError) as error:  # a client that has been closed raises no OSError
            raise self._scheduler_gone() from error
        for member in gone:
            if member.future is not None:
                member.future.cancel()
            if member.job is not None:
                self._lost.append((member.job, {"lost": f"its worker ({member}) went"}))
            member.job = member.future = None

    def _settle(self, future: Future[Any]) -> list[tuple[Job, Answer]]:
        """The answer of a task that has ended, or Dask's error in its place."""
        member = next((m for m in self._members.current.values() if m.future is future), None)
        if member is None or member.job is None:  # its worker went, and the job was reported as lost
            return []
        job, member.job, member.future = member.job, None, None
        if future.status == "cancelled":  # not by us: Dask cancels all when it loses the scheduler
            member.job = job
            raise self._scheduler_gone()
        try:
            answer: dict[str, Any] = future.result(timeout=RESULT_SECONDS)
        except Exception as error:
            reason = " ".join(str(error).split())
            answer = {"lost": f"its worker ({member}) failed: {type(error).__name__}: {reason}"}
        if "stopped" in answer and not self._stopping:
            answer = {"lost": f"its worker ({member}) is closing"}
        if "failed" in answer and answer.get("last"):
            self._replace(member)
        return [(job, answer)]

    def _replace(self, member: Member) -> None:
        """End a process in which something broke, such as its CUDA context; its nanny starts another."""
        from dglib.campaign import cluster_worker

        if member.has_nanny:
            del self._members.current[member.address]
            self._client.run(cluster_worker.leave, workers=[member.address], wait=False, on_error="ignore")

    def _scheduler_gone(self) -> UserError:
        return UserError(
            f"--cluster {self._cluster.text}: the scheduler is gone; its workers save their seeds' states and"
            " end, and the same command resumes once there is a cluster again"
        )


def _print(line: str) -> None:
    tqdm.write(f"run_all: {line}", file=sys.stderr)
