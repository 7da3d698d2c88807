"""What run_all.py and its `status` show of jobs: from their records and heartbeats, and from events."""

import io
import json
import os
import socket
import time
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from analysis_cases import t2

from dglib import cli
from dglib.campaign import status
from dglib.campaign.jobs import Plan, anchored, jobs_of
from dglib.campaign.scheduler import Schedule
from dglib.campaign.status import CampaignMonitor, read_status, status_text
from dglib.experiments.profiles import load_profile
from dglib.files import sealed
from dglib.runs import identity
from dglib.runs.store import Store

HERE = {"pid": os.getpid(), "host": socket.gethostname()}
FOUND = "recovered; λ↓ lies: 0.35 to 0.40; State at the sweep's end: ordered"  # by a seed that ended
GONE = 2**22 + 1  # the id of a process that has ended: the system gives none above 2²²


SILENT = SimpleNamespace(event=lambda *_, **__: None, refresh=lambda: None)


@pytest.fixture
def plan(tmp_path, monkeypatch):
    monkeypatch.setattr(status, "REFRESH_SECONDS", 0.0)
    base = tmp_path / "runs"
    return Plan(anchored(load_profile("T2", "quick", ["seeds=0-2"]), base), base)


@pytest.fixture
def store(plan):
    """The run directory of the plan, as a worker would have made it."""
    described = identity.describe(plan.spec, "of the data", **identity.requested_numerics(plan.parameters))
    return Store.open(plan.base, plan.spec, described, {})[0]


def start(schedule, count=1):
    """Begin so many jobs."""
    started = []
    for _ in range(count):
        started.append(schedule.next())
        schedule.started(started[-1])
    return started


def begin(plan, count=1):
    """A campaign in which so many seeds have begun."""
    schedule = Schedule(jobs_of([plan]), SILENT)
    start(schedule, count)
    schedule.refresh()
    return schedule


def end(store, schedule, job):
    store.files(job.seed).record.write_bytes(sealed("seed record", t2(job.seed)))
    result = {"directory": str(store.directory), "outcome": "trapped_90", "seconds": 61.0}
    schedule.ended(job, {"done": result})


def beat(store, seed=0, epochs=12, *, age=0.0, **changes):
    """A heartbeat as of `age` seconds ago."""
    updated = datetime.fromtimestamp(time.time() - age, UTC).isoformat(timespec="milliseconds")
    content = {
        **{"experiment": "T2", "seed": seed, **HERE, "epochs_done": epochs, "epochs_planned": 55},
        **{"phase": "sweep", "lambda": 0.45, "epoch": epochs, "error": 0.381, "updated": updated, **changes},
    }
    store.files(seed).heartbeat.write_text(json.dumps(content))


def of(base, name):
    (found,) = [job for job in read_status(base) if job["name"] == name]
    return found


def edit(base, job, **changes):
    path = base / "jobs" / f"{job.key}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_running_seed_is_shown_with_phase_level_epoch_error_speed_and_time_left(plan, store):
    begin(plan)
    beat(store)
    updated = datetime.fromisoformat(json.loads(store.files(0).heartbeat.read_text())["updated"])
    attempt = {**HERE, "began": updated.timestamp() - 20, "found_step": 0, "found_epochs": 2}
    store.files(0).attempts.write_text(json.dumps(attempt) + "\n")
    found = of(plan.base, "T2 seed 0")
    assert found["status"] == "running"
    assert found["heartbeat"]["epochs_per_second"] == pytest.approx(10 / 20)
    assert found["heartbeat"]["seconds_left"] == pytest.approx(43 * 2)
    first, *_, last = status_text(read_status(plan.base)).splitlines()
    assert first.startswith(
        "T2 seed 0: running: sweep λ 0.45, epoch 12 of 55, error 0.38, 2.0 s/epoch, 1 min 26 s"
    )
    assert first.endswith(f" left at most, on {HERE['host']}")
    assert last == "4 jobs: 1 running, 3 waiting"


def test_jobs_that_ended_are_counted_and_a_failed_one_gives_its_reason_and_log(plan, store):
    schedule = begin(plan, 3)
    end(store, schedule, plan.jobs[0])
    schedule.ended(plan.jobs[1], {"failed": "no space"})
    schedule.stopping = True
    schedule.ended(plan.jobs[2], {"stopped": True})
    assert status_text(read_status(plan.base)).splitlines() == [
        f"T2 seed 1: failed: no space (log: jobs/{plan.jobs[1].key}.log)",
        "T2 seed 2: stopped: the same command resumes",
        "4 jobs: 1 failed, 1 stopped, 1 waiting, 1 done",
    ]
    store.files(2).record.write_text("{}")
    assert of(plan.base, "T2 seed 2")["status"] == "done", "a record counts, whatever its job's state"


def test_after_a_kill_a_running_job_is_lost_and_no_campaign_has_the_waiting_ones(plan, store):
    begin(plan)
    beat(store, pid=GONE)
    for job in plan.jobs:
        edit(plan.base, job, owner=HERE | {"pid": GONE})
    assert status_text(read_status(plan.base)).splitlines() == [
        "T2 seed 0: lost: the same command resumes",
        "4 jobs: 1 lost, 3 waiting; no campaign runs the waiting ones: the same command resumes",
    ]


