"""run_all: what it plans, and what it leaves when a job fails, when it is stopped, and of a grid."""

import json
import os
import re
import signal
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from by_name import EXPERIMENTS
from cluster_cases import PATIENCE, RUN_ALL, wait_for
from held import held_up

from dglib import cli
from dglib.campaign import command, dry_run, local
from dglib.experiments import build_spec
from dglib.experiments.profiles import load_profile
from dglib.runs.progress import read_attempts
from dglib.runs.seed import run_seed
from dglib.runs.store import read_records
from dglib.training.data import load_dataset
from dglib.training.numerics import Numerics

TINY = [
    "network_width=0.25",
    "init_epochs=1",
    "epochs_per_level=1",
    "sweep_lambdas=[0.5,0.4]",
    "init_error_min=0",
]
IF = " if they do not slow each other down"
GRID = """
experiments: [T2, Td1]
seeds: 0
set: {init_epochs: 2, network_width: 0.25,
      T2.epochs_per_level: 1, T2.sweep_lambdas: [0.5], T2.init_error_min: 0,
      Td1.milestones: [], Td1.compare_epochs: [1], Td1.early_epochs: 1}
grid: {noise_rate: [0.2, 0.4]}
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


def here() -> set[str]:
    """Every path below the working directory."""
    return {str(path.relative_to(Path.cwd())) for path in Path.cwd().rglob("*")}


def run_all(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, RUN_ALL, *arguments], capture_output=True, text=True, env=os.environ | environment
    )


def campaign(*words: str) -> command.Campaign:
    arguments: Namespace = cli.parser("run_all").parse_args(["campaign", *words])
    arguments.typed = []
    return command.plan_campaign(arguments)


def events(lines: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines.splitlines()]


Plan = Callable[..., tuple[dict[str, str], str]]


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Plan:
    """Prints a plan in which a seed takes a minute: {experiment: its lines}, and the line at the end."""
    monkeypatch.setattr(dry_run.Estimator, "seconds", lambda *_: 60.0)

    def printed(*arguments: str) -> tuple[dict[str, str], str]:
        assert cli.run_all(["--dry-run", *arguments]) == 0
        *jobs, total = re.split(r"\n(?! )", capsys.readouterr().out.rstrip("\n"))
        return {job.split(":")[0]: job for job in jobs}, total

    return printed


def parameters_in(job: str) -> set[str]:
    return set(re.split(r", (?=\w+=)", job.split("\n  ")[1]))


def test_a_dry_run_prints_jobs_parameters_and_time_the_longest_first_and_writes_nothing(plan: Plan) -> None:
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


def test_a_dry_run_plans_for_gpus_that_are_not_here(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("local", "command"):
        monkeypatch.setattr(f"dglib.campaign.{module}.visible_gpus", list)
    monkeypatch.setattr(dry_run.Estimator, "seconds", lambda *_: pytest.fail("timed"))
    wanted = ["--only", "T2", "--seeds", "0-3", "--gpus", "0,1"]
    assert cli.run_all(["--dry-run", *wanted]) == 0
    assert capsys.readouterr().out.endswith("4 jobs\n")
    assert cli.run_all(wanted) == 2
    assert "--gpus 0,1: 0: is not there: torch sees no CUDA device here\n" in capsys.readouterr().err


def test_a_setting_reaches_those_that_have_it_or_the_one_it_names_the_last_one_winning(plan: Plan) -> None:
    Path("my.yaml").write_text("T1.sweep_lr: 0.05\nlr: 0.2\n")
    first = ["init_epochs=7", "T2.init_epochs=8", "Td1.init_epochs=9"]
    jobs, _ = plan("-f", "my.yaml", "--set", *first, "--set", "init_epochs=10", "T2.lr=0.3", "--seeds", "5")
    given = {experiment: parameters_in(job) for experiment, job in jobs.items()}
    assert ["sweep_lr=0.05" in given[name] for name in ("T1", "T2")] == [True, False]
    assert all("init_epochs=10" in given[experiment] for experiment in ("T1", "T2", "Td1"))
    assert not any(line.startswith("init_epochs") for line in given["V3"])
    assert [name for name, lines in given.items() if "lr=0.3" in lines] == ["T2"]
    assert all("seeds=[5]" in lines for lines in given.values())


def environments(*words: str) -> list[dict[str, str]]:
    """The environment of each worker of a command."""
    backend = campaign(*words).backend
    assert isinstance(backend, local.LocalBackend)
    return [dict(each) for each in backend.environments]


def test_each_gpu_that_is_named_gets_a_worker_that_sees_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(local, "visible_gpus", lambda: ["0", "1", "2"])
    monkeypatch.setattr(command, "_check_machine", lambda *_: None)
    order = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    two = [{"CUDA_VISIBLE_DEVICES": "0", **order}, {"CUDA_VISIBLE_DEVICES": "2", **order}]
    assert environments("--gpus", "0,2") == two
    assert environments("--gpus", "0,0") == [two[0]] * 2
    assert len(environments()) == 3  # one for each GPU, however many cores there are
    assert environments("--device", "cuda:1") == [{}]
    assert environments("--device", "cpu", "--workers", "5") == [{}] * 5
    both = environments("--gpus", "1", "--set", "seeds_at_once=2")
    assert [each["CUDA_VISIBLE_DEVICES"] for each in both] == ["1", "1"]
    four = environments("--gpus", "0,2", "--workers", "4")
    assert [each["CUDA_VISIBLE_DEVICES"] for each in four] == ["0", "2", "0", "2"]


def test_threads_and_seeds_at_once_set_the_number_of_workers_on_a_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(local, "visible_gpus", list)
    monkeypatch.setattr(local, "_cores", lambda: 8)
    assert environments() == [{}] * 8
    assert environments("--set", "T2.threads=3") == [{}] * 2
    assert environments("--set", "threads=99") == [{}]
    assert environments("--set", "threads=3", "--workers", "4") == [{}] * 4
    assert environments("--set", "seeds_at_once=2") == [{}] * 2


@pytest.mark.slow
def test_parallel_jobs_give_the_records_of_serial_ones_and_a_failed_experiment_costs_the_others_nothing(
    tmp_path: Path,
) -> None:
    # A network that passes every check and fails in training; its module is found by a relative path.
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "own.py").write_text(
        "from torch import nn\n"
        "class Stubborn(nn.Sequential):\n"
        "    def forward(self, x):\n"
        "        if len(x) > 2:\n"
        "            raise RuntimeError('no more than two images')\n"
        "        return super().forward(x)\n"
        "def stubborn(input_shape, classes, width):\n"
        "    return Stubborn(nn.Flatten(), nn.Linear(64, classes))\n"
    )
    hold = Path.cwd() / "hold"
    hold.touch()
    environment = held_up(hold)
    environment["PYTHONPATH"] += f"{os.pathsep}../modules"
    words = ["--only", "V3", "T2", "--seeds", "0,1", "--json", "--base-dir", "my runs", "--workers", "2"]
    words += ["--set", *(word for word in TINY if "sweep" not in word), "T2.sweep_lambdas=[0.5,0.4]"]
    words += ["T2.init_epochs=6", "T2.network=held:network", "V3.network=own:stubborn"]
    printed = Path("events.jsonl")
    with (
        printed.open("w") as output,
        subprocess.Popen(
            [sys.executable, RUN_ALL, *words],
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | environment,
        ) as process,
    ):
        # Or one of them might have trained all before the other has imported torch.
        for seed in (0, 1):
            pattern = f"my runs/*/heartbeats/T2-spinodal-00{seed}.json"
            wait_for(lambda pattern=pattern: list(Path().glob(pattern)), pattern, process)
        wait_for(lambda: '"event": "epoch"' in printed.read_text(), "an epoch", process)
        hold.unlink()
        _, err = process.communicate()
    out = printed.read_text()
    assert process.returncode == 1, err
    assert "Traceback" not in err
    *_, reason, log = err.rstrip().splitlines()
    assert reason == "V3 failed: seeds 0, 1: RuntimeError: no more than two images"
    assert "in forward" in Path(log.removeprefix("  log: ")).read_text()

    (directory,) = Path("my runs").glob("exp_T_spinodal_*")
    changes = [*TINY, "init_epochs=6"]
    spec = build_spec("T2", load_profile("T2", "quick", [*changes, "network=held:network"]))
    for record in read_records(directory, "T2"):
        serial = run_seed(spec, record["seed"], load_dataset("digits"), Numerics.resolve("auto", 1))
        del record["provenance"]
        assert record | {"time": 0} == json.loads(json.dumps(serial)) | {"time": 0}
    attempts = [read_attempts(path) for path in directory.glob("attempts/*.jsonl")]
    assert [len(those) for those in attempts] == [1, 1]
    assert len({those[0]["pid"] for those in attempts}) == 2

    happened = events(out)
    kinds = [event["event"] for event in happened]
    assert [kinds.count(kind) for kind in ("seed_done", "job_failed", "summary_done")] == [2, 2, 1]
    assert kinds[-1] == "all_done"
    epochs = [event for event in happened if event["event"] == "epoch"]
    assert {*epochs[0]} >= {"phase", "lambda", "epoch", "error", "epochs_per_second", "seconds_left"}
    assert happened[-1]["failed"] == 2
    assert all(Path(file).is_file() for file in happened[-1]["files"])

    _, found = err.split("What was found:\n\n")
    t2 = found.splitlines()[0]
    assert t2.startswith("T2, 2 seeds: ")
    v3 = "V3: no seed has finished\n! failed: seeds 0, 1: RuntimeError: no more than two images\n"
    assert v3 in found
    notebook = Path("my runs/executed/T2_spinodal.ipynb")
    assert f"  T2: {directory} (records, figures/), notebook {notebook}\n" in found
    assert "  V3: " not in found
    summary = Path("my runs/summary.md").read_text(encoding="utf-8")
    assert t2 in summary
    assert v3 in summary
    assert here() & {"runs", "data", "executed"} == set()


@pytest.mark.slow
def test_a_stopped_run_leaves_no_process_and_resumes_to_the_records_of_an_uninterrupted_one() -> None:
    changes = [*TINY, "init_epochs=4", "network=held:network"]
    Path("one.yaml").write_text("experiment: T2\nseeds: 0\ngrid: {noise_rate: [0.4]}\n")  # without a notebook
    options = ["--grid", "one.yaml", "--base-dir", "runs", "--set", *changes]
    cell = Path("runs/grid_one/noise_rate=0.4")
    hold = Path.cwd() / "hold"
    hold.touch()
    process = subprocess.Popen(
        [sys.executable, RUN_ALL, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | held_up(hold),
    )
    wait_for(Path("waiting").exists, "seed that waits", process)
    family = psutil.Process(process.pid).children(recursive=True)
    assert any("dglib.campaign.worker" in each.cmdline() for each in family)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    hold.unlink()
    assert process.returncode == 130
    assert err.splitlines()[-1] == "run_all: stopped; the same command resumes"
    assert "Traceback" not in err
    assert psutil.wait_procs(family, timeout=PATIENCE)[1] == []
    assert len(list(cell.glob("exp_T_spinodal_*/checkpoints/T2-spinodal-000.ckpt"))) == 1
    assert list(cell.glob("exp_T_spinodal_*/seeds/*")) == []

    assert run_all(*options, **held_up(hold)).returncode == 0
    (directory,) = cell.glob("exp_T_spinodal_*")
    (record,) = read_records(directory, "T2")
    spec = build_spec("T2", load_profile("T2", "quick", changes))
    whole = run_seed(spec, 0, load_dataset("digits"), Numerics.resolve("auto", 1))
    del record["provenance"]
    assert record | {"time": 0} == json.loads(json.dumps(whole)) | {"time": 0}


@pytest.mark.slow
def test_a_grid_is_one_campaign_whose_report_shows_every_cell_and_whose_times_are_the_next_estimate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("my.yaml").write_text(GRID)
    done = run_all("--grid", "my.yaml", "--base-dir", "runs", "--json")
    assert done.returncode == 0, done.stderr
    happened = events(done.stdout)
    assert sum(event["event"] == "seed_done" for event in happened) == 4
    for rate in (0.2, 0.4):
        cell = Path("runs/grid_my") / f"noise_rate={rate}"
        assert len(list(cell.glob("exp_T_spinodal_*/seeds/T2-spinodal-000.json"))) == 1
        assert len(list(cell.glob("exp_Td1_90_analysis_*/seeds/Td1-seed00.json"))) == 1
    assert not list(Path("runs").rglob("executed"))
    page = Path("runs/grid_my/report.html")
    assert "runs/grid_my/report.html" in happened[-1]["files"]
    assert "noise_rate" in page.read_text(encoding="utf-8")
    assert cli.run_all(["status", "--base-dir", "runs"]) == 0
    assert "4 jobs: 4 done" in capsys.readouterr().out

    monkeypatch.setattr(dry_run.Estimator, "seconds", lambda *_: None)
    command = ["--grid", "my.yaml", "--base-dir", "runs", "--dry-run", "--json"]
    assert cli.run_all(command) == 0
    planned = events(capsys.readouterr().out)
    assert all(job["estimate_s"] > 0 and job["estimate_on"] == "cpu" for job in planned)
    assert cli.run_all([*command, "--set", "lr=0.05"]) == 0  # another run
    assert {job["estimate_s"] for job in events(capsys.readouterr().out)} == {None}
