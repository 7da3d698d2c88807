"""Parameters: profiles as published, layers, and the one line that a wrong value gets."""

from pathlib import Path
from typing import Any

import pytest
from by_name import MODELS

from dglib.errors import UserError
from dglib.experiments.profiles import (
    PARAMS,
    Layer,
    file_layer,
    load_profile,
    validate_layers,
)
from dglib.runs.identity import MACHINE_SETTINGS

FILES = sorted(path for path in PARAMS.glob("*/*.yaml") if path.stem in MODELS)
CIFAR10 = {
    "dataset": "cifar10",
    "train_size": None,
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
    "mix": "normalised",
    "value": "clean",
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


def published(experiment: str, **changes: object) -> dict[str, Any]:
    return load_profile(experiment, "paper").model_dump() | changes


def refusal(experiment: str, **changes: object) -> str:
    with pytest.raises(UserError) as caught:
        validate_layers(experiment, [Layer("my.yaml", published(experiment, **changes))])
    return str(caught.value)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_profile_has_every_parameter_once_and_no_machine_setting(path: Path) -> None:
    written = [line.split(":")[0] for line in path.read_text().splitlines() if line[:1].isalpha()]
    threads = {"threads"} if path.parent.name == "paper" else set()  # of the identity of older runs
    assert sorted(written) == sorted(MODELS[path.stem].model_fields.keys() - MACHINE_SETTINGS | threads)


@pytest.mark.parametrize("experiment", PUBLISHED)
def test_the_paper_profile_holds_the_published_values(experiment: str) -> None:
    paper = load_profile(experiment, "paper").model_dump()
    assert {name: paper[name] for name in PUBLISHED[experiment]} == PUBLISHED[experiment]
    ours = {"init_evaluate_every", "return_lambdas", "metrics"} | MACHINE_SETTINGS
    assert set(paper) - set(PUBLISHED[experiment]) <= ours


@pytest.mark.parametrize("experiment", MODELS)
def test_the_quick_profile_needs_no_download_and_one_thread(experiment: str) -> None:
    quick = load_profile(experiment)
    assert (quick.dataset, quick.threads, quick.noise_rate) == ("digits", 1, 0.4)


def test_overrides_replace_values_in_turn_and_are_read_as_yaml() -> None:
    changes = [
        "lr=1e-4",
        "sweep_lambdas=[0.4, 0.5]",
        "seeds=0-3",
        "sweep_lr=null",
        "lr = 0.2",
        "base_dir=a=b",
    ]
    p = load_profile("T1", "paper", changes).model_dump()
    assert (p["lr"], p["sweep_lambdas"], p["seeds"]) == (0.2, [0.4, 0.5], [0, 1, 2, 3])
    assert (p["sweep_lr"], p["base_dir"], p["batch_size"]) == (None, "a=b", 256)


@pytest.mark.parametrize("profile", ["fast", "", "..", "../params/quick"])
def test_an_unknown_profile_is_refused_with_the_known_ones(profile: str) -> None:
    with pytest.raises(UserError, match=r"^profile = '.*': must be quick, paper or small$"):
        load_profile("T1", profile)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"lr: 0.1\nmomentum: 0.9: 1\n", "is not valid YAML: line 2, column 14"),
        (b"", "must hold lines of the form name: value"),
        (b"true: 1\n", "True: a parameter's name must be text"),
        (b"lr: !!python/name:os.system\n", "is not valid YAML"),
        (b"lr: " + b"[" * 500, "is not valid YAML"),
    ],
)
def test_a_file_without_parameters_is_refused_in_one_line(content: bytes, line: str, tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        file_layer(path)
    assert str(caught.value).startswith(f"{path}: {line}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("lr", "1e-4", 1e-4),
        ("sweep_lambdas", (0.4, "0.5", 1), [0.4, 0.5, 1.0]),
        ("seeds", "0-2,5", [0, 1, 2, 5]),
        ("sweep_lambdas", "[0.4, 0.5]", [0.4, 0.5]),
        ("pixel_std", " [0.25,1e-1] ", [0.25, 0.1]),
        ("return_sweep", "true", True),
        ("channels_last", True, "on"),  # YAML's reading of the bare word
    ],
)
def test_a_value_may_be_written_as_people_write_it(name: str, given: object, value: object) -> None:
    layer = Layer("my.yaml", published("T1", **{name: given}))
    assert getattr(validate_layers("T1", [layer]), name) == value


