"""Notebooks executed side by side, one process each, watched through their heartbeats."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import FrameType
from typing import Any

from dglib import identity, protocol
from dglib.experiments import build_spec, requested_numerics
from dglib.files import to_json, write_atomically
from dglib.params import Parameters
from dglib.registry import module_path
from dglib.spec import ExperimentSpec
from dglib.store import run_directories

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
NAMES = {"V3": "V3_vgg11", "T1": "T1_spinodal", "T2": "T2_spinodal", "Td1": "Td1_trapping"}
STOP_SECONDS = 120.0


def anchored(parameters: Parameters, base: Path) -> Parameters:
    """The parameters with every path absolute, since a notebook's kernel runs in a directory of its own."""
    paths = {"base_dir": base, "data_dir": Path(parameters.data_dir).expanduser()}
    if parameters.dataset.endswith(".npz"):
        paths["dataset"] = Path(parameters.dataset).expanduser()
    return parameters.model_copy(update={name: str(path.absolute()) for name, path in paths.items()})


@dataclass
class Job:
    """One notebook with its parameters (`anchored`); `base` is where run directory and executed copy go."""

    parameters: Parameters
    base: Path
    status: str = "waiting"
    error: str = ""
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _is_ours: dict[Path, bool] = field(default_factory=dict, repr=False)  # of manifests, which never change

    @property
    def experiment(self) -> str:
        return self.parameters.experiment

    @cached_property
    def spec(self) -> ExperimentSpec:
        return build_spec(self.experiment, self.parameters)

    @property
    def notebook(self) -> Path:
        return NOTEBOOKS / f"{NAMES[self.experiment]}.ipynb"

    @property
    def executed(self) -> Path:
        """The executed notebook; its log and job file lie beside it."""
        return self.base / "executed" / self.notebook.name

    @property
    def log(self) -> Path:
        return self.executed.with_suffix(".log")

    @property
    def planned(self) -> int:
        """Epochs of all seeds, if no event ends one early."""
        return protocol.planned_epochs(self.spec) * len(self.parameters.seeds)

    def directory(self) -> Path | None:
        """The newest run directory of a run with these parameters, or None before there is one."""
        spec = self.spec
        for directory in run_directories(self.base, spec.directory_prefix):
            manifest = directory / f"{spec.prefix}_manifest.json"
            if manifest not in self._is_ours and manifest.exists():
                self._is_ours[manifest] = self._has_these_parameters(manifest)
            if self._is_ours.get(manifest):
                return directory
        return None

    def _has_these_parameters(self, path: Path) -> bool:
        try:
            manifest = json.loads(path.read_bytes())
            data = manifest["identity"]["data"]  # which only the notebook has read
            ours = identity.describe(self.spec, data, **requested_numerics(self.parameters))
            return bool(manifest["fingerprint"] == identity.fingerprint(ours))
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def heartbeats(self) -> list[dict[str, Any]]:
        """Where each seed stands, of those that have begun."""
        directory, found = self.directory(), list[dict[str, Any]]()
        if directory is None:
            return found
        for seed in self.parameters.seeds:
            name = self.spec.experiment_id.format(seed=seed)
            try:
                found.append(json.loads((directory / "heartbeats" / f"{name}.json").read_bytes()))
            except (OSError, ValueError):
                continue
        return found

    def start(self) -> None:
        """Begin to execute the notebook in a process of its own, out of reach of the terminal's Ctrl-C."""
        values = self.parameters.model_dump()
        job = {"notebook": str(self.notebook), "output": str(self.executed), "parameters": values}
        job_file = self.executed.with_suffix(".job.json")
        self.executed.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(job_file, to_json(job, indent=1))
        quiet = {"TQDM_DISABLE": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
        modules = {"PYTHONPATH": module_path()}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "dglib.execute", str(job_file), "--leash"],
                stdin=subprocess.PIPE,  # closed when this process ends, whatever ends it
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | quiet | modules,
                start_new_session=True,
            )
        self.status = "running"

    def poll(self) -> bool:
        """Whether the job has ended; then its status says how."""
        if self.process is None or self.process.poll() is None:
            return False
        code = self.process.returncode
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.status = {0: "done", 130: "stopped"}.get(code, "failed")
        if code < 0:
            self.error = f"ended by {signal.Signals(-code).name}"
        elif code:
            lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            self.error = lines[-1] if lines else f"ended with status {code}"
        return True

    def stop(self) -> None:
        """Ask for a stop after a checkpoint."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()


def run_jobs(jobs: Sequence[Job], workers: int, watch: Callable[[Sequence[Job]], None]) -> None:
    """Run all jobs, at most `workers` at a time, in their order; one that fails does not stop the others.

    Args:
        watch: called a few times a second with all jobs.

    Raises:
        KeyboardInterrupt: after all running jobs have saved their state and ended.
    """
    waiting, running = list(jobs), list[Job]()
    with _told_to_stop(), _stopped_on_the_way_out(running):
        while waiting or running:
            while waiting and len(running) < workers:
                job = waiting.pop(0)
                job.start()
                running.append(job)
            time.sleep(0.2)
            running[:] = [job for job in running if not job.poll()]
            watch(jobs)


@contextmanager
def _told_to_stop() -> Iterator[None]:
    """SIGTERM and a closed terminal count as Ctrl-C: the notebooks, out of their reach, would run on."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in {signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)}:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup leaves it
                before[number] = signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _stopped_on_the_way_out(running: list[Job]) -> Iterator[None]:
    try:
        yield
    finally:
        for job in running:
            job.stop()
        deadline = time.monotonic() + STOP_SECONDS
        for job in running:
            if job.process is not None:
                try:
                    job.process.wait(max(0.0, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    job.process.kill()
            job.poll()
