"""What the experiments' specifications have in common. Source of the protocols: HIDEKI, Dual-Gradient
Learning, Paper A (doi 10.5281/zenodo.18215925).

`p` is flat parameters: any object with the attributes named in `parameters`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dglib.protocol.spec import DataSpec, LearningRate, NetworkSpec, StepSpec
from dglib.runs.identity import NUMERICS, READING, TECHNIQUES, is_identity


def requested_numerics(parameters: Any) -> dict[str, Any]:
    """The numerics asked for, as they identify a run; a technique left to "auto" is not among them."""
    asked = {name: getattr(parameters, name) for name in NUMERICS}
    return {name: value for name, value in asked.items() if name not in TECHNIQUES or value != "auto"}


def read_under(parameters: Any, records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The records with the READING parameters as they are now: none was trained under them."""
    now = reading_of(parameters)
    return [{**record, "parameters": {**record["parameters"], **now}} for record in records]


def reading_of(parameters: Any) -> dict[str, Any]:
    return {name: getattr(parameters, name) for name in sorted(READING) if hasattr(parameters, name)}


def shared(p: Any, **step: Any) -> dict[str, Any]:
    """What all experiments have: network, data, step constants and the parameters for the record."""
    given = p if isinstance(p, dict) else dict(p) if hasattr(p, "__iter__") else dict(vars(p))
    mean, std = p.pixel_mean, p.pixel_std
    rules = {name: getattr(p, name) for name in ("mix", "value") if hasattr(p, name)}
    return {
        "network": NetworkSpec(p.network, p.network_width),
        "data": DataSpec(
            dataset=p.dataset,
            noise_rate=p.noise_rate,
            noise=p.noise,
            augmentation=p.augmentation,
            crop_padding=p.crop_padding,
            pixel_mean=None if mean is None else tuple(mean),
            pixel_std=None if std is None else tuple(std),
        ),
        "step": StepSpec(p.batch_size, p.refresh_period, p.momentum, p.weight_decay, **rules, **step),
        "metrics": tuple(getattr(p, "metrics", ())),
        "parameters": {name: value for name, value in given.items() if is_identity(name)},
    }


def rate(p: Any, milestones: list[int]) -> LearningRate:
    """The LR at the start, dropping at `milestones` (epochs completed)."""
    return LearningRate(p.lr, tuple(milestones), p.lr_decay)


def sweep_rate(p: Any) -> LearningRate:
    """The published schedule running on from the init, or the constant rate that was asked for."""
    return rate(p, p.milestones) if p.sweep_lr is None else LearningRate(p.sweep_lr)
