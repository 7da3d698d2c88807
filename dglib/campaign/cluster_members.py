"""Which of a cluster's workers can do our jobs: those that would make the same results as this machine."""

from __future__ import annotations

import importlib
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dglib.campaign import cluster_worker
from dglib.campaign.jobs import Job
from dglib.files import write_once

if TYPE_CHECKING:
    from distributed import Client, Future


MODULE = "dglib.campaign.cluster_worker"


@dataclass(eq=False)
class Member:
    """A worker process that does our jobs, one at a time."""

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
        homes: directories that they must share with this machine; those that do not exist yet will be made.
    """

    def __init__(self, client: Client, homes: Sequence[Path]) -> None:
        self._client, self._homes = client, homes
        self._known: set[tuple[str, str]] = set()  # by address and birth
        self._reported: set[str] = set()
        self._ours = cluster_worker.describe()
        self.current: dict[str, Member] = {}
        self.unsuitable: dict[str, str] = {}  # the other workers, with the reason

    def refresh(self) -> list[Member]:
        """Bring `current` and `unsuitable` up to date. Returns the members that have gone.

        Raises:
            OSError: the scheduler does not answer.
        """
        found = self._workers()
        births = {address: str(info["local_directory"]) for address, info in found.items()}
        gone = [each for each in self.current.values() if births.get(each.address) != each.birth]
        for each in gone:
            del self.current[each.address]
        new = {a: info for a, info in found.items() if (a, births[a]) not in self._known}
        self._known = set(births.items())
        still = found.keys() - new
        self.unsuitable = {address: why for address, why in self.unsuitable.items() if address in still}
        if new:
            problems, described = self._check(new)
            self.unsuitable |= problems
            for address, info in new.items():
                if address in problems:
                    continue
                self.current[address] = Member(
                    address,
                    births[address],
                    described[address]["pid"],
                    described[address]["host"],
                    has_gpu=bool(info["resources"].get("GPU")),
                    has_nanny=bool(info["nanny"]),
                )
        return gone

    def _workers(self) -> dict[str, dict[str, Any]]:
        if self._client.status != "running" or self._client.scheduler is None:
            raise ConnectionError("no connection to the scheduler")
        # What client.scheduler_info() gives, another thread replaces meanwhile, without the workers.
        found: dict[str, Any] = self._client.sync(self._client.scheduler.identity, n_workers=-1)
        workers: dict[str, dict[str, Any]] = found["workers"]
        return workers

    def new_problems(self) -> list[str]:
        """What is wrong with unsuitable workers, in words; each is reported once."""
        new = self.unsuitable.keys() - self._reported
        self._reported = set(self.unsuitable)
        return [f"worker {address} {why}" for address, why in self.unsuitable.items() if address in new]

    def _check(self, new: dict[str, dict[str, Any]]) -> tuple[dict[str, str], dict[str, Any]]:
        """What is wrong with each, and what each said of itself."""
        problems = {
            address: f"has {info['nthreads']} threads; start it with --nthreads 1, one worker for each job"
            for address, info in new.items()
            if info["nthreads"] > 1 and info["resources"].get("GPU") != 1
        }
        described: dict[str, Any] = {}
        # Asked with a function of Python's own: one of ours cannot arrive where ours are not known.
        for address, found in self._ask(new, problems, importlib.import_module, MODULE):
            if isinstance(found, BaseException):
                problems[address] = f"cannot import {MODULE}: {_line(found)}"
        for address, found in self._ask(new, problems, cluster_worker.describe):
            described[address] = found
            if problem := _line(found) if isinstance(found, BaseException) else self._differs(found):
                problems[address] = problem
        for home in self._homes:
            with _probe(home) as (path, content):
                for address, found in self._ask(new, problems, cluster_worker.sees, str(path), content):
                    if found:
                        problems[address] = str(found)
        return problems, described

    def _ask(
        self, new: dict[str, Any], problems: dict[str, str], function: Any, *arguments: Any
    ) -> list[tuple[str, Any]]:
        """What the function returns, or raises, on each worker that has no problem so far."""
        asked = [address for address in new if address not in problems]
        if not asked:
            return []
        answers = self._client.run(function, *arguments, workers=asked, on_error="return")
        for address in asked:
            if isinstance(answers.get(address), OSError):
                problems[address] = f"went while it was asked ({_line(answers.pop(address))})"
        return list(answers.items())

    def _differs(self, theirs: dict[str, Any]) -> str:
        ours = self._ours
        for name in ("python", "torch", "dglib"):
            if theirs[name] != ours[name]:
                return f"has {name} {theirs[name]}, this machine {ours[name]}; they must be the same"
        if theirs["code"] != ours["code"]:
            commits = [str(each["commit"])[:7] if each["commit"] else "unknown" for each in (theirs, ours)]
            where = "at {}, this machine at {}".format(*commits)
            same = "of the same commit, but changed since" if commits[0] == commits[1] else where
            return f"has other files of dglib than this machine: {same}; they must be the same"
        return ""


@contextmanager
def _probe(home: Path) -> Iterator[tuple[Path, str]]:
    """A file with a random content in a directory, or in the first above it that exists, meanwhile."""
    home = home.absolute()
    there = next(each for each in (home, *home.parents) if each.is_dir())
    path, content = there / f".dglib-probe-{secrets.token_hex(8)}", secrets.token_hex(16)
    try:
        write_once(path, content.encode())
        yield path, content
    finally:
        path.unlink(missing_ok=True)


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
