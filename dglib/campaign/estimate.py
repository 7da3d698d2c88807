"""How long a seed may take on this machine, from two training steps, within a time limit."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
import torch

from dglib.protocol import engine
from dglib.protocol.spec import ExperimentSpec, StepSpec
from dglib.training.data import Dataset, DatasetInfo, describe_dataset
from dglib.training.numerics import Numerics
from dglib.training.randomness import Streams
from dglib.training.state import TrainState
from dglib.training.trainer import DeviceData, Trainer

SECONDS = 10.0  # for all estimates of a dry run
CPU_BATCH = 16  # a large batch is timed on a part of it: on a CPU the time is proportional


def estimate_seconds(
    spec: ExperimentSpec, numerics: Numerics, known: dict[object, float | None], deadline: float
) -> float | None:
    """Seconds for one seed that no event ends early, from the second of two steps on random images.

    Evaluation counts as a third of a training pass over the test set; nothing is compiled or captured. Expect
    a factor of 1.5 either way. None where the time limit does not allow the two steps.

    Args:
        known: seconds per image of earlier estimates, extended here: what trains alike is timed once.
        deadline: a reading of `time.monotonic`.
    """
    info = describe_dataset(spec.data.dataset)
    same = (spec.network, spec.step, replace(spec.data, noise_rate=0.0, noise="symmetric"), numerics)
    if same not in known:
        known[same] = _seconds_per_image(spec, numerics, info, deadline)
    per_image = known[same]
    if per_image is None:
        return None
    evaluations = sum(
        len(phase.levels) * -(-phase.epochs_per_level // phase.evaluate_every)
        for arm in spec.arms
        for phase in arm.phases
    )
    return per_image * (engine.planned_epochs(spec) * info.n_train + evaluations * info.n_test / 3)


def _seconds_per_image(
    spec: ExperimentSpec, numerics: Numerics, info: DatasetInfo, deadline: float
) -> float | None:
    if time.monotonic() >= deadline:
        return None
    numerics = replace(numerics, compiled=False, cuda_graphs=False)  # which take minutes to begin
    n = min(spec.step.batch_size, CPU_BATCH) if numerics.device == "cpu" else spec.step.batch_size
    channels = info.input_shape[0]
    rng = np.random.default_rng(0)
    data = Dataset(
        name="random",
        x_train=rng.integers(0, 256, (n, *info.input_shape), dtype=np.uint8),
        y_train=np.arange(n) % info.classes,
        x_test=np.zeros((1, *info.input_shape), np.uint8),
        y_test=np.zeros(1, np.int64),
        classes=info.classes,
        scale=255.0,
        mean=(0.5,) * channels,
        std=(0.25,) * channels,
    )
    with numerics.applied("the estimate"):
        device = numerics.torch_device
        state = TrainState.create(
            spec.network,
            spec.step,
            input_shape=info.input_shape,
            classes=info.classes,
            seed=0,
            device=device,
            run=(0, 0),
            memory_format=numerics.memory_format,
        )
        # Any noise costs the same, and labels from a file would not fit these.
        placed = DeviceData.place(data, replace(spec.data, noise="symmetric"), 0, device)
        trainer = Trainer(spec, placed, Streams(0, "estimate"), numerics)
        seconds = math.inf
        for _ in range(2):  # the first one warms up
            began = _now(device)
            if began >= deadline:
                return None
            trainer.advance(state, 0.5, 1e-3, 1)
            seconds = _now(device) - began
    return seconds / _passes(spec.step, 1) / n * _mean_passes(spec.step)


def _passes(step: StepSpec, t: int) -> int:
    """Forward and backward passes of step `t`: a log needs a fresh value gradient, too."""
    return 1 + (t % step.refresh_period == 0 or (step.log_every > 0 and t % step.log_every == 0))


def _mean_passes(step: StepSpec) -> float:
    logs = 0.0
    if step.log_every:  # those that are no refresh
        logs = 1 / step.log_every - 1 / math.lcm(step.refresh_period, step.log_every)
    return 1 + 1 / step.refresh_period + logs


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.monotonic()
