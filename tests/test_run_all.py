"""run_all: what it refuses and plans, and what it leaves when all goes well, when one fails, when stopped."""

import html
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
from by_name import EXPERIMENTS, MODELS
from held import held_up
from papermill.exceptions import PapermillExecutionError

from dglib import api
from dglib.campaign import cluster_kinds as cluster_places
from dglib.campaign import command as campaign
from dglib.campaign import dry_run, estimate, gpus, planning
from dglib.campaign import notebooks as execute
from dglib.campaign.jobs import Plan, anchored
from dglib.control import Interrupted
from dglib.errors import UserError
from dglib.experiments import build_spec
from dglib.experiments.profiles import PARAMS, load_profile
from dglib.experiments.summary_file import write_summary
from dglib.runs.progress import read_attempts
from dglib.runs.seed import run_seed
from dglib.runs.store import read_records
from dglib.training.data import load_dataset
from dglib.training.numerics import Numerics

PATIENCE = 120  # seconds, on a loaded machine
RUN_ALL = PARAMS.parent / "run_all.py"
TINY = [
    "network_width=0.25",
    "init_epochs=1",
    "epochs_per_level=1",
    "T1.sweep_lambdas=[0.5,0.6]",
    "T1.return_lambdas=[0.4]",
    "T1.init_error_max=1",
    "T2.sweep_lambdas=[0.5,0.4]",
    "T2.init_error_min=0",
]
# The mistake, the command, and what its line says: file or option … field … value … what is allowed.
BAD_INPUT = [
    ("typo", "--set noise_rat=0.4", "--set … noise_rat … 0.4 … noise_rate"),
    ("typo for one", "--set T2.noise_rat=0.4", "--set T2.noise_rat=0.4 … did you mean noise_rate"),
    ("only another has it", "--only V3 --set init_epochs=3", "--set … init_epochs … 3 … V3 has no such"),
    ("one that lacks it", "--set T1.log_every=3", "--set T1.log_every=3 … T1 has no such"),
    ("one not asked for", "--only T1 --set T2.lr=1", "--set T2.lr=1 … T2 … T1"),
    ("λ above 1", "--set T2.init_lambda=1.5", "--set T2.init_lambda=1.5 … init_lambda … 1.5 … at most 1"),
    ("empty λ list", "--set V3.sweep_lambdas=[]", "--set … sweep_lambdas … [] … at least one"),
    ("T2 upwards", "--set T2.sweep_lambdas=[0.3,0.4]", "--set … sweep_lambdas … [0.3, 0.4] … below"),
    ("K = 0", "--set refresh_period=0", "--set … refresh_period … 0 … at least 1"),
    ("η = 1.2", "--set noise_rate=1.2", "--set … noise_rate … 1.2 … at most 0.9"),
    ("--set without =", "--set lr", "--set … lr … name=value"),
    ("value that does not parse", "--set lr=[1", "--set … lr=[1 … YAML"),
    ("seed one", "--seeds one", "--seeds … seeds … one … whole numbers"),
    ("unknown experiment", "--only T1 T9", "experiment … T9 … T1, T2, V3, Td1 or loop"),
    ("twice the same", "--only T1 T1", "--only T1 T1 … once"),
    ("no experiment", "--only", "--only … at least one"),
    ("unknown profile", "--profile fast", "profile … fast … paper or quick"),
    ("no workers", "--workers 0", "--workers … '0' … from 1"),
    ("workers in words", "--workers two", "--workers … 'two' … whole number"),
    ("no such GPU", "--gpus 99", "--gpus 99 … 99 … not there: torch sees"),
    ("GPUs in words", "--gpus one", "--gpus one … 'one' … numbers"),
    ("GPUs and workers", "--gpus 0 --workers 2", "--gpus 0 … --workers"),
    ("GPUs and a device", "--gpus 0 --device cpu", "--gpus 0 … device = 'cpu' … auto or cuda"),
    ("a cluster and workers", "--cluster local:2 --workers 2", "--workers 2 … cluster"),
    ("a cluster and GPUs", "--cluster local:2 --gpus 0", "--gpus 0 … cluster"),
    ("no such grid", "--grid nowhere", "grid … nowhere … phase_diagram"),
    ("no such grid file", "--grid nowhere.yaml", "nowhere.yaml … cannot be read"),
    ("a grid and experiments", "--grid phase_diagram --only T1", "--only … grid"),
    ("a grid and a profile", "--grid phase_diagram --profile quick", "--profile … grid"),
    ("a crossed name set", "--grid phase_diagram --set noise_rate=0.1", "--set noise_rate=0.1 … crossed"),
    ("status of nothing", "status --base-dir nowhere", "nowhere … no jobs"),
    ("two numbers of jobs", "--workers 1 --set seeds_at_once=2", "--workers 1 … seeds_at_once = 2 … leave"),
    ("workers that differ", "--set V3.seeds_at_once=2", "seeds_at_once = 1 for Td1, 2 for V3 … must be one"),
    (
        "several on a cluster's",
        "--cluster local:2 --set seeds_at_once=2",
        "--cluster local:2 … seeds_at_once = 2 … more workers",
    ),
    ("unknown option", "--sets lr=1", "--sets"),
    ("base directory is a file", "--base-dir file", "--base-dir … base_dir … file … directory"),
    ("base directory below one", "--base-dir file/x", "--base-dir … base_dir … file/x … directory"),
    ("two base directories", "--set T1.base_dir=a T2.base_dir=b", "base_dir … a and … b … one for all"),
    ("unknown device", "--device gpu", "--device … device … gpu … auto, cpu, cuda or cuda:N"),
    ("a device that is not there", "--device cuda:99", "device … cuda:99 … torch sees"),
    ("a data set that is not there", "--set Td1.dataset=none.npz", "none.npz"),
    ("a data set without arrays", "--set Td1.dataset=part.npz", "part.npz … y_train"),
    ("unknown network", "--set T2.network=small_cn", "network … small_cn … did you mean 'small_cnn'"),
    ("unknown noise", "--set noise=symetric", "noise … symetric … did you mean 'symmetric'"),
]


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