def test_of_another_machine_a_fresh_heartbeat_or_update_counts_and_none_from_before_a_stop(plan, store):
    schedule = begin(plan)
    owner = {"pid": 7, "host": "elsewhere"}
    for beat_age, update_age, expected in ((5, 999, "running"), (300, 5, "running"), (300, 300, "lost")):
        beat(store, age=beat_age, host="elsewhere")
        updated = time.time() - update_age
        edit(plan.base, plan.jobs[0], owner=owner, began=time.time() - 400, updated=updated)
        assert of(plan.base, "T2 seed 0")["status"] == expected
    beat(store, age=3)
    schedule.stopping = True
    schedule.ended(plan.jobs[0], {"stopped": True})
    edit(plan.base, plan.jobs[0], began=time.time() - 400)
    assert of(plan.base, "T2 seed 0")["status"] == "stopped"
    edit(plan.base, plan.jobs[0], ended=time.time() - 60)
    beat(store)  # a notebook trains it meanwhile
    assert of(plan.base, "T2 seed 0")["status"] == "running"


def test_status_as_json_is_a_line_per_job_and_writes_nothing(plan, store, capsys):
    begin(plan)
    beat(store)
    for name, content in (("torn", "{"), ("list", "[]"), ("other", '{"key": "a"}')):
        (plan.base / "jobs" / f"{name}.json").write_text(content)
    before = {path: path.stat().st_mtime_ns for path in plan.base.rglob("*")}
    assert cli.run_all(["status", "--base-dir", str(plan.base), "--json"]) == 0
    jobs = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [job["seed"] for job in jobs] == [0, 1, 2, None]
    assert [job["status"] for job in jobs] == ["running", *["waiting"] * 3]
    assert {path: path.stat().st_mtime_ns for path in plan.base.rglob("*")} == before


def monitored(plan, events, out):
    """A campaign shown on streams."""
    jobs = jobs_of([plan])
    monitor = CampaignMonitor(jobs, events, out)
    return Schedule(jobs, monitor), monitor


def test_an_end_is_a_line_and_an_event_and_an_epoch_an_event(plan, store, monkeypatch):
    beat(store, 1, 20, age=60)  # left by an attempt before
    schedule, monitor = monitored(plan, lines := io.StringIO(), out := io.StringIO())
    first, second = start(schedule, 2)
    for epochs in (5, 5, 6):
        beat(store, 0, epochs)
        schedule.refresh()
    end(store, schedule, first)
    schedule.ended(second, {"lost": "its process was ended by SIGKILL"})
    start(schedule)
    schedule.ended(second, {"failed": "no space"})
    (third,) = start(schedule)
    monkeypatch.setattr(status, "LINE_SECONDS", 0.0)
    third.log.write_text("-- begun\ncifar10: 3 of 170 MB\n[IPKernelApp] WARNING | TCP\n")
    schedule.refresh()
    beat(store, 2, 7)
    schedule.refresh()
    monitor.emit("all_done", failed=0)
    assert out.getvalue().splitlines() == [
        f"T2 seed 0: {FOUND}; 1 min 1 s",
        "T2 seed 1: its process was ended by SIGKILL; begun again",
        "T2 seed 1: failed: no space",
        "2 of 4 jobs, about 1 min 1 s left; T2 seed 2 cifar10: 3 of 170 MB",
        "2 of 4 jobs, about 53 s left; T2 seed 2 sweep λ 0.45 error 0.38",
    ]
    events = [json.loads(line) for line in lines.getvalue().splitlines()]
    begun, retried = ["job_started 0", "job_started 1"], ["job_retried 1", "job_started 1", "job_failed 1"]
    assert [f"{event['event']} {event.get('epochs_done', event.get('seed'))}" for event in events] == [
        *(*begun, "epoch 5", "epoch 6", "seed_done 0", *retried),
        *("job_started 2", "epoch 7", "all_done None"),
    ]
    assert events[2].keys() >= {"phase", "epoch", "error", "epochs_per_second", "seconds_left"}
    assert (events[2]["seed"], events[2]["lambda"], events[4]["found"]) == (0, 0.45, FOUND)
    assert all(datetime.fromisoformat(event["time"]).tzinfo is not None for event in events)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_gets_one_bar_in_epochs_with_the_state_of_the_jobs_that_run(plan, store):
    schedule, monitor = monitored(plan, None, out := Terminal())
    with monitor:
        assert out.getvalue() == ""  # what is printed at the beginning is not written into the bar
        first, _ = start(schedule, 2)
        beat(store, 0, 5)
        beat(store, 1, 9)
        schedule.refresh()
        assert f" 14/{3 * plan.spec.planned_epochs} epochs" in out.getvalue()
        end(store, schedule, first)
        schedule.refresh()
        assert f" {plan.spec.planned_epochs + 9}/{3 * plan.spec.planned_epochs} epochs" in out.getvalue()
    assert f"T2 seed 0: {FOUND}; 1 min 1 s\n" in out.getvalue()
    assert "1 of 4 jobs, about " in out.getvalue()
    assert "T2 seed 1 sweep λ 0.45" in out.getvalue()
    assert out.getvalue().endswith("\n")


class Unread(io.StringIO):
    """A pipe whose reader has gone."""

    def write(self, text):
        raise BrokenPipeError


@pytest.mark.parametrize("programs", [True, False])
def test_a_reader_that_has_gone_is_reported_between_events(programs, plan):
    events, out = (Unread(), io.StringIO()) if programs else (None, Unread())
    schedule, _ = monitored(plan, events, out)
    (job,) = start(schedule)
    schedule.ended(job, {"failed": "no space"})  # in the middle of which nothing may stop it
    with pytest.raises(BrokenPipeError):
        schedule.refresh()
    start(schedule)
    schedule.close()
    assert [job.status for job in schedule._jobs] == ["failed", "stopped", "waiting", "waiting"]
