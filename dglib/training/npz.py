"""A data set of one's own in a NumPy archive: ``x_train, y_train, x_test, y_test``, without pickles."""

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from dglib.errors import UserError

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
