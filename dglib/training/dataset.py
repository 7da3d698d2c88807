"""What a data set is: checked arrays that know their pixel scale and their fingerprint."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dglib.errors import UserError

Images = NDArray[np.uint8] | NDArray[np.float32]
Labels = NDArray[np.int64]
InputShape = tuple[int, int, int]
"""(channels, height, width)"""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training and test images with their clean labels, in a fixed order.

    x_train, x_test: (n, C, H, W), uint8, or float32 in [0, 1]. y_train, y_test: (n,) int64 in
    0..classes-1. scale: the raw pixel value that stands for 1.0. mean, std: per channel, of pixels / scale.
    The arrays are read-only, the labels copies, so that nothing which is trained on can change afterwards.
    Raises UserError, which names the data set and the field, where any of this does not hold.
    """

    name: str
    x_train: Images
    y_train: Labels
    x_test: Images
    y_test: Labels
    classes: int
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise UserError(f"{self.name}: scale = {self.scale}: must be above 0")
        _check_arrays(self.name, self.x_train, self.y_train, self.x_test, self.y_test, self.classes)
        channels = self.input_shape[0]
        for field, values in (("pixel_mean", self.mean), ("pixel_std", self.std)):
            if len(values) != channels or not all(math.isfinite(value) for value in values):
                raise UserError(f"{self.name}: {field} = {values}: must be {channels} finite numbers")
        if min(self.std) <= 0:
            raise UserError(f"{self.name}: pixel_std = {self.std}: must be above 0 in each channel")
        for field in ("x_train", "y_train", "x_test", "y_test"):
            array = getattr(self, field)
            array = array.view() if field.startswith("x") else array.copy()
            array.flags.writeable = False
            object.__setattr__(self, field, array)

    @property
    def input_shape(self) -> InputShape:
        """(channels, height, width) of one image."""
        channels, height, width = self.x_train.shape[1:]
        return channels, height, width

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 in hex over all but the name: the arrays' shapes, dtypes and bytes, and the numbers."""
        numbers = np.array([self.classes, self.scale, *self.mean, *self.std], dtype=np.float64)
        digest = hashlib.sha256()
        for array in (numbers, self.x_train, self.y_train, self.x_test, self.y_test):
            digest.update(f"{array.shape} {array.dtype.str} ".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


def make_dataset(
    name: str,
    x_train: NDArray[Any],
    y_train: NDArray[Any],
    x_test: NDArray[Any],
    y_test: NDArray[Any],
    *,
    classes: int | None = None,
    scale: float | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Dataset:
    """A Dataset from plain arrays; what is not given is taken from them.

    Images (n, C, H, W): uint8, or any floating type, in [0, 1]. Labels (n,): any integer type.
    classes: the largest training label + 1, at least 2. scale: 255 for uint8, 1 for floats.
    mean, std: those of the training pixels. Raises UserError as Dataset does.
    """
    x_train, x_test = _as_images(x_train), _as_images(x_test)
    y_train, y_test = _as_labels(y_train), _as_labels(y_test)
    if classes is None:
        classes = int(y_train.max(initial=1)) + 1 if y_train.dtype == np.int64 else 2
    _check_arrays(name, x_train, y_train, x_test, y_test, classes)
    if scale is None:
        scale = 255.0 if x_train.dtype == np.uint8 else 1.0
    # Channel by channel: a float64 copy of all of CIFAR-10 would take 1.2 GB.
    if mean is None or std is None:
        found = [_mean_and_std(x_train[:, channel]) for channel in range(x_train.shape[1])]
        mean = [m / scale for m, _ in found] if mean is None else mean
        std = [s / scale for _, s in found] if std is None else std
    return Dataset(name, x_train, y_train, x_test, y_test, classes, scale, tuple(mean), tuple(std))


def _mean_and_std(pixels: NDArray[Any]) -> tuple[float, float]:
    """Of whole numbers the same to the last bit everywhere; how NumPy sums floats depends on its version.

    Else another machine would take the same data for others, and would not go on with a run.
    """
    if pixels.dtype != np.uint8:
        return float(np.mean(pixels, dtype=np.float64)), float(np.std(pixels, dtype=np.float64))
    n, total = pixels.size, int(pixels.sum(dtype=np.int64))
    squares = int(np.square(pixels, dtype=np.uint16).sum(dtype=np.int64))
    return total / n, math.sqrt(n * squares - total**2) / n


def _as_images(array: NDArray[Any]) -> NDArray[Any]:
    """Contiguous, floats as float32; a type that is no image stays as it is, for the check to name it."""
    with np.errstate(over="ignore"):  # becomes infinity, which the check refuses
        return np.ascontiguousarray(array, np.float32 if array.dtype.kind == "f" else None)


def _as_labels(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype(np.int64) if array.dtype.kind in "iu" else array


def _check_arrays(
    name: str,
    x_train: NDArray[Any],
    y_train: NDArray[Any],
    x_test: NDArray[Any],
    y_test: NDArray[Any],
    classes: int,
) -> None:
    """Raise UserError unless the four arrays have the form that Dataset describes."""
    if classes < 2:
        raise UserError(f"{name}: classes = {classes}: must be at least 2")
    for part, images, labels in (("train", x_train, y_train), ("test", x_test, y_test)):
        _check_images(f"{name}: x_{part}", images)
        _check_labels(f"{name}: y_{part}", labels, classes)
        if len(images) != len(labels):
            raise UserError(
                f"{name}: y_{part} has length {len(labels)}: must be {len(images)}, as x_{part} has"
            )
    for what, train, test in (
        ("channels, height, width", x_train.shape[1:], x_test.shape[1:]),
        ("dtype", x_train.dtype, x_test.dtype),
    ):
        if train != test:
            raise UserError(f"{name}: x_test has {what} {test}: must be {train}, as x_train has")


def _check_images(where: str, images: NDArray[Any]) -> None:
    if images.dtype not in (np.uint8, np.float32):
        raise UserError(f"{where} has dtype {images.dtype}: must be uint8, or floating in [0, 1]")
    if images.ndim != 4:
        raise UserError(f"{where} has shape {images.shape}: must be (n, C, H, W)")
    if images.size == 0:
        raise UserError(f"{where} is empty: its shape is {images.shape}")
    if images.dtype == np.float32:
        low, high = float(images.min()), float(images.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            raise UserError(f"{where} holds NaN or infinity: must be finite")
        if low < 0 or high > 1:
            raise UserError(f"{where} runs from {low:.6g} to {high:.6g}: floating pixels must be in [0, 1]")


def _check_labels(where: str, labels: NDArray[Any], classes: int) -> None:
    if labels.dtype != np.int64:
        raise UserError(f"{where} has dtype {labels.dtype}: must be integers")
    if labels.ndim != 1:
        raise UserError(f"{where} has shape {labels.shape}: must be (n,)")
    if labels.size and not 0 <= labels.min() <= labels.max() < classes:
        raise UserError(
            f"{where} holds labels from {labels.min()} to {labels.max()}: must be within 0 to {classes - 1}"
        )
