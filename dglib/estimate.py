"""How long a run may take on this machine, from a few real training steps."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import torch

from dglib import protocol
from dglib.data import DatasetInfo, describe_dataset
from dglib.dataset import Dataset
from dglib.numerics import Numerics
from dglib.spec import ExperimentSpec
from dglib.state import TrainState
from dglib.streams import Streams
from dglib.trainer import DeviceData, Trainer

STEPS = 3
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
    with numerics.applied():
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
        trainer.advance(state, 0.5, 1e-3, 1)  # the first step refreshes and warms up
        began = _now(device)
        trainer.advance(state, 0.5, 1e-3, STEPS)
        return (_now(device) - began) / (STEPS * n) * (1 + 1 / spec.step.refresh_period)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
