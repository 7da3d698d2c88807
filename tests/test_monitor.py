"""What a campaign shows: lines in a log, bars on a terminal, JSON lines for programs."""

import io
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dglib.campaign import monitor as monitors
from dglib.campaign.jobs import Job, Plan, anchored, jobs_of
from dglib.campaign.monitor import CampaignMonitor
from dglib.campaign.scheduler import Schedule
from dglib.experiments import requested_numerics
from dglib.experiments.profiles import load_profile
from dglib.runs import identity
from dglib.runs.store import Store


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.setattr(monitors, "REFRESH_SECONDS", 0.0)
    return Plan(anchored(load_profile("T2", "quick", ["seeds=0-2"]), tmp_path), tmp_path)


@pytest.fixture
def store(plan: Plan) -> Store:
    described = identity.describe(plan.spec, "of the data", **requested_numerics(plan.parameters))
    return Store.open(plan.base, plan.spec, described, {})[0]


def beat(store: Store, seed: int, epochs: int, *, age: float = 0.0) -> None:
    updated = datetime.fromtimestamp(time.time() - age, UTC).isoformat(timespec="milliseconds")
    content = {"epochs_done": epochs, "epochs_planned": 55, "phase": "init", "lambda": 0.55, "epoch": epochs}
    store.files(seed).heartbeat.write_text(json.dumps({**content, "error": 0.5, "updated": updated}))


def end(store: Store, schedule: Schedule, job: Job) -> None:
    assert job.seed is not None
    store.files(job.seed).record.write_text("{}")
    schedule.ended(
        job, {"done": {"directory": str(store.directory), "outcome": "trapped_90", "seconds": 61.0}}
    )


def begin(schedule: Schedule, count: int) -> list[Job]:
    begun = []
    for _ in range(count):
        job = schedule.next()
        assert job is not None
        schedule.started(job, {})
        begun.append(job)
    return begun


def events(lines: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines.getvalue().splitlines()]


def test_a_log_gets_a_line_for_each_end_and_now_and_then_one_on_where_all_stands(
    plan: Plan, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = io.StringIO()
    with CampaignMonitor(jobs_of([plan]), out=out) as monitor:
        schedule = Schedule(jobs_of([plan]), monitor)
        first, second = begin(schedule, 2)
        beat(store, 0, 5)
        schedule.refresh()
        end(store, schedule, first)
        schedule.ended(second, {"lost": "its process was ended by SIGKILL"})
        (second,) = begin(schedule, 1)
        schedule.ended(second, {"failed": "no space"})
        (third,) = begin(schedule, 1)
        monkeypatch.setattr(monitors, "LINE_SECONDS", 0.0)
        third.log.write_text("-- begun\ncifar10: 3 of 170 MB\n")
        schedule.refresh()
        beat(store, 2, 7)
        schedule.refresh()
    assert third.seed == 2
    assert out.getvalue().splitlines() == [
        "T2 seed 0: trapped, 1 min 1 s",
        "T2 seed 1: its process was ended by SIGKILL; begun again",
        "T2 seed 1: failed: no space",
        "2 of 4 jobs; T2 seed 2 cifar10: 3 of 170 MB",
        "2 of 4 jobs; T2 seed 2 init λ 0.55, epoch 7 of 55, error 0.50",
    ]


def test_a_terminal_gets_a_bar_for_all_and_one_for_each_job_that_runs(plan: Plan, store: Store) -> None:
    out = Terminal()
    with CampaignMonitor(jobs_of([plan]), out=out) as monitor:
        schedule = Schedule(jobs_of([plan]), monitor)
        assert out.getvalue() == ""  # what is said at the beginning is not written into a bar
        first, second = begin(schedule, 2)
        bars = monitor._show
        assert isinstance(bars, monitors.Bars)
        assert sorted(abs(bar.pos) for bar in bars._bars.values()) == [1, 2]
        beat(store, 0, 5)
        beat(store, 1, 9)
        schedule.refresh()
        assert [bars._bars[job].n for job in (first, second)] == [5, 9]
        assert bars._all is not None
        assert (bars._all.n, bars._all.total) == (14, 3 * plan.planned)
        end(store, schedule, first)
        (third,) = begin(schedule, 1)
        schedule.refresh()
        assert {job.name: abs(bar.pos) for job, bar in bars._bars.items()} == {
            "T2 seed 1": 2,
            "T2 seed 2": 1,
        }
        assert bars._all.n == plan.planned + 9
        end(store, schedule, second)
        end(store, schedule, third)
    shown = out.getvalue()
    assert "T2 seed 0: trapped, 1 min 1 s" in shown
    assert "init λ 0.55 error 0.50" in shown


def test_programs_get_a_json_line_per_event_and_an_epoch_once(plan: Plan, store: Store) -> None:
    lines = io.StringIO()
    beat(store, 1, 20, age=60)  # left by an attempt before
    with CampaignMonitor(jobs_of([plan]), lines, io.StringIO()) as monitor:
        schedule = Schedule(jobs_of([plan]), monitor)
        first, _ = begin(schedule, 2)
        for epochs in (5, 5, 6):
            beat(store, 0, epochs)
            schedule.refresh()
        end(store, schedule, first)
        monitor.emit("all_done", failed=0)
    told = events(lines)
    assert [(event["event"], event.get("seed"), event.get("epochs_done")) for event in told] == [
        ("job_started", 0, None),
        ("job_started", 1, None),
        ("epoch", 0, 5),
        ("epoch", 0, 6),
        ("seed_done", 0, None),
        ("all_done", None, None),
    ]
    assert told[2]["lambda"] == 0.55
    assert told[4]["outcome"] == "trapped_90"
    assert all(datetime.fromisoformat(event["time"]).tzinfo is not None for event in told)


class Gone(io.StringIO):
    """A pipe at whose other end nobody is."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_a_reader_that_has_gone_is_noticed_between_events_and_told_nothing_more(plan: Plan) -> None:
    for lines, out in ((Gone(), io.StringIO()), (None, Gone())):
        with CampaignMonitor(jobs_of([plan]), lines, out) as monitor:
            schedule = Schedule(jobs_of([plan]), monitor)
            (job,) = begin(schedule, 1)
            schedule.ended(job, {"failed": "no space"})  # in the middle of which nothing may stop it
            with pytest.raises(BrokenPipeError):
                schedule.refresh()
            begin(schedule, 1)
            schedule.close()
        assert [job.status for job in schedule._jobs] == ["failed", "stopped", "waiting", "waiting"]
        for each in schedule._jobs:
            each.status = "waiting"
