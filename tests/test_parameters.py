"""Parameters: profiles as published, layers, and the one line that a wrong value gets."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from by_name import MODELS

from dglib.errors import UserError
from dglib.experiments.parameters import LARGEST, MOST, parse_seeds
from dglib.experiments.profiles import PARAMS, Layer, load_profile, validate_layers
from dglib.runs.identity import MACHINE_SETTINGS

FILES = sorted(path for path in PARAMS.glob("*/*.yaml") if path.stem in MODELS)
PUBLISHED = yaml.safe_load("""
cifar10: &cifar10
  {dataset: cifar10, train_size: null, pixel_mean: [0.4914, 0.4822, 0.4465],
  pixel_std: [0.2023, 0.1994, 0.2010], augmentation: crop_flip, crop_padding: 4, noise: symmetric,
  noise_rate: 0.4, refresh_period: 16, momentum: 0.9, weight_decay: 5.0e-4, lr_decay: 0.1,
  network_width: 1.0, mix: normalised, value: clean}
resnet18: &resnet18
  {<<: *cifar10, network: resnet18, batch_size: 256, lr: 0.1, seeds: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]}
spinodal: &spinodal
  {<<: *resnet18, init_epochs: 50, init_evaluate_every: 10, epochs_per_level: 10, evaluate_every: 1,
  milestones: [50, 75], sweep_lr: null, consecutive: 3, recovery_error: 0.20}
T1:
  {<<: *spinodal, init_lambda: 0.35, init_error_max: 0.30, collapse_error: 0.40, return_sweep: false,
  sweep_lambdas: [0.54, 0.56, 0.58, 0.60, 0.62, 0.64, 0.66, 0.68, 0.70]}
T2:
  {<<: *spinodal, init_lambda: 0.70, init_error_min: 0.35,
  sweep_lambdas: [0.54, 0.52, 0.50, 0.48, 0.46, 0.44, 0.42, 0.40, 0.38]}
V3:
  {<<: *cifar10, network: vgg11_bn, batch_size: 128, lr: 0.05, seeds: [0, 1, 2], ordered_lambda: 0.35,
  ordered_epochs: 50, ordered_milestones: [25, 40], ordered_error_max: 0.25, collapse_lambda: 0.60,
  collapse_epochs: 80, collapse_milestones: [40, 60], collapse_error_min: 0.45, epochs_per_level: 3,
  sweep_lambdas: [0.30, 0.35, 0.40, 0.45, 0.50, 0.55, 0.60, 0.65, 0.70], sweep_lr: null,
  sweep_lr_factor: 0.01, gap_lambda: 0.50, gap_error: 0.10}
Td1:
  {<<: *resnet18, init_lambda: 0.60, init_epochs: 100, evaluate_every: 5, milestones: [50, 80],
  log_every: 20, two_pass_statistics: true, trapped_error: 0.85, partial_error: 0.40,
  compare_epochs: [5, 10, 20], early_epochs: 10, early_difference: 0.05}
