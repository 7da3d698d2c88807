"""Parameters that all experiments have, and the kinds of values, each with its unit and its range.

The model of an experiment is a subclass in the experiment's own file.

A field is spelt the same here, in ``params/*/*.yaml``, in the notebooks and on the command line. The models
hold plain data (numbers, text, lists), so they go through YAML, JSON and papermill unchanged.
`dglib.experiments.profiles` makes a model of what a user gave, or a one-line error.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from importlib.util import find_spec
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeVar

if TYPE_CHECKING or find_spec("pydantic") is not None:
    from pydantic import (
        AfterValidator,
        BaseModel,
        BeforeValidator,
        ConfigDict,
        Field,
        ValidationInfo,
        field_validator,
    )
else:  # A machine that only trains: plain objects give specifications, and no model can be filled.

    class BaseModel: ...

    ValidationInfo = Any
    ConfigDict = dict

    def AfterValidator(check: Any) -> Any:  # noqa: N802
        return check

    def Field(*given: Any, **rules: Any) -> Any:  # noqa: N802
        return given

    def field_validator(*names: str, check_fields: bool = True) -> Any:
        return lambda check: check

    BeforeValidator = AfterValidator

__all__ = ["Field", "ValidationInfo", "field_validator"]  # of pydantic, where it is installed

_SEEDS = "give whole numbers from 0, such as 3, [0, 3], 0-9 or 0-3,7"
LARGEST = 2**32 - 1  # of NumPy's legacy generator, which draws the label noise
MOST = 10_000  # so that a slip in a range (0-1000000000) does not fill the memory
_TERM = re.compile(r"(\d+)(?:\s*-\s*(\d+))?", re.ASCII)

Ordered = TypeVar("Ordered", bound=float)


def parse_seeds(given: object) -> list[int]:
    """The seeds that `given` stands for: in its order, each once, at least one, each 0 to 2³² − 1.

    Args:
        given: an int; a list, tuple or range of ints; or text: seeds and ranges ``first-last`` (both ends
            included) with commas between them, with or without square brackets.

    Raises:
        ValueError: in words for the user, without the name of the field.
    """
    seeds: list[int] = []
    for seed in _terms(given):
        if seed > LARGEST:
            raise ValueError(f"{seed} is above the largest seed, {LARGEST}")
        if len(seeds) == MOST:
            raise ValueError(f"too many seeds, at most {MOST} are allowed")
        seeds.append(seed)
    if not seeds:
        raise ValueError(f"no seed is given; {_SEEDS}")
    if len(set(seeds)) < len(seeds):
        twice = next(seed for seed in seeds if seeds.count(seed) > 1)
        raise ValueError(f"seed {twice} appears twice; give each once")
    return seeds


def _terms(given: object) -> Iterator[int]:
    if isinstance(given, str):
        text = given.strip()
        text = text[1:-1] if text.startswith("[") and text.endswith("]") else text
        for term in map(str.strip, text.split(",")):
            match = _TERM.fullmatch(term)
            if match is None:
                raise ValueError(f"{term!r} is not a seed; {_SEEDS}")
            first, last = int(match[1]), int(match[2] or match[1])
            if last < first:
                raise ValueError(f"{term!r} runs backwards; {_SEEDS}")
            yield from range(first, last + 1)
        return
    items: Iterable[object] = given if isinstance(given, list | tuple | range) else [given]
    for item in items:
        if not isinstance(item, int) or isinstance(item, bool) or item < 0:
            raise ValueError(f"{item!r} is not a seed; {_SEEDS}")
        yield item


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
                parsed = yaml.safe_load(value)
                return parsed if isinstance(parsed, kind) else value
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
    """One run each, by number: 3 (seed 3 alone), [0, 3], 0-9 or 0-3,7; each once, 0 to 2³² − 1."""

    noise: Text = "symmetric"
    """Label noise: symmetric, a registered name, module:attribute or a file of labels (.npy, .npz, .pt)."""
    noise_rate: Annotated[Number, Field(ge=0, le=0.9)]
    """η, the fraction of training labels replaced by a wrong one, 0 to 0.9."""
    dataset: Text
    """digits, cifar10, the path of an .npz, a registered name or module:attribute."""
    train_size: Count | None = None
    """Training images, the same for all seeds, classes balanced; from one per class; null: all."""
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
    """Whether to keep the state at the end of every phase, for `run --start-from`: true or false."""
    tensorboard: Flag = False
    """Whether to write event files for TensorBoard into the run directory while it trains: true or false."""


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


class TwoStates(Parameters):
    """An ordered and a collapsed network, trained from scratch each at its own λ."""

    in_cell: ClassVar[dict[str, str]] = {
        "From scratch": "ordered_lambda ordered_epochs collapse_lambda collapse_epochs"
    }

    ordered_lambda: Fraction
    """λ at which the ordered network is trained, 0 to 1."""
    ordered_epochs: Count
    """Epochs at ordered_lambda, from 1."""
    ordered_error_max: Fraction
    """Largest error of an ordered network after its training, 0 to 1."""
    collapse_lambda: Fraction
    """λ at which the collapsed network is trained, 0 to 1."""
    collapse_epochs: Count
    """Epochs at collapse_lambda, from 1."""
    collapse_error_min: Fraction
    """Least error of a collapsed network after its training, 0 to 1."""


class SweepParameters(Parameters):
    """λ moved level by level, starting from a trained network."""

    in_cell: ClassVar[dict[str, str]] = {"Sweep": "epochs_per_level sweep_lr"}

    init_evaluate_every: Count
    """Epochs from one evaluation to the next before the sweep, from 1."""
    epochs_per_level: Count
    """Epochs at each λ of the sweep (the dwell time), from 1."""
    sweep_lr: Positive | None = None
    """Constant LR of the sweep, above 0; null: the rule published for the experiment."""


def spelled(seeds: Iterable[int]) -> str:
    """The seeds in ascending order as `parse_seeds` reads them: "0-2, 7"."""
    runs: list[list[int]] = []
    for seed in sorted(set(seeds)):
        if runs and seed == runs[-1][-1] + 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def beyond_asked(covered: Sequence[int], asked: Iterable[int]) -> str:
    """A sentence where an answer covers more seeds than were asked for; else nothing."""
    asked = set(asked)
    if set(covered) <= asked:
        return ""
    count = f"{len(covered)} seed{'s' * (len(covered) > 1)} ({spelled(covered)})"
    return f"This covers the {count} in the run directory; the command asked for {spelled(asked)}."


ALIASES = {
    "η": "noise_rate",
    "eta": "noise_rate",
    "λ": "init_lambda",
    "lambda": "init_lambda",
    "learning_rate": "lr",
}
