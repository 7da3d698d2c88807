"""Dask clusters by name: `tcp://host:8786`, a running scheduler; `slurm:FILE.yaml`, workers from Slurm."""

from __future__ import annotations

import logging
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any, Protocol

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from dglib.errors import UserError
from dglib.experiments.parameters import Count, CountOrZero, Names, Text
from dglib.experiments.profiles import file_layer, validate_model
from dglib.files import user_path

if TYPE_CHECKING:
    from distributed import Client

CONNECT_SECONDS = 10.0
RENEW_SECONDS = 30.0
NOTICE = timedelta(minutes=5)  # before its time is up a worker saves its seed and ends
SHORTEST = timedelta(minutes=15)


class Cluster(Protocol):
    """A cluster.

    Attributes:
        text: as the user gave it.
        patience: how many seconds its first worker may take.
        workers: how many it has at most; None: its scheduler has the number.
    """

    text: str
    patience: float

    @property
    def workers(self) -> int | None: ...

    def connected(self) -> AbstractContextManager[Client]:
        """A client of its scheduler; what was started for it ends with it. UserError: no scheduler."""

    def renew(self) -> None:
        """Replace workers whose time is up; called a few times a second."""


def cluster_of(text: str) -> Cluster:
    """The cluster that `text` names. Nothing is started.

    Raises:
        UserError: it names none, its file is wrong, or a package that it takes is missing.
    """
    kind, colon, rest = text.partition(":")
    if kind == "local" and colon:
        raise UserError(f"--cluster {text}: this machine's workers need no cluster: use --workers or --gpus")
    if kind in ("tcp", "tls") and colon:
        address = re.fullmatch(r"//(\[[0-9A-Fa-f:.]+\]|[^/:\s]+):(\d{1,5})/?", rest, re.ASCII)
        if address is None or not 0 < int(address[2]) < 2**16:
            raise UserError(f"--cluster {text}: a scheduler's address is {kind}://HOST:PORT")
        made: Cluster = Address(text, f"{kind}://{address[1]}:{address[2]}")
    elif kind == "slurm" and colon:
        layer = file_layer(user_path(rest, "--cluster"))._replace(where=f"--cluster {text}")
        made = Slurm(text, validate_model(SlurmFile, [layer]))
    else:
        raise UserError(f"--cluster {text}: must be tcp://HOST:PORT or slurm:FILE.yaml")
    for module in ("distributed", "dask_jobqueue") if kind == "slurm" else ("distributed",):
        if find_spec(module) is None:
            raise UserError(f"--cluster {text}: needs {module}: pip install -e .[cluster]")
    return made


@dataclass
class Address:
    """The workers of a running scheduler; they outlive this process."""

    text: str
    address: str
    patience: float = 60.0
    workers: None = None

    @contextmanager
    def connected(self) -> Iterator[Client]:
        from distributed import Client

        with _quiet():
            try:
                client = Client(self.address, timeout=CONNECT_SECONDS, set_as_default=False)
            except (OSError, ValueError) as error:
                reason = " ".join(str(error).split()) or type(error).__name__
                raise UserError(f"--cluster {self.text}: no scheduler answers there ({reason})") from None
            with client:
                yield client

    def renew(self) -> None:
        pass


def _duration(text: str) -> timedelta:
    found = re.fullmatch(r"(?:(\d+)-)?(\d{1,2}):(\d\d):(\d\d)", text, re.ASCII)
    if found is None:
        raise ValueError("must be HH:MM:SS or D-HH:MM:SS, in quotation marks")
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    duration = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    if duration < SHORTEST:
        raise ValueError(f"must be at least {SHORTEST}")
    return duration


def _walltime(text: str) -> str:
    _duration(text)
    return text


