"""Jobs run by the workers of a Dask cluster: `--cluster`.

`tcp://host:8786` is a running scheduler; `slurm:FILE.yaml` has Slurm start the workers. Dask reports which
workers there are; each gets one job at a time. The scheduler decides what becomes of a job whose worker died,
as for local workers. Any number of commands may share a cluster, and any number of clusters a base directory:
a seed is protected by its lock.
"""

from __future__ import annotations

import logging
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from dglib.base_dir import user_path
from dglib.campaign.jobs import Job
from dglib.campaign.scheduler import POLL_SECONDS, Answer, Backend
from dglib.errors import UserError
from dglib.experiments.parameters import Count, CountOrZero, Names, Text
from dglib.experiments.profiles import file_layer, validate_model

if TYPE_CHECKING:
    from distributed import Client, Future

CONNECT_SECONDS = 10.0
FIRST_SECONDS = 60.0  # for the first worker of a running scheduler; Slurm's queue may take days
REFRESH_SECONDS = 1.0
RESULT_SECONDS = 30.0
NOTICE = timedelta(minutes=5)  # before its time is up a worker saves its seed and ends
SHORTEST = timedelta(minutes=15)


def _duration(text: str) -> timedelta:
    parts = re.fullmatch(r"(?:(\d+)-)?(\d{1,2}):(\d\d):(\d\d)", text, re.ASCII)
    if parts is None:
        raise ValueError("must be HH:MM:SS or D-HH:MM:SS, in quotation marks")
    days, hours, minutes, seconds = (int(part or 0) for part in parts.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def _walltime(text: str) -> str:
    if _duration(text) < SHORTEST:
        raise ValueError(f"must be at least {SHORTEST}")
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


def jobqueue() -> Any:
    """The module `dask_jobqueue`, whose import replaces the handler of SIGINT: here it stays as it was."""
    before = signal.getsignal(signal.SIGINT)
    import dask_jobqueue

    signal.signal(signal.SIGINT, before)
    return dask_jobqueue


class ClusterBackend(Backend):
    """The workers of a cluster: Dask gives a job to one of them, and to another where that one dies.

    Args:
        text: the value of `--cluster`. Nothing is started before the backend is entered.

    Raises:
        UserError: it names no cluster, its file is wrong, or a package that it takes is missing.
    """

    def __init__(self, text: str) -> None:
        kind, _, rest = text.partition(":")
        self._text = text
        self.slurm: SlurmFile | None = None
        if kind == "local":
            raise self._error("this machine's workers need no cluster: use --workers or --gpus")
        if kind in ("tcp", "tls"):
            address = re.fullmatch(r"//(\[[0-9A-Fa-f:.]+\]|[^/:\s]+):(\d{1,5})/?", rest, re.ASCII)
            if address is None or not 0 < int(address[2]) < 2**16:
                raise self._error(f"a scheduler's address is {kind}://HOST:PORT")
            self._address = f"{kind}://{address[1]}:{address[2]}"
        elif kind == "slurm":
            layer = file_layer(user_path(rest, "--cluster"))._replace(where=f"--cluster {text}")
            self.slurm = validate_model(SlurmFile, [layer])
        else:
            raise self._error("must be tcp://HOST:PORT or slurm:FILE.yaml")
        for module in ("distributed", *(["dask_jobqueue"] if self.slurm else [])):
            if find_spec(module) is None:
                raise self._error(f"needs {module}: pip install -e .[cluster]")
        self.at_once = None if self.slurm is None else self.slurm.jobs
        self._workers: dict[str, Any] = {}  # by address, as the scheduler describes them
        self._running: dict[str, tuple[Job, Future[Any]]] = {}  # by the task's key
        self._ended: queue.Queue[Future[Any]] = queue.Queue()
        self._stopping = False
        self._refreshed = float("-inf")
        self._context = ExitStack()
        self._client: Client

    def __enter__(self) -> ClusterBackend:
        """Connect, and wait for the first worker.

        Raises:
            UserError: the cluster cannot be reached, or has no worker.
        """
        from distributed import Client

        for name in ("distributed", "distributed.client"):  # our own lines report lost connections
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        with ExitStack() as stack:
            where = stack.enter_context(self._slurm_cluster(self.slurm)) if self.slurm else self._address
            try:
                client = Client(where, timeout=CONNECT_SECONDS, set_as_default=False)
            except (OSError, ValueError) as error:
                raise self._error(f"no scheduler answers there ({_line(error)})") from None
            self._client = stack.enter_context(client)
            started = time.monotonic()
            while not self._workers:
                self._refresh()
                if self.slurm is None and time.monotonic() - started > FIRST_SECONDS:
                    raise self._error(f"no worker has come within {FIRST_SECONDS:g} s")
                time.sleep(0 if self._workers else POLL_SECONDS)
            self._context = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._context.close()

    def start(self, job: Job) -> dict[str, Any] | None:
        from dglib.campaign import cluster_worker

        if len(self._running) >= len(self._workers):
            return None
        has_gpu = any(info["resources"].get("GPU") for info in self._workers.values())
        future = self._client.submit(
            cluster_worker.run_job,
            {**job.message(), "software": cluster_worker.software()},
            key=f"dglib-{job.key}-{time.monotonic_ns()}",
            resources={"GPU": 1} if has_gpu else None,
            pure=False,
        )
        self._running[future.key] = job, future
        future.add_done_callback(self._ended.put)
        return {}

    def poll(self, timeout: float) -> list[tuple[Job, Answer]]:
        """As `Backend.poll`.

        Raises:
            UserError: the scheduler is gone, or a worker cannot run the jobs.
        """
        from distributed import KilledWorker

        self._refresh()
        if self._stopping:
            return self._poll_stopped(timeout)
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
        if "failed" in answer and answer["last"] and self._workers.get(answer["worker"], {}).get("nanny"):
            # Something broke in the process, such as its CUDA context.
            self._client.restart_workers([answer["worker"]], raise_for_error=False)
        return [(job, answer)]

    def stop(self) -> None:
        self._stopping = True
        with suppress(UserError), self._scheduler_there():
            self._client.cancel([future for _, future in self._running.values()])

    def _poll_stopped(self, timeout: float) -> list[tuple[Job, Answer]]:
        """All jobs, once no worker runs one any more."""
        from dglib.campaign import cluster_worker

        with self._scheduler_there():
            running = self._client.run(cluster_worker.running, list(self._running), on_error="ignore")
        if any(running.values()):
            time.sleep(timeout)
            return []
        stopped: list[tuple[Job, Answer]] = [(job, {"stopped": True}) for job, _ in self._running.values()]
        self._running.clear()
        return stopped

    def _refresh(self) -> None:
        """Ask the scheduler for its workers, at most once a second."""
        if time.monotonic() - self._refreshed < REFRESH_SECONDS:
            return
        first, self._refreshed = self._refreshed < 0, time.monotonic()
        with self._scheduler_there() as scheduler:
            # What client.scheduler_info() returns, another thread replaces meanwhile, without the workers.
            before, self._workers = (
                self._workers,
                self._client.sync(scheduler.identity, n_workers=-1)["workers"],
            )
        if not self._workers and (before or first):
            print("run_all: waiting for a worker of the cluster", file=sys.stderr, flush=True)

    @contextmanager
    def _scheduler_there(self) -> Iterator[Any]:
        """The scheduler's functions; UserError where it is gone."""
        reason = "the scheduler is gone; its workers save their seeds' states and end, and the same command"
        try:
            if self._client.status != "running" or self._client.scheduler is None:
                raise ConnectionError
            yield self._client.scheduler
        except (OSError, RuntimeError) as error:  # a client that has been closed raises no OSError
            raise self._error(f"{reason} resumes once there is a cluster again") from error

    def _slurm_cluster(self, file: SlurmFile) -> Any:
        """A Dask cluster of `file.jobs` Slurm jobs. One whose time is up is replaced."""
        if shutil.which("sbatch") is None:
            raise self._error("there is no sbatch on this machine: run this on a login node")
        try:
            made = jobqueue().SLURMCluster(
                **file.options(),
                scheduler_options={"dashboard_address": ":0"},
                silence_logs="critical",
            )
        except (OSError, RuntimeError, TypeError, ValueError) as error:
            raise self._error(" ".join(str(error).split())) from None
        # Dask does not report it when Slurm refuses a job.
        with tempfile.NamedTemporaryFile("w", suffix=".sh", encoding="utf-8") as script:
            script.write(made.job_script())
            script.flush()
            command = ["sbatch", "--test-only", script.name]
            done = subprocess.run(command, capture_output=True, text=True, errors="replace")
        if done.returncode:
            made.close()
            reason = " ".join((done.stderr or done.stdout).split()) or f"status {done.returncode}"
            raise self._error(f"sbatch --test-only refuses: {reason}")
        made.adapt(minimum_jobs=file.jobs, maximum_jobs=file.jobs)
        return made

    def _error(self, reason: str) -> UserError:
        return UserError(f"--cluster {self._text}: {reason}")


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
