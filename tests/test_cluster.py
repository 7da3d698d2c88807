"""A cluster of Dask workers: the same records as in series, whatever dies, and nothing left behind."""

import json
import re
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cluster_cases as cases
import psutil
import pytest
import yaml
from cluster_cases import RUN_ALL, TINY

from dglib.campaign import cluster, cluster_worker
from dglib.campaign.cluster import ClusterBackend, SlurmFile, jobqueue
from dglib.errors import UserError
from dglib.experiments.profiles import PARAMS

SEEDS = Path(cases.__file__)
EXAMPLE = PARAMS / "slurm.example.yaml"
LEAST = {"jobs": 2, "walltime": "01:00:00", "memory": "16GB"}
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
        assert [each[-1]["how"] for each in cases.attempts(Path("stopped")).values()] == ["stopped"] * 2
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


@pytest.mark.slow
def test_workers_that_cannot_run_the_jobs_are_refused_by_what_is_wrong_with_them() -> None:
    with cases.cluster(Path("../cluster"), 1, "--nthreads", "2", "--no-nanny") as cluster:
        command = [sys.executable, SEEDS, cluster.address, "runs"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=cases.PATIENCE)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "has 2 threads; start it with --nthreads 1" in done.stderr
    assert cases.records(Path("runs")) == {}


SBATCH = """#!{python}
import os, subprocess, sys
from pathlib import Path

folder = Path(__file__).parent
if sys.argv[1] == "--test-only":
    sys.exit("sbatch: error: invalid account" if "#SBATCH -A nobody" in Path(sys.argv[2]).read_text() else 0)
count = len(list(folder.glob("*.pid"))) + 1
job = subprocess.Popen(["bash", "-c", Path(sys.argv[1]).read_text()],  # the file goes when we return
                       stdout=(folder / f"{{count}}.log").open("w"), stderr=subprocess.STDOUT,
                       stdin=subprocess.DEVNULL, start_new_session=True)
(folder / f"{{count}}.pid").write_text(str(job.pid))
print(f"Submitted batch job {{count}}")
"""
SCANCEL = """#!{python}
import os, signal, sys
from pathlib import Path

for number in sys.argv[1:]:
    os.killpg(int((Path(__file__).parent / f"{{number}}.pid").read_text()), signal.SIGTERM)
"""


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A stand-in for Slurm that runs a job script at once on this machine. Its directory."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        (folder / name).write_text(text.format(python=sys.executable))
        (folder / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    yield folder
    for pid in _pids(folder):
        if psutil.pid_exists(pid):
            psutil.Process(pid).kill()


def _pids(folder: Path) -> list[int]:
    return [int(path.read_text()) for path in folder.glob("*.pid")]


@pytest.mark.slow
def test_slurm_is_asked_for_workers_which_run_the_jobs_and_are_cancelled_after_them(
    slurm: Path, started: Start
) -> None:
    file = "jobs: 1\ngpus: 0\nwalltime: '01:00:00'\nmemory: 1GB\n"
    Path("nobody.yaml").write_text(file + "account: nobody\n")
    refused = started(SEEDS, "slurm:nobody.yaml", "runs")
    refusal = "--cluster slurm:nobody.yaml: sbatch --test-only refuses: sbatch: error: invalid account\n"
    assert refused.communicate(timeout=cases.PATIENCE) == ("", refusal)

    Path("slurm.yaml").write_text(file)
    process = started(SEEDS, "slurm:slurm.yaml", "runs", "0-1")
    _, err = process.communicate(timeout=cases.PATIENCE)
    assert process.returncode == 0, err
    assert len(cases.records(Path("runs"))) == 2
    (pid,) = _pids(slurm)
    cases.wait_for(lambda: not psutil.pid_exists(pid) or cases.is_gone(psutil.Process(pid)), "end of the job")


def script(file: SlurmFile) -> list[str]:
    """The job script that Dask would submit, line by line. No Slurm is needed for it."""
    job = jobqueue().slurm.SLURMJob("tcp://10.0.0.1:4567", name="worker-0", **file.options())
    return str(job.job_script()).splitlines()


def slurm_file(**fields: Any) -> SlurmFile:
    Path("my.yaml").write_text(yaml.safe_dump({n: value for n, value in fields.items() if value is not ...}))
    made = ClusterBackend("slurm:my.yaml")
    assert made.slurm is not None
    return made.slurm


def test_ctrl_c_stays_a_keyboard_interrupt_though_dasks_module_takes_it_when_imported() -> None:
    code = (
        "import signal; from dglib.campaign.cluster import jobqueue; jobqueue();"
        " signal.raise_signal(signal.SIGINT)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == "KeyboardInterrupt"


def test_the_example_asks_for_one_gpu_and_starts_a_worker_that_ends_in_time() -> None:
    fields = yaml.safe_load(EXAMPLE.read_text())
    assert set(SlurmFile.model_fields) <= set(fields)
    *head, command = filter(None, script(slurm_file(**fields)))
    assert head == [
        "#!/usr/bin/env bash",
        "#SBATCH -J dglib",
        "#SBATCH -p gpu",
        "#SBATCH -A my-project",
        "#SBATCH -n 1",
        "#SBATCH --cpus-per-task=4",
        "#SBATCH --mem=15G",  # 16 GB in the binary units that sbatch reads
        "#SBATCH -t 08:00:00",
        "#SBATCH --gres=gpu:1",
    ]
    assert " -m distributed.cli.dask_worker tcp://10.0.0.1:4567 --name worker-0 --nthreads 1 " in command
    assert command.endswith(" --resources GPU=1 --lifetime 28500s --lifetime-stagger 60s --memory-limit 0")


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"jobs": ...}, "jobs is missing: Slurm jobs at a time"),
        ({"jobs": 0}, "jobs = 0: must be at least 1"),
        ({"gpus": 4}, "gpus = 4: must be at most 1"),
        ({"walltime": 3600}, "walltime = 3600: must be text"),
        ({"walltime": "8h"}, "walltime = '8h': must be HH:MM:SS or D-HH:MM:SS"),
        ({"walltime": "00:10:00"}, "walltime = '00:10:00': must be at least 0:15:00"),
    ],
)
def test_a_wrong_field_is_refused_by_name_in_one_line(fields: dict[str, Any], line: str) -> None:
    with pytest.raises(UserError) as refused:
        slurm_file(**(LEAST | fields))
    assert str(refused.value).startswith(f"--cluster slurm:my.yaml: {line}")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("name", "value"), [("quue", "gpu"), ("memory", "much")])
