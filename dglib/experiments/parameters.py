"""Parameters that all experiments have, and the kinds of values, each with its unit and its range.

The model of an experiment is a subclass in the experiment's own file.

A field is spelt the same here, in ``params/*/*.yaml``, in the notebooks and on the command line. The models
hold plain data (numbers, text, lists), so they go through YAML, JSON and papermill unchanged.
`dglib.experiments.profiles` makes a model of what a user gave, or a one-line error.
"""

import re
from contextlib import suppress
from itertools import pairwise
from typing import Annotated, ClassVar, Literal, TypeVar

from dglib.experiments.pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from dglib.experiments.seeds import parse_seeds
from dglib.runs.identity import MACHINE

Ordered = TypeVar("Ordered", bound=float)


def _number(value: object) -> object:
    """Text that spells a number as that number: YAML takes 1e-4 for text."""
    if isinstance(value, str):
        with suppress(ValueError):
            return float(value)
    return value


def _plain(kind: type) -> BeforeValidator:
    """Takes text that spells a `kind` (list, bool) in YAML as that: papermill's -p gives it as text."""

    def spelt(value: object) -> object:
        if isinstance(value, str):
            import yaml

            with suppress(yaml.YAMLError, ValueError, RecursionError):
                found = yaml.safe_load(value)
                return found if isinstance(found, kind) else value
        return value

    return BeforeValidator(spelt)


def _ordered(above: bool) -> AfterValidator:
    def check(values: list[Ordered]) -> list[Ordered]:
        for earlier, later in pairwise(values):
            if later <= earlier if above else later >= earlier:
                where = "above" if above else "below"
                raise ValueError(f"each value must be {where} the one before, but {later} follows {earlier}")
        return values

    return AfterValidator(check)


def _device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name, re.ASCII):
        raise ValueError("must be auto, cpu, cuda or cuda:N")
    return name


def _switch(value: object) -> object:
    """True and False as on and off: that is what YAML takes the bare words for."""
    return ("on" if value else "off") if isinstance(value, bool) else value


# The configuration is strict (True is no number, 3.0 no count); only a list may also come as a tuple.
Text = Annotated[str, Field(min_length=1)]
Seeds = Annotated[list[int], BeforeValidator(parse_seeds)]
Device = Annotated[str, AfterValidator(_device)]
Switch = Annotated[Literal["auto", "on", "off"], BeforeValidator(_switch)]
Flag = Annotated[bool, _plain(bool)]
Listed = _plain(list)  # last in a list's annotation, so that it comes first
Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]
Number = Annotated[float, BeforeValidator(_number)]
Positive = Annotated[Number, Field(gt=0)]
Fraction = Annotated[Number, Field(ge=0, le=1)]
Channels = Annotated[list[Number], Field(min_length=1, strict=False), Listed]
PositiveChannels = Annotated[list[Positive], Field(min_length=1, strict=False), Listed]
Epochs = Annotated[list[CountOrZero], Field(min_length=1, strict=False), _ordered(above=True), Listed]
Milestones = Annotated[list[Count], Field(strict=False), _ordered(above=True), Listed]
Names = Annotated[list[Text], Field(strict=False), Listed]
Levels = Annotated[list[Fraction], Field(min_length=1, strict=False), Listed]
Upward = Annotated[Levels, _ordered(above=True)]
Downward = Annotated[Levels, _ordered(above=False)]


