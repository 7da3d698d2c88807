"""The schedule: how often a job is begun whose process dies."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dglib.campaign.jobs import Job, Plan, anchored
from dglib.campaign.scheduler import RETRIES, Schedule
from dglib.experiments.profiles import load_profile


class Deaf:
    """A watch to which nothing matters."""

    def event(self, name: str, job: Job, **facts: Any) -> None:
        pass

    def look(self) -> None:
        pass


@pytest.fixture
def schedule(tmp_path: Path) -> tuple[Schedule, Job]:
    plan = Plan(anchored(load_profile("T2", "quick", ["seeds=0"]), tmp_path), tmp_path)
    job = plan.jobs[0]
    job.result = {"directory": str(tmp_path)}  # so that no manifest is needed
    return Schedule([job], Deaf()), job


def beat(base: Path, epochs: int) -> None:
    """The seed's heartbeat after so many epochs."""
    (base / "heartbeats").mkdir(exist_ok=True)
    told = {"epochs_done": epochs, "epochs_planned": 999, "updated": datetime.now(UTC).isoformat()}
    (base / "heartbeats" / "T2-spinodal-000.json").write_text(json.dumps(told))


def deaths(schedule: Schedule, job: Job, most: int) -> int:
    """How often the job's process dies until it is given up, or so often."""
    for count in range(1, most + 1):
        schedule.begun(job)
        schedule.lost(job, "it died")
        if job.status == "failed":
            return count
    return most


def test_a_job_that_dies_over_and_over_at_the_same_place_is_given_up(
    schedule: tuple[Schedule, Job], tmp_path: Path
) -> None:
    beat(tmp_path, 7)  # of an attempt before
    assert deaths(*schedule, most=20) == RETRIES + 1
    assert schedule[1].reason == f"it died, {RETRIES + 1} times"


def test_a_seed_that_gets_on_between_deaths_may_die_as_often_as_it_likes(
    schedule: tuple[Schedule, Job], tmp_path: Path
) -> None:
    them, job = schedule
    for epochs in range(1, 5 * RETRIES):
        them.begun(job)
        beat(tmp_path, epochs)
        them.lost(job, "its hour was over")
        assert job.status == "waiting"
    assert deaths(them, job, most=20) == RETRIES
    assert job.attempts == 5 * RETRIES - 1 + RETRIES
