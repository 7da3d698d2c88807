"""The scheduler over local worker processes that live, die, fail and are stopped."""

import json
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from dglib.campaign import local, scheduler
from dglib.campaign.jobs import Job, Plan, anchored, jobs_of
from dglib.experiments.profiles import load_profile

# A worker that imports nothing of ours. A job's seed says what becomes of it, in the file `deeds`: a list,
# one for each attempt, the last one for all that follow. "meet 2" goes on once two jobs have begun.
STAND_IN = """
import json, os, signal, sys, time
from pathlib import Path

for line in sys.stdin:
    job, began = json.loads(line), time.monotonic()  # before another one can see that it has begun
    name = f"{job['experiment']} {'summary' if job['seed'] is None else job['seed']}"
    base = Path(job["base"])
    deeds = json.loads((base / "deeds").read_text()).get(name, ["do"])
    tries = base / f"{name}.tries"
    before = int(tries.read_text()) if tries.exists() else 0
    tries.write_text(str(before + 1))
    deed = deeds[min(before, len(deeds) - 1)]
    with (base / "diary").open("a") as diary:
        entry = {"name": name, "pid": os.getpid(), "slot": os.environ.get("SLOT"), "began": began}
        entry["seeds"] = job["parameters"]["seeds"]
        if deed == "linger":
            print(json.dumps(entry), file=diary, flush=True)
            sys.stdin.read()  # to its end, which is the stop
            print(json.dumps({"stopped": True, "last": True}), flush=True)
            raise SystemExit(130)
        deadline = time.monotonic() + 120
        while deed.startswith("meet ") and sum(1 for _ in base.glob("*.tries")) < int(deed[5:]):
            if time.monotonic() > deadline:
                raise SystemExit("nobody came")
            time.sleep(0.01)
        print(json.dumps(entry | {"ended": time.monotonic()}), file=diary, flush=True)
    if deed == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if deed == "exit":
        raise SystemExit("out of luck")
    if deed == "fail":
        print(json.dumps({"failed": "it is broken", "last": True}), flush=True)
        raise SystemExit(1)
    if deed == "lie":
        print(json.dumps({"done": {"directory": str(base), "outcome": "x", "seconds": 1.0}}), flush=True)
        continue
    if job["seed"] is None:
        print(json.dumps({"done": {"notebook": "x.ipynb"}}), flush=True)
        continue
    (base / "seeds").mkdir(exist_ok=True)
    (base / "seeds" / f"{job['experiment']}-spinodal-{job['seed']:03d}.json").write_text("{}")
    print(json.dumps({"done": {"directory": str(base), "outcome": "no_event", "seconds": 1.0}}), flush=True)
"""


class Events:
    """A monitor that keeps what happened."""

    def __init__(self, at_refresh: Callable[[], None] = lambda: None) -> None:
        self.events: list[tuple[str, str]] = []
        self.refresh = at_refresh

    def event(self, name: str, job: Job, **_: Any) -> None:
        self.events.append((name, job.name))


