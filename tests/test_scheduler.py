"""The scheduler over a scripted backend, and over local worker processes that die and are stopped."""

import json
import signal
import sys
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import psutil
import pytest

from dglib.campaign import local, scheduler
from dglib.campaign.jobs import Job, Plan, anchored, jobs_of
from dglib.campaign.status import only_failed
from dglib.control import unwinding
from dglib.experiments.profiles import load_profile

# A worker that imports nothing of ours. A job's seed determines what it does, by the file `script`: a list,
# one entry for each attempt, the last one for all that follow.
STAND_IN = """
import json, os, signal, sys
from pathlib import Path

for line in sys.stdin:
    job = json.loads(line)
    name, base = f"{job['experiment']} {job['seed']}", Path(job["base"])
    script = json.loads((base / "script").read_text()).get(name, ["do"])
    tries = base / f"{name}.tries"
    before = int(tries.read_text()) if tries.exists() else 0
    tries.write_text(str(before + 1))
    act = script[min(before, len(script) - 1)]
    entry = {"name": name, "pid": os.getpid(), "environment": os.environ.get("NUMBER")}
    with (base / "diary").open("a") as diary:
        print(json.dumps(entry), file=diary, flush=True)
    if act == "wait":
        sys.stdin.read()  # to its end, which is the stop
        print(json.dumps({"stopped": True, "last": True}), flush=True)
        raise SystemExit(130)
    if act == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if act == "exit":
        raise SystemExit("out of luck")
    print(json.dumps({"done": {"directory": str(base), "outcome": "no_event", "seconds": 1.0}}), flush=True)
"""


class Events:
    """A monitor that records what happened."""

    def __init__(self, at_refresh=lambda: None):
        self.events: list[tuple[str, str]] = []
        self.refresh = at_refresh

    def event(self, name, job, **_):
        self.events.append((name, job.name))


class Scripted(scheduler.Backend):
    """One worker, or `at_once`. A job's attempts are answered in turn as scripted by name, else with success.

    An answer may be a number: the worker dies after so many epochs in all.
    """

    def __init__(self, at_once=1, **answers):
        self.at_once = at_once
        self.answers = {name.replace("_", " "): iter(those) for name, those in answers.items()}
        self.jobs: list[Job] = []
        self.messages: list[dict[str, Any]] = []

    def __exit__(self, *_):
        pass

    def start(self, job):
        if len(self.jobs) == self.at_once:
            return False
        self.jobs.append(job)
        self.messages.append(job.message())
        return True

    def poll(self, timeout):
        if not self.jobs:
            return []
        job = self.jobs.pop(0)
        done = {"notebook": "x.ipynb"}
        if job.seed is not None:
            done = {"directory": str(job.plan.base), "outcome": "no_event", "seconds": 1.0}
        answer = next(self.answers[job.name]) if job.name in self.answers else {"done": done}
        if isinstance(answer, int):
            path = job.plan.base / "heartbeats" / f"{job.seed_id}.json"
            path.parent.mkdir(exist_ok=True)
            beat = {"epochs_done": answer, "epochs_planned": 99, "updated": datetime.now(UTC).isoformat()}
            path.write_text(json.dumps(beat))
            answer = {"lost": "it died"}
        return [(job, answer)]

    def stop(self):
        pass


def plan(base, experiment="T2", seeds="0-3"):
    return Plan(anchored(load_profile(experiment, "quick", [f"seeds={seeds}"]), base), base)


def records(base):
    """The jobs' records on the disk, by name."""
    found = [json.loads(path.read_text()) for path in (base / "jobs").glob("*.json")]
    return {f"{record['experiment']} {record['seed']}": record for record in found}


def test_the_longest_seeds_start_first_and_a_notebook_when_all_its_seeds_have_ended(tmp_path):
    short, long = plan(tmp_path, "T2", "0-1"), plan(tmp_path, "T1", "0-1")
    assert long.spec.planned_epochs > short.spec.planned_epochs
    backend = Scripted()
    scheduler.run(jobs_of([short, long]), backend, Events())
    started = [(message["experiment"], message["seed"]) for message in backend.messages]
    assert started == [("T1", 0), ("T1", 1), ("T2", 0), ("T2", 1), ("T2", None), ("T1", None)]


