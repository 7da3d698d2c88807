"""run_all: what it plans, and what it leaves when a job fails, when it is stopped, and of a grid."""

import json
import os
import re
import signal
from pathlib import Path

import cluster_cases as cases
import psutil
import pytest
from by_name import EXPERIMENTS
from cluster_cases import PATIENCE, RUN_ALL, wait_for

from dglib import cli
from dglib.campaign import command, dry_run, local
from dglib.experiments.profiles import load_profile

TINY = [
    "network_width=0.25",
    "init_epochs=1",
    "epochs_per_level=1",
    "sweep_lambdas=[0.5,0.4]",
    "init_error_min=0",
]
ASCII = {"PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}
IF = " if they do not slow each other down"


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


def here():
    """Every path below the working directory."""
    return {str(path.relative_to(Path.cwd())) for path in Path.cwd().rglob("*")}


def campaign(*words):
    arguments = cli.parser("run_all").parse_args(["campaign", *words])
    arguments.typed = []
    return command.plan_campaign(arguments)


def events(lines):
    return [json.loads(line) for line in lines.splitlines()]


@pytest.fixture
def plan(monkeypatch, capsys):
    """Prints a plan in which a seed takes a minute: {experiment: its lines}, and the line at the end."""
    monkeypatch.setattr(dry_run.Estimator, "seconds", lambda *_: 60.0)

    def printed(*arguments):
        assert cli.run_all(["--dry-run", *arguments]) == 0
        *jobs, total = re.split(r"\n(?! )", capsys.readouterr().out.rstrip("\n"))
        return {job.split(":")[0]: job for job in jobs}, total

    return printed


def parameters_in(job):
    return set(re.split(r", (?=\w+=)", job.split("\n  ")[1]))


def test_a_dry_run_prints_jobs_parameters_and_time_the_longest_first_and_writes_nothing(plan):
    jobs, total = plan("--seeds", "0-2", "--workers", "2")
    assert set(jobs) == set(EXPERIMENTS)
    assert next(iter(jobs)) == "Hold"
    for experiment, job in jobs.items():
        title = rf"{experiment}: \w+\.ipynb, 3 seeds, \d+ epochs at most, about 3 min 0 s on \w+\n"
        assert re.match(title, job)
        expected = load_profile(experiment, "quick", ["seeds=0-2"])
        paths = {"base_dir": Path("runs").absolute(), "data_dir": Path("data").absolute()}
        assert parameters_in(job) == {f"{k}={v}" for k, v in (expected.model_dump() | paths).items()}
        assert job.split("\n")[2:] == [f"  {experiment} seed {seed}: about 1 min 0 s" for seed in range(3)]
    assert total == f"15 jobs: 15 min 0 s one after the other, about 7 min 30 s with 2 at a time{IF}"
    assert here() == set()


def test_a_dry_run_plans_for_gpus_that_are_not_here(capsys, monkeypatch):
    for module in ("local", "command"):
        monkeypatch.setattr(f"dglib.campaign.{module}.visible_gpus", list)
    monkeypatch.setattr(dry_run.Estimator, "seconds", lambda *_: pytest.fail("timed"))
    wanted = ["--only", "T2", "--seeds", "0-3", "--gpus", "0,1"]
    assert cli.run_all(["--dry-run", *wanted]) == 0
    assert capsys.readouterr().out.endswith("4 jobs\n")
    assert cli.run_all(wanted) == 2
    assert "--gpus 0,1: 0: is not there: torch sees no CUDA device here\n" in capsys.readouterr().err


def test_a_setting_reaches_those_that_have_it_or_the_one_it_names_the_last_one_winning(plan):
    Path("my.yaml").write_text("T1.sweep_lr: 0.05\nlr: 0.2\n")
    first = ["init_epochs=7", "T2.init_epochs=8", "Td1.init_epochs=9"]
    jobs, _ = plan("-f", "my.yaml", "--set", *first, "--set", "init_epochs=10", "T2.lr=0.3", "--seeds", "5")
    given = {experiment: parameters_in(job) for experiment, job in jobs.items()}
    assert ["sweep_lr=0.05" in given[name] for name in ("T1", "T2")] == [True, False]
    assert all("init_epochs=10" in given[experiment] for experiment in ("T1", "T2", "Td1"))
    assert not any(line.startswith("init_epochs") for line in given["V3"])
    assert [name for name, lines in given.items() if "lr=0.3" in lines] == ["T2"]
    assert all("seeds=[5]" in lines for lines in given.values())


def environments(*words):
    """The environment of each worker of a command."""
    return [dict(each) for each in campaign(*words).backend.environments]


def test_gpus_or_cores_threads_and_seeds_at_once_set_the_workers(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(local, "visible_gpus", lambda: ["0", "1", "2"])
    monkeypatch.setattr(command, "_check_machine", lambda *_: None)
    order = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    two = [{"CUDA_VISIBLE_DEVICES": "0", **order}, {"CUDA_VISIBLE_DEVICES": "2", **order}]
    assert environments("--gpus", "0,2") == two
    assert environments("--gpus", "0,0") == [two[0]] * 2
    assert environments("--gpus", "0", "--set", "seeds_at_once=2") == [two[0]] * 2
    assert environments("--gpus", "0,2", "--workers", "4") == two * 2
    assert len(environments()) == 3  # one for each GPU, however many cores there are
    assert environments("--device", "cuda:1") == [{}]
    assert environments("--device", "cpu", "--workers", "5") == [{}] * 5
    monkeypatch.setattr(local, "visible_gpus", list)
    monkeypatch.setattr(local, "_cores", lambda: 8)
    assert environments() == [{}] * 8
    assert environments("--set", "T2.threads=3") == [{}] * 2
    assert environments("--set", "threads=99") == [{}]
    assert environments("--set", "threads=3", "--workers", "4") == [{}] * 4
    assert environments("--set", "seeds_at_once=2") == [{}] * 2


STUBBORN = """
from torch import nn

class Stubborn(nn.Sequential):
    def forward(self, x):
        if len(x) > 2:
            raise RuntimeError("no more than two images")
        return super().forward(x)

def stubborn(input_shape, classes, width):
    return Stubborn(nn.Flatten(), nn.Linear(64, classes))
"""


@pytest.mark.slow
def test_parallel_jobs_give_the_records_of_serial_ones_though_one_experiment_fails(tmp_path):
    # A network that passes every check and fails in training; its module is found by a relative path.
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "own.py").write_text(STUBBORN)
    Path(cases.HOLD).touch()
    changes = [*TINY, "init_epochs=6", "network=held:network"]
    words = ["--only", "V3", "T2", "--seeds", "0,1", "--json", "--base-dir", "my runs", "--workers", "2"]
    words += ["--set", *(f"T2.{each}" for each in changes), "V3.network=own:stubborn"]
    path = f"{Path(__file__).parent}{os.pathsep}../modules"
    process = cases.start(RUN_ALL, *words, PYTHONPATH=path, **ASCII)
    for seed in (0, 1):  # or one of them might have trained all before the other has imported torch
        pattern = f"my runs/*/heartbeats/T2-spinodal-00{seed}.json"
        wait_for(lambda pattern=pattern: list(Path().glob(pattern)), pattern, process)
    Path(cases.HOLD).unlink()
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1, err
    assert "Traceback" not in err
    *_, reason, log = err.rstrip().splitlines()
    assert reason == "V3 failed: seeds 0, 1: RuntimeError: no more than two images"
    assert "in forward" in Path(log.removeprefix("  log: ")).read_text()
    assert len([path.read_text(encoding="utf-8") for path in Path("my runs").rglob("*.log")]) == 5
    expected = {f"T2-spinodal-00{seed}": cases.serial("T2", seed, changes) for seed in (0, 1)}
    assert cases.records(Path("my runs")) == expected
    attempts = [those for seed, those in cases.attempts(Path("my runs")).items() if seed in expected]
    assert len({attempt["pid"] for (attempt,) in attempts}) == 2

    happened = events(out)
    kinds = [event["event"] for event in happened]
    assert [kinds.count(kind) for kind in ("seed_done", "job_failed", "summary_done")] == [2, 2, 1]
    assert (kinds[-1], happened[-1]["failed"]) == ("all_done", 2)
    assert all(Path(file).is_file() for file in happened[-1]["files"])

    _, found = err.split("What was found:\n\n")
    t2 = found.splitlines()[0]
    assert t2.startswith("T2, 2 seeds: ")
    v3 = "V3: no seed has finished\n! failed: seeds 0, 1: RuntimeError: no more than two images\n"
    (directory,) = Path("my runs").glob("exp_T_spinodal_*")
    notebook = Path("my runs/executed/T2_spinodal.ipynb")
    assert f"  T2: {directory} (records, figures/), notebook {notebook}\n" in found
    assert "  V3: " not in found
    summary = Path("my runs/summary.md").read_text(encoding="utf-8")
    assert all(text in summary and text in found for text in (t2, v3))
    assert here() & {"runs", "data", "executed"} == set()


@pytest.mark.slow
def test_a_stopped_grid_resumes_to_the_records_of_an_uninterrupted_one(monkeypatch, capsys):
    changes = [*TINY, "init_epochs=4", "network=held:network"]
    Path("my.yaml").write_text("experiment: T2\nseeds: 0\ngrid: {noise_rate: [0.4, 0.2]}\n")
    grid = ["--grid", "my.yaml", "--base-dir", "runs", "--json", "--set", *changes]
    words = [RUN_ALL, *grid, "--workers", "1"]
    first, second = (Path(f"runs/grid_my/noise_rate={rate}") for rate in (0.4, 0.2))
    Path(cases.HOLD).touch()
    process = cases.start(*words)
    wait_for(Path("waiting").exists, "seed that waits", process)
    family = psutil.Process(process.pid).children(recursive=True)
    assert any("dglib.campaign.worker" in each.cmdline() for each in family)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    Path(cases.HOLD).unlink()
    assert process.returncode == 130
    assert err.splitlines()[-1] == "run_all: stopped; the same command resumes"
    assert "Traceback" not in err
    assert psutil.wait_procs(family, timeout=PATIENCE)[1] == []
    assert len(list(first.glob("exp_T_spinodal_*/checkpoints/T2-spinodal-000.ckpt"))) == 1
    assert cases.records(first) == cases.records(second) == {}

    process = cases.start(*words)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert cases.records(first) == {"T2-spinodal-000": cases.serial("T2", 0, changes)}
    assert cases.records(second).keys() == {"T2-spinodal-000"}
    assert not list(Path("runs").rglob("executed"))
    assert "runs/grid_my/report.html" in events(out)[-1]["files"]
    assert "noise_rate" in Path("runs/grid_my/report.html").read_text(encoding="utf-8")
    assert cli.run_all(["status", "--base-dir", "runs"]) == 0
    assert "2 jobs: 2 done" in capsys.readouterr().out

    # The times are the next estimate.
    monkeypatch.setattr(dry_run.Estimator, "seconds", lambda *_: None)
    monkeypatch.syspath_prepend(Path(__file__).parent)
    assert cli.run_all([*grid, "--dry-run"]) == 0
    planned = events(capsys.readouterr().out)
    assert all(job["estimate_s"] > 0 and job["estimate_on"] == "cpu" for job in planned)
    assert cli.run_all([*grid, "lr=0.05", "--dry-run"]) == 0  # another run
    assert {job["estimate_s"] for job in events(capsys.readouterr().out)} == {None}