def tiny_plan(experiment: str, base: str, *changes: str) -> Plan:
    own = [s.removeprefix(f"{experiment}.") for s in TINY if "." not in s.split("=")[0] or experiment in s]
    known = [s for s in own if s.split("=")[0] in MODELS[experiment].model_fields]
    parameters = load_profile(experiment, "quick", ["seeds=0", *known, *changes])
    return Plan(anchored(parameters, Path(base)), Path(base))


def finish(*plans: Plan) -> None:
    for plan in plans:
        for job in plan.jobs:
            job.status = "done"


def _in_notebook(name: str, reason: str) -> PapermillExecutionError:
    return PapermillExecutionError(0, 1, "", name, reason, [])


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """An execution in which papermill does as it is told."""

    def run(papermill: Callable[[], None]) -> None:
        monkeypatch.setattr(execute.papermill, "execute_notebook", lambda *_, **__: papermill())
        execute.execute(Path("a.ipynb"), Path("b.ipynb"), {})

    return run


@pytest.mark.parametrize(
    ("mistake", "command", "says"), BAD_INPUT, ids=[mistake for mistake, *_ in BAD_INPUT]
)
def test_bad_input_gets_one_line_and_leaves_nothing(
    mistake: str,
    command: str,
    says: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path("file").touch()
    np.savez("part.npz", x_train=np.zeros((2, 8, 8), np.uint8))
    before = here()
    monkeypatch.setattr(campaign.scheduler, "run", lambda *_: pytest.fail("something was started"))
    assert campaign.main(command.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    told = line.removeprefix("run_all: error: ")
    assert told != line
    place = 0
    for word in says.split(" … "):
        assert word in told[place:], f"{word!r} is missing, or out of order, in: {told}"
        place = told.index(word, place) + len(word)
    assert here() == before


def test_bad_input_ends_the_process_with_status_2() -> None:
    done = run_all("--only", "T1", "--set", "noise_rat=1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "run_all: error: --set: noise_rat = 1: T1 has no such parameter; did you mean noise_rate?\n"
    )
    assert here() == set()


@pytest.fixture
def plan(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[dict[str, str], str]]:
    """Prints a plan in which each seed takes a minute: {experiment: its lines}, and the line at the end."""
    monkeypatch.setattr(estimate, "estimate_seconds", lambda *_: 60.0)

    def printed(*arguments: str) -> tuple[dict[str, str], str]:
        assert campaign.main(["--dry-run", *arguments]) == 0
        *jobs, total = re.split(r"\n(?! )", capsys.readouterr().out.rstrip("\n"))
        return {job.split(":")[0]: job for job in jobs}, total

    return printed


def parameters_in(job: str) -> set[str]:
    return set(re.split(r", (?=\w+=)", job.split("\n  ")[1]))


def test_a_dry_run_prints_jobs_parameters_and_time_and_writes_nothing(
    plan: Callable[..., tuple[dict[str, str], str]],
) -> None:
    jobs, total = plan("--seeds", "0-2", "--workers", "2")
    assert set(jobs) == set(EXPERIMENTS)
    for experiment, job in jobs.items():
        title = rf"{experiment}: \w+\.ipynb, 3 seeds, \d+ epochs at most, about 3 min 0 s on \w+\n"
        assert re.match(title, job)
        expected = load_profile(experiment, "quick", ["seeds=0-2"])
        paths = {"base_dir": Path("runs").absolute(), "data_dir": Path("data").absolute()}
        assert parameters_in(job) == {f"{k}={v}" for k, v in (expected.model_dump() | paths).items()}
        assert job.split("\n")[2:] == [f"  {experiment} seed {seed}: about 1 min 0 s" for seed in range(3)]
    assert total == "12 jobs: 12 min 0 s one after the other, about 6 min 0 s with 2 at a time"
    assert here() == set()


def test_the_paper_profile_is_33_jobs_each_a_json_line_whose_parameters_are_the_jobs_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(estimate, "estimate_seconds", lambda *_: 60.0)
    assert campaign.main(["--profile", "paper", "--dry-run", "--json", "--base-dir", "runs"]) == 0
    jobs = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(jobs) == 33
    assert {(job["experiment"], job["seed"]) for job in jobs} == {
        (name, seed) for name in EXPERIMENTS for seed in range(3 if name == "V3" else 10)
    }
    for job in jobs:
        expected = load_profile(job["experiment"], "paper", [f"seeds={job['seed']}"]).model_dump()
        paths = {"base_dir": str(Path("runs").absolute()), "data_dir": str(Path("data").absolute())}
        assert job["parameters"] == expected | paths
        assert job["estimate_s"] == 60.0
    assert here() == set()


NODES = "jobs: 3\nwalltime: '01:00:00'\nmemory: 1GB\n"


@pytest.mark.parametrize(
    ("where", "ends"),
    [
        ("local:2", "4 jobs: 4 min 0 s one after the other, about 2 min 0 s with 2 at a time"),
        (
            "slurm:nodes.yaml",
            "4 jobs: 4 min 0 s one after the other, about 1 min 20 s with 3 at a time; times are this"
            " machine's; the cluster's workers may be faster or slower",
        ),
        (
            "tcp://host:8786",
            "4 jobs: 4 min 0 s one after the other; times are this machine's; the cluster's workers may be"
            " faster or slower",
        ),
    ],
)
def test_a_clusters_dry_run_counts_its_workers(
    where: str, ends: str, plan: Callable[..., tuple[dict[str, str], str]]
) -> None:
    Path("nodes.yaml").write_text(NODES)
    _, total = plan("--only", "T2", "--seeds", "0-3", "--cluster", where)
    assert total == ends


def test_what_only_a_clusters_workers_have_is_planned_without_an_estimate(
    plan: Callable[..., tuple[dict[str, str], str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("nodes.yaml").write_text(NODES)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    command = ["--only", "T2", "--seeds", "0-1", "--device", "cuda", "--cluster", "slurm:nodes.yaml"]
    jobs, total = plan(*command)
    assert "no estimate: device = 'cuda': torch sees no CUDA device here" in jobs["T2"]
    assert jobs["T2"].split("\n")[2:] == ["  T2 seed 0", "  T2 seed 1"]
    assert total == "2 jobs, 3 at a time"
    assert campaign.main([*command, "--dry-run", "--json"]) == 0
    for job in events(capsys.readouterr().out):
        assert (job["estimate_s"], job["estimate_on"]) == (None, None)
        assert job["parameters"]["device"] == "cuda"
    # On this machine's own workers it cannot be done, and the plan says so, as the command would.
    assert campaign.main([*command[:-1], "local:2", "--dry-run"]) == 2
    assert "torch sees no CUDA device here" in capsys.readouterr().err


def test_a_dry_run_for_more_workers_than_gpus_is_refused_as_the_command_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cluster_places.gpus, "visible", lambda: ["0"])
    assert campaign.main(["--only", "T2", "--cluster", "local:2", "--dry-run"]) == 2
    assert "each worker has a GPU of its own, and torch sees 1 here" in capsys.readouterr().err


def test_times_of_seeds_that_share_a_gpu_are_told_with_that_reservation(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpus, "visible", lambda: ["0"])
    monkeypatch.setattr(planning, "_check_machine", lambda _: None)
    monkeypatch.setattr(estimate, "estimate_seconds", lambda *_: 60.0)
    monkeypatch.setattr(dry_run, "check", lambda _: (None, SimpleNamespace(device="cuda")))
    for words, shared in (
        (["--set", "seeds_at_once=2"], True),
        (["--gpus", "0,0"], True),
        (["--gpus", "0"], False),
    ):
        assert campaign.main(["--only", "T2", "--seeds", "0-3", "--dry-run", *words]) == 0
        last = capsys.readouterr().out.splitlines()[-1]
        assert last.endswith("with 2 at a time" + dry_run.SHARING) == shared, last
        assert ("share" in last) == shared


def test_the_estimate_is_the_median_time_of_the_seeds_that_have_ended(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(estimate, "estimate_seconds", lambda *_: None)
    words = ["--only", "T2", "--base-dir", "runs", "--dry-run", "--json"]
    tiny = [word.removeprefix("T2.") for word in TINY if "." not in word.split("=")[0] or "T2." in word]

    def estimates(*more: str) -> set[tuple[float | None, str | None]]:
        assert campaign.main([*words, "--set", *tiny, *more]) == 0
        return {(job["estimate_s"], job["estimate_on"]) for job in events(capsys.readouterr().out)}

    assert estimates() == {(None, None)}
    plan = tiny_plan("T2", "runs", "seeds=0-1")
    api.run(plan.parameters)
    capsys.readouterr()
    directory = plan.directory()
    assert directory is not None
    times = [json.loads(path.read_bytes())["content"]["time"] for path in (directory / "seeds").iterdir()]
    assert estimates("seeds=0-3") == {(round(sum(times) / 2, 1), "cpu")}
    assert estimates("lr=0.05") == {(None, None)}  # another run


def test_the_longest_job_comes_first(plan: Callable[..., tuple[dict[str, str], str]]) -> None:
    assert next(iter(plan()[0])) == "T1"
    assert next(iter(plan("--set", "Td1.init_epochs=999")[0])) == "Td1"


def test_a_setting_reaches_those_that_have_it_or_the_one_it_names_the_last_one_winning(
    plan: Callable[..., tuple[dict[str, str], str]],
) -> None:
    first = ["T1.sweep_lr=0.05", "init_epochs=7", "T2.init_epochs=8", "Td1.init_epochs=9"]
    jobs, _ = plan("--set", *first, "--set", "init_epochs=10", "T2.lr=0.3", "--seeds", "5")
    given = {experiment: parameters_in(job) for experiment, job in jobs.items()}
    assert "sweep_lr=0.05" in given["T1"]
    assert "sweep_lr=0.1" in given["T2"]
    assert "sweep_lr=None" in given["V3"]
    assert all("init_epochs=10" in given[experiment] for experiment in ("T1", "T2", "Td1"))
    assert not any(line.startswith("init_epochs") for line in given["V3"])
    assert [name for name, lines in given.items() if "lr=0.3" in lines] == ["T2"]
    assert all("seeds=[5]" in lines for lines in given.values())


def slots(*words: str) -> list[dict[str, str]]:
    """The environment of each worker of a command."""
    arguments = campaign._parser().parse_args(words)
    return gpus.worker_environments(arguments, planning.campaign(arguments).plans)


def test_each_gpu_that_is_named_gets_a_worker_that_sees_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(gpus, "visible", lambda: ["0", "1", "2"])
    monkeypatch.setattr(planning, "_check_machine", lambda _: None)
    order = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    two = [{"CUDA_VISIBLE_DEVICES": "0", **order}, {"CUDA_VISIBLE_DEVICES": "2", **order}]
    assert slots("--gpus", "0,2") == two
    assert slots("--gpus", "0,0") == [two[0]] * 2
    assert len(slots()) == 3  # one for each GPU, however many cores there are
    assert slots("--device", "cuda:1") == [{}]
    assert slots("--device", "cpu", "--workers", "5") == [{}] * 5


def test_gpus_count_within_those_that_the_environment_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a, GPU-b")
    monkeypatch.setattr(gpus, "has_driver", lambda: True)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert slots("--gpus", "1") == [{"CUDA_VISIBLE_DEVICES": "GPU-b"}]
    with pytest.raises(UserError, match=r"--gpus 2: 2: is not there: torch sees 2 CUDA device"):
        slots("--gpus", "2")


def test_a_run_of_several_threads_leaves_fewer_cores_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "visible", list)
    monkeypatch.setattr(gpus, "_cores", lambda: 8)
    assert slots() == [{}] * 8
    assert slots("--set", "T2.threads=3") == [{}] * 2
    assert slots("--set", "threads=99") == [{}]
    assert slots("--set", "threads=3", "--workers", "4") == [{}] * 4


def test_seeds_at_once_are_so_many_on_each_gpu_and_so_many_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(gpus, "visible", lambda: ["0", "1"])
    monkeypatch.setattr(planning, "_check_machine", lambda _: None)
    monkeypatch.setattr(gpus, "_cores", lambda: 8)
    two = ["--set", "seeds_at_once=2"]
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in slots(*two)] == ["0", "1", "0", "1"]
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in slots("--gpus", "1", *two)] == ["1", "1"]
    assert slots("--device", "cuda:1", *two) == [{}] * 2
    assert slots("--device", "cpu", *two) == [{}] * 2
    only = slots("--only", "V3", "--gpus", "0", "--set", "V3.seeds_at_once=3")
    assert len(only) == 3


def test_paths_of_a_job_hold_in_any_directory() -> None:
    given = load_profile("T1", "quick", ["dataset=~/my.npz", "data_dir=../data"])
    ours = anchored(given, Path("runs"))
    assert ours.dataset == str(Path.home() / "my.npz")
    assert Path(ours.data_dir).is_absolute()
    assert Path(ours.data_dir).resolve() == Path("../data").resolve()
    assert ours.base_dir == str(Path.cwd() / "runs")
    assert anchored(load_profile("T1", "quick"), Path("runs")).dataset == "digits"


def test_a_job_finds_the_run_directory_of_its_own_parameters_and_no_other() -> None:
    digits = load_dataset("digits", data_dir="data")
    images = [np.moveaxis(x, 1, 3) for x in (digits.x_train, digits.x_test)]
    np.savez("my.npz", x_train=images[0], y_train=digits.y_train, x_test=images[1], y_test=digits.y_test)
    jobs = [
        tiny_plan("T2", "runs", "device=auto"),
        tiny_plan("T2", "runs", "device=cpu"),
        tiny_plan("T2", "runs", "dataset=my.npz"),
        tiny_plan("T2", "runs", "lr=0.2"),
    ]
    assert [job.directory() for job in jobs] == [None] * 4
    directories = [api.run(job.parameters).directory for job in jobs[:3]]
    assert len(set(directories)) == 3
    found = [job.directory() for job in jobs]
    assert [path and path.absolute() for path in found] == [*directories, None]
    # The same run in other words: with no way back, its levels are no part of what is trained.
    first = tiny_plan("T1", "runs", "return_sweep=false")
    second = tiny_plan("T1", "runs", "return_sweep=false", "return_lambdas=[0.2]")
    assert api.run(first.parameters).directory == api.run(second.parameters).directory
    assert second.directory() is not None


def test_the_summary_takes_t1_from_the_directory_where_t2_joined_it_and_tells_unreadable_records() -> None:
    t1, t2 = tiny_plan("T1", "runs"), tiny_plan("T2", "runs")
    assert api.run(t1.parameters).directory == api.run(t2.parameters).directory
    finish(t1, t2)
    (only,) = [text for text in write_summary(t2.base, [t2]) if text.startswith("T")]
    assert only.startswith("T2: of 1 seed")
    assert "width" in json.loads(Path("runs/summary.json").read_text())

    td1 = tiny_plan("Td1", "runs")
    api.run(td1.parameters)
    finish(td1)
    directory = td1.directory()
    assert directory is not None
    (directory / "seeds" / "Td1-seed00.json").write_text("{}")
    found = write_summary(td1.base, [td1, t1, t2])
    assert len(found) == 4
    assert found[2].startswith("Td1: ")
    assert "Td1-seed00.json" in found[2]
    assert sorted(json.loads(Path("runs/summary.json").read_text())) == ["T1", "T2", "width"]


@pytest.mark.parametrize(
    ("raised", "kind", "line"),
    [
        (ValueError("first\n  second"), execute.ExecutionError, "ValueError: first second"),
        (
            _in_notebook("RuntimeError", "CUDA\nout of memory"),
            execute.ExecutionError,
            "RuntimeError: CUDA out of memory",
        ),
        (_in_notebook("UserError", "no such file"), UserError, "no such file"),
        (_in_notebook("Interrupted", ""), Interrupted, "Interrupted: "),
        (_in_notebook("KeyboardInterrupt", ""), Interrupted, "KeyboardInterrupt: "),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_execution_tells_in_one_line_how_it_ended(
    raised: Exception, kind: type[BaseException], line: str, executed: Callable[[Callable[[], None]], None]
) -> None:
    def fail() -> None:
        raise raised

    with pytest.raises(kind) as caught:
        executed(fail)
    assert str(caught.value) == line


def test_a_stop_before_there_is_a_kernel_ends_the_execution(
    executed: Callable[[Callable[[], None]], None],
) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    def slow_to_begin() -> None:
        signal.raise_signal(signal.SIGTERM)
        pytest.fail("went on")

    with pytest.raises(Interrupted):
        executed(slow_to_begin)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_kernel_that_does_not_start_is_started_again_and_given_up_in_the_end(
    executed: Callable[[Callable[[], None]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execute, "START_PAUSES", (0.0, 0.0))
    tries = []

    def starts_at(number: int) -> Callable[[], None]:
        def start() -> None:
            tries.append(number)
            if tries.count(number) < number:
                raise RuntimeError("Kernel died before replying to kernel_info")

        return start

    executed(starts_at(3))
    assert len(tries) == 3
    with pytest.raises(execute.ExecutionError, match="Kernel died before replying"):
        executed(starts_at(9))
    assert tries.count(9) == 3


def test_a_kernel_that_dies_in_a_cell_is_not_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []

    def dies(*_: object, on_cell_execute: Callable[[], None], **__: object) -> None:
        tries.append(1)
        on_cell_execute()
        raise RuntimeError("Kernel died")

    monkeypatch.setattr(execute.papermill, "execute_notebook", dies)
    with pytest.raises(execute.ExecutionError, match="Kernel died"):
        execute.execute(Path("a.ipynb"), Path("b.ipynb"), {})
    assert len(tries) == 1


@pytest.mark.slow
def test_a_failed_experiment_is_named_at_the_end_and_the_others_give_their_results_and_the_width(
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
    options = ["--only", "V3", "T1", "T2", "--seeds", "0", "--base-dir", "my runs"]
    done = run_all(*options, "--set", *TINY, "V3.network=own:stubborn", PYTHONPATH="../modules")
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    *_, told, log = done.stderr.rstrip().splitlines()
    assert told == "V3 failed: seed 0: RuntimeError: no more than two images"
    assert "in forward" in Path(log.removeprefix("  log: ")).read_text()
    for seed in ("T1 seed 0: ", "T2 seed 0: "):
        assert seed in done.stderr

    _, found = done.stdout.split("What was found:\n\n")
    t1, t2, v3, width, *_ = found.splitlines()
    assert v3 == "V3: no records, so nothing to say. (failed: seed 0: RuntimeError: no more than two images)"
    assert t1.startswith("T1: of 1 seed, ")
    assert t2.startswith("T2: of 1 seed, ")
    assert width.startswith("Hysteresis width λ↑ − λ↓: ")
    (directory,) = Path("my runs").glob("exp_T_spinodal_*")
    for experiment in ("T1", "T2"):
        notebook = Path(f"my runs/executed/{experiment}_spinodal.ipynb")
        assert f"  {experiment}: {directory} (records, figures/), notebook {notebook}\n" in found
        assert notebook.is_file()
        assert (directory / f"{experiment}-spinodal_results.json").is_file()
        assert (directory / "figures" / f"{experiment}-spinodal_analysis.png").is_file()
    assert "  V3: " not in found
    assert "  report: my runs/report.html\n" in found
    page = html.unescape(Path("my runs/report.html").read_text(encoding="utf-8"))
    assert t1 in page.replace("\u00a0", " ")
    summary = Path("my runs/summary.md").read_text(encoding="utf-8")
    for paragraph in (v3, t1, t2, width):
        assert paragraph in summary
    for picture in re.findall(r"\]\((.*?)\)", summary):
        assert Path("my runs", picture).is_file()
    assert here() & {"runs", "data", "executed"} == set()


@pytest.mark.slow
def test_a_stopped_run_leaves_no_process_and_goes_on_to_the_records_of_an_uninterrupted_one() -> None:
    own = ["init_epochs=4", "network=held:network"]
    changes = [*(s.removeprefix("T2.") for s in TINY if "T1." not in s), *own]
    options = ["--only", "T2", "--seeds", "0", "--base-dir", "runs", "--set", *changes]
    hold = Path.cwd() / "hold"
    hold.touch()
    process = subprocess.Popen(
        [sys.executable, RUN_ALL, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | held_up(hold),
    )
    _wait_for("heartbeats/T2-spinodal-000.json", process)
    family = psutil.Process(process.pid).children(recursive=True)
    assert any("dglib.campaign.worker" in each.cmdline() for each in family)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    hold.unlink()
    assert process.returncode == 130
    assert err.splitlines()[-1] == "run_all: stopped; the same command goes on from here"
    assert "Traceback" not in err
    assert psutil.wait_procs(family, timeout=PATIENCE)[1] == []
    assert len(list(Path("runs").glob("exp_T_spinodal_*/checkpoints/T2-spinodal-000.ckpt"))) == 1
    assert list(Path("runs").glob("exp_T_spinodal_*/seeds/*")) == []

    assert run_all(*options, **held_up(hold)).returncode == 0
    (file,) = Path("runs").glob("exp_T_spinodal_*/T2-spinodal_results.json")
    (record,) = json.loads(file.read_text())
    spec = build_spec("T2", load_profile("T2", "quick", changes))
    whole = run_seed(spec, 0, load_dataset("digits", data_dir="data"), Numerics.resolve("auto", 1))
    del record["provenance"]
    assert record | {"time": 0} == json.loads(json.dumps(whole)) | {"time": 0}


def _wait_for(name: str, process: subprocess.Popen[str], base: str = "runs") -> Path:
    """The file in the one run directory, once it is there."""
    deadline = time.monotonic() + PATIENCE
    while not (found := list(Path(base).glob(f"exp_T_spinodal_*/{name}"))):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found[0]


def events(lines: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines.splitlines()]


@pytest.mark.slow
def test_seeds_beside_each_other_get_the_bits_of_one_after_the_other_and_every_event_is_told() -> None:
    changes = [*(s.removeprefix("T2.") for s in TINY if "T1." not in s), "init_epochs=6"]
    options = ["--only", "T2", "--seeds", "0-3", "--json", "--set", *changes, "network=held:network"]
    hold = Path.cwd() / "hold"
    hold.touch()
    with subprocess.Popen(
        [sys.executable, RUN_ALL, *options, "--workers", "2", "--base-dir", "beside"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | held_up(hold),
    ) as beside:
        # Or one of them might have done all before the other has imported torch.
        _wait_for("heartbeats/T2-spinodal-000.json", beside, "beside")
        _wait_for("heartbeats/T2-spinodal-001.json", beside, "beside")
        hold.unlink()
        out, err = beside.communicate()
    after = run_all(*options, "--workers", "1", "--base-dir", "after", **held_up(hold))
    assert (beside.returncode, after.returncode) == (0, 0), err + after.stderr
    records, processes = {}, {}
    for name in ("beside", "after"):
        (directory,) = Path(name).glob("exp_T_spinodal_*")
        # Which names the commit, and somebody may commit between the two.
        records[name] = [{**record, "time": 0, "provenance": []} for record in read_records(directory, "T2")]
        logs = [read_attempts(path) for path in directory.glob("attempts/*.jsonl")]
        assert [len(attempts) for attempts in logs] == [1] * 4
        processes[name] = {attempts[0]["pid"] for attempts in logs}
    assert (len(processes["beside"]), len(processes["after"])) == (2, 1)
    assert json.dumps(records["beside"]) == json.dumps(records["after"])

    told = events(out)
    kinds = [event["event"] for event in told]
    assert kinds.count("job_started") == 5
    assert kinds.count("seed_done") == 4
    assert kinds[-2:] == ["summary_done", "all_done"]
    assert {event["seed"] for event in told if event["event"] == "seed_done"} == {0, 1, 2, 3}
    assert all(event["experiment"] == "T2" for event in told[:-1])
    assert [event["time"] for event in told] == sorted(event["time"] for event in told)
    assert told[-1]["failed"] == 0
    assert all(Path(file).is_file() for file in told[-1]["files"])
    epochs = [event for event in told if event["event"] == "epoch"]
    assert {*epochs[0]} >= {"phase", "lambda", "epoch", "error", "epochs_per_second", "seconds_left"}
    assert "What was found:" in err


GRID = """
experiments: [T2, Td1]
seeds: 0
set: {init_epochs: 2, network_width: 0.25,
      T2.epochs_per_level: 1, T2.sweep_lambdas: [0.5], T2.init_error_min: 0,
      Td1.milestones: [], Td1.compare_epochs: [1], Td1.early_epochs: 1}
grid: {noise_rate: [0.2, 0.4]}
"""


def test_a_grids_dry_run_is_a_line_per_job_of_every_cell_each_with_a_place_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("my.yaml").write_text(GRID)
    monkeypatch.setattr(estimate, "estimate_seconds", lambda *_: 60.0)
    command = ["--grid", "my.yaml", "--seeds", "3,5", "--base-dir", "runs", "--dry-run", "--json"]
    assert campaign.main(command) == 0
    jobs = events(capsys.readouterr().out)
    assert {(job["experiment"], job["cell"], job["seed"]) for job in jobs} == {
        (experiment, f"noise_rate={rate}", seed)
        for experiment in ("T2", "Td1")
        for rate in (0.2, 0.4)
        for seed in (3, 5)
    }
    assert {(job["cell"], Path(job["parameters"]["base_dir"])) for job in jobs} == {
        (f"noise_rate={rate}", Path.cwd() / "runs" / "grid_my" / f"noise_rate={rate}") for rate in (0.2, 0.4)
    }
    assert here() == {"my.yaml"}


def test_a_mirrored_grids_cells_work_in_places_of_their_own_below_one() -> None:
    Path("my.yaml").write_text(GRID)
    command = ["--grid", "my.yaml", "--base-dir", "drive", "--mirror", "--set", "work_dir=work"]
    found = planning.campaign(campaign._parser().parse_args(command))
    assert (found.place.base, found.place.work) == (Path("drive"), Path("work"))
    bases = {plan.base for plan in found.plans}
    assert bases == {Path.cwd() / "work" / "grid_my" / f"noise_rate={rate}" for rate in (0.2, 0.4)}
    assert {plan.home for plan in found.plans} == {Path("work")}
    homes = {plan.parameters.base_dir for plan in found.plans}
    assert homes == {str(Path.cwd() / "drive" / "grid_my" / f"noise_rate={rate}") for rate in (0.2, 0.4)}


@pytest.mark.slow
def test_a_grid_is_one_pools_work_and_its_report_shows_every_cell() -> None:
    Path("my.yaml").write_text(GRID)
    done = run_all("--grid", "my.yaml", "--base-dir", "runs", "--json")
    assert done.returncode == 0, done.stderr
    told = events(done.stdout)
    assert sum(event["event"] == "seed_done" for event in told) == 4
    for rate in (0.2, 0.4):
        cell = Path("runs/grid_my") / f"noise_rate={rate}"
        assert len(list(cell.glob("exp_T_spinodal_*/seeds/T2-spinodal-000.json"))) == 1
        assert len(list(cell.glob("exp_Td1_90_analysis_*/seeds/Td1-seed00.json"))) == 1
    assert not list(Path("runs").rglob("executed"))
    page = Path("runs/grid_my/report.html")
    assert "runs/grid_my/report.html" in told[-1]["files"]
    assert "noise_rate" in page.read_text(encoding="utf-8")
    assert campaign.main(["status", "--base-dir", "runs"]) == 0
