"""The command line: bad input gets one line and leaves nothing; good input reaches the experiment."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from dglib.cli import main
from dglib.errors import UserError
from dglib.experiments.parameters import Parameters
from dglib.experiments.profiles import PARAMS, load_profile

FILES = {
    "typo.yaml": "noise_rat: 0.4\n",
    "broken.yaml": "lr: 0.1\nsweep_lambdas: [0.4, 0.5\n",
    "list.yaml": "- 0.4\n- 0.5\n",
    "wrong.yaml": "noise_rate: 1.2\n",
}
# The mistake, the command, and what its line says: file or option … field … value … what is allowed.
BAD_INPUT = [
    ("typo in an option", "run T1 --set noise_rat=0.4", "--set … noise_rat … 0.4 … noise_rate"),
    ("typo in a file", "run T1 -f typo.yaml", "typo.yaml … noise_rat … 0.4 … noise_rate"),
    ("λ above 1", "run T1 --set init_lambda=1.5", "--set … init_lambda … 1.5 … at most 1"),
    (
        "λ below 0 in a list",
        "run T1 --set sweep_lambdas=[-0.1]",
        "--set … sweep_lambdas[0] … -0.1 … at least 0",
    ),
    ("empty λ list", "run T1 --set sweep_lambdas=[]", "--set … sweep_lambdas … [] … at least one"),
    ("T1 downwards", "run T1 --set sweep_lambdas=[0.7,0.5]", "--set … sweep_lambdas … [0.7, 0.5] … above"),
    ("T2 upwards", "run T2 --set sweep_lambdas=[0.4,0.5]", "--set … sweep_lambdas … [0.4, 0.5] … below"),
    ("V3 downwards", "run V3 --set sweep_lambdas=[0.7,0.5]", "--set … sweep_lambdas … [0.7, 0.5] … above"),
    (
        "T1 from the far side",
        "run T1 --set sweep_lambdas=[0.1,0.5]",
        "--set … sweep_lambdas … init_lambda … above",
    ),
    ("K = 0", "run Td1 --set refresh_period=0", "--set … refresh_period … 0 … at least 1"),
    ("η = 1.2", "run T1 --set noise_rate=1.2", "--set … noise_rate … 1.2 … at most 0.9"),
    ("η = 1.2 in a file", "run T1 -f wrong.yaml", "wrong.yaml … noise_rate … 1.2 … at most 0.9"),
    ("seed 1.5", "run T1 --seeds 1.5", "--seeds … seeds … 1.5 … whole numbers"),
    ("seed one", "run T1 --seeds one", "--seeds … seeds … one … whole numbers"),
    ("seed true", "run T1 --set seeds=true", "--set … seeds … True … whole numbers"),
    ("seed -1", "run T1 --seeds -1", "--seeds … seeds … -1 … whole numbers"),
    ("unknown experiment", "run T9", "experiment … T9 … T1, T2, V3, Td1 or loop"),
    ("no experiment", "run", "required … EXPERIMENT"),
    ("no command", "", "required … COMMAND"),
    ("unknown command", "walk T1", "COMMAND … walk … run"),
    ("shortened option", "run T1 --seed 3", "--seed 3"),
    ("unfinished option", "run T1 --seeds", "--seeds … one argument"),
    ("YAML that does not parse", "run T1 -f broken.yaml", "broken.yaml … YAML … line 3"),
    ("value that does not parse", "run T1 --set lr=[1", "--set … lr=[1 … YAML"),
    ("YAML that is no mapping", "run T1 -f list.yaml", "list.yaml … name: value"),
    ("missing file", "run T1 -f none.yaml", "none.yaml … No such file"),
    ("unknown profile", "run T1 --profile fast", "profile … fast … paper or quick"),
    ("--set without =", "run T1 --set lr", "--set … lr … name=value"),
    (
        "base directory is a file",
        "run T1 --base-dir typo.yaml",
        "--base-dir … base_dir … typo.yaml … directory",
    ),
    (
        "base directory below one",
        "run T1 --base-dir typo.yaml/x",
        "--base-dir … base_dir … typo.yaml/x … directory",
    ),
    ("empty base directory", "run T1 --base-dir=", "--base-dir … base_dir … '' … not be empty"),
    ("unknown device", "run T1 --device gpu", "--device … device … gpu … auto, cpu, cuda or cuda:N"),
]


def dglib(command: str) -> int:
    return main(command.split())


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, content in FILES.items():
        (tmp_path / name).write_text(content)


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Parameters]]:
    """Puts a stand-in for `dglib.api` whose run remembers its parameters, or raises."""

    def install(failure: BaseException | None = None) -> list[Parameters]:
        seen: list[Parameters] = []

        def run(parameters: Parameters) -> SimpleNamespace:
            seen.append(parameters)
            if failure is not None:
                raise failure
            figures = [Path("runs/x/figures/a.png"), Path("runs/x/figures/a.pdf")]
            return SimpleNamespace(answer=lambda: "It collapsed.", directory=Path("runs/x"), figures=figures)

        module = ModuleType("dglib.api")
        module.run = run  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "dglib.api", module)
        return seen

    return install


@pytest.mark.parametrize(
    ("mistake", "command", "says"), BAD_INPUT, ids=[mistake for mistake, *_ in BAD_INPUT]
)
def test_bad_input_gets_one_line_and_leaves_nothing(
    mistake: str,
    command: str,
    says: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    api: Callable[..., list[Parameters]],
) -> None:
    ran = api()
    assert dglib(command) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("\n")
    (line,) = err.splitlines()
    told = line.removeprefix("dglib: error: ")
    assert told != line
    place = 0
    for word in says.split(" … "):
        assert word in told[place:], f"{word!r} is missing, or out of order, in: {told}"
        place = told.index(word, place) + len(word)
    assert ran == []
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == FILES


def test_bad_input_ends_the_process_with_status_2_before_torch_is_imported(tmp_path: Path) -> None:
    # A torch that cannot be imported: were it asked for, there would be a traceback.
    (tmp_path / "blocked").mkdir()
    (tmp_path / "blocked" / "torch.py").write_text("raise SystemExit('torch was imported')")
    done = subprocess.run(
        [sys.executable, "-m", "dglib", "run", "T1", "--seeds", "x"],
        env={"PYTHONPATH": f"{tmp_path / 'blocked'}:{PARAMS.parent}"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("dglib: error: --seeds: seeds = 'x'")
    assert len(done.stderr.splitlines()) == 1


def test_a_run_ends_with_the_answer_and_where_everything_lies(
    api: Callable[..., list[Parameters]], capsys: pytest.CaptureFixture[str]
) -> None:
    api()
    assert dglib("run T1") == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "It collapsed.",
        "records: runs/x",
        "figure: runs/x/figures/a.png",
        "figure: runs/x/figures/a.pdf",
    ]
    assert err == ""


def test_an_experiment_runs_as_its_profile_says(api: Callable[..., list[Parameters]]) -> None:
    seen = api()
    dglib("run Td1")
    dglib("run Td1 --profile paper")
    assert seen == [load_profile("Td1", "quick"), load_profile("Td1", "paper")]


def test_an_option_goes_before_set_before_the_file_before_the_profile(
    api: Callable[..., list[Parameters]], tmp_path: Path
) -> None:
    (tmp_path / "my.yaml").write_text("lr: 0.3\nmomentum: 0.3\nseeds: 9\nthreads: 3\n")
    seen = api()
    dglib("run T1 -f my.yaml --set lr=0.2 seeds=8 --set threads=2 --seeds 0-1")
    assert seen == [load_profile("T1", "quick", ["lr=0.2", "momentum=0.3", "seeds=0-1", "threads=2"])]


def test_named_options_are_taken_as_they_are_written(api: Callable[..., list[Parameters]]) -> None:
    seen = api()
    dglib("run T1 --base-dir 2026 --device cuda:1 --seeds 010")  # YAML would read two as numbers
    assert [(ran.base_dir, ran.device, ran.seeds) for ran in seen] == [("2026", "cuda:1", [10])]


def test_a_mistake_found_by_the_run_is_told_in_one_line_too(
    api: Callable[..., list[Parameters]], capsys: pytest.CaptureFixture[str]
) -> None:
    api(UserError("digits.npz: y_train:\n must be integers"))
    assert dglib("run T1") == 2
    assert capsys.readouterr().err == "dglib: error: digits.npz: y_train: must be integers\n"


def test_a_fault_of_ours_keeps_its_traceback(api: Callable[..., list[Parameters]]) -> None:
    api(ZeroDivisionError("ours"))
    with pytest.raises(ZeroDivisionError, match="ours"):
        dglib("run T1")


def test_an_interrupted_run_says_how_to_go_on(
    api: Callable[..., list[Parameters]], capsys: pytest.CaptureFixture[str]
) -> None:
    api(KeyboardInterrupt())
    assert dglib("run T1") == 130
    assert capsys.readouterr().err == "dglib: stopped; the same command goes on from here\n"
