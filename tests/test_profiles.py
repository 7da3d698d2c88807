"""The profiles: published values as published, the quick ones of the same shape."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from by_name import MODELS

from dglib.errors import UserError
from dglib.experiments import profiles
from dglib.experiments.profiles import PARAMS, file_layer, load_profile, override_layer
from dglib.runs.identity import MACHINE

FILES = sorted(path for path in PARAMS.glob("*/*.yaml") if path.stem in MODELS)

CIFAR10 = {
    "dataset": "cifar10",
    "pixel_mean": [0.4914, 0.4822, 0.4465],
    "pixel_std": [0.2023, 0.1994, 0.2010],
    "augmentation": "crop_flip",
    "crop_padding": 4,
    "noise": "symmetric",
    "noise_rate": 0.4,
    "refresh_period": 16,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "lr_decay": 0.1,
    "network_width": 1.0,
}
RESNET18 = CIFAR10 | {"network": "resnet18", "batch_size": 256, "lr": 0.1, "seeds": list(range(10))}
SPINODAL = RESNET18 | {
    "init_epochs": 50,
    "init_evaluate_every": 10,
    "epochs_per_level": 10,
    "evaluate_every": 1,
    "milestones": [50, 75],
    "sweep_lr": None,
    "consecutive": 3,
    "recovery_error": 0.20,
}
PUBLISHED: dict[str, dict[str, Any]] = {
    "V3": CIFAR10
    | {
        "network": "vgg11_bn",
        "batch_size": 128,
        "lr": 0.05,
        "seeds": [0, 1, 2],
        "ordered_lambda": 0.35,
        "ordered_epochs": 50,
        "ordered_milestones": [25, 40],
        "ordered_error_max": 0.25,
        "collapse_lambda": 0.60,
        "collapse_epochs": 80,
        "collapse_milestones": [40, 60],
        "collapse_error_min": 0.45,
        "sweep_lambdas": [0.30, 0.35, 0.40, 0.45, 0.50, 0.55, 0.60, 0.65, 0.70],
        "epochs_per_level": 3,
        "sweep_lr": None,
        "sweep_lr_factor": 0.01,
        "gap_lambda": 0.50,
        "gap_error": 0.10,
    },
    "T1": SPINODAL
    | {
        "init_lambda": 0.35,
        "init_error_max": 0.30,
        "sweep_lambdas": [0.54, 0.56, 0.58, 0.60, 0.62, 0.64, 0.66, 0.68, 0.70],
        "collapse_error": 0.40,
        "return_sweep": False,
    },
    "T2": SPINODAL
    | {
        "init_lambda": 0.70,
        "init_error_min": 0.35,
        "sweep_lambdas": [0.54, 0.52, 0.50, 0.48, 0.46, 0.44, 0.42, 0.40, 0.38],
    },
    "Td1": RESNET18
    | {
        "init_lambda": 0.60,
        "init_epochs": 100,
        "evaluate_every": 5,
        "milestones": [50, 80],
        "log_every": 20,
        "two_pass_statistics": True,
        "trapped_error": 0.85,
        "partial_error": 0.40,
        "compare_epochs": [5, 10, 20],
        "early_epochs": 10,
        "early_difference": 0.05,
    },
}


def test_there_are_two_profiles_of_four_experiments() -> None:
    found = {f"{path.parent.name}/{path.stem}" for path in FILES}
    assert found == {f"{profile}/{name}" for profile in ("quick", "paper") for name in MODELS}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_profile_spells_out_every_parameter_and_no_other(path: Path) -> None:
    written = [line.split(":")[0] for line in path.read_text().splitlines() if line[:1].isalpha()]
    assert sorted(written) == sorted(MODELS[path.stem].model_fields.keys() - {"keep_states"})


@pytest.mark.parametrize("experiment", MODELS)
def test_the_paper_profile_holds_the_published_values(experiment: str) -> None:
    paper = load_profile(experiment, "paper").model_dump()
    published = PUBLISHED[experiment] | {"mix": "normalised", "value": "clean"}
    assert {name: paper[name] for name in published} == published
    # What was not published: how to watch the start, the way back, the place and the machine.
    ours = {"init_evaluate_every", "return_lambdas", "data_dir", "base_dir", "metrics"} | MACHINE
    assert set(paper) - set(published) <= ours


@pytest.mark.parametrize("experiment", MODELS)
def test_the_quick_profile_needs_no_download_and_one_thread(experiment: str) -> None:
    quick = load_profile(experiment)
    assert (quick.dataset, quick.threads, quick.noise_rate) == ("digits", 1, 0.4)


def test_the_quick_t1_goes_on_at_a_constant_lr_and_comes_back() -> None:
    quick = load_profile("T1").model_dump()
    assert quick["sweep_lr"] == quick["lr"]
    assert quick["return_sweep"]
    # Wherever the collapse comes, there is a level of the way back just below it.
    assert quick["return_lambdas"][0] < quick["sweep_lambdas"][-1]
    assert quick["return_lambdas"][-1] < quick["init_lambda"]


@pytest.mark.parametrize("profile", ["quick", "paper"])
def test_v3_compares_its_branches_at_a_level_that_both_visit(profile: str) -> None:
    values = load_profile("V3", profile).model_dump()
    assert values["gap_lambda"] in values["sweep_lambdas"]


def test_overrides_replace_values_in_turn_and_are_read_as_yaml() -> None:
    changed = load_profile(
        "T1", "paper", ["lr=1e-4", "sweep_lambdas=[0.4, 0.5]", "seeds=0-3", "sweep_lr=null", "lr = 0.2"]
    ).model_dump()
    assert changed["lr"] == 0.2
    assert changed["sweep_lambdas"] == [0.4, 0.5]
    assert changed["seeds"] == [0, 1, 2, 3]
    assert changed["sweep_lr"] is None
    assert changed["batch_size"] == 256


def test_a_profiles_value_that_no_longer_fits_is_told_with_its_file() -> None:
    with pytest.raises(UserError, match=r"^params/paper/T1\.yaml: sweep_lambdas = .* init_lambda = 0\.6 or"):
        load_profile("T1", "paper", ["init_lambda=0.6"])


def test_a_value_may_hold_an_equals_sign() -> None:
    assert override_layer("base_dir=a=b").values == {"base_dir": "a=b"}


@pytest.mark.parametrize("override", ["lr", "=0.1", " =0.1", ""])
def test_an_override_is_a_name_and_a_value(override: str) -> None:
    with pytest.raises(UserError, match=f"^--set {override}: must be name=value$"):
        load_profile("T1", "quick", [override])


@pytest.mark.parametrize("profile", ["fast", "", "..", "../params/quick", "Quick"])
def test_an_unknown_profile_is_refused_with_the_known_ones(profile: str) -> None:
    with pytest.raises(UserError, match=r"^profile = '.*': must be paper or quick$"):
        load_profile("T1", profile)


def test_a_package_without_its_profiles_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profiles, "PARAMS", tmp_path)
    with pytest.raises(UserError, match="no profiles there; install dglib from its checkout"):
        load_profile("T1")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"lr: [0.1", "is not valid YAML: line 1, column 9"),
        (b"lr: 0.1\nmomentum: 0.9: 1\n", "is not valid YAML: line 2, column 14"),
        (b"- 1\n- 2\n", "must hold lines of the form name: value"),
        (b"just text", "must hold lines of the form name: value"),
        (b"", "must hold lines of the form name: value"),
        (b"true: 1\n", "True: a parameter's name must be text"),
        (b"lr: \xff\n", "is not valid YAML"),
        (b"lr: \x00\n", "is not valid YAML"),
        (b"lr: 2026-99-99\n", "is not valid YAML"),
        (b"lr: !!python/name:os.system\n", "is not valid YAML"),
        (b"lr: " + b"[" * 500, "is not valid YAML"),
    ],
)
def test_a_file_that_holds_no_parameters_is_refused_in_one_line(
    content: bytes, told: str, tmp_path: Path
) -> None:
    path = tmp_path / "my.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        file_layer(path)
    assert str(caught.value).startswith(f"{path}: {told}")
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.yaml: cannot be read: No such file or directory$"):
        file_layer(tmp_path / "none.yaml")
    with pytest.raises(UserError, match=r"cannot be read: Is a directory$"):
        file_layer(tmp_path)


def test_a_record_of_parameters_makes_the_same_parameters_again(tmp_path: Path) -> None:
    path = tmp_path / "again.yaml"
    path.write_text(yaml.safe_dump(load_profile("V3", "paper").model_dump()))
    assert MODELS["V3"].model_validate(file_layer(path).values) == load_profile("V3", "paper")
