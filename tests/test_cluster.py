"""A cluster of Dask workers: the same records as in series, whatever dies, and nothing left behind."""

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cluster_cases as cases
import psutil
import pytest
from cluster_cases import RUN_ALL, TINY

from dglib.campaign import cluster_kinds, planning
from dglib.campaign import command as campaign
from dglib.campaign.cluster_kinds import cluster_of
from dglib.campaign.cluster_members import Members
from dglib.campaign.cluster_worker import sees
from dglib.campaign.jobs import Plan
from dglib.errors import UserError

SEEDS = Path(cases.__file__)
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


@pytest.fixture
def started() -> Iterator[Start]:
    """Starts Python with arguments; what is left of that at the end is killed."""
    with ExitStack() as stack:

        def begin(*command: str | Path) -> subprocess.Popen[str]:
            process = cases.start(*command)
            stack.callback(cases.end, process)
            return process

        yield begin


def refused(*command: str | Path) -> str:
    """What a command that gets no cluster says, having written nothing."""
    before = set(Path.cwd().rglob("*"))
    done = subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, timeout=cases.PATIENCE
    )
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert set(Path.cwd().rglob("*")) == before
    return done.stderr


def events(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def assert_as_in_series(base: Path, reference: Plan, killed: dict[int, float]) -> None:
    """All records are those of seeds trained one after the other, by attempts that never overlapped."""
    expected = cases.in_series(reference)
    assert len(expected) == 4
    assert cases.records(base) == expected
    assert cases.overlaps(cases.attempts(base), killed) == []


@pytest.mark.slow
def test_four_seeds_and_their_notebook_on_two_workers_give_the_bits_that_they_give_in_series(
    started: Start,
) -> None:
    words = ["--only", "T2", "--seeds", "0-3", "--set", *TINY, "init_epochs=3"]
    Path(cases.HOLD).touch()
    process = started(RUN_ALL, *words, "--base-dir", "runs", "--cluster", "local:2", "--json")
    # Or one of them might have done all before the other has imported torch.
    cases.wait_for(lambda: len(cases.saved(Path("runs"))) == 2, "second worker", process)
    Path(cases.HOLD).unlink()
    out, err = process.communicate(timeout=cases.PATIENCE)
    assert process.returncode == 0, err
    ended = [(e["event"], e["seed"]) for e in events(out) if e["event"] in ("seed_done", "summary_done")]
    assert sorted(ended[:4]) == [("seed_done", seed) for seed in range(4)]
    assert ended[4:] == [("summary_done", None)]
    assert {
        Path("runs", *names).exists() for names in (["executed", "T2_spinodal.ipynb"], ["summary.md"])
    } == {True}

    arguments = campaign._parser().parse_args([*words, "--base-dir", "series"])
    (reference,) = planning.campaign(arguments).plans
    assert_as_in_series(Path("runs"), reference, {})
    assert len({each[0]["pid"] for each in cases.attempts(Path("runs")).values()}) == 2


@pytest.mark.slow
def test_a_worker_killed_mid_job_costs_no_more_than_the_steps_since_its_checkpoint(started: Start) -> None:
    Path(cases.HOLD).touch()
    process = started(SEEDS, "local:2", "runs")
    seed, pid, when = cases.kill_mid_job(Path("runs"), process)
    out, err = process.communicate(timeout=cases.PATIENCE)
    assert process.returncode == 0, err
    (retried,) = [event for event in events(out) if event["event"] == "job_retried"]
    assert f"process {pid}" in retried["reason"]
    assert_as_in_series(Path("runs"), cases.plan(Path("series").absolute()), {pid: when})
    first, second = cases.attempts(Path("runs"))[seed]
    assert first["pid"] == pid != second["pid"]
    assert second["found_step"] > 0
    assert second["how"] == "done"


@pytest.mark.slow
def test_a_scheduler_started_by_hand_may_lose_a_worker_and_when_it_goes_itself_one_line_says_so(
    started: Start,
) -> None:
    with cases.by_hand(Path("../hand")) as hand:
        Path(cases.HOLD).touch()
        process = started(SEEDS, hand.address, "runs")
        seed, pid, when = cases.kill_mid_job(Path("runs"), process)
        _, err = process.communicate(timeout=cases.PATIENCE)
        assert process.returncode == 0, err
        assert_as_in_series(Path("runs"), cases.plan(Path("series").absolute()), {pid: when})
        assert cases.attempts(Path("runs"))[seed][-1]["found_step"] > 0
        assert all(worker.poll() is None for worker in hand.workers)  # ours to use, not to end

        process = started(SEEDS, hand.address, "again", "0-3", "500")
        trained_by = cases.wait_for(lambda: cases.saved(Path("again")), "checkpoint", process)
        hand.scheduler.kill()
        _, err = process.communicate(timeout=cases.PATIENCE)
        assert (process.returncode, err.count("\n")) == (2, 1), err
        assert err.startswith(f"--cluster {hand.address}: the scheduler is gone; ")
        for worker in trained_by.values():
            cases.wait_for(lambda worker=worker: cases.is_gone(worker), f"end of {worker}")
        for name in trained_by:
            assert cases.attempts(Path("again"))[name][-1]["how"] == "stopped"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status", "how"),
    [(signal.SIGTERM, 130, "stopped"), (signal.SIGKILL, -signal.SIGKILL, None)],
    ids=["stopped", "killed"],
)
def test_a_command_that_is_stopped_leaves_checkpoints_and_one_that_is_killed_leaves_no_process_either(
    number: signal.Signals, status: int, how: str | None, started: Start
) -> None:
    words = ["--only", "T2", "--seeds", "0-1", "--set", *TINY, "init_epochs=500", "--base-dir", "runs"]
    process = started(RUN_ALL, *words, "--cluster", "local:2")
    cases.wait_for(lambda: len(cases.saved(Path("runs"))) == 2, "two checkpoints", process)
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    _, err = process.communicate(timeout=cases.PATIENCE)
    assert process.returncode == status, err
    for each in family:
        cases.wait_for(lambda each=each: cases.is_gone(each), f"end of {each}")
    found = cases.attempts(Path("runs"))
    assert [each[-1].get("how") for each in found.values()] == [how] * 2
    if how is not None:
        jobs = [json.loads(path.read_text())["status"] for path in Path("runs", "jobs").glob("*.json")]
        assert sorted(jobs) == ["stopped", "stopped", "waiting"]
        assert err.splitlines()[-1] == "run_all: stopped; the same command goes on from here"