class Parameters(BaseModel):
    """What every experiment has: seeds, data, network and optimizer; and the machine settings."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )
    experiment: ClassVar[str] = ""  # set by `dglib.experiments.register`
    in_cell: ClassVar[dict[str, str]] = {
        "Run": "seeds",
        "Data": "dataset noise noise_rate",
        "Network and optimizer": "network network_width batch_size lr refresh_period mix",
    }
    """By heading, the fields that a notebook's parameters cell shows, with those of the base classes.

    A class without an entry of its own shows all of its own fields.
    """

    seeds: Seeds
    """One run each: 3, [0, 3], 0-9 or 0-3,7; at least one, each once, 0 to 2³² − 1."""

    noise: Text = "symmetric"
    """Label noise: symmetric, a registered name, module:attribute or a file of labels (.npy, .npz, .pt)."""
    noise_rate: Annotated[Number, Field(ge=0, le=0.9)]
    """η, the fraction of training labels replaced by a wrong one, 0 to 0.9."""
    dataset: Text
    """digits, cifar10, the path of an .npz, a registered name or module:attribute."""
    pixel_mean: Channels | None = None
    """Per channel, of pixels in 0 to 1, subtracted from the input; null: the data set's own."""
    pixel_std: PositiveChannels | None = None
    """Per channel, above 0, of pixels in 0 to 1; divides the input; null: the data set's own."""
    augmentation: Literal["none", "crop_flip"]
    """Of the training images: none or crop_flip."""
    crop_padding: CountOrZero = 4
    """Black pixels added on each side before the crop, from 0."""

    network: Text
    """resnet18, resnet34, vgg11_bn, small_cnn, a registered name or module:attribute."""
    network_width: Positive = 1.0
    """Factor on the network's channel counts, above 0."""
    batch_size: Annotated[int, Field(ge=2)]
    """Images per step, from 2 (BatchNorm needs two)."""
    lr: Positive
    """Learning rate at the start, above 0."""
    lr_decay: Annotated[Number, Field(gt=0, le=1)] = 0.1
    """Factor on the LR at a milestone, above 0, at most 1."""
    momentum: Annotated[Number, Field(ge=0, lt=1)] = 0.9
    """Of SGD, from 0, below 1."""
    weight_decay: Annotated[Number, Field(ge=0)] = 5e-4
    """Of SGD, from 0."""
    refresh_period: Count
    """K: steps from one value gradient to the next, from 1."""
    mix: Text = "normalised"
    """How the two gradients are mixed: a registered name or module:attribute."""
    value: Text = "clean"
    """Images and labels behind the value gradient: a registered name or module:attribute."""

    metrics: Names = Field(default_factory=list)
    """More numbers at each evaluation: registered names or module:attribute, see dglib.metrics."""

    # Machine settings: where and how to compute. A run is the same wherever it is made.
    base_dir: Text | None = None
    """Directory of the run directories; null: the Drive folder on Colab, elsewhere runs in the project."""
    data_dir: Text | None = None
    """Directory of downloaded data sets; null: data in the project."""
    work_dir: Text | None = None
    """With a mirror, the local directory for runs; null: one below ~/.cache/dglib."""
    mirror: Flag = False
    """Whether to write to work_dir and copy to base_dir, as is always done for a Drive: true or false."""
    device: Device = "auto"
    """auto, cpu, cuda or cuda:N."""
    threads: Count = 1
    """CPU threads of a run, from 1; results on a CPU depend on them."""
    seeds_at_once: Count = 1
    """Seeds trained in parallel, each in its own process, from 1."""
    exact: Flag = False
    """Whether to refuse to resume a seed on another kind of device: true or false."""
    precision: Literal["auto", "fp32", "tf32", "bf16", "fp16"] = "auto"
    """Of forward and backward passes: fp32, tf32, bf16, fp16; auto: half where matrix units run it."""
    channels_last: Switch = "auto"
    """Images and convolutions in NHWC memory order: auto, on or off."""
    fused: Switch = "auto"
    """SGD as one kernel: auto (on CUDA), on or off."""
    compiled: Switch = "auto"
    """torch.compile of loss and mix: auto (on CUDA, for large networks), on or off."""
    cuda_graphs: Switch = "auto"
    """The step captured once and replayed: auto (on CUDA), on or off."""
    autotune: Switch = "auto"
    """cuDNN times its algorithms, at the price of other bits each run: auto (off), on or off."""
    checkpoint_epochs: Count = 10
    """A checkpoint is written at least every so many epochs, from 1."""
    checkpoint_minutes: Positive = 5.0
    """And at least every so many minutes, above 0."""
    keep_states: Flag = False
    """Whether to keep the state at the end of every phase, which `fork` starts from: true or false."""


class OneState(Parameters):
    """Training from scratch at one λ; its optimizer, step counter and LR schedule stay to the end."""

    in_cell: ClassVar[dict[str, str]] = {"From scratch": "init_lambda init_epochs"}

    init_lambda: Fraction
    """λ of the training from scratch, 0 to 1."""
    init_epochs: Count
    """Epochs at init_lambda, from 1."""
    evaluate_every: Count
    """Epochs from one evaluation to the next, from 1; before a sweep init_evaluate_every holds."""
    milestones: Milestones
    """Epochs completed since scratch when the LR drops by lr_decay, rising, from 1; [] for never."""


class SweepParameters(Parameters):
    """λ moved level by level, starting from a trained network."""

    in_cell: ClassVar[dict[str, str]] = {"Sweep": "epochs_per_level sweep_lr"}

    init_evaluate_every: Count
    """Epochs from one evaluation to the next before the sweep, from 1."""
    epochs_per_level: Count
    """Epochs at each λ of the sweep (the dwell time), from 1."""
    sweep_lr: Positive | None = None
    """Constant LR of the sweep, above 0; null: the rule published for the experiment."""


MACHINE_SETTINGS = MACHINE | {"base_dir", "data_dir"}


def cell_groups(model: type[Parameters]) -> dict[str, list[str]]:
    """The fields that a notebook's parameters cell shows, by heading."""
    groups: dict[str, list[str]] = {}
    seen: set[str] = set()
    for base in reversed(model.__mro__):
        if not issubclass(base, Parameters):
            continue
        own = [name for name in base.model_fields if name not in seen]
        seen.update(own)
        for heading, names in base.__dict__.get("in_cell", {"Experiment": " ".join(own)}).items():
            groups.setdefault(heading, []).extend(names.split())
    return {heading: names for heading, names in groups.items() if names}


# Parameters of the release before, accepted with a warning for one release, and why they are gone.
RETIRED = {"mirror_gb_per_hour": "checkpoints are mirrored every 15 minutes"}
