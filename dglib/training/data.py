"""Data sets by name. Register your own so:

    @datasets.register("mine")
    def mine(data_dir):
        return make_dataset("mine", x_train, y_train, x_test, y_test)

The path of an ``.npz`` with x_train, y_train, x_test and y_test needs no registration.
"""

import hashlib
import importlib.util
import math
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dglib.base_dir import data_directory, user_path
from dglib.errors import UserError
from dglib.protocol.spec import InputShape
from dglib.training.registry import Registry, call

CIFAR10_MEAN, CIFAR10_STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)  # the published protocol's
ARRAYS = ("x_train", "y_train", "x_test", "y_test")  # of a user's .npz

Images = NDArray[np.uint8] | NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training and test images with their clean labels, in a fixed order.

    x_train, x_test: (n, C, H, W), uint8, or float32 in [0, 1]. y_train, y_test: (n,) int64 in
    0..classes-1. scale: the raw pixel value that stands for 1.0. mean, std: per channel, of pixels / scale.
    whole: for a subset, the fingerprint of the data set that it is part of.
    The arrays are read-only, the labels copies: what is trained on cannot change.
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
    whole: str = ""

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
        """SHA-256 in hex over all but the name: the arrays' shapes, dtypes and bytes, and the numbers.

        A subset has that of the whole, by which the data are recognised; its size tells subsets apart.
        """
        if self.whole:
            return self.whole
        numbers = np.array([self.classes, self.scale, *self.mean, *self.std], dtype=np.float64)
        digest = hashlib.sha256()
        for array in (numbers, self.x_train, self.y_train, self.x_test, self.y_test):
            digest.update(f"{array.shape} {array.dtype.str} ".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def subset(self, train_size: int | None) -> "Dataset":
        """With `train_size` of the training images, in their order; None: all. The test images all stay.

        The choice depends on the data set alone, so every seed and experiment trains on the same images. The
        classes have equally many, within one, as far as the images of each suffice. A smaller subset is part
        of a larger one. Mean and std are those of the whole.
        Raises UserError where `train_size` is above the number of images or below that of the classes.
        """
        if train_size is None:
            return self
        _check_train_size(self.name, train_size, len(self.y_train), self.classes)
        shuffled = np.random.RandomState(0).permutation(len(self.y_train))
        rank = np.empty(len(shuffled), np.int64)  # of an image within its class, in the shuffled order
        for label in range(self.classes):
            of_class = shuffled[self.y_train[shuffled] == label]
            rank[of_class] = np.arange(len(of_class))
        chosen = np.sort(np.lexsort((self.y_train, rank))[:train_size])
        x_train, y_train = self.x_train[chosen], self.y_train[chosen]
        return replace(self, x_train=x_train, y_train=y_train, whole=self.fingerprint)


def _check_train_size(name: str, train_size: int, n: int, classes: int) -> None:
    if not classes <= train_size <= n:
        raise UserError(
            f"train_size = {train_size}: must be from {classes}, an image per class, to {n}, all of {name}"
        )


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
    """A Dataset from plain arrays; what is not given is computed from them.

    Images (n, C, H, W): uint8, or any floating type, in [0, 1]. Labels (n,): any integer type.
    classes: the largest training label + 1, at least 2. scale: 255 for uint8, 1 for floats.
    mean, std: those of the training pixels. Raises UserError as Dataset does.
    """
    with np.errstate(over="ignore"):  # becomes infinity, which the check refuses
        x_train, x_test = (
            np.ascontiguousarray(x, np.float32 if x.dtype.kind == "f" else None) for x in (x_train, x_test)
        )
    y_train, y_test = (y.astype(np.int64) if y.dtype.kind in "iu" else y for y in (y_train, y_test))
    if classes is None:
        classes = int(y_train.max(initial=1)) + 1 if y_train.dtype == np.int64 else 2
    _check_arrays(name, x_train, y_train, x_test, y_test, classes)
    if scale is None:
        scale = 255.0 if x_train.dtype == np.uint8 else 1.0
    if mean is None or std is None:  # by channel: a float64 copy of all of CIFAR-10 would take 1.2 GB
        means, stds = zip(*map(_mean_and_std, x_train.swapaxes(0, 1)), strict=True)
        mean = [m / scale for m in means] if mean is None else mean
        std = [s / scale for s in stds] if std is None else std
    statistics = tuple(map(float, mean)), tuple(map(float, std))
    return Dataset(name, x_train, y_train, x_test, y_test, classes, scale, *statistics)


def _mean_and_std(pixels: NDArray[Any]) -> tuple[float, float]:
    """Exact for whole numbers: NumPy's sums of floats, and so the fingerprint, depend on its version."""
    if pixels.dtype != np.uint8:
        return float(np.mean(pixels, dtype=np.float64)), float(np.std(pixels, dtype=np.float64))
    n, total = pixels.size, int(pixels.sum(dtype=np.int64))
    squares = int(np.square(pixels, dtype=np.uint16).sum(dtype=np.int64))
    return total / n, math.sqrt(n * squares - total**2) / n


def _check_arrays(
    name: str,
    x_train: NDArray[Any],
    y_train: NDArray[Any],
    x_test: NDArray[Any],
    y_test: NDArray[Any],
    classes: int,
) -> None:
    if classes < 2:
        raise UserError(f"{name}: classes = {classes}: must be at least 2")
    for part, images, labels in (("train", x_train, y_train), ("test", x_test, y_test)):
        x, y = f"{name}: x_{part}", f"{name}: y_{part}"
        if images.dtype not in (np.uint8, np.float32):
            raise UserError(f"{x} has dtype {images.dtype}: must be uint8, or floating in [0, 1]")
        if images.ndim != 4:
            raise UserError(f"{x} has shape {images.shape}: must be (n, C, H, W)")
        if images.size == 0:
            raise UserError(f"{x} is empty: its shape is {images.shape}")
        if images.dtype == np.float32:
            low, high = float(images.min()), float(images.max())
            if not (math.isfinite(low) and math.isfinite(high)):
                raise UserError(f"{x} contains NaN or infinity: must be finite")
            if low < 0 or high > 1:
                raise UserError(f"{x} runs from {low:.6g} to {high:.6g}: floating pixels must be in [0, 1]")
        if labels.dtype != np.int64:
            raise UserError(f"{y} has dtype {labels.dtype}: must be integers")
        if labels.ndim != 1:
            raise UserError(f"{y} has shape {labels.shape}: must be (n,)")
        if labels.size and not 0 <= labels.min() <= labels.max() < classes:
            raise UserError(
                f"{y} has labels from {labels.min()} to {labels.max()}: must be within 0 to {classes - 1}"
            )
        if len(images) != len(labels):
            raise UserError(f"{y} has length {len(labels)}: must be {len(images)}, as x_{part} has")
    for what, (train, test) in {
        "channels, height, width": (x_train.shape[1:], x_test.shape[1:]),
        "dtype": (x_train.dtype, x_test.dtype),
    }.items():
        if train != test:
            raise UserError(f"{name}: x_test has {what} {test}: must be {train}, as x_train has")


# ── by name ──

Loader = Callable[[Path], Dataset]
"""(data_dir) -> data set; downloads go to data_dir, which need not exist."""

datasets: Registry[Loader] = Registry("dataset", also="the path of an .npz file, or module:attribute")


@dataclass(frozen=True)
class DatasetInfo:
    """The size of a data set: numbers of images, (channels, height, width), number of classes."""

    n_train: int
    n_test: int
    input_shape: InputShape
    classes: int

    @classmethod
    def of(cls, data: Dataset) -> "DatasetInfo":
        return cls(len(data.x_train), len(data.x_test), data.input_shape, data.classes)


BUILT_IN = {
    "digits": DatasetInfo(1400, 397, (1, 8, 8), 10),
    "cifar10": DatasetInfo(50_000, 10_000, (3, 32, 32), 10),
}


def load_dataset(
    name: str,
    *,
    data_dir: str | Path | None = None,
    pixel_mean: Sequence[float] | None = None,
    pixel_std: Sequence[float] | None = None,
) -> Dataset:
    """Load ``digits``, ``cifar10``, the path of an ``.npz``, a registered name or ``module:attribute``.

    data_dir: for downloads; None: `data` in the project. pixel_mean, pixel_std: one number per channel, of
    pixels as 0..1, in place of the data set's own.
    Raises UserError for an unknown name, data that cannot be read or downloaded, and invalid arrays.
    """
    if name.endswith(".npz"):
        path = user_path(name, "dataset")
        return make_dataset(name, *_read_npz(path), mean=pixel_mean, std=pixel_std)
    loader = datasets.get(name)
    dataset = call(f"dataset {name!r} fails", loader, data_directory(data_dir))
    if not isinstance(dataset, Dataset):
        raise UserError(f"dataset {name!r} gives {type(dataset).__name__}: must be a dglib Dataset")
    mean = dataset.mean if pixel_mean is None else tuple(map(float, pixel_mean))
    std = dataset.std if pixel_std is None else tuple(map(float, pixel_std))
    return replace(dataset, mean=mean, std=std)


def describe_dataset(
    name: str, *, data_dir: str | Path | None = None, train_size: int | None = None
) -> DatasetInfo:
    """The size of a data set. A user's own is loaded for that, an ``.npz`` once for each version of the file.

    train_size: as for `Dataset.subset`. Raises UserError as that and `load_dataset`.
    """
    if name in BUILT_IN:
        info = BUILT_IN[name]
    elif name.endswith(".npz") and (path := user_path(name, "dataset")).is_file():
        info = _describe_npz(str(path.absolute()), path.stat().st_mtime_ns)
    else:
        info = DatasetInfo.of(load_dataset(name, data_dir=data_dir))
    if train_size is None:
        return info
    _check_train_size(name, train_size, info.n_train, info.classes)
    return replace(info, n_train=train_size)


@lru_cache
def _describe_npz(name: str, changed: int) -> DatasetInfo:
    return DatasetInfo.of(load_dataset(name))


def _read_npz(path: Path) -> list[NDArray[Any]]:
    """The four arrays, images turned from (n, H, W) or (n, H, W, C) to (n, C, H, W)."""
    if not path.exists():
        raise UserError(f"{path}: no such file")
    reading, arrays = "", {}
    try:
        with zipfile.ZipFile(path) as archive:
            missing = [name for name in ARRAYS if f"{name}.npy" not in archive.namelist()]
            if missing:
                raise UserError(f"{path}: {', '.join(missing)} missing: must contain {', '.join(ARRAYS)}")
            for name in ARRAYS:
                reading = f" {name}"
                with archive.open(f"{name}.npy") as file:
                    arrays[name] = np.asarray(np.lib.format.read_array(file, allow_pickle=False))
    except (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        what = f"{reading} cannot be read" if reading else " cannot be read as an .npz file"
        raise UserError(f"{path}:{what}: {error}") from error
    for name in ("x_train", "x_test"):
        shape = arrays[name].shape
        if len(shape) not in (3, 4):
            raise UserError(f"{path}: {name} has shape {shape}: must be (n, H, W) or (n, H, W, C)")
        if len(shape) == 4 and shape[1] in (1, 3) and shape[3] > 4:  # would train on nonsense
            raise UserError(f"{path}: {name} has shape {shape}: must be (n, H, W, C), with the channels last")
        arrays[name] = arrays[name][:, None] if len(shape) == 3 else np.moveaxis(arrays[name], 3, 1)
    return [arrays[name] for name in ARRAYS]


@datasets.register("digits")
def digits(data_dir: Path) -> Dataset:
    """scikit-learn's embedded 8×8 digits, pixels 0..16: 1,400 to train, 397 to test, by a fixed shuffle."""
    table = _digits_table()
    images = table[:, :-1].astype(np.uint8).reshape(-1, 1, 8, 8)
    order = np.random.RandomState(0).permutation(len(table))
    train, test = order[:1400], order[1400:]
    return make_dataset("digits", images[train], table[train, -1], images[test], table[test, -1], scale=16.0)


def _digits_table() -> NDArray[np.int64]:
    """(1797, 65), a row of 64 pixels and the label, from scikit-learn's file: importing it takes seconds."""
    spec = importlib.util.find_spec("sklearn")
    if spec is None:
        raise UserError("dataset 'digits' comes with scikit-learn, which is not installed")
    for folder in spec.submodule_search_locations or ():
        path = Path(folder, "datasets", "data", "digits.csv.gz")
        if path.is_file():
            return np.loadtxt(path, delimiter=",", dtype=np.int64)
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return np.column_stack([bunch.data, bunch.target]).astype(np.int64)


@datasets.register("cifar10")
def cifar10(data_dir: Path) -> Dataset:
    """CIFAR-10 (Krizhevsky, 2009) in the archive's order, by torchvision, downloaded to ``data_dir``."""
    from dglib.training.download import cifar10_parts

    train, test = cifar10_parts(data_dir)
    x_train, x_test = (part.data.transpose(0, 3, 1, 2) for part in (train, test))
    y_train, y_test = np.array(train.targets), np.array(test.targets)
    return make_dataset("cifar10", x_train, y_train, x_test, y_test, mean=CIFAR10_MEAN, std=CIFAR10_STD)
