"""The models of parameters, and what is said of values that they refuse."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from by_name import MODELS
from papermill.translators import PythonTranslator
from pydantic import ValidationError

from dglib.errors import UserError
from dglib.experiments.parameters import Parameters
from dglib.experiments.profiles import file_layer, load_profile, override_layer, profile_layer
from dglib.experiments.validation import Layer, validate, validate_layers


def published(experiment: str, **changes: object) -> dict[str, Any]:
    return load_profile(experiment, "paper").model_dump() | changes


def refusal(experiment: str, **changes: object) -> str:
    with pytest.raises(UserError) as caught:
        validate(experiment, published(experiment, **changes), where="my.yaml")
    return str(caught.value)


@pytest.mark.parametrize("experiment", MODELS)
def test_every_parameter_is_explained(experiment: str) -> None:
    assert [name for name, field in MODELS[experiment].model_fields.items() if not field.description] == []


@pytest.mark.parametrize("experiment", MODELS)
def test_parameters_come_back_unchanged_from_papermills_cell(experiment: str) -> None:
    cell: dict[str, Any] = {}
    exec(PythonTranslator.codify(published(experiment)), cell)
    cell.pop("__builtins__")
    assert validate(experiment, cell, where="cell") == load_profile(experiment, "paper")


def test_parameters_cannot_be_changed_once_checked() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load_profile("T1").lr = 1.0


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("lr", "1e-4", 1e-4),
        ("weight_decay", 0, 0.0),
        ("noise_rate", "0.9", 0.9),
        ("sweep_lr", None, None),
        ("sweep_lambdas", (0.4, "0.5", 1), [0.4, 0.5, 1.0]),
        ("milestones", [], []),
        ("pixel_mean", [0.5], [0.5]),
        ("device", "cuda:1", "cuda:1"),
        ("seeds", "0-2,5", [0, 1, 2, 5]),
        ("sweep_lambdas", "[0.4, 0.5]", [0.4, 0.5]),
        ("milestones", "[]", []),
        ("pixel_std", " [0.25,1e-1] ", [0.25, 0.1]),
        ("return_sweep", "true", True),
        ("exact", "false", False),
        ("channels_last", True, "on"),  # YAML's reading of the bare word
        ("fused", False, "off"),
    ],
)
def test_a_value_may_be_written_as_people_write_it(name: str, given: object, value: object) -> None:
    assert getattr(validate("T1", published("T1", **{name: given}), where="my.yaml"), name) == value


@pytest.mark.parametrize(
    ("experiment", "name", "value", "rule"),
    [
        ("T1", "noise_rate", 1.2, "must be at most 0.9"),
        ("T1", "noise_rate", -0.1, "must be at least 0"),
        ("T1", "noise_rate", True, "must be a number"),
        ("T1", "refresh_period", 0, "must be at least 1"),
        ("T1", "refresh_period", 16.0, "must be a whole number"),
        ("T1", "batch_size", 1, "must be at least 2"),
        ("T1", "batch_size", True, "must be a whole number"),
        ("T1", "lr", 0, "must be above 0"),
        ("T1", "lr", float("nan"), "must be a finite number"),
        ("T1", "lr", float("inf"), "must be a finite number"),
        ("T1", "lr", "fast", "must be a number"),
        ("T1", "momentum", 1, "must be below 1"),
        ("T1", "lr_decay", 1.5, "must be at most 1"),
        ("T1", "weight_decay", -1, "must be at least 0"),
        ("T1", "network_width", 0, "must be above 0"),
        ("T1", "threads", 0, "must be at least 1"),
        ("T1", "crop_padding", -1, "must be at least 0"),
        ("T1", "network", "", "must not be empty"),
        ("T1", "dataset", None, "must be text"),
        ("T1", "augmentation", "flip", "must be 'none' or 'crop_flip'"),
        ("T1", "device", "gpu", "must be auto, cpu, cuda or cuda:N"),
        ("T1", "device", "cuda:one", "must be auto, cpu, cuda or cuda:N"),
        ("T1", "pixel_mean", [], "must hold at least one value"),
        ("T1", "init_lambda", 1.5, "must be at most 1"),
        ("T1", "sweep_lr", 0, "must be above 0"),
        ("T1", "return_sweep", 1, "must be true or false"),
        ("T1", "consecutive", 0, "must be at least 1"),
        ("T1", "sweep_lambdas", [], "must hold at least one value"),
        ("T1", "sweep_lambdas", 0.5, "must be a list"),
        ("T1", "sweep_lambdas", "0.5", "must be a list"),
        ("T1", "sweep_lambdas", "[0.4", "must be a list"),
        ("T1", "sweep_lambdas", "[0.5, 0.4]", "each value must be above the one before, but 0.4 follows 0.5"),
        ("T1", "pixel_mean", "null", "must be a list"),
        ("T1", "return_sweep", "perhaps", "must be true or false"),
        ("T1", "return_sweep", "1", "must be true or false"),
        ("T1", "sweep_lambdas", [0.7, 0.5], "each value must be above the one before, but 0.5 follows 0.7"),
        ("T1", "sweep_lambdas", [0.5, 0.5], "each value must be above the one before, but 0.5 follows 0.5"),
        ("T1", "sweep_lambdas", [0.3, 0.5], "must start at init_lambda = 0.35 or above"),
        ("T1", "return_lambdas", [0.5, 0.7], "each value must be below the one before, but 0.7 follows 0.5"),
        ("T1", "return_lambdas", [], "must hold at least one value"),
        ("T1", "milestones", [20, 10], "each value must be above the one before, but 10 follows 20"),
        ("T2", "sweep_lambdas", [0.5, 0.6], "each value must be below the one before, but 0.6 follows 0.5"),
        ("T2", "sweep_lambdas", [0.5, 0.5], "each value must be below the one before, but 0.5 follows 0.5"),
        ("T2", "sweep_lambdas", [0.9, 0.5], "must start at init_lambda = 0.7 or below"),
        ("V3", "sweep_lambdas", [0.7, 0.3], "each value must be above the one before, but 0.3 follows 0.7"),
        ("V3", "gap_error", 2, "must be at most 1"),
        ("Td1", "log_every", 0, "must be at least 1"),
        ("Td1", "compare_epochs", [], "must hold at least one value"),
        ("Td1", "compare_epochs", [20, 10], "each value must be above the one before, but 10 follows 20"),
    ],
)
def test_a_refusal_names_place_field_value_and_rule(
    experiment: str, name: str, value: object, rule: str
) -> None:
    assert refusal(experiment, **{name: value}) == f"my.yaml: {name} = {value!r}: {rule}"


@pytest.mark.parametrize(
    ("name", "values", "told"),
    [
        ("sweep_lambdas", [0.4, 1.2], "sweep_lambdas[1] = 1.2: must be at most 1"),
        ("sweep_lambdas", [-0.1, 0.4], "sweep_lambdas[0] = -0.1: must be at least 0"),
        ("return_lambdas", [0.5, True], "return_lambdas[1] = True: must be a number"),
        ("milestones", [0], "milestones[0] = 0: must be at least 1"),
        ("pixel_std", [0.2, 0.0], "pixel_std[1] = 0.0: must be above 0"),
    ],
)
def test_a_refusal_points_into_a_list(name: str, values: list[object], told: str) -> None:
    assert refusal("T1", **{name: values}) == f"my.yaml: {told}"


def test_a_sweep_may_start_at_the_first_states_own_level() -> None:
    for experiment in ("T1", "T2"):
        start = published(experiment)["sweep_lambdas"][0]
        assert validate(experiment, published(experiment, init_lambda=start), where="")


def test_an_unknown_name_is_refused_with_the_nearest_known_one() -> None:
    assert refusal("T1", noise_rat=0.3) == (
        "my.yaml: noise_rat = 0.3: T1 has no such parameter; did you mean noise_rate?"
    )
    assert refusal("T1", gap_lambda=0.3).startswith("my.yaml: gap_lambda = 0.3: T1 has no such parameter")
    assert "params/quick/T1.yaml lists all" in refusal("T1", zzz=0.3)


def test_a_misspelt_name_is_told_before_the_gap_it_leaves() -> None:
    values = published("T1", learning_rate=0.1)
    del values["lr"]
    with pytest.raises(UserError, match=r"^my.yaml: learning_rate = 0.1: .* \(and 1 more\)$"):
        validate("T1", values, where="my.yaml")


def test_a_missing_value_is_told_with_what_it_means() -> None:
    values = published("T1")
    del values["noise_rate"]
    with pytest.raises(UserError, match=r"^my.yaml: noise_rate is missing: η, the fraction .*, 0 to 0\.9\.$"):
        validate("T1", values, where="my.yaml")


def test_the_message_counts_the_mistakes_that_it_does_not_tell() -> None:
    assert refusal("T1", lr=-1, momentum=2, threads=0).endswith("lr = -1: must be above 0 (and 2 more)")
    assert "more)" not in refusal("T1", lr=-1)


@pytest.mark.parametrize("value", ["x" * 500, list(np.linspace(0.9, 0.1, 200)), "two\nlines"])
def test_the_message_is_one_line_however_long_the_value(value: object) -> None:
    message = refusal("T1", sweep_lambdas=value)
    assert len(message.splitlines()) == 1
    assert len(message) < 300


def test_a_later_layer_replaces_an_earlier_one_and_takes_the_blame() -> None:
    layers = [Layer("base.yaml", published("T1")), Layer("--set", {"lr": 0.5})]
    assert validate_layers("T1", layers).lr == 0.5
    with pytest.raises(UserError, match=r"^--seeds: seeds = 'x'"):
        validate_layers("T1", [*layers, Layer("--seeds", {"seeds": "x"})])
    with pytest.raises(UserError, match=r"^base.yaml: noise_rate = 2"):
        validate_layers(
            "T1", [Layer("base.yaml", published("T1", noise_rate=2)), Layer("--set", {"lr": 0.5})]
        )


@pytest.mark.parametrize("experiment", ["T9", "t1", "", "T1 "])
def test_an_unknown_experiment_is_refused_with_the_known_ones(experiment: str) -> None:
    with pytest.raises(UserError, match=r"^experiment = '.*': must be T1, T2, V3, Td1 or loop$"):
        validate(experiment, {}, where="my.yaml")


def test_each_experiment_has_its_model() -> None:
    assert list(MODELS) == ["T1", "T2", "V3", "Td1"]
    for name, model in MODELS.items():
        assert issubclass(model, Parameters)
        assert model.experiment == name


def test_a_parameter_of_the_release_before_is_accepted_with_one_line_that_names_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("mirror_gb_per_hour: 2.0\nnoise_rate: 0.3\n")
    for where, layer in ((str(file), file_layer(file)), ("--set", override_layer("mirror_gb_per_hour=2"))):
        given = validate_layers("T1", [profile_layer("T1", "quick"), layer])
        assert not hasattr(given, "mirror_gb_per_hour")
        [line] = capsys.readouterr().err.splitlines()
        assert line.startswith(f"dglib: warning: {where}: mirror_gb_per_hour has no effect any more")
    validate_layers("T1", [profile_layer("T1", "quick")])
    assert capsys.readouterr().err == ""
