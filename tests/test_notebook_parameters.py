"""Parameters out of a notebook's globals."""

import re
from pathlib import Path
from typing import Any

import pytest
from by_name import MODELS

from dglib.errors import UserError
from dglib.experiments.notebook import notebook_parameters
from dglib.experiments.profiles import load_profile

# What IPython, Colab and the cells above the parameters leave among the globals.
AROUND: dict[str, Any] = {
    "__name__": "__main__",
    "_": 3,
    "_i1": "import dglib",
    "_dh": [Path.cwd()],
    "In": ["", "import dglib"],
    "Out": {1: 3},
    "exit": "Exit",
    "quit": "Exit",
    "get_ipython": lambda: None,
    "re": re,
    "Path": Path,
}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("experiment", MODELS)
def test_the_globals_that_are_parameters_are_taken_and_what_ipython_leaves_is_not(experiment: str) -> None:
    expected = load_profile(experiment, "paper")
    assert notebook_parameters(experiment, AROUND | expected.model_dump()) == expected


def test_with_a_profile_the_rest_comes_from_there() -> None:
    given = AROUND | {"profile": "paper", "seeds": "0-1", "lr": 0.5}
    assert notebook_parameters("T1", given) == load_profile("T1", "paper", ["seeds=0-1", "lr=0.5"])


def test_without_a_profile_nothing_is_filled_in() -> None:
    with pytest.raises(UserError, match=r"^notebook: noise_rate is missing"):
        notebook_parameters("T1", {"seeds": 0})


@pytest.mark.parametrize("value", [0.3, 3, "x", True, None, [1], (1,), {"a": 1}])
def test_a_misspelt_parameter_is_refused_whatever_it_holds(value: object) -> None:
    with pytest.raises(UserError) as caught:
        notebook_parameters("T1", AROUND | {"profile": "quick", "noise_rat": value})
    assert str(caught.value) == (
        f"notebook: noise_rat = {value!r}: T1 has no such parameter; did you mean noise_rate?"
        "; begin a name of your own with _"
    )


def test_a_parameter_that_holds_no_plain_data_is_refused_and_not_passed_over() -> None:
    with pytest.raises(UserError, match=r"^notebook: lr = <.*>: must be a number$"):
        notebook_parameters("T1", {"profile": "quick", "lr": object()})


def test_the_same_line_is_told_as_on_the_command_line() -> None:
    with pytest.raises(UserError, match=r"^notebook: noise_rate = 1.2: must be at most 0.9$"):
        notebook_parameters("T1", {"profile": "quick", "noise_rate": 1.2})
    with pytest.raises(UserError, match=r"^profile = 'fast': must be paper or quick$"):
        notebook_parameters("T1", {"profile": "fast"})
    with pytest.raises(UserError, match=r"^experiment = 'T9': must be T1, T2, V3, Td1 or loop$"):
        notebook_parameters("T9", {"profile": "quick"})


def test_a_base_directory_that_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"^notebook: base_dir = 'file/runs': "):
        notebook_parameters("T1", {"profile": "quick", "base_dir": "file/runs"})
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("cells", "refused"),
    [
        (["lr = 0.2", "lr: float = 0.1", "check"], True),
        (["lr: float = 0.1", "lr = 0.2", "check"], False),
        (["lr: float = 0.1", "lr = 0.2", "lr: float = 0.1", "check"], True),  # a second cell of defaults
        (["lr = 0.2", "lr: float = 0.1", "lr = 0.3", "check"], False),
        (["%%magic", "mine = 0.2", "mine: float = 0.1", "check"], False),
        (["lr: float = 0.1", "lr = 0.2", "check", "lr: float = 0.1", "check"], False),  # "Run all" again
    ],
)
def test_a_value_that_the_cell_of_defaults_replaced_is_refused_on_the_first_execution(
    cells: list[str], refused: bool
) -> None:
    given = {"profile": "quick", "lr": 0.1, "In": ["", *cells]}
    if not refused:
        notebook_parameters("T1", given)
        return
    with pytest.raises(UserError, match=r"^notebook: lr: set above the cell of defaults, which replaced"):
        notebook_parameters("T1", given)