@pytest.mark.slow
def test_workers_that_cannot_do_the_jobs_are_refused_by_what_is_wrong_with_them() -> None:
    with cases.by_hand(Path("../hand"), 1, "--nthreads", "2", "--no-nanny") as hand:
        err = refused(SEEDS, hand.address, "runs")
    assert "has 2 threads; start it with --nthreads 1" in err
    assert err.count("\n") == 1


SBATCH = """#!{python}
import os, subprocess, sys
from pathlib import Path

folder = Path(__file__).parent
if sys.argv[1] == "--test-only":
    sys.exit("sbatch: error: invalid account" if "#SBATCH -A nobody" in Path(sys.argv[2]).read_text() else 0)
count = len(list(folder.glob("*.pid"))) + 1
job = subprocess.Popen(["bash", "-c", Path(sys.argv[1]).read_text()],  # the file goes when we return
                       stdout=(folder / f"{{count}}.log").open("w"), stderr=subprocess.STDOUT,
                       stdin=subprocess.DEVNULL, start_new_session=True,
                       env=os.environ | {{"STAND_IN": str(folder)}})
(folder / f"{{count}}.pid").write_text(str(job.pid))
print(f"Submitted batch job {{count}}")
"""
SCANCEL = """#!{python}
import os, signal, sys
from pathlib import Path

for number in sys.argv[1:]:
    os.killpg(int((Path(__file__).parent / f"{{number}}.pid").read_text()), signal.SIGTERM)
"""


def jobs_of(folder: Path) -> list[psutil.Process]:
    """The job scripts of the stand-in that still run, with what they started."""
    return [each for each in psutil.process_iter() if environment_of(each).get("STAND_IN") == str(folder)]


