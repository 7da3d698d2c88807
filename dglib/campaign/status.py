"""The jobs' records on disk, `jobs/<key>.json` below their plan's home, and `run_all.py status` over them.

Each is updated while its job runs. `status` also reads the seeds' heartbeats, and changes nothing: it answers
during a campaign, after a kill, and on another machine that sees the directory.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from dglib.campaign.jobs import Job
from dglib.errors import UserError
from dglib.experiments import names
from dglib.files import to_json, write_atomically
from dglib.runs.progress import in_words, is_alive, last_line, read_heartbeat, this_process

FACTS = ("key", "kind", "seed", "status", "reason", "attempts", "began", "ended", "seed_id")
ORDER = ("running", "lost", "failed", "stopped", "waiting", "skipped", "done")


def write(job: Job) -> None:
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
            jobs.append(json.loads(path.read_bytes()))
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
        beat = read_heartbeat(directory, job["seed_id"])
        if beat is not None and _is_training(job, beat, owned):
            return job | {"status": "running", "heartbeat": beat}
    if job["status"] == "running" and not owned:
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
