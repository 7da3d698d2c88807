"""run_all.py status: what is told of jobs, from their records, heartbeats on the disk."""

import json
import os
import socket
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dglib import cli
from dglib.campaign import status
from dglib.campaign.jobs import Job, Plan, anchored, jobs_of
from dglib.campaign.scheduler import Schedule
from dglib.experiments import requested_numerics
from dglib.experiments.profiles import load_profile
from dglib.runs import identity
from dglib.runs.store import Store

HERE = {"pid": os.getpid(), "host": socket.gethostname()}


class Unwatched:
    def event(self, name: str, job: Job, **_: Any) -> None: ...
    def refresh(self) -> None: ...


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    base = tmp_path / "runs"
    return Plan(anchored(load_profile("T2", "quick", ["seeds=0-3"]), base), base)


@pytest.fixture
def store(plan: Plan) -> Store:
    """The run directory of the plan, as a worker would have made it."""
    described = identity.describe(plan.spec, "of the data", **requested_numerics(plan.parameters))
    return Store.open(plan.base, plan.spec, described, {})[0]


@pytest.fixture
def gone() -> int:
    """The id of a process that has ended: no process has it, since the system gives none above 2²²."""
    return 2**22 + 1


def begin(plan: Plan, count: int = 1, **process: Any) -> Schedule:
    """A campaign in which so many seeds have begun."""
    schedule = Schedule(jobs_of([plan]), Unwatched())
    for _ in range(count):
        job = schedule.next()
        assert job is not None
        schedule.started(job, HERE | process)
    schedule.refresh()
    return schedule


def beat(store: Store, seed: int = 0, *, age: float = 0.0, **changes: Any) -> None:
    """A heartbeat as of `age` seconds ago."""
    updated = datetime.fromtimestamp(time.time() - age, UTC).isoformat(timespec="milliseconds")
    content = {
        **{"experiment": "T2", "seed": seed, **HERE, "epochs_done": 12, "epochs_planned": 55},
        **{"phase": "sweep", "lambda": 0.45, "epoch": 12, "error": 0.381, "updated": updated, **changes},
    }
    store.files(seed).heartbeat.write_text(json.dumps(content))


def attempt(store: Store, seed: int = 0, *, before: float, found_epochs: float = 0.0) -> None:
    """An attempt that began so many seconds before the heartbeat."""
    beat = json.loads(store.files(seed).heartbeat.read_text())
    began = datetime.fromisoformat(beat["updated"]).timestamp() - before
    line = {**HERE, "began": began, "found_step": 0, "found_epochs": found_epochs}
    store.files(seed).attempts.write_text(json.dumps(line) + "\n")


def of(base: Path, name: str) -> dict[str, Any]:
    (found,) = [job for job in status.read_status(base) if job["name"] == name]
    return found


def edit(base: Path, job: Job, **changes: Any) -> None:
    path = base / "jobs" / f"{job.key}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_running_seed_is_told_with_phase_level_epoch_error_speed_and_time_left(
    plan: Plan, store: Store
) -> None:
    begin(plan)
    beat(store)
    attempt(store, before=20, found_epochs=2)
    found = of(plan.base, "T2 seed 0")
    assert found["status"] == "running"
    assert found["heartbeat"]["epochs_per_second"] == pytest.approx(10 / 20)
    assert found["heartbeat"]["seconds_left"] == pytest.approx(43 * 2)
    first, *_, last = status.text(status.read_status(plan.base)).splitlines()
    assert first.startswith(
        "T2 seed 0: running: sweep λ 0.45, epoch 12 of 55, error 0.38, 2.0 s/epoch, 1 min 26 s"
    )
    assert first.endswith(f" left at most, on {HERE['host']}")
    assert last == "5 jobs: 1 running, 4 waiting"