def environment_of(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return {}


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A stand-in that runs a job script at once on this machine. Gives its folder."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        (folder / name).write_text(text.format(python=sys.executable))
        (folder / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    yield folder
    for job in jobs_of(folder):
        job.kill()


@pytest.mark.slow
def test_slurm_is_asked_for_workers_which_do_the_jobs_and_are_cancelled_after_them(
    slurm: Path, started: Start
) -> None:
    file = "jobs: 1\ngpus: 0\nwalltime: '01:00:00'\nmemory: 1GB\n"
    Path("nobody.yaml").write_text(file + "account: nobody\n")
    refusal = "--cluster slurm:nobody.yaml: sbatch --test-only refuses: sbatch: error: invalid account\n"
    assert refused(SEEDS, "slurm:nobody.yaml", "runs") == refusal

    Path("slurm.yaml").write_text(file)
    process = started(SEEDS, "slurm:slurm.yaml", "runs")
    _, err = process.communicate(timeout=cases.PATIENCE)
    assert process.returncode == 0, err
    assert len(cases.records(Path("runs"))) == 4
    assert len(list(slurm.glob("*.pid"))) == 1
    cases.wait_for(lambda: all(map(cases.is_gone, jobs_of(slurm))), "end of the Slurm job")


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("local", "must be local:N, tcp://HOST:PORT or slurm:FILE.yaml"),
        ("local:", "'' must be a whole number of workers from 1"),
        ("local:0", "'0' must be a whole number of workers from 1"),
        ("local:two", "'two' must be a whole number of workers from 1"),
        ("tcp:host:8786", "a scheduler's address is tcp://HOST:PORT"),
        ("tcp://host", "a scheduler's address is tcp://HOST:PORT"),
        ("tcp://host:99999", "a scheduler's address is tcp://HOST:PORT"),
        ("host:8786", "must be local:N, tcp://HOST:PORT or slurm:FILE.yaml"),
        ("slurm:none.yaml", "cannot be read: No such file or directory; params/slurm.example.yaml is one"),
        ("slurm:", "cannot be read: "),
        ("slurm:field.yaml", "partition = 'gpu': no such field"),
    ],
)
def test_a_cluster_that_is_none_gets_one_line_and_leaves_nothing(
    where: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("field.yaml").write_text("partition: gpu\n")
    before = set(Path.cwd().rglob("*"))
    assert campaign.main(["--only", "T2", "--cluster", where]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"run_all: error: --cluster {where}: {says}")
    assert err.count("\n") == 1
    assert set(Path.cwd().rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--workers", "2"], "--workers 2: the cluster says what there is; leave it out beside --cluster"),
        (["--gpus", "0"], "--gpus 0: the cluster says what there is; leave it out beside --cluster"),
        (["--mirror"], "--cluster local:2: needs a base directory that all machines see, no mirror"),
        (["--device", "cuda:1"], "--cluster local:2: device = 'cuda:1': must be auto, cpu or cuda"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_does_not_go_with_a_cluster_is_refused(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert campaign.main(["--only", "T2", "--cluster", "local:2", *words]) == 2
    assert capsys.readouterr().err.startswith(f"run_all: error: {says}")


def test_what_only_a_worker_can_have_is_not_asked_of_the_machine_that_hands_out_the_jobs() -> None:
    words = ["--only", "T2", "--device", "cuda", "--set", "precision=tf32", "cuda_graphs='on'"]
    parsed = campaign._parser().parse_args([*words, "--cluster", "tcp://host:8786"])
    (plan,) = planning.campaign(parsed).plans
    assert (plan.parameters.device, plan.parameters.precision) == ("cuda", "tf32")


@pytest.mark.parametrize("where", ["local:2", "tcp://host:8786", "slurm:slurm.yaml"])
def test_without_dask_one_line_names_the_command_that_installs_it(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("slurm.yaml").write_text("jobs: 1\nwalltime: '01:00:00'\nmemory: 1GB\n")
    monkeypatch.setattr(cluster_kinds, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs distributed, .*: pip install -e \.\[cluster\]"):
        cluster_of(where)


def test_more_workers_than_gpus_are_refused_and_each_sees_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_kinds.gpus, "visible", lambda: ["0"])
    with pytest.raises(
        UserError, match="--cluster local:2: each worker has a GPU of its own, and torch sees 1"
    ):
        cluster_of("local:2")


TWO_GPUS = """
import json, os
from dglib.campaign import gpus
from dglib.campaign.cluster_kinds import cluster_of

gpus.visible = lambda: ["3", "5", "7"]
with cluster_of("local:2").connected() as client:
    client.wait_for_workers(2, timeout=300)
    workers = client.sync(client.scheduler.identity, n_workers=-1)["workers"]
    seen = client.run(os.getenv, "CUDA_VISIBLE_DEVICES")
    threads = client.run(os.getenv, "OMP_NUM_THREADS")
    found = [[seen[a], info["resources"], info["nthreads"], threads[a]] for a, info in workers.items()]
print(json.dumps(sorted(found)))
"""


@pytest.mark.slow
def test_each_local_worker_sees_one_gpu_has_one_slot_and_this_environment() -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("CUDA", "OMP"))}
    done = subprocess.run([sys.executable, "-c", TWO_GPUS], capture_output=True, text=True, env=environment)
    assert done.stderr == ""
    assert json.loads(done.stdout) == [["3", {"GPU": 1}, 1, None], ["5", {"GPU": 1}, 1, None]]


OURS = {
    "dglib": "0.1.0",
    "commit": "1" * 40,
    "code": "a",
    "python": "3.13",
    "torch": "2.15.0",
    "pid": 7,
    "host": "w",
}
FIT = {"import_module": None, "describe": OURS, "sees": ""}


class StandIn:
    """A client whose one worker says what it is told to."""

    status = "running"

    def __init__(self, theirs: dict[str, Any], **info: Any) -> None:
        self.theirs, self.scheduler = theirs, self
        self.workers = {"tcp://w:1": self.worker("x", **info)}

    @staticmethod
    def worker(directory: str, **info: Any) -> dict[str, Any]:
        return {"nthreads": 1, "resources": {}, "local_directory": directory, "nanny": None, **info}

    def identity(self, n_workers: int) -> dict[str, Any]:
        return {"workers": self.workers}

    def sync(self, function: Any, **options: Any) -> Any:
        return function(**options)

    def run(self, function: Any, *arguments: Any, **_: Any) -> dict[str, Any]:
        found = self.theirs[function.__name__]
        return {"tcp://w:1": found(*arguments) if callable(found) else found}


@pytest.fixture
def ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine is as `OURS` says."""

    def describe() -> dict[str, Any]:
        return OURS

    monkeypatch.setattr("dglib.campaign.cluster_worker.describe", describe)


@pytest.mark.parametrize(
    ("theirs", "says"),
    [
        (
            {"import_module": ImportError("No module named 'dglib'")},
            "cannot import dglib.campaign.cluster_worker: Imp",
        ),
        ({"describe": OURS | {"torch": "2.11.0"}}, "has torch 2.11.0, this machine 2.15.0; they must be the"),
        (
            {"describe": OURS | {"python": "3.11"}},
            "has python 3.11, this machine 3.13; they must be the same",
        ),
        (
            {"describe": OURS | {"dglib": "0.0.9"}},
            "has dglib 0.0.9, this machine 0.1.0; they must be the same",
        ),
        (
            {"describe": OURS | {"code": "b", "commit": "2" * 40}},
            "has other files of dglib than this machine: at 2222222, this machine at 1111111; they must be",
        ),
        (
            {"describe": OURS | {"code": "b"}},
            "has other files of dglib than this machine: of the same commit, but changed since; they must be",
        ),
        ({"sees": "sees another /runs"}, "sees another /runs"),
    ],
    ids=["no dglib", "torch", "python", "version", "commit", "changed", "directory"],
)
def test_a_worker_that_would_make_other_results_is_told_by_what_differs(
    theirs: dict[str, Any], says: str, tmp_path: Path, ours: None
) -> None:
    members = Members(StandIn(FIT | theirs), [tmp_path])
    members.refresh()
    assert members.current == {}
    (problem,) = members.new_problems()
    assert problem.startswith(f"worker tcp://w:1 {says}")
    assert members.new_problems() == []
    assert list(tmp_path.rglob("*")) == [Path.cwd()]

    members = Members(StandIn(FIT), [tmp_path / "not" / "there" / "yet"])
    members.refresh()
    assert [str(each) for each in members.current.values()] == ["process 7 on w"]


def test_a_worker_that_came_back_under_its_address_counts_as_gone_and_as_new(
    tmp_path: Path, ours: None
) -> None:
    client = StandIn(FIT)
    members = Members(client, [tmp_path])
    assert members.refresh() == []
    (first,) = members.current.values()
    assert members.refresh() == []
    client.workers = {"tcp://w:1": client.worker("y")}
    assert members.refresh() == [first]
    assert members.current["tcp://w:1"] is not first
    client.workers = {}
    members.refresh()
    assert members.current == {}


@pytest.mark.parametrize(
    ("info", "fits"),
    [
        ({"nthreads": 4}, False),
        ({"nthreads": 4, "resources": {"GPU": 1}}, True),  # one job at a time all the same
        ({"nthreads": 4, "resources": {"GPU": 2}}, False),
        ({"nthreads": 1, "resources": {"GPU": 1}}, True),
    ],
)
def test_only_a_worker_that_does_one_job_at_a_time_is_taken(
    info: dict[str, Any], fits: bool, tmp_path: Path, ours: None
) -> None:
    members = Members(StandIn(FIT, **info), [tmp_path])
    members.refresh()
    assert (len(members.current), len(members.unsuitable)) == ((1, 0) if fits else (0, 1))


def test_a_scheduler_that_does_not_answer_is_no_cluster_without_workers(tmp_path: Path, ours: None) -> None:
    client = StandIn(FIT)
    members = Members(client, [tmp_path])
    members.refresh()
    client.status = "connecting"
    with pytest.raises(ConnectionError):
        members.refresh()
    assert len(members.current) == 1


def test_a_directory_is_known_by_a_file_that_was_just_written_to_it(tmp_path: Path) -> None:
    probe = tmp_path / "probe"
    probe.write_text("abc")
    assert sees(str(probe), "abc") == ""
    assert sees(str(probe), "abd") == f"sees another {tmp_path}"
    assert sees(str(tmp_path / "none"), "abc").startswith(f"does not see {tmp_path} as it is here (No such")
