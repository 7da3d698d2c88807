"""The data sets by name. One's own joins them so:

    @datasets.register("mine")
    def mine(data_dir):
        return make_dataset("mine", x_train, y_train, x_test, y_test)

A path of an ``.npz`` needs no registration.
"""

import hashlib
import importlib.util
import io
import math
import os
import shutil
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stderr, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from dglib.base_dir import data_directory
from dglib.errors import UserError
from dglib.files import user_path
from dglib.training.registry import Registry, call

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


ARRAYS = ("x_train", "y_train", "x_test", "y_test")


def read_npz(path: Path) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """x_train, y_train, x_test, y_test of the file, images turned to channels first: (n, C, H, W).

    In the file, images are (n, H, W) or (n, H, W, C). Raises UserError, which names the file and the array,
    for a file that is missing or no .npz, an array that is missing, damaged or of Python objects, and images
    of another shape. Types and values are checked by make_dataset.
    """
    read_headers(path)  # refuses before the data, perhaps gigabytes, are read
    with _open(path) as archive:
        x_train, y_train, x_test, y_test = (_read(path, archive, name) for name in ARRAYS)
    return _channels_first(x_train), y_train, _channels_first(x_test), y_test


def read_headers(path: Path) -> dict[str, tuple[int, ...]]:
    """The four arrays' shapes, (n, C, H, W) for images, without reading their data. Raises as read_npz."""
    with _open(path) as archive:
        shapes = {name: _read_shape(path, archive, name) for name in ARRAYS}
    for name in ("x_train", "x_test"):
        shapes[name] = _image_shape(f"{path}: {name}", shapes[name])
    return shapes


def read_labels(path: Path) -> NDArray[Any]:
    """The training labels alone, unchecked. Raises as read_npz."""
    with _open(path) as archive:
        return _read(path, archive, "y_train")


def _channels_first(images: NDArray[Any]) -> NDArray[Any]:
    return images[:, None] if images.ndim == 3 else np.moveaxis(images, 3, 1)


def _image_shape(where: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(shape) == 3:
        return (shape[0], 1, *shape[1:])
    if len(shape) != 4:
        raise UserError(f"{where} has shape {shape}: must be (n, H, W) or (n, H, W, C)")
    count, height, width, channels = shape
    if height in (1, 3) and channels > 4:  # would train on nonsense, without an error
        raise UserError(f"{where} has shape {shape}: must be (n, H, W, C), with the channels last")
    return count, channels, height, width


@contextmanager
def _open(path: Path) -> Iterator[zipfile.ZipFile]:
    if not path.exists():
        raise UserError(f"{path}: no such file")
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: cannot be read as an .npz file: {error}") from error
    with archive:
        missing = [name for name in ARRAYS if f"{name}.npy" not in archive.namelist()]
        if missing:
            raise UserError(f"{path}: {', '.join(missing)} missing: must hold {', '.join(ARRAYS)}")
        yield archive


@contextmanager
def _member(path: Path, archive: zipfile.ZipFile, name: str) -> Iterator[IO[bytes]]:
    try:
        with archive.open(f"{name}.npy") as file:
            yield file
    except (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path}: {name} cannot be read: {error}") from error


def _read(path: Path, archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    with _member(path, archive, name) as file:
        return np.asarray(npy.read_array(file, allow_pickle=False))


def _read_shape(path: Path, archive: zipfile.ZipFile, name: str) -> tuple[int, ...]:
    with _member(path, archive, name) as file:
        old = npy.read_magic(file) == (1, 0)
        shape, _, dtype = npy.read_array_header_1_0(file) if old else npy.read_array_header_2_0(file)
    if dtype.hasobject:
        raise UserError(f"{path}: {name} holds Python objects: must be numbers")
    return tuple(shape)


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
