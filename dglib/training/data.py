"""The data sets by name. One's own joins them so:

    @datasets.register("mine")
    def mine(data_dir):
        return make_dataset("mine", x_train, y_train, x_test, y_test)

A path of an ``.npz`` needs no registration.
"""

import importlib.util
import io
import math
import os
import shutil
import sys
import tarfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext, redirect_stderr, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dglib.base_dir import data_directory
from dglib.errors import UserError
from dglib.files import user_path
from dglib.training.dataset import Dataset, InputShape, make_dataset
from dglib.training.npz import read_headers, read_labels, read_npz
from dglib.training.registry import Registry, call

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
    channel, of pixels as 0..1, in place of the data set's own. progress: report a download on stderr.
    Raises UserError for an unknown name, for data that cannot be had, and for arrays that are not as
    read_npz and Dataset say.
    """
    mean = None if pixel_mean is None else tuple(map(float, pixel_mean))
    std = None if pixel_std is None else tuple(map(float, pixel_std))
    if name.endswith(".npz"):
        return make_dataset(name, *read_npz(user_path(name, "dataset")), mean=mean, std=std)
    loader = datasets.get(name)
    with nullcontext() if progress else redirect_stderr(io.StringIO()):
        where = data_directory(data_dir)
        ours = name in BUILT_IN  # an error in one of these is ours, too
        dataset = loader(where) if ours else call(f"dataset {name!r} fails", loader, where)
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
        path = user_path(name, "dataset")
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

    Downloaded there, checked by its MD5, if there is no intact copy; an interrupted download is resumed. The
    environment variable DGLIB_CIFAR10_URL names a mirror, DGLIB_DOWNLOAD_TIMEOUT the seconds (30) without a
    byte until a connection counts as lost.
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
    from torchvision.datasets import CIFAR10

    from dglib.training.download import DownloadError, alone, fetch, part_of

    def parts() -> tuple[Any, Any]:
        return CIFAR10(data_dir, train=True), CIFAR10(data_dir, train=False)

    def tell(line: str) -> None:
        print(f"cifar10: {line}", file=sys.stderr, flush=True)

    def status() -> str:
        part = part_of(archive)
        so_far = f", {part.stat().st_size / 1e6:.0f} MB so far" if part.exists() else ""
        return f"waiting for another process that downloads it{so_far}"

    with suppress(RuntimeError):  # absent or damaged
        return parts()
    archive, made = data_dir / CIFAR10.filename, not data_dir.exists()
    url = os.environ.get("DGLIB_CIFAR10_URL", CIFAR10.url)
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with alone(data_dir / "cifar10.lock", status, tell):
            with suppress(RuntimeError):  # done by the process that was waited for
                return parts()
            fetch(url, archive, md5=CIFAR10.tgz_md5, tell=tell, timeout=_read_timeout())
            tell(f"unpacking {archive}")
            _unpack(archive, CIFAR10.base_folder)
        return parts()
    except (OSError, RuntimeError, DownloadError) as error:
        raise UserError(
            f"dataset 'cifar10': no copy in {data_dir} and the download failed ({error}); put "
            f"{CIFAR10.url} there, or give the path of an .npz file as dataset"
        ) from error
    finally:
        if made:
            with suppress(OSError):  # unless there is something in it
                data_dir.rmdir()


def _unpack(archive: Path, folder: str) -> None:
    """Unpack a folder of an archive beside it; each file appears whole, in place of a damaged one."""
    target, draft = archive.parent / folder, archive.parent / f".{folder}.part"
    shutil.rmtree(draft, ignore_errors=True)  # of a process that was killed
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(draft, filter="data")
        target.mkdir(exist_ok=True)
        for path in (draft / folder).iterdir():
            path.replace(target / path.name)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _read_timeout() -> float:
    """Seconds without a byte until a download counts as lost."""
    from dglib.training.download import TIMEOUT

    text = os.environ.get("DGLIB_DOWNLOAD_TIMEOUT", str(TIMEOUT))
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise UserError(f"DGLIB_DOWNLOAD_TIMEOUT = {text!r}: must be a number of seconds above 0")
    return seconds