class SlurmFile(BaseModel):
    """The fields of the file, of which `params/slurm.example.yaml` is an example.

    Each Slurm job is one worker that runs one job of ours at a time. Other fields are arguments of
    `dask_jobqueue.SLURMCluster`, which checks them, as does `sbatch --test-only` the job script.
    """

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, use_attribute_docstrings=True)

    jobs: Count
    """Slurm jobs at a time, each with one worker, from 1."""
    gpus: Annotated[CountOrZero, Field(le=1)] = 1
    """GPUs of each, 1 or 0."""
    walltime: Annotated[str, AfterValidator(_walltime)]
    """Of each Slurm job, HH:MM:SS or D-HH:MM:SS; a worker ends a little before and is replaced."""
    memory: Text
    """Of each Slurm job, as 16GB."""
    job_extra_directives: Names = []
    """More #SBATCH lines, as --constraint=a100."""
    worker_extra_args: Names = []
    """More arguments of dask worker."""

    def options(self) -> dict[str, Any]:
        """The arguments of `dask_jobqueue.SLURMCluster`."""
        lifetime = int((_duration(self.walltime) - NOTICE).total_seconds())
        return {
            "job_name": "dglib",
            "job_cpu": 2,
            **self.model_dump(exclude={"jobs", "gpus"}, exclude_none=True),
            "cores": 1,  # threads of a worker: one job at a time
            "processes": 1,
            "job_extra_directives": [*(["--gres=gpu:1"] if self.gpus else []), *self.job_extra_directives],
            "worker_extra_args": [
                *(["--resources", "GPU=1"] if self.gpus else []),
                *("--lifetime", f"{lifetime}s", "--lifetime-stagger", "60s"),
                *("--memory-limit", "0"),  # Slurm enforces it; Dask would kill a worker at 95 %
                *self.worker_extra_args,
            ],
        }


@dataclass
class Slurm:
    """Workers that Slurm starts when their turn comes, and starts again when their time is up."""

    text: str
    file: SlurmFile
    patience: float = float("inf")
    _cluster: Any = None
    _renewed: float = float("-inf")

    @property
    def workers(self) -> int:
        return self.file.jobs

    @contextmanager
    def connected(self) -> Iterator[Client]:
        from distributed import Client

        if shutil.which("sbatch") is None:
            raise UserError(
                f"--cluster {self.text}: there is no sbatch on this machine: run this on a login node"
            )
        with _quiet():
            try:
                made = jobqueue().SLURMCluster(
                    **self.file.options(),
                    scheduler_options={"dashboard_address": ":0"},
                    silence_logs="critical",
                )
            except (OSError, RuntimeError, TypeError, ValueError) as error:
                raise UserError(f"--cluster {self.text}: {' '.join(str(error).split())}") from None
            with made as self._cluster:
                self._try_out(self._cluster.job_script())
                with Client(self._cluster, set_as_default=False) as client:
                    yield client

    def renew(self) -> None:
        if time.monotonic() - self._renewed >= RENEW_SECONDS:
            self._renewed = time.monotonic()
            self._cluster.scale(jobs=self.file.jobs)

    def _try_out(self, script: str) -> None:
        """Ask Slurm whether it would take a job script: Dask does not report a later refusal."""
        with tempfile.NamedTemporaryFile("w", suffix=".sh", encoding="utf-8") as file:
            file.write(script)
            file.flush()
            command = ["sbatch", "--test-only", file.name]
            done = subprocess.run(command, capture_output=True, text=True, errors="replace")
        if done.returncode:
            reason = " ".join((done.stderr or done.stdout).split()) or f"status {done.returncode}"
            raise UserError(f"--cluster {self.text}: sbatch --test-only refuses: {reason}")


def jobqueue() -> Any:
    """The module `dask_jobqueue`, whose import replaces the handler of SIGINT: here it stays as it was."""
    before = signal.getsignal(signal.SIGINT)
    import dask_jobqueue

    if signal.getsignal(signal.SIGINT) is not before:
        signal.signal(signal.SIGINT, before)
    return dask_jobqueue


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Dask's own lines on lost connections: ours say what they mean for the jobs."""
    import distributed  # which sets the levels when it is imported

    loggers = [logging.getLogger(f"{distributed.__name__}{part}") for part in ("", ".client")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
