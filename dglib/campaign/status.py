"""What is shown of jobs: their records on disk, `run_all.py status` over them, and a campaign's own output.

Each job has a record, `jobs/<key>.json` below its plan's home, updated while it runs. `status` also reads the
seeds' heartbeats, and changes nothing: it answers during a campaign, after a kill, and on another machine
that sees the directory.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import chain
from math import fsum
from pathlib import Path
from statistics import fmean
from typing import IO, Any

from tqdm import tqdm

from dglib.campaign.jobs import Job, Plan
from dglib.errors import UserError
from dglib.experiments import get, names
from dglib.files import to_json, unsealed, write_atomically
from dglib.runs.progress import duration, in_words, is_alive, last_line, read_heartbeat, this_process
from dglib.training.registry import call

FACTS = ("key", "kind", "seed", "status", "reason", "attempts", "began", "ended", "seed_id")
ORDER = ("running", "lost", "failed", "stopped", "waiting", "skipped", "done")
REFRESH_SECONDS = 1.0  # heartbeats come no faster
LINE_SECONDS = 30.0  # between two lines on the state of all jobs, where there is no terminal
EPOCH = (
    "phase", "lambda", "epoch", "error", "epochs_done", "epochs_planned", "epochs_per_second", "seconds_left",
)  # fmt: skip
BAR = "{percentage:3.0f}%|{bar:20}| {n}/{total} epochs {elapsed}{postfix}"

Beats = dict[Job, dict[str, Any]]


def write_record(job: Job) -> None:
    """Write the record of a job, which this process runs.

    Raises:
        StorageError: it cannot be written.
    """
    home = job.plan.home.absolute()

    def below(path: Path) -> str:  # other machines may mount `home` elsewhere
        path = path.absolute()
        return str(path.relative_to(home)) if path.is_relative_to(home) else str(path)

    directory = None if job.seed is None or job.status == "waiting" else job.directory()
    record = {
        **{name: getattr(job, name) for name in FACTS},
        "experiment": job.plan.experiment,
        "cell": job.plan.cell,
        "directory": None if directory is None else below(directory),
        "base": below(job.plan.base),
        "log": below(job.log),
        "owner": this_process(),
        "updated": time.time(),
    }
    write_atomically(job.record, to_json(record, indent=1))


def read_status(base: Path) -> list[dict[str, Any]]:
    """The jobs below `base/jobs`: their records with `name` and the present `status`.

    `status` is "waiting", "running", "done", "failed", "stopped", "skipped" (a summary of no seed) or "lost":
    started by a campaign that has ended. A running seed has its `heartbeat`, or before the first one `said`,
    the last line of its log. `owned`: whether a campaign that runs has the job.

    Raises:
        UserError: there are no jobs.
    """
    jobs = []
    for path in sorted((base / "jobs").glob("*.json")):
        with suppress(OSError, ValueError):
            job = json.loads(path.read_bytes())
            jobs += [job] if isinstance(job, dict) and job.keys() >= {*FACTS, "owner"} else []
    if not jobs:
        listed = f"`python -m dglib list --base-dir {base}` lists the runs"
        raise UserError(f"{base}: no jobs of run_all.py there; {listed}")
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


def _order(job: dict[str, Any]) -> tuple[Any, ...]:
    known = [*names(), job["experiment"]]  # of a user's own experiment the file may be elsewhere
    return job["cell"], known.index(job["experiment"]), job["seed"] is None, job["seed"], job["began"] or 0


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
        beat = read_heartbeat(directory, job["seed_id"]) or {"updated": 0.0}
        fresh = beat["updated"] > (job["ended"] or (job["began"] or 1.0) - 1) and "outcome" not in beat
        # An epoch may outlast a heartbeat: then the campaign's own updates count.
        if fresh and ((job["status"] == "running" and owned) or is_alive(beat, beat["updated"])):
            return job | {"status": "running", "heartbeat": beat}
    if job["status"] == "running" and not owned:
        return job | {"status": "lost"}
    said = last_line(base / job["log"], job["began"]) if job["status"] == "running" else ""
    return job | {"owned": owned} | ({"said": said} if said else {})


def status_text(jobs: Sequence[dict[str, Any]]) -> str:
    """A line for each job that runs, failed, was lost or stopped, and how many there are of each kind."""
    lines = []
    for job in jobs:
        if job["status"] == "running":
            beat = job.get("heartbeat")
            where = f"{in_words(beat)}, on {beat['host']}" if beat else job.get("said", "just begun")
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
            facts["found"] = _seed_text(job, facts)
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
            beat = job.heartbeat() if job.status == "running" else None
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


def _seed_text(job: Job, facts: dict[str, Any]) -> str:
    """What a seed showed, in its experiment's words; else the outcome and why there are no words."""
    try:
        record = unsealed("seed record", Path(facts["directory"], "seeds", f"{job.seed_id}.json"))
        return str(call("not read", get(job.plan.experiment).seed_text, record))  # no line stops a campaign
    except UserError as error:
        return f"{facts['outcome']} ({error})"


def seconds_left(jobs: Sequence[Job], beats: Beats) -> float | None:
    """Until the last seed has ended, at the speed so far; None before the first epoch is complete, and after.

    Epochs take as long as in the experiment's other seeds, else as in all.
    """
    epoch: dict[Plan, list[float]] = {}  # its seconds in each seed
    for job in jobs:
        if "seconds" in job.result:
            epoch.setdefault(job.plan, []).append(job.result["seconds"] / job.planned)
        elif speed := beats.get(job, {}).get("epochs_per_second"):
            epoch.setdefault(job.plan, []).append(1 / speed)
    seeds = [job for job in jobs if job.seed is not None and not job.is_over]
    if not epoch or not seeds:
        return None
    usual = list(chain.from_iterable(epoch.values()))
    left = (
        (job.planned - beats.get(job, {}).get("epochs_done", 0)) * fmean(epoch.get(job.plan, usual))
        for job in seeds
    )
    return fsum(left) / max(1, sum(job.status == "running" for job in seeds))


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