@pytest.fixture
def deeds(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """What the stand-in does, by job: "T2 0", "T1 summary"."""
    monkeypatch.setattr(local, "WORKER", (sys.executable, "-c", STAND_IN))
    return {}


def plan(base: Path, experiment: str = "T2", seeds: str = "0-3") -> Plan:
    return Plan(anchored(load_profile(experiment, "quick", [f"seeds={seeds}"]), base), base)


def run(deeds: dict[str, list[str]], *plans: Plan, slots: int = 2, monitor: Events | None = None) -> Events:
    monitor = monitor or Events()
    (plans[0].base / "deeds").write_text(json.dumps(deeds))
    backend = local.LocalBackend([{"SLOT": str(number)} for number in range(slots)])
    scheduler.run(jobs_of(plans), backend, monitor)
    return monitor


def diary(base: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (base / "diary").read_text().splitlines()]


def records(base: Path) -> dict[str, dict[str, Any]]:
    """The jobs' records on the disk, by name."""
    found = [json.loads(path.read_text()) for path in (base / "jobs").glob("*.json")]
    return {f"{r['experiment']} {'summary' if r['seed'] is None else r['seed']}": r for r in found}


def most_at_once(entries: list[dict[str, Any]]) -> int:
    return max(sum(a["began"] <= b["began"] < a["ended"] for a in entries) for b in entries)


def test_each_worker_runs_one_job_at_a_time_in_its_environment(
    tmp_path: Path, deeds: dict[str, list[str]]
) -> None:
    deeds["T2 0"] = deeds["T2 1"] = ["meet 2"]
    asked = plan(tmp_path, seeds="0-7")
    run(deeds, asked, slots=2)
    entries = diary(tmp_path)
    assert most_at_once(entries) == 2
    assert {entry["slot"] for entry in entries} == {"0", "1"}
    assert len({entry["pid"] for entry in entries}) == 2
    assert sorted(entry["name"] for entry in entries) == [*(f"T2 {seed}" for seed in range(8)), "T2 summary"]
    assert {job.status for job in asked.jobs} == {"done"}
    assert (asked.status, asked.error) == ("done", "")


def test_a_notebook_starts_when_all_its_seeds_have_ended(tmp_path: Path, deeds: dict[str, list[str]]) -> None:
    run(deeds, plan(tmp_path, "T1", "0-1"), plan(tmp_path, "T2", "0-1"), slots=3)
    entries = diary(tmp_path)
    ends = [entry["ended"] for entry in entries if "summary" not in entry["name"]]
    begins = [entry["began"] for entry in entries if "summary" in entry["name"]]
    assert len(ends) == 4
    assert len(begins) == 2
    assert max(ends) <= min(begins)


def test_the_longest_seeds_start_first(tmp_path: Path) -> None:
    short, long = plan(tmp_path, "T2", "0-1"), plan(tmp_path, "T1", "0-1")
    assert long.planned > short.planned
    names = [job.name for job in jobs_of([short, long])]
    assert names == [
        *(f"T1 seed {seed}" for seed in (0, 1)),
        *(f"T2 seed {seed}" for seed in (0, 1)),
        "T2 summary",
        "T1 summary",
    ]


def test_a_worker_that_dies_is_replaced_and_its_job_repeated(
    tmp_path: Path, deeds: dict[str, list[str]]
) -> None:
    deeds["T2 1"] = ["die", "exit", "do"]
    asked = plan(tmp_path)
    told = run(deeds, asked, slots=1)
    assert [job.status for job in asked.jobs] == ["done"] * 5
    assert [job.attempts for job in asked.jobs] == [1, 3, 1, 1, 1]
    assert told.events.count(("job_retried", "T2 seed 1")) == 2
    assert {entry["slot"] for entry in diary(tmp_path)} == {"0"}
    assert len({entry["pid"] for entry in diary(tmp_path)}) == 3


def test_a_job_whose_process_dies_every_time_fails_and_the_others_are_done(
    tmp_path: Path, deeds: dict[str, list[str]]
) -> None:
    deeds["T2 1"], deeds["T2 2"] = ["die"], ["exit"]
    asked = plan(tmp_path)
    run(deeds, asked)
    assert [job.status for job in asked.jobs] == ["done", "failed", "failed", "done", "done"]
    tries = 1 + scheduler.RETRIES
    assert asked.error == (
        f"seed 1: its process was ended by SIGKILL, {tries} times; "
        f"seed 2: its process ended with status 1 (out of luck), {tries} times"
    )
    assert len([entry for entry in diary(tmp_path) if entry["name"] == "T2 1"]) == tries


def test_a_failed_job_is_not_repeated_and_the_notebook_shows_the_seeds_with_a_record(
    tmp_path: Path, deeds: dict[str, list[str]]
) -> None:
    deeds["T2 1"] = deeds["T2 2"] = ["fail"]
    asked = plan(tmp_path)
    told = run(deeds, asked)
    assert (asked.status, asked.error) == ("failed", "seeds 1, 2: it is broken")
    (summary,) = [entry for entry in diary(tmp_path) if entry["name"] == "T2 summary"]
    assert summary["seeds"] == [0, 3]
    assert ("job_failed", "T2 seed 1") in told.events
    assert records(tmp_path)["T2 1"]["status"] == "failed"
    assert records(tmp_path)["T2 1"]["reason"] == "it is broken"


def test_where_no_seed_has_a_record_no_notebook_is_executed(
    tmp_path: Path, deeds: dict[str, list[str]]
) -> None:
    deeds["T2 0"] = ["fail"]
    asked = plan(tmp_path, seeds="0")
    run(deeds, asked)
    assert [job.status for job in asked.jobs] == ["failed", "skipped"]
    assert len(diary(tmp_path)) == 1
    assert asked.status == "failed"


def test_an_answer_without_a_record_is_a_failure(tmp_path: Path, deeds: dict[str, list[str]]) -> None:
    deeds["T2 0"] = ["lie"]
    asked = plan(tmp_path, seeds="0")
    run(deeds, asked)
    assert asked.error == f"seed 0: no record of T2-spinodal-000 in {tmp_path}"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_the_jobs_before_the_parent(
    number: signal.Signals, tmp_path: Path, deeds: dict[str, list[str]]
) -> None:
    deeds["T2 0"] = ["linger"]
    before = signal.getsignal(number)

    def refresh() -> None:
        if (tmp_path / "diary").exists():
            signal.raise_signal(number)

    asked = plan(tmp_path, seeds="0-1")
    with pytest.raises(KeyboardInterrupt):
        run(deeds, asked, slots=1, monitor=Events(refresh))
    (entry,) = diary(tmp_path)
    assert entry["pid"] not in {child.pid for child in psutil.Process().children()}
    assert [job.status for job in asked.jobs] == ["stopped", "waiting", "waiting"]
    assert [records(tmp_path)[f"T2 {seed}"]["status"] for seed in (0, 1)] == ["stopped", "waiting"]
    assert signal.getsignal(number) == before


def test_a_jobs_record_follows_it_and_is_keyed_by_what_it_is(
    tmp_path: Path, deeds: dict[str, list[str]]
) -> None:
    asked = plan(tmp_path, seeds="0")
    run(deeds, asked)
    found = records(tmp_path)["T2 0"]
    assert {name: found[name] for name in ("status", "attempts", "directory", "seed_id", "reason")} == {
        "status": "done",
        "attempts": 1,
        "directory": ".",
        "seed_id": "T2-spinodal-000",
        "reason": "",
    }
    assert found["began"] <= found["ended"]
    assert (tmp_path / "jobs" / f"{found['key']}.json").exists()
    again, other = plan(tmp_path, seeds="0-3"), plan(tmp_path, "T1", "0")
    assert again.jobs[0].key == found["key"]  # whatever other seeds there are
    assert len({job.key for each in (again, other) for job in each.jobs}) == 5 + 2
    assert not list((tmp_path / "jobs").glob("owner-*")), "a pulse of a campaign that has ended"


class Scripted:
    """A backend of one worker that dies at each job, after as many epochs as the script says."""

    def __init__(self, epochs: list[int]) -> None:
        self._epochs, self._dead = iter(epochs), []

    def __enter__(self) -> "Scripted":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def start(self, job: Job) -> dict[str, Any] | None:
        if self._dead or job.seed is None:
            return None
        self._dead.append(job)
        return {}

    def poll(self, timeout: float) -> list[tuple[Job, dict[str, Any]]]:
        dead, self._dead = self._dead, []
        for job in dead:
            heartbeats = job.plan.base / "heartbeats"
            heartbeats.mkdir(exist_ok=True)
            now = datetime.now(UTC).isoformat()
            beat = {"epochs_done": next(self._epochs), "epochs_planned": 999, "updated": now}
            (heartbeats / f"{job.seed_id}.json").write_text(json.dumps(beat))
        return [(job, {"lost": "it died"}) for job in dead]

    def stop(self) -> None:
        pass


@pytest.mark.parametrize(
    ("epochs", "attempts"),
    [([7] * 20, scheduler.RETRIES + 1), ([*range(1, 16), *[15] * 20], 15 + scheduler.RETRIES)],
    ids=["at the same epoch", "after more epochs each time"],
)
def test_a_seed_is_given_up_after_deaths_without_progress_only(
    epochs: list[int], attempts: int, tmp_path: Path
) -> None:
    asked = plan(tmp_path, seeds="0")
    asked.jobs[0].result = {"directory": str(tmp_path)}  # so that no manifest is needed
    scheduler.run(asked.jobs, Scripted(epochs), Events())
    assert asked.jobs[0].reason == f"it died, {scheduler.RETRIES + 1} times"
    assert asked.jobs[0].attempts == attempts
