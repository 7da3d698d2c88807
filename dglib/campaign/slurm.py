"""The Slurm jobs that a cluster's workers run in, as a file says; `params/slurm.example.yaml` is one.

Each Slurm job is one worker that does one job at a time. Names are those of `dask_jobqueue.SLURMCluster`
but for `jobs` and `gpus`.
"""

from __future__ import annotations

import difflib
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from dglib.errors import UserError
from dglib.experiments.parameters import Count, CountOrZero, Text

EXAMPLE = "params/slurm.example.yaml"
NOTICE = timedelta(minutes=5)  # before its time is up a worker leaves by itself, after a checkpoint
SHORTEST = timedelta(minutes=15)


def _walltime(text: str) -> str:
    _duration(text)
    return text


def _memory(text: str) -> str:
    if not re.fullmatch(r"\d+(\.\d+)?\s?[KMGT]i?B", text, re.ASCII):
        raise ValueError("must be a number and a unit, as 16GB")
    return text


def _directory(text: str) -> str:
    if not Path(text).is_dir():
        raise ValueError("must be a directory that exists")
    return text


def _duration(text: str) -> timedelta:
    found = re.fullmatch(r"(?:(\d+)-)?(\d{1,2}):(\d\d):(\d\d)", text, re.ASCII)
    if found is None:
        raise ValueError("must be HH:MM:SS or D-HH:MM:SS, in quotation marks")
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    duration = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    if duration < SHORTEST:
        raise ValueError(f"must be at least {SHORTEST}")
    return duration


Lines = Annotated[list[Text], Field(strict=False)]


class SlurmFile(BaseModel):
    """What the file says."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    jobs: Count
    """Slurm jobs at a time, each with one worker, from 1."""
    gpus: Annotated[CountOrZero, Field(le=1)] = 1
    """GPUs of each, 1 or 0: a job of ours trains on one."""
    walltime: Annotated[str, AfterValidator(_walltime)]
    """Of each Slurm job, HH:MM:SS or D-HH:MM:SS; a worker leaves a little before and another is asked for."""
    memory: Annotated[str, AfterValidator(_memory)]
    """Of each Slurm job, as 16GB."""
    job_cpu: Count = 2
    """CPU cores of each, from 1."""
    queue: Text | None = None
    """The partition."""
    account: Text | None = None
    """Whose budget pays."""
    interface: Text | None = None
    """The network interface by which scheduler and workers reach each other, as ib0."""
    python: Text | None = None
    """The interpreter on the nodes; null: the one that runs this command."""
    job_name: Text = "dglib"
    """Under which squeue shows the Slurm jobs."""
    job_extra_directives: Lines = []
    """More #SBATCH lines, as --constraint=a100."""
    job_script_prologue: Lines = []
    """Shell lines before the worker starts, as module load cuda."""
    worker_extra_args: Lines = []
    """More arguments of dask worker."""
    log_directory: Annotated[Text, AfterValidator(_directory)] | None = None
    """Where the Slurm jobs' output goes; it must exist. null: Slurm's default."""
    local_directory: Text | None = None
    """Fast local storage on the nodes for Dask's own files, as $TMPDIR."""

    def options(self) -> dict[str, Any]:
        """The arguments of `dask_jobqueue.SLURMCluster`."""
        lifetime = int((_duration(self.walltime) - NOTICE).total_seconds())
        gpus = self.gpus > 0
        given = self.model_dump(exclude={"jobs", "gpus"}, exclude_none=True)
        return {
            **given,
            "cores": 1,  # threads of a worker: one job at a time
            "processes": 1,
            "job_extra_directives": [*(["--gres=gpu:1"] if gpus else []), *self.job_extra_directives],
            "worker_extra_args": [
                *(["--resources", "GPU=1"] if gpus else []),
                *("--lifetime", f"{lifetime}s", "--lifetime-stagger", "60s"),
                *("--memory-limit", "0"),  # Slurm sees to that; Dask would kill a worker at 95 %
                *self.worker_extra_args,
            ],
        }

    @contextmanager
    def cluster(self, where: str) -> Iterator[Any]:
        """A scheduler in this process, whose workers Slurm is asked for.

        Raises:
            UserError: Slurm is not here, or refuses.
        """
        if shutil.which("sbatch") is None:
            raise UserError(f"{where}: there is no sbatch on this machine: run this on a login node")
        try:
            made = jobqueue().SLURMCluster(
                **self.options(), scheduler_options={"dashboard_address": ":0"}, silence_logs="critical"
            )
        except (OSError, RuntimeError, ValueError) as error:
            raise UserError(f"{where}: {' '.join(str(error).split())}") from None
        with made as cluster:
            _try_out(cluster.job_script(), where)
            yield cluster


def jobqueue() -> ModuleType:
    """The module `dask_jobqueue`. Its import takes SIGINT for itself; here whoever had it keeps it."""
    before = signal.getsignal(signal.SIGINT)
    import dask_jobqueue

    if signal.getsignal(signal.SIGINT) is not before:
        signal.signal(signal.SIGINT, before)
    return dask_jobqueue  # type: ignore[no-any-return]


def _try_out(script: str, where: str) -> None:
    """Ask Slurm whether it would take a job script: of one that it refuses later Dask does not tell."""
    with tempfile.NamedTemporaryFile("w", suffix=".sh", encoding="utf-8") as file:
        file.write(script)
        file.flush()
        command = ["sbatch", "--test-only", file.name]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split()) or f"status {done.returncode}"
        raise UserError(f"{where}: sbatch --test-only refuses: {said}")


def read_slurm_file(path: Path, where: str) -> SlurmFile:
    """The file's fields, checked.

    Raises:
        UserError: the file cannot be read, or a field is unknown, missing or wrong; `where` begins the line.
    """
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{where}: cannot be read: {error.strerror}; {EXAMPLE} is one to copy") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{where}: is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(given, dict):
        raise UserError(f"{where}: must hold fields, as {EXAMPLE} does")
    known = SlurmFile.model_fields
    for name, value in given.items():
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise UserError(f"{where}: {name} = {value!r}: no such field; {hint}")
    for name, field in known.items():
        if field.is_required() and name not in given:
            raise UserError(f"{where}: {name} is missing; {EXAMPLE} says what it is")
    try:
        return SlurmFile.model_validate(given)
    except ValidationError as error:
        problem = error.errors()[0]
        name, reason = problem["loc"][0], problem["msg"].removeprefix("Value error, ")
        raise UserError(f"{where}: {name} = {given[name]!r}: {reason}") from None
