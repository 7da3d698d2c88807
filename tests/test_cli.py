"""The command line: layers of parameters, exit statuses, and the list of parameters."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import yaml
from by_name import MODELS

from dglib.cli import main
from dglib.errors import UserError
from dglib.experiments.parameters import Parameters
from dglib.experiments.profiles import Layer, load_profile, validate_layers


def dglib(command: str) -> int:
    return main(command.split())


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Parameters]]:
    """Puts a stand-in for `dglib.campaign.run` whose run remembers its parameters, or raises."""

    def install(failure: BaseException | None = None) -> list[Parameters]:
        seen: list[Parameters] = []

        def run(parameters: Parameters, start_from: Path | None = None) -> SimpleNamespace:
            seen.append(parameters)
            if failure is not None:
                raise failure
            figures = [Path("runs/x/figures/a.png"), Path("runs/x/figures/a.pdf")]
            return SimpleNamespace(answer=lambda: "It collapsed.", directory=Path("runs/x"), figures=figures)

        module = ModuleType("dglib.campaign.run")
        module.run = run  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "dglib.campaign.run", module)
        return seen

    return install


def test_a_run_prints_the_answer_and_its_files(
    api: Callable[..., list[Parameters]], capsys: pytest.CaptureFixture[str]
) -> None:
    seen = api()
    assert dglib("run Td1 --profile paper") == 0
    assert seen == [load_profile("Td1", "paper")]
    out, err = capsys.readouterr()
    figures = [f"figure: runs/x/figures/a.{kind}" for kind in ("png", "pdf")]
    assert out.splitlines() == ["It collapsed.", "records: runs/x", *figures]
    assert err == ""


def test_an_option_replaces_set_which_replaces_the_file_which_replaces_the_profile(
    api: Callable[..., list[Parameters]],
) -> None:
    Path("my.yaml").write_text("lr: 0.3\nmomentum: 0.3\nseeds: 9\nthreads: 3\n")
    seen = api()
    dglib("run T1 -f my.yaml --set lr=0.2 seeds=8 --set threads=2 --seeds 0-1")
    assert seen == [load_profile("T1", "quick", ["lr=0.2", "momentum=0.3", "seeds=0-1", "threads=2"])]


def test_named_options_are_taken_as_they_are_written(api: Callable[..., list[Parameters]]) -> None:
    seen = api()
    dglib("run T1 --base-dir 2026 --device cuda:1 --seeds 010")  # YAML would read two as numbers
    assert [(ran.base_dir, ran.device, ran.seeds) for ran in seen] == [("2026", "cuda:1", [10])]


@pytest.mark.parametrize(
    ("failure", "status", "line"),
    [
        (UserError("a.npz: y_train:\n must be integers"), 2, "error: a.npz: y_train: must be integers"),
        (KeyboardInterrupt(), 130, "stopped; the same command resumes"),
    ],
)
def test_a_failure_in_the_run_is_one_line_and_a_status(
    failure: BaseException,
    status: int,
    line: str,
    api: Callable[..., list[Parameters]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    api(failure)
    assert dglib("run T1") == status
    assert capsys.readouterr().err == f"dglib: {line}\n"


def test_an_internal_error_shows_its_traceback(api: Callable[..., list[Parameters]]) -> None:
    api(ZeroDivisionError("internal"))
    with pytest.raises(ZeroDivisionError):
        dglib("run T1")


@pytest.mark.parametrize("experiment", MODELS)
def test_the_list_of_parameters_is_a_file_of_all_of_them_with_their_meanings(
    experiment: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dglib(f"parameters {experiment} --profile paper") == 0
    listed = capsys.readouterr().out
    layer = Layer("listed", yaml.safe_load(listed))
    assert validate_layers(experiment, [layer]) == load_profile(experiment, "paper")
    for name, field in MODELS[experiment].model_fields.items():
        assert f"\n{name}: " in listed
        assert f"  # {field.description}\n" in f"{listed}\n"