""")


def published(experiment: str) -> dict[str, Any]:
    return load_profile(experiment, "paper").model_dump()


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_profile_has_every_parameter_once_and_no_machine_setting(path: Path) -> None:
    written = [line.split(":")[0] for line in path.read_text().splitlines() if line[:1].isalpha()]
    if path.parent.name == "quick":  # no download, one thread
        quick = load_profile(path.stem)
        assert (quick.dataset, quick.threads, quick.noise_rate) == ("digits", 1, 0.4)
    threads = {"threads"} if path.parent.name == "paper" else set()  # of the identity of older runs
    assert sorted(written) == sorted(MODELS[path.stem].model_fields.keys() - MACHINE_SETTINGS | threads)


@pytest.mark.parametrize("experiment", ["T1", "T2", "V3", "Td1"])
def test_the_paper_profile_holds_the_published_values(experiment: str) -> None:
    paper = published(experiment)
    assert {name: paper[name] for name in PUBLISHED[experiment]} == PUBLISHED[experiment]
    ours = {"init_evaluate_every", "return_lambdas", "metrics"} | MACHINE_SETTINGS
    assert set(paper) - set(PUBLISHED[experiment]) <= ours


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("lr=1e-4", 1e-4),
        ("lr = 0.2", 0.2),
        ("sweep_lambdas=[0.4, 1]", [0.4, 1.0]),
        ("seeds=0-2,5", [0, 1, 2, 5]),
        ("pixel_std= [0.25,1e-1] ", [0.25, 0.1]),
        ("sweep_lr=null", None),
        ("return_sweep=true", True),
        ("channels_last=on", "on"),  # true to YAML
        ("base_dir=a=b", "a=b"),
    ],
)
def test_an_option_replaces_one_value_and_is_read_as_people_write_it(written: str, value: object) -> None:
    name = written.split("=")[0].strip()
    before = [f"{name}=0"] if name == "lr" else []
    assert load_profile("T1", "paper", [*before, written]).model_dump() == {**published("T1"), name: value}


@pytest.mark.parametrize(
    ("experiment", "given", "line"),
    [
        ("T1", {"noise_rate": 1.2}, "noise_rate = 1.2: must be at most 0.9"),
        ("T1", {"refresh_period": 16.0}, "refresh_period = 16.0: must be a whole number"),
        ("T1", {"lr": 0}, "lr = 0: must be above 0"),
        ("T1", {"lr": float("nan")}, "lr = nan: must be a finite number"),
        ("T1", {"momentum": 1}, "momentum = 1: must be below 1"),
        ("T1", {"augmentation": "flip"}, "augmentation = 'flip': must be 'none' or 'crop_flip'"),
        ("T1", {"device": "cuda:one"}, "device = 'cuda:one': must be auto, cpu, cuda or cuda:N"),
        ("T1", {"return_sweep": 1}, "return_sweep = 1: must be true or false"),
        ("T1", {"sweep_lambdas": [0.4, 1.2]}, "sweep_lambdas[1] = 1.2: must be at most 1"),
        (
            "T1",
            {"sweep_lambdas": [0.5, 0.5]},
            "sweep_lambdas = [0.5, 0.5]: each value must be above the one before, but 0.5 follows 0.5",
        ),
        ("T1", {"sweep_lambdas": [0.3]}, "sweep_lambdas = [0.3]: must start at init_lambda = 0.35 or above"),
        ("T2", {"sweep_lambdas": [0.9]}, "sweep_lambdas = [0.9]: must start at init_lambda = 0.7 or below"),
        ("T1", {"lr": -1, "momentum": 2, "threads": 0}, "lr = -1: must be above 0 (and 2 more)"),
        ("T1", {"noise_rat": 0.3}, "noise_rat = 0.3: T1 has no such parameter; did you mean noise_rate?"),
        (
            "T1",
            {"zzz": 3, "lr": ...},
            "zzz = 3: T1 has no such parameter; `python -m dglib parameters T1` lists all (and 1 more)",
        ),
        (
            "T1",
            {"threads": 0, "noise_rate": ..., "lr": ..., "network": ...},
            "noise_rate, network and lr are missing (and 1 more)",
        ),
    ],
)
def test_a_refusal_is_one_line_with_layer_field_value_and_rule(
    experiment: str, given: dict[str, object], line: str
) -> None:
    values = {name: value for name, value in (published(experiment) | given).items() if value is not ...}
    with pytest.raises(UserError) as caught:
        validate_layers(experiment, [Layer("my.yaml", values)])
    assert str(caught.value) == f"my.yaml: {line}"


def test_a_long_value_is_cut() -> None:
    with pytest.raises(UserError) as caught:
        validate_layers("T1", [Layer("my.yaml", published("T1") | {"sweep_lambdas": "two\n" * 500})])
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("written", "seeds"),
    [
        (3, [3]),
        ([0, 3], [0, 3]),
        ("[0, 3]", [0, 3]),
        ("0-9", list(range(10))),
        ("0-3,7", [0, 1, 2, 3, 7]),
        (" 7 , 0 - 1 ", [7, 0, 1]),
        (LARGEST, [LARGEST]),
        (f"1-{MOST}", list(range(1, MOST + 1))),
    ],
)
def test_every_form_gives_its_seeds_in_the_order_written(written: object, seeds: list[int]) -> None:
    assert parse_seeds(written) == seeds == parse_seeds(seeds)


@pytest.mark.parametrize(
    ("written", "says"),
    [
        (True, "True is not a seed"),
        (-1, "-1 is not a seed"),
        ([0, 1.5], "1.5 is not a seed"),
        ([0, "1"], "'1' is not a seed"),
        ("", "'' is not a seed"),
        ("0,,1", "'' is not a seed"),
        ("٣", "'٣' is not a seed"),  # a digit to Python, but not to whoever reads the records
        ("9-0", "'9-0' runs backwards"),
        ([], "no seed is given"),
        ("0-3,2", "seed 2 appears twice"),
        (LARGEST + 1, "above the largest seed"),
        (f"0-{MOST}", f"too many seeds, at most {MOST} are allowed"),
        ("0-1000000000000", "too many seeds"),  # refused before it fills the memory
    ],
)
def test_what_is_no_list_of_seeds_is_refused_in_words(written: object, says: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the words are compared below, as text
        parse_seeds(written)
    assert says in str(caught.value)
