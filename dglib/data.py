"""The data sets by name. One's own joins them so:

    @datasets.register("mine")
    def mine(data_dir):
        return make_dataset("mine", x_train, y_train, x_test, y_test)

A path of an ``.npz`` needs no registration.
"""

import importlib.util
import io
from collections.abc import Callable, Sequence
from contextlib import nullcontext, redirect_stderr, suppress
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dglib.base_dir import data_directory
from dglib.dataset import Dataset, InputShape, make_dataset
from dglib.errors import UserError
from dglib.npz import read_headers, read_labels, read_npz
from dglib.registry import Registry

__all__ = ["Dataset", "DatasetInfo", "datasets", "describe_dataset", "load_dataset", "make_dataset"]

CIFAR10_MEAN, CIFAR10_STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)  # the published protocol's

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
    progress: bool = True,
) -> Dataset:
    """Load ``digits``, ``cifar10``, the path of an ``.npz``, a registered name or ``module:attribute``.

    data_dir: where downloads lie; None: `data` in the project. pixel_mean, pixel_std: one number per
    channel, of pixels as 0..1, in place of the data set's own. progress: show a download's bar on stderr.
    Raises UserError for an unknown name, for data that cannot be had, and for arrays that are not as
    read_npz and Dataset say.
    """
    mean = None if pixel_mean is None else tuple(map(float, pixel_mean))
    std = None if pixel_std is None else tuple(map(float, pixel_std))
    if name.endswith(".npz"):
        return make_dataset(name, *read_npz(Path(name).expanduser()), mean=mean, std=std)
    loader = datasets.get(name)
    with nullcontext() if progress else redirect_stderr(io.StringIO()):
        dataset = loader(data_directory(data_dir))
    if not isinstance(dataset, Dataset):
        raise UserError(f"dataset {name!r} gives {type(dataset).__name__}: must be a dglib Dataset")
    return replace(
        dataset, mean=dataset.mean if mean is None else mean, std=dataset.std if std is None else std
    )


def describe_dataset(name: str, *, data_dir: str | Path | None = None) -> DatasetInfo:
    """The size of a data set without loading its images, but for one of the user's own, which is loaded.

    An ``.npz`` is described by its headers and training labels, so this checks less than load_dataset.
    Raises UserError for an unknown name or an unreadable file.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    if name.endswith(".npz"):
        path = Path(name).expanduser()
        shapes, labels = read_headers(path), read_labels(path)
        n_train, *input_shape = shapes["x_train"]
        classes = int(labels.max(initial=1)) + 1 if labels.dtype.kind in "iu" else 2
        channels, height, width = input_shape
        return DatasetInfo(n_train, shapes["x_test"][0], (channels, height, width), classes)
    dataset = load_dataset(name, data_dir=data_dir)
    return DatasetInfo(len(dataset.x_train), len(dataset.x_test), dataset.input_shape, dataset.classes)


@datasets.register("digits")
def digits(data_dir: Path) -> Dataset:
    """scikit-learn's embedded 8×8 digits, pixels 0..16: 1,400 to train, 397 to test, by a fixed shuffle."""
    table = _digits_table()
    images = table[:, :-1].astype(np.uint8).reshape(-1, 1, 8, 8)
    order = np.random.RandomState(0).permutation(len(table))
    train, test = order[:1400], order[1400:]
    return make_dataset("digits", images[train], table[train, -1], images[test], table[test, -1], scale=16.0)


def _digits_table() -> NDArray[np.int64]:
    """load_digits as (1797, 65): a row of 64 pixels and the label.

    Read from scikit-learn's own file, because importing scikit-learn takes seconds on a slow machine.
    """
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
    """CIFAR-10 (Krizhevsky, 2009) in the archive's order, by torchvision, in ``data_dir``.

    Downloaded there, checked by its MD5, if there is no intact copy.
    """
    train, test = _cifar10_parts(data_dir)
    return make_dataset(
        "cifar10",
        train.data.transpose(0, 3, 1, 2),
        np.array(train.targets),
        test.data.transpose(0, 3, 1, 2),
        np.array(test.targets),
        mean=CIFAR10_MEAN,
        std=CIFAR10_STD,
    )


def _cifar10_parts(data_dir: Path) -> tuple[Any, Any]:
    from filelock import FileLock
    from torchvision.datasets import CIFAR10

    def parts(download: bool) -> tuple[Any, Any]:
        return CIFAR10(data_dir, train=True, download=download), CIFAR10(data_dir, train=False)

    try:
        return parts(download=False)
    except RuntimeError:  # absent or damaged
        pass
    lock = data_dir / "cifar10.lock"  # experiments that start side by side download it once
    made = not data_dir.exists()
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with FileLock(lock):
            return parts(download=True)
    except (OSError, RuntimeError, HTTPException) as error:
        with suppress(OSError):  # leave nothing of the attempt behind
            lock.unlink(missing_ok=True)
            if made:
                data_dir.rmdir()
        raise UserError(
            f"dataset 'cifar10': no copy in {data_dir} and the download failed ({error}); put "
            f"{CIFAR10.url} there, or give the path of an .npz file as dataset"
        ) from error
