"""A cluster of Dask workers: the same records as in series, whatever dies, and nothing left behind."""

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import cluster_cases as cases
import pytest
from cluster_cases import RUN_ALL, TINY

from dglib.campaign import cluster, cluster_worker
from dglib.campaign.cluster import ClusterBackend
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


@pytest.mark.slow
def test_a_running_cluster_gives_the_bits_of_a_series_may_lose_a_worker_and_is_left_running(
    started: Start,
) -> None:
    with cases.cluster(Path("../cluster")) as cluster:
        Path(cases.HOLD).touch()
        process = started(SEEDS, cluster.address, "runs")
        seed, pid = cases.kill_mid_job(Path("runs"), process)
        out, err = process.communicate(timeout=cases.PATIENCE)
        assert process.returncode == 0, err
        assert [json.loads(line)["event"] for line in out.splitlines()].count("seed_done") == 4
        expected = cases.in_series(cases.plan(Path("series").absolute()))
        assert len(expected) == 4
        assert cases.records(Path("runs")) == expected
        first, second = cases.attempts(Path("runs"))[seed]
        assert first["pid"] == pid != second["pid"]
        assert second["found_step"] > 0
        assert all(worker.poll() is None for worker in cluster.workers)

        # The command stopped: seeds and jobs are saved. Then the scheduler lost: one line, and saved again.
        words = ["--only", "T2", "--seeds", "0-1", "--set", *TINY, "init_epochs=500", "--base-dir", "stopped"]
        process = started(RUN_ALL, *words, "--cluster", cluster.address)
        cases.wait_for(lambda: len(cases.saved(Path("stopped"))) == 2, "two checkpoints", process)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=cases.PATIENCE)
        assert process.returncode == 130, err
        assert err.splitlines()[-1] == "run_all: stopped; the same command resumes"
        saved = lambda: [each[-1].get("how") for each in cases.attempts(Path("stopped")).values()]  # noqa: E731
        cases.wait_for(lambda: saved() == ["stopped"] * 2, "saved seeds")
        jobs = [json.loads(path.read_text())["status"] for path in Path("stopped", "jobs").glob("*.json")]
        assert sorted(jobs) == ["stopped", "stopped", "waiting"]

        process = started(SEEDS, cluster.address, "again", "0-3", "500")
        trained_by = cases.wait_for(lambda: cases.saved(Path("again")), "checkpoint", process)
        cluster.scheduler.kill()
        _, err = process.communicate(timeout=cases.PATIENCE)
        assert (process.returncode, err.count("\n")) == (2, 1), err
        assert err.startswith(f"--cluster {cluster.address}: the scheduler is gone; ")
        for worker in trained_by.values():
            cases.wait_for(lambda worker=worker: cases.is_gone(worker), f"end of {worker}")
        for name in trained_by:
            assert cases.attempts(Path("again"))[name][-1]["how"] == "stopped"


@pytest.mark.parametrize("address", ["host:8786", "slurm:my.yaml", "local:2"])
def test_anything_but_a_schedulers_address_is_refused_in_one_line(address: str) -> None:
    with pytest.raises(
        UserError, match=rf"^--cluster {address}: must be the address of a Dask scheduler, tcp:"
    ):
        ClusterBackend(address)


def test_without_dask_or_a_scheduler_one_line_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 0.1)
    with pytest.raises(UserError, match=r"^--cluster tcp://localhost:1: no scheduler answers there \("):
        ClusterBackend("tcp://localhost:1").__enter__()
    monkeypatch.setattr(cluster, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs distributed: pip install -e \.\[cluster\]"):
        ClusterBackend("tcp://localhost:1")


@pytest.mark.parametrize(
    ("software", "threads", "record", "reason"),
    [
        ("torch 2.15", 1, "record", ""),
        ("torch 2.15", 2, "record", "has 2 threads; start it with --nthreads 1, one worker for each job"),
        ("torch 2.11", 1, "record", "has torch 2.15, and this machine torch 2.11: they must be the same"),
        ("torch 2.15", 1, "elsewhere/record", "does not see elsewhere as it is here"),
    ],
    ids=["fit", "threads", "torch", "directory"],
)
def test_a_worker_whose_results_would_differ_is_refused_by_what_differs(
    software: str, threads: int, record: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("record").touch()
    monkeypatch.setattr(cluster_worker, "software", lambda: "torch 2.15")
    worker = SimpleNamespace(state=SimpleNamespace(nthreads=threads))
    assert cluster_worker.unsuitable({"record": record, "software": software}, worker) == reason
