"""How long a run may take on this machine, from a few real training steps."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
import torch

from dglib import protocol
from dglib.data import DatasetInfo, describe_dataset
from dglib.dataset import Dataset
from dglib.numerics import Numerics
from dglib.pieces import WARM_UP
from dglib.spec import ExperimentSpec, StepSpec
from dglib.state import TrainState
from dglib.streams import Streams
from dglib.trainer import DeviceData, Trainer

STEPS = {"cpu": 3, "cuda": 20}  # timed
MOST_TO_WARM_UP = 250  # steps; enough for Tδ1's log and refreshes at their defaults
CPU_BATCH = 64  # a large batch is timed on a part of it: on a CPU the time is proportional


def estimate_seconds(
    spec: ExperimentSpec, numerics: Numerics, known: dict[object, float] | None = None
) -> float:
    """Seconds for one seed that no event ends early, from a few steps on random images of the right shape.

    Evaluation counts as a third of a training pass over the test set. Expect a factor of 1.5 either way.

    Args:
        known: what was measured before, to which this is added: the same network and step are timed once.
    """
    info = describe_dataset(spec.data.dataset)
    known = {} if known is None else known
    same = (spec.network, spec.step, replace(spec.data, noise_rate=0.0, noise="symmetric"), numerics)
    if same not in known:
        known[same] = _seconds_per_image(spec, numerics, info)
    evaluations = sum(
        len(phase.levels) * -(-phase.epochs_per_level // phase.evaluate_every)
        for arm in spec.arms
        for phase in arm.phases
    )
    return known[same] * (protocol.planned_epochs(spec) * info.n_train + evaluations * info.n_test / 3)


def _seconds_per_image(spec: ExperimentSpec, numerics: Numerics, info: DatasetInfo) -> float:
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
    with numerics.applied("the estimate of the time"):
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
        placed = DeviceData.place(data, spec.data, 0, device)
        trainer = Trainer(spec, placed, Streams(0, "estimate"), numerics)
        steps = STEPS[device.type]
        trainer.advance(state, 0.5, 1e-3, _steps_to_warm_up(spec.step, numerics))
        first, began = state.t, _now(device)
        trainer.advance(state, 0.5, 1e-3, steps)
        seconds = _now(device) - began
        passes = sum(_passes(spec.step, t) for t in range(first, first + steps))
        return seconds / passes / n * _mean_passes(spec.step)


def _passes(step: StepSpec, t: int) -> int:
    """Forward and backward passes of step `t`: a log needs a fresh value gradient, too."""
    return 1 + (t % step.refresh_period == 0 or (step.log_every > 0 and t % step.log_every == 0))


def _mean_passes(step: StepSpec) -> float:
    logs = 1 / step.log_every - 1 / _cycle(step) if step.log_every else 0.0  # beside those of refreshes
    return 1 + 1 / step.refresh_period + logs


def _cycle(step: StepSpec) -> int:
    """Steps after which refreshes and logs repeat."""
    return math.lcm(step.refresh_period, step.log_every or 1)


def _steps_to_warm_up(step: StepSpec, numerics: Numerics) -> int:
    """Until every kind of step has been compiled, and captured: none of that is to fall into the time."""
    if numerics.cuda_graphs:  # the rarest, a refresh that logs, comes once in a cycle
        return min(WARM_UP * _cycle(step) + 1, MOST_TO_WARM_UP)
    return 2 if numerics.compiled or numerics.device != "cpu" else 1  # a refresh, and a step without one


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
