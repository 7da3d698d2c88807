"""What is measured: the networks with their batches, and the cases by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dglib.errors import UserError

REFRESH_PERIOD = 16  # K, as published: a block of so many steps holds one refresh
LOG_EVERY = 20  # of Tδ1, as published
TECHNIQUES = ("channels_last", "fused", "compiled", "cuda_graphs", "autotune")  # numerics' switches

Kind = Literal["train", "epoch", "dual", "logging", "evaluation", "technique", "precision", "at_once"]


@dataclass(frozen=True)
class Setting:
    """A network under the batch and learning rate of its experiment.

    Attributes:
        label: its name in cases.
        network, width: as `dglib.networks` knows them.
        batch: images a step, as published.
        side: pixels of a square image of three channels.
    """

    label: str
    network: str
    width: float
    batch: int
    side: int


@dataclass(frozen=True)
class Case:
    """One row to measure.

    Attributes:
        option: the technique, the precision or the number of processes that it is about.
        required: measured before any that is not, where time is short.
    """

    name: str
    setting: Setting
    kind: Kind
    option: str = ""
    required: bool = False


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        settings: the networks.
        images, test_images: of the data set.
        pairs: at most so many a case; at least three, or fewer where the time is over.
        fixed_batch: keep the settings' batches on a CPU too.
    """

    settings: tuple[Setting, ...]
    images: int
    test_images: int
    pairs: int
    fixed_batch: bool


FULL = Scale(
    (Setting("resnet18", "resnet18", 1.0, 256, 32), Setting("vgg11", "vgg11_bn", 1.0, 128, 32)),
    images=50_000,
    test_images=10_000,
    pairs=31,
    fixed_batch=False,
)
QUICK = Scale(
    (Setting("small_cnn", "small_cnn", 0.25, 16, 8),),
    images=400,
    test_images=200,
    pairs=3,
    fixed_batch=True,
)


def cases(scale: Scale) -> list[Case]:
    """All cases of the first network, of which techniques are measured, and then those of the others."""
    found: list[Case] = []
    first, last = scale.settings[0], scale.settings[-1]
    for setting in scale.settings:
        label = setting.label
        found.append(Case(f"{label}/train", setting, "train", required=True))
        found.append(Case(f"{label}/dual_over_plain", setting, "dual", required=True))
        if setting is first:
            found.append(Case(f"{label}/logging_over_none", setting, "logging", required=True))
        found.append(Case(f"{label}/evaluation", setting, "evaluation"))
        found.append(Case(f"{label}/epoch", setting, "epoch"))
        if setting is last:
            for processes in ("2", "4"):
                found.append(Case(f"{label}/seeds_at_once_{processes}", setting, "at_once", processes))
    for way in ("without", "with"):
        for name in TECHNIQUES:
            found.append(Case(f"{first.label}/train/{way}_{name}", first, "technique", f"{way} {name}"))
    for precision in ("fp32", "bf16"):
        found.append(Case(f"{first.label}/train/precision_{precision}", first, "precision", precision))
    return found


def chosen(scale: Scale, only: Sequence[str] | None) -> list[Case]:
    """The cases named in `only`, in the catalogue's order; all of them for None.

    Raises:
        UserError: a name is unknown.
    """
    all_of_them = cases(scale)
    if only is None:
        return all_of_them
    names = [case.name for case in all_of_them]
    for name in only:
        if name not in names:
            raise UserError(f"--only {name}: must be of {', '.join(names)}")
    return [case for case in all_of_them if case.name in only]