def test_a_field_that_dask_does_not_take_is_refused_in_one_line(name: str, value: str, slurm: Path) -> None:
    slurm_file(**(LEAST | {name: value}))
    with pytest.raises(UserError) as refused, ClusterBackend("slurm:my.yaml"):
        pass
    assert str(refused.value).startswith("--cluster slurm:my.yaml: ")
    assert {name, value} & set(re.findall(r"\w+", str(refused.value)))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("where", ["tcp://host:8786", "slurm:my.yaml"])
def test_without_dask_or_slurm_one_line_names_what_is_missing(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("my.yaml").write_text(yaml.safe_dump(LEAST))
    if where.startswith("slurm"):
        monkeypatch.setattr(shutil, "which", lambda name: None)
        with pytest.raises(UserError, match="there is no sbatch"), ClusterBackend(where):
            pass
    monkeypatch.setattr(cluster, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs distributed: pip install -e \.\[cluster\]"):
        ClusterBackend(where)


OURS = {"dglib": "0.1.0", "commit": "1" * 40, "code": "a", "python": "3.13", "torch": "2.15.0"}


@pytest.mark.parametrize(
    ("software", "threads", "record", "reason"),
    [
        ({}, 1, "record", ""),
        ({}, 2, "record", "has 2 threads; start it with --nthreads 1, one worker for each job"),
        ({"torch": "2.11.0"}, 1, "record", "has torch 2.15.0, this machine 2.11.0; they must be the same"),
        (
            {"code": "b", "commit": "2" * 40},
            1,
            "record",
            "has other files of dglib than this machine: at 1111111, this machine at 2222222; they must be "
            "the same",
        ),
        ({}, 1, "elsewhere/record", "does not see elsewhere as it is here"),
    ],
    ids=["fit", "threads", "torch", "commit", "directory"],
)
def test_a_worker_whose_results_would_differ_is_refused_by_what_differs(
    software: dict[str, str], threads: int, record: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("record").touch()
    monkeypatch.setattr(cluster_worker, "software", lambda: OURS)
    job = {"record": record, "software": OURS | software}
    worker = SimpleNamespace(state=SimpleNamespace(nthreads=threads, total_resources={}))
    assert cluster_worker.unsuitable(job, worker) == reason
