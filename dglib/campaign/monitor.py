"""What is shown of a campaign while it runs: a bar on a terminal, else lines; JSON for programs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from math import fsum
from pathlib import Path
from statistics import fmean
from typing import IO, Any

from tqdm import tqdm

from dglib.campaign.jobs import Job, Plan
from dglib.errors import UserError
from dglib.experiments import get
from dglib.files import unsealed
from dglib.runs.progress import duration, last_line, read_heartbeat
from dglib.training.registry import call

REFRESH_SECONDS = 1.0  # heartbeats come no faster
LINE_SECONDS = 30.0  # between two lines on the state of all jobs, where there is no terminal
EPOCH = (
    "phase", "lambda", "epoch", "error", "epochs_done", "epochs_planned", "epochs_per_second", "seconds_left",
)  # fmt: skip
BAR = "{percentage:3.0f}%|{bar:20}| {n}/{total} epochs {elapsed}{postfix}"

Beats = dict[Job, dict[str, Any]]


class CampaignMonitor:
    """Shows when jobs end and, between, the state of all: on a terminal a bar in epochs, else a line.

    Args:
        jobs: all of the campaign.
        events: receives a JSON line per event; None for none.
        out: for people, a terminal or not; None: stderr.
    """

    def __init__(
        self, jobs: Sequence[Job], events: IO[str] | None = None, out: IO[str] | None = None
    ) -> None:
        self._jobs, self._events, self._out = jobs, events, sys.stderr if out is None else out
        self._bar = tqdm(
            total=sum(job.planned for job in jobs),
            file=self._out,
            disable=not self._out.isatty(),
            bar_format=BAR,
            dynamic_ncols=True,
            delay=1e-9,  # not before the first refresh: what is printed until then is above it
        )
        self._refreshed, self._printed = 0.0, time.monotonic()
        self._epochs: dict[Job, int] = {}
        self._unread: BrokenPipeError | None = None

    def event(self, name: str, job: Job, **facts: Any) -> None:
        """A job changed: job_started, job_retried, job_failed, job_stopped, seed_done or summary_done."""
        if self._unread is not None:
            return
        if name == "seed_done":
            facts["found"] = _found(job, facts)
        try:
            self._emit(name, job, facts)
            if line := _line(name, job, facts):
                tqdm.write(line, file=self._out)
        except BrokenPipeError as error:  # raised by the next refresh, between two changes of a job
            self._unread = error

    def refresh(self) -> None:
        """Read the heartbeats of running seeds, at most once a second, and show them.

        Raises:
            BrokenPipeError: nobody reads the output any more; nothing is shown from then on.
        """
        if self._unread is not None:
            raise self._unread
        if time.monotonic() - self._refreshed < REFRESH_SECONDS:
            return
        self._refreshed = time.monotonic()
        beats: Beats = {}
        for job in self._jobs:
            if job.status != "running" or job.seed_id is None or (directory := job.directory()) is None:
                continue
            beat = read_heartbeat(directory, job.seed_id)
            if beat is None or beat["updated"] < (job.began or 0.0) - 1:  # of an attempt before
                continue
            beats[job] = beat
            if self._epochs.get(job) != beat["epochs_done"]:
                self._epochs[job] = beat["epochs_done"]
                self._emit("epoch", job, {name: beat.get(name) for name in EPOCH})
        if not self._bar.disable:
            self._bar.n = sum(job.planned for job in self._jobs if job.is_over)
            self._bar.n += sum(beat["epochs_done"] for beat in beats.values())
            self._bar.set_postfix_str(self._state(beats))
        elif time.monotonic() - self._printed >= LINE_SECONDS:
            self._printed = time.monotonic()
            print(self._state(beats), file=self._out, flush=True)

    def _state(self, beats: Beats) -> str:
        """How many jobs are over, the time left, and the progress of those that run."""
        state = f"{sum(job.is_over for job in self._jobs)} of {len(self._jobs)} jobs"
        if (left := seconds_left(self._jobs, beats)) is not None:
            state += f", about {duration(left)} left"
        for job in (job for job in self._jobs if job.status == "running"):
            state += f"; {job.name}"
            if job in beats:
                beat = beats[job]
                state += f" {beat['phase']} λ {beat['lambda']:g}"
                state += "" if beat.get("error") is None else f" error {beat['error']:.2f}"
            elif job.seed is not None:  # the last line of its log, as of a download
                state += f" {last_line(job.log, job.began or 0.0)}".rstrip()
        return state

    def emit(self, name: str, **facts: Any) -> None:
        """Write an event of no job, as "all_done"."""
        if self._events is not None:
            line = {"event": name, "time": datetime.now(UTC).isoformat(timespec="milliseconds"), **facts}
            print(json.dumps(line), file=self._events, flush=True)

    def _emit(self, name: str, job: Job, facts: dict[str, Any]) -> None:
        cell = {"cell": job.plan.cell} if job.plan.cell else {}
        self.emit(name, experiment=job.plan.experiment, seed=job.seed, **cell, **facts)

    def __enter__(self) -> CampaignMonitor:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()


def _found(job: Job, facts: dict[str, Any]) -> str:
    """What a seed showed, in its experiment's words; else the outcome and why there are no words."""
    try:
        path = Path(facts["directory"], "seeds", f"{job.seed_id}.json")
        record = unsealed("seed record", path)
        return str(call("not read", get(job.plan.experiment).seed_text, record))  # no line stops a campaign
    except UserError as error:
        return f"{facts['outcome']} ({error})"


def seconds_left(jobs: Sequence[Job], beats: Beats) -> float | None:
    """Until the last seed has ended, at the speed so far; None before the first epoch is complete, and after.

    Epochs take as long as in the experiment's finished seeds, else in those that run, else in others.
    """
    finished: dict[Plan, list[float]] = {}
    running: dict[Plan, list[float]] = {}
    for job in jobs:
        if "seconds" in job.result:
            finished.setdefault(job.plan, []).append(job.result["seconds"] / job.planned)
        elif speed := beats.get(job, {}).get("epochs_per_second"):
            running.setdefault(job.plan, []).append(1 / speed)
    known = {plan: fmean(epochs) for plan, epochs in (running | finished).items()}
    seeds = [job for job in jobs if job.seed is not None and not job.is_over]
    if not known or not seeds:
        return None
    usual = fmean(known.values())
    epochs = {job: job.planned - beats.get(job, {}).get("epochs_done", 0) for job in seeds}
    at_once = max(1, sum(job.status == "running" for job in seeds))
    return fsum(epochs[job] * known.get(job.plan, usual) for job in seeds) / at_once


def _line(name: str, job: Job, facts: dict[str, Any]) -> str:
    """An event in words; empty for one that needs none."""
    match name:
        case "seed_done":
            return f"{job.name}: {facts['found']}; {duration(facts['seconds'])}"
        case "summary_done":
            return f"{job.name}: {facts['notebook']}"
        case "job_retried":
            return f"{job.name}: {facts['reason']}; begun again"
        case "job_failed":
            return f"{job.name}: failed: {facts['reason']}"
    return ""
