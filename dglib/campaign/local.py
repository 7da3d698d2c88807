"""Worker processes of this machine, and how many: each runs one job at a time and imports torch once."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from dglib.campaign import scheduler
from dglib.campaign.jobs import Job, Plan, anchored
from dglib.campaign.scheduler import STOP_SECONDS, Answer, Backend
from dglib.campaign.status import CampaignMonitor
from dglib.control import Interrupted
from dglib.errors import UserError
from dglib.training.registry import module_path

if TYPE_CHECKING:
    from dglib.experiments.parameters import Parameters

WORKER = (sys.executable, "-m", "dglib.campaign.worker")


def train_in_parallel(
    parameters: Parameters, seeds: Sequence[int], base: Path, report: Callable[[str], None]
) -> None:
    """Train seeds of one run in worker processes, `parameters.seeds_at_once` at a time.

    Seeds that fail are reported and get no record, for instance where a network is defined in a notebook's
    cell, which no other process can import.

    Args:
        base: the directory of the run directory, which must exist already.

    Raises:
        Interrupted: a stop was asked for; the seeds have saved their states.
    """
    own = {"base_dir": str(base), "mirror": False, "seeds_at_once": 1, "seeds": list(seeds)}
    plan = Plan(anchored(parameters.model_copy(update=own), base), base)
    jobs = [job for job in plan.jobs if job.kind == "seed"]
    try:
        with (
            LocalBackend([{}] * min(parameters.seeds_at_once, len(jobs))) as backend,
            CampaignMonitor(jobs) as monitor,
        ):
            scheduler.run(jobs, backend, monitor)
    except KeyboardInterrupt:
        raise Interrupted from None
    if plan.failures():
        reasons = "; ".join(plan.failures())
        report(f"in worker processes: {reasons}; training these seeds here, one at a time")


class LocalBackend(Backend):
    """At most one worker process per entry of `environments`, started when there is a job for it.

    Args:
        environments: environment variables of each worker, such as the GPU that it sees.
    """

    def __init__(self, environments: Sequence[Mapping[str, str]]) -> None:
        self.environments, self.at_once = environments, len(environments)
        self._workers: dict[int, _Worker] = {}  # by the number of their environment

    def __enter__(self) -> LocalBackend:
        return self

    def __exit__(self, *_: object) -> None:
        """End all processes, by force those that take longer than they may."""
        self.stop()
        deadline = time.monotonic() + STOP_SECONDS
        while self._workers:
            if time.monotonic() > deadline:
                for worker in self._workers.values():
                    worker.process.kill()
            self.poll(0.2)

    def start(self, job: Job) -> bool:
        for number, environment in enumerate(self.environments):
            if number not in self._workers:
                self._workers[number] = _Worker(environment)
            worker = self._workers[number]
            if worker.job is None:
                worker.give(job)
                return True
        return False

    def poll(self, timeout: float) -> list[tuple[Job, Answer]]:
        ended: list[tuple[Job, Answer]] = []
        numbers = {worker.answers: number for number, worker in self._workers.items()}
        for answers in select.select([*numbers], [], [], timeout)[0]:
            worker = self._workers[numbers[answers]]
            job, answer = worker.job, worker.answer()
            if worker.process.returncode is not None:
                del self._workers[numbers[answers]]
            if job is not None:
                ended.append((job, answer))
        return ended

    def stop(self) -> None:
        for worker in self._workers.values():
            worker.dismiss()


class _Worker:
    """A process of `dglib.campaign.worker`, in a session of its own: no Ctrl-C of a terminal reaches it."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.job: Job | None = None
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # its output while it runs no job
        quiet = {"TQDM_DISABLE": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
        self.process = subprocess.Popen(
            WORKER,
            stdin=subprocess.PIPE,  # closed when this process ends, whatever ends it
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**os.environ, **quiet, "PYTHONPATH": module_path(), **environment},
            start_new_session=True,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._jobs: IO[bytes] = self.process.stdin
        self.answers: IO[bytes] = self.process.stdout

    def give(self, job: Job) -> None:
        """Send a job. Where the process has ended meanwhile, the end of its answers reports the loss."""
        self.job = job
        with suppress(OSError):
            self._jobs.write(json.dumps(job.message()).encode() + b"\n")
            self._jobs.flush()

    def answer(self) -> dict[str, Any]:
        """The answer to its job, or that it is lost. Waits for a process that takes no more jobs to end."""
        job, self.job = self.job, None
        try:
            answer: dict[str, Any] = json.loads(self.answers.readline())
        except ValueError:  # the process has ended: no line, or one torn by a kill
            return {"lost": self._end(job)}
        if answer.get("last"):
            self._end(job)
        return answer

    def dismiss(self) -> None:
        """Ask the process to end, after a checkpoint where it runs a job."""
        with suppress(OSError):
            self._jobs.close()

    def _end(self, job: Job | None) -> str:
        """Wait for the process, and return why it ended."""
        self.dismiss()
        code = self.process.wait()
        self.answers.close()
        with self._log:
            self._log.seek(0)
            lines = self._log.read().decode(errors="replace").strip().splitlines()
        if code < 0:
            return f"its process was ended by {signal.Signals(-code).name}"
        if job is not None and job.log.exists():
            lines += job.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        last = next((line for line in reversed(lines) if not line.startswith("-- ")), "")
        return f"its process ended with status {code}" + (f" ({last})" if last else "")


def worker_environments(
    workers: int | None, gpus: str | None, plans: Sequence[Plan], dry_run: bool = False
) -> list[dict[str, str]]:
    """The environment variables of each worker process of this machine, such as the GPU that it sees.

    Workers see one GPU each, in turn. By default there are `seeds_at_once` for each GPU; on CPUs one for each
    core that a run's threads leave, or `seeds_at_once` where that is more than one.

    Args:
        workers: how many were asked for, or None.
        gpus: those named by --gpus, as "0,1"; None: those that torch would use.
        dry_run: the named GPUs may be another machine's.

    Raises:
        UserError: a GPU that is not there, or a device that does not go with --gpus.
    """
    devices = {plan.parameters.device for plan in plans}
    at_once = max(plan.parameters.seeds_at_once for plan in plans)
    threads = max(plan.parameters.threads for plan in plans)
    if gpus is not None:
        names = _named_gpus(gpus, devices, dry_run)
    else:
        names = [] if devices == {"cpu"} else visible_gpus()
    usual = at_once * len(names) if names else at_once if at_once > 1 else max(1, _cores() // threads)
    if names and not devices <= {"auto", "cuda"}:  # one of several is named as the device: all see all
        names, usual = [], at_once
    # In the order of nvidia-smi, from which people read the numbers; names of an environment are kept.
    order = {} if "CUDA_VISIBLE_DEVICES" in os.environ else {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    environments = [{"CUDA_VISIBLE_DEVICES": name, **order} for name in names] or [{}]
    return [environments[number % len(environments)] for number in range(workers or usual)]


def _named_gpus(gpus: str, devices: set[str], dry_run: bool) -> list[str]:
    """The GPUs of --gpus, as CUDA_VISIBLE_DEVICES names them."""
    if other := devices - {"auto", "cuda"}:
        raise UserError(f"--gpus {gpus}: device = {min(other)!r}: must be auto or cuda with --gpus")
    numbers = [text.strip() for text in gpus.split(",")]
    for number in numbers:
        if not (number.isascii() and number.isdigit()):
            rule = "must be numbers of GPUs with commas between them, as 0,1"
            raise UserError(f"--gpus {gpus}: {number!r}: {rule}")
    if dry_run:
        return numbers
    visible = visible_gpus()
    if missing := next((number for number in numbers if int(number) >= len(visible)), None):
        have = f"{len(visible)} CUDA device(s)" if visible else "no CUDA device"
        raise UserError(f"--gpus {gpus}: {missing}: is not there: torch sees {have} here")
    return [visible[int(number)] for number in numbers]


def visible_gpus() -> list[str]:
    """The GPUs that torch would use here, as CUDA_VISIBLE_DEVICES names them."""
    # Without a driver (the second path is that of WSL) torch need not be imported, which takes seconds.
    if not any(Path("/dev").glob("nvidia[0-9]*")) and not Path("/dev/dxg").exists():
        return []
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [str(number) for number in range(count)] if given is None else given.split(",")
    return [name.strip() for name in names[:count]]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
