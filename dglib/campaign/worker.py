"""Runs jobs: trains a seed, or executes an experiment's notebook, in the process that calls it.

`python -m dglib.campaign.worker` is a process that runs jobs one after the other, so that torch is imported
once. Jobs are JSON lines on stdin, answers JSON lines on stdout:

    {"kind": "seed", "experiment": "T1", "seed": 3, "parameters": {…}, "base": "/…/runs", "key": "5d0c…", …}
    {"done": {…}} or {"failed": reason} or {"stopped": true}, with "last" where the process ends after it

A job is plain data (`jobs.Job.message`) for any machine that sees its directories. Running it again is safe:
a finished seed is only read, an interrupted one resumes. Its output goes to its log. The end of stdin, also
after a kill of the parent process, stops the job after a checkpoint.
"""

from __future__ import annotations

import faulthandler
import json
import os
import queue
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dglib import output
from dglib.base_dir import NOTEBOOKS
from dglib.campaign.run import run
from dglib.control import Control
from dglib.errors import UserError
from dglib.experiments import get
from dglib.experiments import load as load_experiments
from dglib.experiments.notebook import injected, notebook_source
from dglib.experiments.profiles import Layer, validate_layers
from dglib.training.data import load_dataset

if TYPE_CHECKING:
    from dglib.experiments.parameters import Parameters

_load = lru_cache(maxsize=1)(load_dataset)  # consecutive jobs often share a data set
STOP_SECONDS = 120.0  # for a job to save its state after the end of stdin


def run_job(job: Mapping[str, Any], *, control: Control | None = None, wait: bool = False) -> dict[str, Any]:
    """Run a job with its output going to its log. Arguments as for `train` and `execute_notebook`.

    Returns:
        {"done": result}, {"failed": reason} or {"stopped": true}; with "last": true where the process should
        run no other job: it was asked to stop, or an unforeseen error may have left a GPU unusable.
    """
    with _output_to(Path(job["log"])):
        try:
            if job["kind"] == "summary":
                return {"done": execute_notebook(job, control=control)}
            return {"done": train(job, control=control, wait=wait)}
        except KeyboardInterrupt:
            return {"stopped": True, "last": True}
        except UserError as error:
            reason, last = str(error), False
        except Exception as error:
            traceback.print_exc()
            reason, last = f"{type(error).__name__}: {error}", True
        reason = " ".join(reason.split())
        print(reason, file=sys.stderr, flush=True)
        return {"failed": reason, "last": last}


def train(job: Mapping[str, Any], *, control: Control | None = None, wait: bool = False) -> dict[str, Any]:
    """Train the seed of a job, from its checkpoint if there is one.

    Args:
        wait: for as long as another process trains the seed, instead of a few seconds.

    Returns:
        `directory`: the run directory; `outcome`: of the seed; `seconds`: of training, in all.

    Raises:
        UserError: what was given cannot be used, or another process trains the seed.
        Interrupted: a stop was asked for; the same job resumes.
    """
    p = _parameters(job)
    mean, std = (None if values is None else tuple(values) for values in (p.pixel_mean, p.pixel_std))
    data = _load(p.dataset, data_dir=p.data_dir, pixel_mean=mean, pixel_std=std)
    command = job.get("command") or ()
    result = run(p, control=control, data=data, wait=wait, quiet=True, command=command)
    (record,) = result.records
    return {"directory": str(result.directory), "outcome": record["outcome"], "seconds": record["time"]}


def execute_notebook(job: Mapping[str, Any], *, control: Control | None = None) -> dict[str, Any]:
    """Execute the notebook of a job, which reads its seeds' records, and trains a seed without one.

    Returns:
        `notebook`: the executed notebook, `<base>/executed/<name>.ipynb`.

    Raises: as `dglib.campaign.notebooks.execute`.
    """
    from dglib.campaign.notebooks import execute  # imports papermill

    name, parameters = job["experiment"], injected(_parameters(job), job.get("profile", "quick"))
    target = Path(job["base"], "executed", f"{get(name).notebook}.ipynb")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="dglib-") as folder:
        source = NOTEBOOKS / target.name
        if not source.is_file():  # of a user's own experiment
            source = Path(folder, target.name)
            source.write_text(notebook_source(name), encoding="utf-8")
        execute(source, target, parameters, control)
    return {"notebook": str(target)}


def _parameters(job: Mapping[str, Any]) -> Parameters:
    for source in job.get("experiments", ()):
        load_experiments(source)
    return validate_layers(job["experiment"], [Layer(f"job {job['key'][:12]}", job["parameters"])])


@contextmanager
def _output_to(log: Path) -> Iterator[None]:
    """Append what this process and its children print meanwhile to a file."""
    before = os.dup(1), os.dup(2)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as file:
        began = datetime.now(UTC).isoformat(timespec="seconds")
        print(f"-- {began}, process {os.getpid()}", file=file, flush=True)
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, original in zip((1, 2), before, strict=True):
            os.dup2(original, number)
            os.close(original)


def main() -> int:
    """Run jobs until stdin ends. 130: stopped; 1: after a failure that may have left the process unusable."""
    answers = os.dup(1)
    os.dup2(2, 1)  # what a job prints must not be taken for an answer
    output.never_fail("utf-8")  # as the logs
    faulthandler.enable()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    jobs: queue.Queue[dict[str, Any]] = queue.Queue()
    threading.Thread(target=_read_jobs, args=(jobs,), daemon=True).start()
    try:
        while True:
            answer = run_job(jobs.get())
            os.write(answers, json.dumps(answer).encode() + b"\n")
            if answer.get("last"):
                return 1 if "failed" in answer else 130
    except KeyboardInterrupt:
        return 130


def _read_jobs(jobs: queue.Queue[dict[str, Any]]) -> None:
    """Queue the jobs of stdin; its end stops the one that runs."""
    for line in sys.stdin:
        jobs.put(json.loads(line))
    if sys.platform != "win32":  # which `require_posix` refuses
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
        time.sleep(STOP_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)  # a notebook's kernel notices by itself


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # all results are on the disk, and an interpreter with torch takes a second to end
