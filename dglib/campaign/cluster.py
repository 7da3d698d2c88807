"""Jobs run by the workers of a Dask cluster: `--cluster`; `cluster_sources` has the clusters.

Dask starts workers and reports which are there; each gets one job at a time. The scheduler decides what
becomes of a job whose worker died, as for local workers. Any number of commands may share a cluster, and any
number of clusters a base directory: a seed is protected by its lock.
"""

from __future__ import annotations

import importlib
import queue
import secrets
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from dglib.campaign.cluster_sources import Cluster, cluster_of
from dglib.campaign.jobs import Job
from dglib.campaign.scheduler import Answer
from dglib.errors import UserError
from dglib.files import write_once

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["ClusterBackend", "cluster_of"]

MODULE = "dglib.campaign.cluster_worker"
REFRESH_SECONDS = 1.0
RESULT_SECONDS = 30.0
UNFIT_SECONDS = 60.0  # without any suitable worker


@dataclass(eq=False)
class Member:
    """A worker process that runs our jobs, one at a time."""

    address: str
    birth: str  # of this process: a worker may come back under the same address
    pid: int
    host: str
    has_gpu: bool
    has_nanny: bool
    job: Job | None = None
    future: Future[Any] | None = None

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


class Members:
    """The suitable workers of a cluster, as they come and go.

    Args:
        homes: directories that they must share with this machine.
    """

    def __init__(self, client: Client, homes: Sequence[Path]) -> None:
        self._client, self._homes = client, homes
        self._known: set[tuple[str, str]] = set()  # by address and birth
        self._reported: set[str] = set()
        self._ours = importlib.import_module(MODULE).describe()
        self.current: dict[str, Member] = {}
        self.unsuitable: dict[str, str] = {}  # the other workers, with the reason

    def refresh(self) -> list[Member]:
        """Bring `current` and `unsuitable` up to date. Returns the members that have gone.

        Raises:
            OSError: the scheduler does not answer.
        """
        if self._client.status != "running" or self._client.scheduler is None:
            raise ConnectionError("no connection to the scheduler")
        # What client.scheduler_info() returns, another thread replaces meanwhile, without the workers.
        found = self._client.sync(self._client.scheduler.identity, n_workers=-1)["workers"]
        births = {address: str(info["local_directory"]) for address, info in found.items()}
        gone = [each for each in self.current.values() if births.get(each.address) != each.birth]
        for each in gone:
            del self.current[each.address]
        new = {a: info for a, info in found.items() if (a, births[a]) not in self._known}
        self._known = set(births.items())
        self.unsuitable = {a: why for a, why in self.unsuitable.items() if a in found and a not in new}
        for address, answer in self._describe(new).items():
            if isinstance(answer, str):
                self.unsuitable[address] = answer
                continue
            gpu, nanny = bool(new[address]["resources"].get("GPU")), bool(new[address]["nanny"])
            pid, host = answer["pid"], answer["host"]
            self.current[address] = Member(address, births[address], pid, host, gpu, nanny)
        return gone

    def new_problems(self) -> list[str]:
        """What is wrong with unsuitable workers, in words; each is reported once."""
        new = self.unsuitable.keys() - self._reported
        self._reported = set(self.unsuitable)
        return [f"worker {address} {why}" for address, why in self.unsuitable.items() if address in new]

    def _describe(self, new: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any] | str]:
        """Of each worker its description, or what is wrong with it."""
        found: dict[str, dict[str, Any] | str] = {
            address: f"has {info['nthreads']} threads; start it with --nthreads 1, one worker for each job"
            for address, info in new.items()
            if info["nthreads"] > 1 and info["resources"].get("GPU") != 1
        }
        left = new.keys() - found
        # First a function of Python's own: one of ours cannot arrive where dglib is missing.
        for address, answer in self._ask(left, importlib.import_module, MODULE).items():
            if isinstance(answer, BaseException):
                found[address] = f"cannot import {MODULE}: {_line(answer)}"
        with ExitStack() as stack:
            probes = [stack.enter_context(_probe(home)) for home in self._homes]
            describe = importlib.import_module(MODULE).describe
            for address, answer in self._ask(left - found.keys(), describe, probes).items():
                failed = isinstance(answer, BaseException)
                problem = _line(answer) if failed else self._difference(answer)
                found[address] = problem or answer
        return found

    def _ask(self, addresses: Any, function: Any, *arguments: Any) -> dict[str, Any]:
        """What the function returns, or raises, on each of the workers."""
        if not addresses:
            return {}
        answers = self._client.run(function, *arguments, workers=list(addresses), on_error="return")
        return dict(answers)

    def _difference(self, theirs: dict[str, Any]) -> str:
        """In what a worker would make other results than this machine; empty for nothing."""
        ours = self._ours
        for name in ("python", "torch", "dglib"):
            if theirs[name] != ours[name]:
                return f"has {name} {theirs[name]}, this machine {ours[name]}; they must be the same"
        if theirs["code"] != ours["code"]:
            commits = [str(each["commit"])[:7] if each["commit"] else "unknown" for each in (theirs, ours)]
            where = "at {}, this machine at {}".format(*commits)
            same = "of the same commit, but changed since" if commits[0] == commits[1] else where
            return f"has other files of dglib than this machine: {same}; they must be the same"
        return str(theirs["sees"])


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
        started, reported = time.monotonic(), False
        while not self._members.current:
            self._cluster.renew()
            self._remove_gone()
            if problems := self._members.new_problems():
                more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
                raise self._error(f"{problems[0]}{more}")
            waited = time.monotonic() - started
            if waited > self._cluster.patience:
                raise self._error(f"no worker has come within {self._cluster.patience:g} s")
            if waited > 5 and not reported:
                reported = True
                _print(f"--cluster {self._cluster.text}: waiting for the first worker")
            time.sleep(0 if self._members.current else 0.2)

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
            raise self._error(f"no worker is left that can run the jobs: worker {worker} {why}")

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
        from dglib.campaign import cluster_worker

        member = next((m for m in self._members.current.values() if m.future is future), None)
        if member is None or member.job is None:  # its worker went, and the job was reported as lost
            return []
        if future.status == "cancelled":  # not by us: Dask cancels all when it loses the scheduler
            raise self._scheduler_gone()
        job, member.job, member.future = member.job, None, None
        try:
            answer: dict[str, Any] = future.result(timeout=RESULT_SECONDS)
        except Exception as error:
            answer = {"lost": f"its worker ({member}) failed: {_line(error)}"}
        if "stopped" in answer and not self._stopping:
            answer = {"lost": f"its worker ({member}) is closing"}
        if "failed" in answer and answer.get("last") and member.has_nanny:
            # Something broke in the process, such as its CUDA context; its nanny starts another.
            del self._members.current[member.address]
            self._client.run(cluster_worker.leave, workers=[member.address], wait=False, on_error="ignore")
        return [(job, answer)]

    def _error(self, reason: str) -> UserError:
        return UserError(f"--cluster {self._cluster.text}: {reason}")

    def _scheduler_gone(self) -> UserError:
        return self._error(
            "the scheduler is gone; its workers save their seeds' states and end, and the same command"
            " resumes once there is a cluster again"
        )


@contextmanager
def _probe(home: Path) -> Iterator[tuple[str, str]]:
    """A file with a random content in a directory, or in the first above it that exists, meanwhile."""
    home = home.absolute()
    there = next(each for each in (home, *home.parents) if each.is_dir())
    path, content = there / f".dglib-probe-{secrets.token_hex(8)}", secrets.token_hex(16)
    try:
        write_once(path, content.encode())
        yield str(path), content
    finally:
        path.unlink(missing_ok=True)


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _print(line: str) -> None:
    tqdm.write(f"run_all: {line}", file=sys.stderr)
