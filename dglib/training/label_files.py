"""Noisy labels from a file (``.npy``, ``.npz``, ``.pt``), with clean labels to compare."""

from __future__ import annotations

import _codecs
import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dglib.errors import UserError
from dglib.files import user_path
from dglib.training.data import Labels

_NAME = re.compile(r"(?P<path>.+\.(?:npy|npz|pt))(?::(?P<entry>[^/\\]+))?")
_CONVERT = (
    "is damaged, or holds Python objects, which are never executed; convert these once, if you trust them: "
    "np.savez(new, clean_label=…, noisy_label=…) of its integer arrays"
)


def split_name(name: str) -> tuple[Path, str | None] | None:
    """The path and the entry that ``path`` or ``path:entry`` names; None where it is no labels' file."""
    match = _NAME.fullmatch(name)
    return None if match is None else (user_path(match["path"], "noise"), match["entry"])


@dataclass(frozen=True, eq=False)
class LabelFile:
    """A noise function whose labels come from a file; rate and seed change nothing. Made by `read`.

    clean, noisy: as in the file, unchecked; clean is None where it has none.
    """

    name: str
    clean: NDArray[Any] | None
    noisy: NDArray[Any]

    @classmethod
    def read(cls, name: str) -> LabelFile:
        """Read ``path`` or ``path:entry``.

        Raises:
            UserError: no such file or entry, several to choose from, or more than arrays and plain data.
        """
        path, entry = split_name(name) or (Path(name), None)
        if not path.is_file():
            raise UserError(f"noise {name!r}: no such file")
        content = _read(path)
        if not isinstance(content, Mapping):
            if entry is not None:
                raise UserError(f"noise {name!r}: {path} holds one array and no entry {entry!r}")
            return cls(name, None, np.asarray(content))
        clean = [key for key in content if key.startswith("clean")]
        clean = ["clean_label"] if "clean_label" in clean else clean if len(clean) == 1 else []
        noisy = [key for key in content if not key.startswith("clean")]
        if entry is None and len(noisy) == 1:
            entry = noisy[0]
        if entry not in content:
            some = ", ".join(f"{path}:{key}" for key in noisy) or "a file with an entry of noisy labels"
            raise UserError(f"noise {name!r}: must be one of {some}")
        return cls(name, np.asarray(content[clean[0]]) if clean else None, np.asarray(content[entry]))

    def __call__(self, labels: Labels, rate: float, seed: int, classes: int) -> Labels:
        """The noisy labels.

        Raises:
            UserError: the file's clean labels are not `labels`, in their order.
        """
        if self.clean is not None:
            where = f"noise {self.name!r}: its clean labels"
            if self.clean.shape != labels.shape:
                raise UserError(f"{where} have shape {self.clean.shape}: must be {labels.shape}, as the data")
            differ = int(np.count_nonzero(self.clean != labels))
            if differ:
                same = np.array_equal(np.sort(self.clean), np.sort(labels))
                why = ": the same labels in another order" if same else ""
                raise UserError(
                    f"{where} differ from the data set's in {differ} of {len(labels)} places{why}"
                )
        return self.noisy

    @property
    def note(self) -> str | None:
        """What could not be checked."""
        if self.clean is not None:
            return None
        return f"noise {self.name}: holds no clean labels, so that its order could not be checked"


def _read(path: Path) -> object:
    """An array, or several by name."""
    try:
        if path.suffix == ".pt":
            return _read_torch(path)
        with path.open("rb") as file:
            content = np.load(file, allow_pickle=False)
            return (
                content if isinstance(content, np.ndarray) else {key: content[key] for key in content.files}
            )
    except (OSError, EOFError, RuntimeError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise UserError(f"noise: {path} cannot be read: {error}") from error
    except (pickle.UnpicklingError, ValueError) as error:
        if isinstance(error, pickle.UnpicklingError) or "allow_pickle" in str(error):
            raise UserError(f"noise: {path} {_CONVERT}") from error
        raise UserError(f"noise: {path} cannot be read: {error}") from error


def _read_torch(path: Path) -> object:
    """What torch saved: tensors, NumPy arrays of numbers and plain data; nothing is executed."""
    import torch

    # As NumPy 1 and 2 name them in what torch pickles: arrays, and single numbers in lists.
    rebuild, scalar = np.zeros(0).__reduce__()[0], np.int64(0).__reduce__()[0]
    allowed: list[Any] = [np.ndarray, np.dtype, *{type(np.dtype(kind)) for kind in "bBhHiIlLqQ"}]
    allowed.append(_codecs.encode)  # pickles of protocol 2, torch's default, hold bytes by it
    for core in ("core", "_core"):
        allowed.append((rebuild, f"numpy.{core}.multiarray._reconstruct"))
        allowed.append((scalar, f"numpy.{core}.multiarray.scalar"))
    with torch.serialization.safe_globals(allowed):
        return torch.load(path, map_location="cpu", weights_only=True)
