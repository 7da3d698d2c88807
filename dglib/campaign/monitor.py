"""What is shown of a campaign: by itself while it runs, and by `run_all.py status` at any time.

While it runs there is a bar per job on a terminal, lines elsewhere, JSON for programs. `status` reads the
jobs' records and the seeds' heartbeats, and changes nothing: also after a kill, and on another machine that
sees the directory.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from math import fsum
from pathlib import Path
from statistics import fmean
from typing import IO, Any

from tqdm import tqdm

from dglib.campaign.jobs import Job, Plan
from dglib.errors import UserError
from dglib.experiments import get, names
from dglib.files import unsealed
from dglib.runs.progress import duration, has_ended, in_words, is_alive, last_line, read_heartbeat

REFRESH_SECONDS = 1.0  # heartbeats come no faster
LINE_SECONDS = 30.0  # between two lines on the state of all jobs, where there is no terminal
STATE = ("phase", "lambda", "epoch", "error")
EPOCH = (*STATE, "epochs_done", "epochs_planned", "epochs_per_second", "seconds_left")
RECORD = {"key", "status", "owner", "process", "log"}  # of the keys of a job's record
ORDER = ("running", "lost", "failed", "stopped", "waiting", "skipped", "done")

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


def read_status(base: Path) -> list[dict[str, Any]]:
    """The jobs below `base/jobs`: their records with `name` and the present `status`.

    `status` is "waiting", "running", "done", "failed", "stopped", "skipped" (a summary of no seed) or "lost":
    started, and without a process now. A running seed has its `heartbeat`, or before the first one `said`,
    the last line of its log. `owned`: whether a campaign that runs has the job.

    Raises:
        UserError: there are no jobs.
    """
    jobs = [job for path in sorted((base / "jobs").glob("*.json")) if (job := _read(path))]
    if not jobs:
        raise UserError(f"{base}: no jobs of run_all.py there")
    updates: dict[tuple[str, int], float] = {}  # the last of each campaign
    for job in jobs:
        owner = job["owner"]["host"], job["owner"]["pid"]
        updates[owner] = max(updates.get(owner, 0.0), job.get("updated", 0.0))
    return sorted((_now(base, job, updates) for job in jobs), key=_order)


def only_failed(jobs: Sequence[Job], home: Path) -> list[Job]:
    """The jobs whose last attempt failed, and the notebooks that read them; the others are set as they ended.

    Raises:
        UserError: there are no records of jobs.
    """
    recorded = {job["key"]: job["status"] for job in read_status(home)}
    for job in jobs:
        known = recorded.get(job.key, "")
        job.status = {"failed": "waiting", "done": "done"}.get(known, "skipped")
    plans = [job.plan for job in jobs if job.status == "waiting"]
    for job in jobs:
        if job.seed is None and job.plan in plans:
            job.status = "waiting"
    return [job for job in jobs if job.status == "waiting"]


def _read(path: Path) -> dict[str, Any] | None:
    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and record.keys() >= RECORD else None


def _order(job: dict[str, Any]) -> tuple[Any, ...]:
    summary = job["seed"] is None
    known = [*names(), job["experiment"]]  # of a user's own experiment the file may be elsewhere
    return job["cell"], known.index(job["experiment"]), summary, job["seed"] or 0, job["began"] or 0


def _now(base: Path, job: dict[str, Any], updates: dict[tuple[str, int], float]) -> dict[str, Any]:
    """A job's record with its present status."""
    kind = "summary" if job["seed"] is None else f"seed {job['seed']}"
    job["name"] = f"{job['cell']} {job['experiment']} {kind}".strip()
    owner = job["owner"]
    owned = is_alive(owner, updates[owner["host"], owner["pid"]])
    if job["directory"] is not None and job["seed_id"] is not None:
        directory = base / job["directory"]  # which may be absolute
        if job["status"] != "done" and (directory / "seeds" / f"{job['seed_id']}.json").exists():
            return job | {"status": "done", "reason": ""}  # elsewhere, or after its owner was killed
        beat = read_heartbeat(directory, job["seed_id"])
        if beat is not None and _is_training(job, beat, owned):
            return job | {"status": "running", "heartbeat": beat}
    if job["status"] == "running" and (not owned or has_ended(job["process"], job["began"])):
        return job | {"status": "lost"}
    said = last_line(base / job["log"], job["began"]) if job["status"] == "running" else ""
    return job | {"owned": owned} | ({"said": said} if said else {})


def _is_training(job: dict[str, Any], beat: dict[str, Any], owned: bool) -> bool:
    """Whether a process trains it. An epoch may outlast a heartbeat: then the campaign's update counts."""
    if "outcome" in beat or beat["updated"] <= (job["ended"] or 0.0):
        return False
    ours = job["status"] == "running" and beat["updated"] >= job["began"] - 1
    return is_alive(beat, time.time() if ours and owned else beat["updated"])


def status_text(jobs: Sequence[dict[str, Any]]) -> str:
    """A line for each job that runs, failed, was lost or stopped, and how many there are of each kind."""
    lines = []
    for job in jobs:
        if job["status"] == "running":
            where = in_words(job["heartbeat"]) if "heartbeat" in job else job.get("said", "just begun")
            where += f", on {job['process']['host']}" if job["process"].get("host") else ""
            lines.append(f"{job['name']}: running: {where}")
        elif job["status"] in ("lost", "stopped"):
            lines.append(f"{job['name']}: {job['status']}: the same command resumes")
        elif job["status"] == "failed":
            lines.append(f"{job['name']}: failed: {job['reason']} (log: {job['log']})")
    counts = Counter(job["status"] for job in jobs)
    count = f"{len(jobs)} job{'s' * (len(jobs) != 1)}: " + ", ".join(
        f"{counts[status]} {status}" for status in ORDER if counts[status]
    )
    if any(job["status"] == "waiting" and not job["owned"] for job in jobs):
        count += "; no campaign runs the waiting ones: the same command resumes"
    return "\n".join([*lines, count])
