"""A cluster of Dask workers: the same records as in series, whatever dies, and nothing left behind."""

import json
import signal
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import cluster_cases as cases
import pytest
from cluster_cases import RUN_ALL, TINY

from dglib.campaign import cluster, cluster_worker
from dglib.campaign.cluster import ClusterBackend
from dglib.errors import UserError


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


@pytest.fixture
def started():
    """Starts Python with arguments; what is left of that at the end is killed."""
    with ExitStack() as stack:

        def begin(*command):
            process = cases.start(*command)
            stack.callback(cases.end, process)
            return process

        yield begin


def grid(base, cluster, *more):
    """Words for run_all.py: the seeds of one cell, without a notebook; the run directory's parent."""
    Path("four.yaml").write_text("experiment: T2\nseeds: 0-3\ngrid: {noise_rate: [0.4]}\n")
    words = ["--grid", "four.yaml", "--base-dir", base, "--cluster", cluster.address, "--set", *TINY, *more]
    return [RUN_ALL, *words], Path(base, "grid_four", "noise_rate=0.4")


@pytest.mark.slow
def test_a_running_cluster_gives_the_bits_of_a_series_may_lose_a_worker_and_is_left_running(started):
    with cases.cluster(Path("../cluster")) as cluster:
        Path(cases.HOLD).touch()
        words, runs = grid("runs", cluster, "init_epochs=8")
        process = started(*words)
        seed, pid = cases.kill_mid_job(runs, process)
        _, err = process.communicate(timeout=cases.PATIENCE)
        assert process.returncode == 0, err
        changes = [*TINY, "init_epochs=8"]
        assert cases.records(runs) == {
            f"T2-spinodal-00{seed}": cases.serial("T2", seed, changes) for seed in range(4)
        }
        first, second = cases.attempts(runs)[seed]
        assert first["pid"] == pid != second["pid"]
        assert second["found_step"] > 0
        assert all(worker.poll() is None for worker in cluster.workers)

        # The command stopped: seeds and jobs are saved. Then the scheduler lost: one line, and saved again.
        words, stopped = grid("stopped", cluster, "init_epochs=500", "--seeds", "0-1")
        process = started(*words)
        cases.wait_for(lambda: len(cases.saved(stopped)) == 2, "two checkpoints", process)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=cases.PATIENCE)
        assert process.returncode == 130, err
        assert err.splitlines()[-1] == "run_all: stopped; the same command resumes"
        saved = lambda: [those[-1].get("how") for those in cases.attempts(stopped).values()]  # noqa: E731
        cases.wait_for(lambda: saved() == ["stopped"] * 2, "saved seeds")
        jobs = [json.loads(path.read_text())["status"] for path in Path("stopped", "jobs").glob("*.json")]
        assert jobs == ["stopped"] * 2

        words, again = grid("again", cluster, "init_epochs=500")
        process = started(*words)
        trained_by = cases.wait_for(lambda: cases.saved(again), "checkpoint", process)
        cluster.scheduler.kill()
        _, err = process.communicate(timeout=cases.PATIENCE)
        assert process.returncode == 2, err
        line = f"run_all: error: --cluster {cluster.address}: the scheduler is gone; "
        assert err.splitlines()[-1].startswith(line), err
        for name, worker in trained_by.items():
            cases.wait_for(lambda worker=worker: cases.is_gone(worker), f"end of {worker}")
            assert cases.attempts(again)[name][-1]["how"] == "stopped"


def test_a_wrong_address_and_no_dask_or_scheduler_are_refused_in_one_line(monkeypatch):
    for address in ("host:8786", "slurm:my.yaml", "local:2"):
        line = rf"^--cluster {address}: must be the address of a Dask scheduler, tcp:"
        with pytest.raises(UserError, match=line):
            ClusterBackend(address)
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 0.1)
    with pytest.raises(UserError, match=r"^--cluster tcp://localhost:1: no scheduler answers there \("):
        ClusterBackend("tcp://localhost:1").__enter__()
    monkeypatch.setattr(cluster, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs distributed: pip install -e \.\[cluster\]"):
        ClusterBackend("tcp://localhost:1")


def test_a_worker_whose_results_would_differ_is_refused_by_what_differs(monkeypatch):
    def unsuitable(software="torch 2.15", threads=1, record="record"):
        worker = SimpleNamespace(state=SimpleNamespace(nthreads=threads))
        return cluster_worker.unsuitable({"record": record, "software": software}, worker)

    Path("record").touch()
    monkeypatch.setattr(cluster_worker, "software", lambda: "torch 2.15")
    assert unsuitable() == ""
    nthreads = "has 2 threads; start it with --nthreads 1, one worker for each job"
    assert unsuitable(threads=2) == nthreads
    other = "has torch 2.15, and this machine torch 2.11: they must be the same"
    assert unsuitable(software="torch 2.11") == other
    assert unsuitable(record="elsewhere/record") == "does not see elsewhere as it is here"
