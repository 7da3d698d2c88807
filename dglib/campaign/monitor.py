"""What is shown of a campaign while it runs: bars on a terminal, lines elsewhere, JSON lines for programs."""

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
from dglib.runs.progress import duration, in_words, last_line, read_heartbeat

REFRESH_SECONDS = 1.0  # heartbeats come no faster
LINE_SECONDS = 30.0  # between two lines on the state of all jobs, where there is no terminal
STATE = ("phase", "lambda", "epoch", "error")
EPOCH = (*STATE, "epochs_done", "epochs_planned", "epochs_per_second", "seconds_left")

Beats = dict[Job, dict[str, Any]]


class CampaignMonitor:
    """Reads the heartbeats of running seeds and shows them.

    Args:
        jobs: all of the campaign.
        events: receives a JSON line per event; None for none.
        out: for people, a terminal or not.
    """

    def __init__(
        self, jobs: Sequence[Job], events: IO[str] | None = None, out: IO[str] | None = None
    ) -> None:
        out = sys.stderr if out is None else out
        self._jobs, self._events = jobs, events
        self._show = Bars(jobs, out) if out.isatty() else Lines(jobs, out)
        self._refreshed = 0.0
        self._epochs: dict[Job, int] = {}
        self._unread: BrokenPipeError | None = None

    def event(self, name: str, job: Job, **facts: Any) -> None:
        if self._unread is not None:
            return
        if name == "seed_done":
            facts["found"] = _found(job, facts)
        try:
            self._emit(name, job, facts)
            self._show.event(name, job, _line(name, job, facts))
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
        left = seconds_left(self._jobs, beats)
        self._show.progress(beats, "" if left is None else f"about {duration(left)} left")

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
        self._show.close()


def _found(job: Job, facts: dict[str, Any]) -> str:
    """What a seed showed, in its experiment's words; the outcome alone where its record cannot be read."""
    try:
        path = Path(facts["directory"], "seeds", f"{job.seed_id}.json")
        return get(job.plan.experiment).seed_text(unsealed("seed record", path))
    except UserError:
        return str(facts["outcome"])


def seconds_left(jobs: Sequence[Job], beats: Beats) -> float | None:
    """Until the last seed has ended, at the speed of the seeds so far; None before an epoch is complete.

    Epochs take as long as in the experiment's finished seeds, else in those that run, else in others.
    """
    finished: dict[Plan, list[float]] = {}
    running: dict[Plan, list[float]] = {}
    for job in jobs:
        if "seconds" in job.result:
            finished.setdefault(job.plan, []).append(job.result["seconds"] / job.plan.planned)
        elif speed := beats.get(job, {}).get("epochs_per_second"):
            running.setdefault(job.plan, []).append(1 / speed)
    known = {plan: fmean(epochs) for plan, epochs in (running | finished).items()}
    if not known:
        return None
    usual = fmean(known.values())
    seeds = [job for job in jobs if job.seed is not None and not job.is_over]
    epochs = {job: job.plan.planned - beats.get(job, {}).get("epochs_done", 0) for job in seeds}
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


class Lines:
    """For a log: a line when a job ends, and from time to time the state of all."""

    def __init__(self, jobs: Sequence[Job], out: IO[str]) -> None:
        self._jobs, self._out = jobs, out
        self._written = time.monotonic()

    def event(self, name: str, job: Job, line: str) -> None:
        if line:
            print(line, file=self._out, flush=True)

    def progress(self, beats: Beats, left: str) -> None:
        if time.monotonic() - self._written < LINE_SECONDS:
            return
        self._written = time.monotonic()
        jobs = f"{sum(job.is_over for job in self._jobs)} of {len(self._jobs)} jobs"
        words = [", ".join(filter(None, (jobs, left)))]
        for job in self._jobs:
            if job.status == "running" and (now := in_words(beats[job]) if job in beats else _printed(job)):
                words.append(f"{job.name} {now}")
        print("; ".join(words), file=self._out, flush=True)

    def close(self) -> None:
        pass


class Bars:
    """For a terminal: a bar over all jobs, in epochs, and one below it for each that runs."""

    def __init__(self, jobs: Sequence[Job], out: IO[str]) -> None:
        self._seeds = [job for job in jobs if job.seed is not None]
        self._out = out
        self._all: tqdm[Any] | None = None  # from the first event on: what is printed before is above it
        self._bars: dict[Job, tqdm[Any]] = {}

    def event(self, name: str, job: Job, line: str) -> None:
        self._all = self._all or self._bar(0, sum(seed.plan.planned for seed in self._seeds), "all")
        if name == "job_started":
            taken = {abs(bar.pos) for bar in self._bars.values()}
            position = next(n for n in range(1, len(taken) + 2) if n not in taken)
            total = job.plan.planned if job.seed is not None else None
            self._bars[job] = self._bar(position, total, job.name)
        elif job in self._bars:
            self._bars.pop(job).close()
        if line:
            tqdm.write(line, file=self._out)

    def progress(self, beats: Beats, left: str) -> None:
        epochs = sum(seed.plan.planned for seed in self._seeds if seed.is_over)
        for job, bar in self._bars.items():
            if (beat := beats.get(job)) is not None:
                epochs += beat["epochs_done"]
                error = "" if beat.get("error") is None else f" error {beat['error']:.2f}"
                bar.set_postfix_str(f"{beat['phase']} λ {beat['lambda']:g}{error}", refresh=False)
                bar.n = beat["epochs_done"]
            elif line := _printed(job):
                bar.set_postfix_str(line, refresh=False)
            bar.refresh()
        if self._all is not None:
            self._all.n = max(self._all.n, epochs)
            self._all.set_postfix_str(left, refresh=False)
            self._all.refresh()

    def close(self) -> None:
        for bar in (*self._bars.values(), self._all):
            if bar is not None:
                bar.close()
        self._bars.clear()

    def _bar(self, position: int, total: int | None, name: str) -> tqdm[Any]:
        own = "<{remaining}" if position else ""  # of the campaign, `seconds_left` is closer
        full = f"{{desc}} {{percentage:3.0f}}%|{{bar:20}}| {{n}}/{{total}} epochs {{elapsed}}{own}{{postfix}}"
        return tqdm(
            total=total,
            desc=name,
            position=position,
            leave=position == 0,
            file=self._out,
            bar_format="{desc} {elapsed}" if total is None else full,
            dynamic_ncols=True,
        )


def _printed(job: Job) -> str:
    """The last line of a running job's log, before its first heartbeat, as on a download."""
    return last_line(job.log, job.began or 0.0)
