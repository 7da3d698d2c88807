"""Jobs run by the workers of a Dask cluster: `--cluster tcp://head-node:8786`.

`dask scheduler` and `dask worker` start one, or dask-jobqueue under Slurm, PBS and others. Each worker runs
one job at a time. Our own scheduler decides what becomes of a job whose worker died, as for local workers.
Any number of commands may share a cluster, and any number of clusters a base directory: a seed is protected
by its lock.
"""

from __future__ import annotations

import logging
import queue
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from dglib.campaign.jobs import Job
from dglib.campaign.scheduler import Answer, Backend
from dglib.errors import UserError

if TYPE_CHECKING:
    from distributed import Client, Future

CONNECT_SECONDS = 10.0
REFRESH_SECONDS = 1.0  # between two questions for the workers
RESULT_SECONDS = 30.0


class ClusterBackend(Backend):
    """The workers of a cluster: Dask gives a job to one of them, and to another where that one dies.

    Args:
        address: of the scheduler.

    Raises:
        UserError: it is none, or Dask is missing.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        if not address.startswith(("tcp://", "tls://")):
            slurm = "; docs/running.md shows how Slurm starts its workers" if address[:5] == "slurm" else ""
            raise self._error(f"must be the address of a Dask scheduler, tcp://HOST:PORT{slurm}")
        if find_spec("distributed") is None:
            raise self._error("needs distributed: pip install -e .[cluster]")
        self.at_once = 1  # or more: only the cluster's scheduler has the number
        self._workers = 0
        self._refreshed = float("-inf")
        self._running: dict[str, tuple[Job, Future[Any]]] = {}  # by the task's key
        self._ended: queue.Queue[Future[Any]] = queue.Queue()
        self._stopping = False
        self._client: Client

    def __enter__(self) -> ClusterBackend:
        """Connect.

        Raises:
            UserError: no scheduler answers.
        """
        from distributed import Client

        for name in ("distributed", "distributed.client"):  # our own lines report lost connections
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        try:
            self._client = Client(self._address, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            raise self._error(f"no scheduler answers there ({_line(error)})") from None
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def start(self, job: Job) -> bool:
        from dglib.campaign import cluster_worker

        if len(self._running) >= self._workers:
            return False
        future = self._client.submit(
            cluster_worker.run_job,
            {**job.message(), "software": cluster_worker.software()},
            key=f"dglib-{job.key}-{time.monotonic_ns()}",
            pure=False,
        )
        self._running[future.key] = job, future
        future.add_done_callback(self._ended.put)
        return True

    def poll(self, timeout: float) -> list[tuple[Job, Answer]]:
        """As `Backend.poll`.

        Raises:
            UserError: the scheduler is gone, or a worker cannot run the jobs.
        """
        from distributed import KilledWorker

        if self._stopping:
            jobs = [job for job, _ in self._running.values()]
            self._running.clear()
            return [(job, {"stopped": True}) for job in jobs]
        self._refresh()
        try:
            future = self._ended.get(timeout=timeout)
        except queue.Empty:
            return []
        if future.status == "cancelled":  # not by us: Dask cancels all when it loses the scheduler
            with self._scheduler_there():
                raise ConnectionError
        try:
            answer: dict[str, Any] = future.result(timeout=RESULT_SECONDS)
        except KilledWorker as error:
            answer = {"lost": f"its workers died: {_line(error)}"}
        except Exception as error:  # of Dask, or of a worker without dglib
            raise self._error(f"a worker cannot run the jobs: {_line(error)}") from None
        if "unsuitable" in answer:
            raise self._error(f"worker {answer['worker']} {answer['unsuitable']}")
        job, _ = self._running.pop(future.key)
        if "stopped" in answer:
            answer = {"lost": f"its worker {answer['worker']} is closing"}
        if "failed" in answer and answer["last"]:  # something broke in the process, such as its CUDA context
            with suppress(Exception):  # one without a nanny, or gone
                self._client.restart_workers([answer["worker"]], raise_for_error=False)
        return [(job, answer)]

    def stop(self) -> None:
        """Cancel all jobs. Their workers notice it within a second, save their seeds and take other jobs."""
        self._stopping = True
        with suppress(UserError), self._scheduler_there():
            self._client.cancel([future for _, future in self._running.values()])

    def _refresh(self) -> None:
        """Ask how many workers there are, at most once a second."""
        if time.monotonic() - self._refreshed < REFRESH_SECONDS:
            return
        first, self._refreshed = self._refreshed < 0, time.monotonic()
        with self._scheduler_there():
            before, self._workers = self._workers, len(self._client.nthreads())
        if not self._workers and (before or first):
            print("run_all: waiting for a worker of the cluster", file=sys.stderr, flush=True)

    @contextmanager
    def _scheduler_there(self) -> Iterator[None]:
        """UserError where the scheduler is gone."""
        reason = "the scheduler is gone; its workers save their seeds' states and end, and the same command"
        try:
            if self._client.status != "running":
                raise ConnectionError
            yield
        except (OSError, RuntimeError) as error:  # a client that has been closed raises no OSError
            raise self._error(f"{reason} resumes once there is a cluster again") from error

    def _error(self, reason: str) -> UserError:
        return UserError(f"--cluster {self._address}: {reason}")


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