@pytest.mark.parametrize(
    ("experiment", "name", "value", "rule"),
    [
        ("T1", "noise_rate", 1.2, "must be at most 0.9"),
        ("T1", "refresh_period", 16.0, "must be a whole number"),
        ("T1", "lr", 0, "must be above 0"),
        ("T1", "lr", float("nan"), "must be a finite number"),
        ("T1", "momentum", 1, "must be below 1"),
        ("T1", "augmentation", "flip", "must be 'none' or 'crop_flip'"),
        ("T1", "device", "cuda:one", "must be auto, cpu, cuda or cuda:N"),
        ("T1", "return_sweep", 1, "must be true or false"),
        ("T1", "sweep_lambdas", [0.5, 0.5], "each value must be above the one before, but 0.5 follows 0.5"),
        ("T1", "sweep_lambdas", [0.3, 0.5], "must start at init_lambda = 0.35 or above"),
        ("T1", "return_lambdas", [0.5, 0.7], "each value must be below the one before, but 0.7 follows 0.5"),
        ("T2", "sweep_lambdas", [0.9, 0.5], "must start at init_lambda = 0.7 or below"),
    ],
)
def test_a_refusal_names_layer_field_value_and_rule(
    experiment: str, name: str, value: object, rule: str
) -> None:
    assert refusal(experiment, **{name: value}) == f"my.yaml: {name} = {value!r}: {rule}"


def test_a_refusal_points_into_a_list_and_counts_further_mistakes() -> None:
    assert refusal("T1", sweep_lambdas=[0.4, 1.2]) == "my.yaml: sweep_lambdas[1] = 1.2: must be at most 1"
    assert refusal("T1", lr=-1, momentum=2, threads=0).endswith("lr = -1: must be above 0 (and 2 more)")
    message = refusal("T1", sweep_lambdas="two\n" * 500)
    assert len(message.splitlines()) == 1
    assert len(message) < 300


def test_an_unknown_name_is_refused_with_the_nearest_known_one_before_the_gap_that_it_leaves() -> None:
    assert refusal("T1", noise_rat=0.3) == (
        "my.yaml: noise_rat = 0.3: T1 has no such parameter; did you mean noise_rate?"
    )
    assert "`python -m dglib parameters T1` lists all" in refusal("T1", zzz=0.3)
    values = published("T1", learning_rate=0.1)
    del values["lr"]
    with pytest.raises(UserError, match=r"^my.yaml: learning_rate = 0.1: .* \(and 1 more\)$"):
        validate_layers("T1", [Layer("my.yaml", values)])


def test_all_missing_values_are_reported_at_once() -> None:
    values = {**published("T1"), "threads": 0}
    del values["noise_rate"], values["lr"], values["network"]
    with pytest.raises(UserError) as caught:
        validate_layers("T1", [Layer("my.yaml", values)])
    assert str(caught.value) == "my.yaml: noise_rate, network and lr are missing (and 1 more)"


def test_a_later_layer_replaces_an_earlier_one_and_is_named_for_its_values() -> None:
    layers = [Layer("base.yaml", published("T1")), Layer("--set", {"lr": 0.5})]
    assert validate_layers("T1", layers).lr == 0.5
    with pytest.raises(UserError, match=r"^--seeds: seeds = 'x'"):
        validate_layers("T1", [*layers, Layer("--seeds", {"seeds": "x"})])