def test_jobs_that_ended_are_counted_and_a_failed_one_gives_its_reason_and_log(
    plan: Plan, store: Store
) -> None:
    schedule = begin(plan, 3)
    store.files(0).record.write_text("{}")
    result = {"directory": str(store.directory), "outcome": "recovered", "seconds": 1.0}
    schedule.ended(plan.jobs[0], {"done": result})
    schedule.ended(plan.jobs[1], {"failed": "no space"})
    schedule.stopping = True
    schedule.ended(plan.jobs[2], {"stopped": True})
    assert status.text(status.read_status(plan.base)).splitlines() == [
        f"T2 seed 1: failed: no space (log: jobs/{plan.jobs[1].key}.log)",
        "T2 seed 2: stopped: the same command resumes",
        "5 jobs: 1 failed, 1 stopped, 2 waiting, 1 done",
    ]


def test_after_a_kill_what_ran_is_lost_and_what_waits_is_nobodys(plan: Plan, store: Store, gone: int) -> None:
    begin(plan)
    beat(store, pid=gone)
    for job in plan.jobs:
        edit(plan.base, job, owner=HERE | {"pid": gone})
    assert status.text(status.read_status(plan.base)).splitlines() == [
        "T2 seed 0: lost: the same command resumes",
        "5 jobs: 1 lost, 4 waiting; no campaign runs the waiting ones: the same command resumes",
    ]


def test_a_record_makes_a_seed_done_whatever_its_job_says(plan: Plan, store: Store) -> None:
    schedule = begin(plan, 2)
    schedule.stopping = True
    schedule.ended(plan.jobs[1], {"stopped": True})
    for seed in (0, 1):
        store.files(seed).record.write_text("{}")
        assert of(plan.base, f"T2 seed {seed}")["status"] == "done"


@pytest.mark.parametrize(
    ("beat_age", "update_age", "expected"),
    [(5, 999, "running"), (300, 5, "running"), (300, 300, "lost")],
    ids=["a fresh heartbeat", "an epoch that lasts", "no sign of life"],
)
def test_of_another_machine_heartbeat_and_update_count(
    beat_age: float, update_age: float, expected: str, plan: Plan, store: Store
) -> None:
    begin(plan, host="elsewhere")
    beat(store, age=beat_age, host="elsewhere")
    owner, updated = {"pid": 7, "host": "elsewhere"}, time.time() - update_age
    edit(plan.base, plan.jobs[0], owner=owner, began=time.time() - 400, updated=updated)
    assert of(plan.base, "T2 seed 0")["status"] == expected


def test_a_heartbeat_from_before_a_stop_is_none(plan: Plan, store: Store) -> None:
    schedule = begin(plan)
    beat(store, age=3)
    schedule.stopping = True
    schedule.ended(plan.jobs[0], {"stopped": True})
    assert of(plan.base, "T2 seed 0")["status"] == "stopped"
    edit(plan.base, plan.jobs[0], ended=time.time() - 60)
    beat(store)  # a notebook trains it meanwhile
    assert of(plan.base, "T2 seed 0")["status"] == "running"


def test_a_directory_seen_under_another_name_tells_the_same(plan: Plan, store: Store) -> None:
    begin(plan)
    beat(store)
    moved = plan.base.rename(plan.base.with_name("mounted elsewhere"))
    assert of(moved, "T2 seed 0")["heartbeat"]["epochs_done"] == 12


def test_status_as_json_is_a_line_per_job_and_writes_nothing(
    plan: Plan, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    begin(plan)
    beat(store)
    before = {path: path.stat().st_mtime_ns for path in plan.base.rglob("*")}
    assert cli.run_all(["status", "--base-dir", str(plan.base), "--json"]) == 0
    jobs = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [job["seed"] for job in jobs] == [0, 1, 2, 3, None]
    assert [job["status"] for job in jobs] == ["running", *["waiting"] * 4]
    assert {path: path.stat().st_mtime_ns for path in plan.base.rglob("*")} == before


@pytest.mark.parametrize("content", ["", "[]", '{"key": 3}', "{"])
def test_a_torn_record_is_passed_over(content: str, plan: Plan) -> None:
    begin(plan)
    (plan.base / "jobs" / "torn.json").write_text(content)
    assert len(status.read_status(plan.base)) == 5
