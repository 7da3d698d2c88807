"""Random images of CIFAR-10's shape, the same in every run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dglib.benchmark.settings import Scale, Setting
from dglib.data import CIFAR10_MEAN, CIFAR10_STD
from dglib.dataset import Dataset

CLASSES = 10


def random_images(scale: Scale, setting: Setting) -> Dataset:
    """As many images as `scale` says, uint8, from a generator of their own."""
    rng = np.random.default_rng(0)
    shape = (3, setting.side, setting.side)
    return Dataset(
        name="random",
        x_train=rng.integers(0, 256, (scale.images, *shape), dtype=np.uint8),
        y_train=rng.integers(0, CLASSES, scale.images),
        x_test=rng.integers(0, 256, (scale.test_images, *shape), dtype=np.uint8),
        y_test=rng.integers(0, CLASSES, scale.test_images),
        classes=CLASSES,
        scale=255.0,
        mean=CIFAR10_MEAN,
        std=CIFAR10_STD,
    )


def first(data: Dataset, n_train: int, n_test: int) -> Dataset:
    """The first so many images of a data set."""
    return replace(
        data,
        x_train=data.x_train[:n_train],
        y_train=data.y_train[:n_train],
        x_test=data.x_test[:n_test],
        y_test=data.y_test[:n_test],
    )