def test_a_failed_job_is_repeated_only_on_request_and_the_notebook_shows_the_seeds_with_a_record(tmp_path):
    def plans():
        return [plan(tmp_path), plan(tmp_path, "T1", "0")]

    asked, events = plans(), Events()
    failed = [{"failed": "it is broken", "last": True}]
    backend = Scripted(T2_seed_1=failed, T2_seed_2=failed)
    scheduler.run(jobs_of(asked), backend, events)
    assert asked[0].state == "failed: seeds 1, 2: it is broken"
    assert backend.messages[-2]["parameters"]["seeds"] == [0, 3]
    assert events.events.count(("job_failed", "T2 seed 1")) == 1
    before = records(tmp_path)
    assert before["T2 1"]["reason"] == "it is broken"

    asked, backend = plans(), Scripted()
    jobs = only_failed(jobs_of(asked), tmp_path)
    assert [job.name for job in jobs] == ["T2 seed 1", "T2 seed 2", "T2 summary"]
    scheduler.run(jobs, backend, Events())
    assert [message["parameters"]["seeds"] for message in backend.messages] == [[1], [2], [0, 1, 2, 3]]
    assert asked[0].state == ""
    assert records(tmp_path)["T2 0"] == before["T2 0"]
    assert only_failed(jobs_of(plans()), tmp_path) == []


def test_fail_fast_starts_no_job_after_a_failure_and_lets_those_that_run_end(tmp_path):
    asked = plan(tmp_path)
    backend = Scripted(at_once=2, T2_seed_0=[{"failed": "it is broken"}])
    scheduler.run(jobs_of([asked]), backend, Events(), fail_fast=True)
    assert [job.status for job in asked.jobs] == ["failed", "done", "waiting", "waiting", "waiting"]
    assert [record["status"] for _, record in sorted(records(tmp_path).items())][:2] == ["failed", "done"]


def test_a_seed_fails_only_after_deaths_without_progress(tmp_path):
    asked = plan(tmp_path, seeds="0")
    asked.jobs[0].result = {"directory": str(tmp_path)}  # so that no manifest is needed
    scheduler.run(asked.jobs[:1], Scripted(T2_seed_0=[*range(1, 16), *[15] * 20]), Events())
    assert asked.jobs[0].reason == f"it died, {scheduler.RETRIES + 1} times"
    assert asked.jobs[0].attempts == 15 + scheduler.RETRIES


@pytest.fixture
def run_locally(tmp_path, monkeypatch):
    """Runs seeds 0 to 3 by the stand-in, and returns what it wrote about them."""
    monkeypatch.setattr(local, "WORKER", (sys.executable, "-c", STAND_IN))

    def run(script, monitor):
        (tmp_path / "script").write_text(json.dumps(script))
        asked = plan(tmp_path)
        backend = local.LocalBackend([{"NUMBER": "0"}])
        try:
            with unwinding(), backend:
                scheduler.run(asked.jobs[:4], backend, monitor)
        finally:
            run.asked = asked
        return [json.loads(line) for line in (tmp_path / "diary").read_text().splitlines()], asked

    return run


def test_a_worker_that_dies_is_replaced_and_its_job_repeated_up_to_three_times(run_locally):
    events = Events()
    script = {"T2 0": ["die", "exit", "do"], "T2 1": ["die"], "T2 2": ["exit"]}
    entries, asked = run_locally(script, events)
    tries = 1 + scheduler.RETRIES
    assert [job.attempts for job in asked.jobs[:4]] == [3, tries, tries, 1]
    assert asked.state == (
        f"failed: seed 1: its process was ended by SIGKILL, {tries} times; "
        f"seed 2: its process ended with status 1 (out of luck), {tries} times"
    )
    assert Counter(events.events)["job_retried", "T2 seed 0"] == 2
    assert {entry["environment"] for entry in entries} == {"0"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_the_jobs_before_the_parent(number, tmp_path, run_locally):
    before = signal.getsignal(number)

    def refresh():
        if (tmp_path / "diary").exists():
            signal.raise_signal(number)

    with pytest.raises(KeyboardInterrupt):
        run_locally({"T2 0": ["wait"]}, Events(refresh))
    entry = json.loads((tmp_path / "diary").read_text())
    assert entry["pid"] not in {child.pid for child in psutil.Process().children()}
    assert [job.status for job in run_locally.asked.jobs[:2]] == ["stopped", "waiting"]
    assert [records(tmp_path)[f"T2 {seed}"]["status"] for seed in (0, 1)] == ["stopped", "waiting"]
    assert signal.getsignal(number) == before
