"""Label noise: which training labels are wrong, a function of the labels, the rate and the seed alone.

Labels can come from a file (``.npy``, ``.npz``, ``.pt``), where the rate and the seed change nothing.
Register your own, with the share of wrong labels that it means by a rate where that is not the rate:

    @noises.register("pairs", expected=lambda rate, labels, classes: rate * np.isin(labels, (3, 5)).mean())
    def pairs(labels, rate, seed, classes):
        ...

A function that is named by ``module:attribute`` may have that as its attribute ``expected``.
"""

from __future__ import annotations

import _codecs
import hashlib
import pickle
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dglib.base_dir import user_path
from dglib.errors import UserError
from dglib.training.data import Labels
from dglib.training.registry import Registry, call

NoiseFunction = Callable[[Labels, float, int, int], Labels]
"""(labels, rate, seed, classes) -> noisy labels, integers of any kind, of the same length.

The labels are a copy of its own. The same arguments must give the same labels.
"""
Expectation = Callable[[float, Labels, int], float]
"""(rate, labels, classes) -> the share of wrong labels that a noise function means, 0 to 1."""

TOLERANCE = 0.01  # of the share of wrong labels


class Noises(Registry[NoiseFunction]):
    """Noise functions by name, or from a file of labels."""

    def __init__(self) -> None:
        super().__init__("noise", also="module:attribute, or the path of a .npy, .npz or .pt with labels")

    def register(
        self, name: str, *, expected: Expectation | None = None
    ) -> Callable[[NoiseFunction], NoiseFunction]:
        """As `Registry.register`. `expected` is declared where it is not the rate itself."""

        def decorate(entry: NoiseFunction) -> NoiseFunction:
            if expected is not None:
                entry.expected = expected  # type: ignore[attr-defined]
            return register(entry)

        register = super().register(name)
        return decorate

    def get(self, name: str) -> NoiseFunction:
        """As `Registry.get`; of a labels' file, what it holds."""
        if name not in self._entries and split_name(name) is not None:
            return LabelFile.read(name)
        return super().get(name)

    def source(self, name: str) -> str | None:
        return None if split_name(name) is not None else super().source(name)

    def is_own(self, name: str) -> bool:
        return split_name(name) is not None or super().is_own(name)


noises = Noises()


@dataclass(frozen=True, eq=False)
class NoisyLabels:
    """Checked labels of one seed.

    labels: (n,) int64 in 0..classes-1. flips: (classes, classes) counts, clean class by noisy class.
    expected: the share of wrong labels that was meant.
    """

    labels: Labels
    flips: NDArray[np.int64]
    expected: float

    @property
    def rate(self) -> float:
        """The share of wrong labels that came out."""
        return 1 - int(self.flips.trace()) / len(self.labels)

    @property
    def fingerprint(self) -> str:
        """SHA-256 in hex of the labels."""
        return hashlib.sha256(self.labels.astype("<i8").tobytes()).hexdigest()

    @property
    def is_as_expected(self) -> bool:
        return abs(self.rate - self.expected) <= TOLERANCE

    @property
    def looks_shuffled(self) -> bool:
        """Whether more labels are wrong than expected, as many as if they belonged to other images.

        The classes are then about as frequent as in the clean labels.
        """
        n, noisy, clean = len(self.labels), self.flips.sum(0), self.flips.sum(1)
        chance = 1 - float(noisy @ clean) / n**2
        by_chance = abs(self.rate - chance) < 3 * (chance / n) ** 0.5
        return self.rate > self.expected + TOLERANCE and by_chance and abs(noisy - clean).sum() < 0.2 * n

    def describe(self) -> dict[str, Any]:
        """As plain data, for the record."""
        plain = {"rate": self.rate, "expected": self.expected, "flips": self.flips.tolist()}
        return plain | {"labels": self.fingerprint}


def make_noise(
    name: str, labels: Labels, rate: float, seed: int, classes: int, entry: NoiseFunction | None = None
) -> NoisyLabels:
    """The noisy labels of one seed by the noise `name`, checked; `labels` stay as they are.

    entry: the noise's, where it has been looked up already.

    Raises:
        UserError: it is unknown, fails, or gives other than n integers in 0..classes-1.
    """
    entry = noises.get(name) if entry is None else entry
    given = call(f"noise {name!r} fails", entry, np.array(labels), rate, seed, classes)
    noisy = _checked(name, given, len(labels), classes)
    expected: object = rate
    if (declared := getattr(entry, "expected", None)) is not None:
        expected = call(f"noise {name!r}: expected fails", declared, rate, np.array(labels), classes)
    if not isinstance(expected, int | float | np.number) or not 0 <= expected <= 1:
        raise UserError(f"noise {name!r} expects a rate of {expected!r}: must be a number from 0 to 1")
    flips = np.bincount(labels * classes + noisy, minlength=classes**2).reshape(classes, classes)
    return NoisyLabels(noisy, flips, float(expected))


def try_noise(name: str, labels: Labels, rate: float, seeds: Sequence[int], classes: int) -> list[str]:
    """Try a noise of the user's own for each of the seeds; a line for whatever is not as expected.

    Raises:
        UserError: as `make_noise`, and for a function that gives other labels when it is called again.
    """
    if not noises.is_own(name):
        return []
    entry = noises.get(name)
    tried = [make_noise(name, labels, rate, seed, classes, entry) for seed in seeds]
    if not isinstance(entry, LabelFile):
        again = make_noise(name, labels, rate, seeds[0], classes, entry)
        if again.fingerprint != tried[0].fingerprint:
            raise UserError(
                f"noise {name!r} gives other labels when it is called again: must depend on its arguments"
                " alone (np.random.RandomState(seed))"
            )
    lines = []
    if isinstance(entry, LabelFile) and entry.clean is None:
        lines.append(f"noise {name}: holds no clean labels, so that its order could not be checked")
    if not all(made.is_as_expected for made in tried):
        rates = [made.rate for made in tried]
        shares = dict.fromkeys(f"{rate:.4f}" for rate in (min(rates), max(rates)))
        line = f"noise {name}: {' to '.join(shares)} of the labels are wrong"
        line += f", where {tried[0].expected:.4f} was expected"
        if any(made.looks_shuffled for made in tried):
            line += "; as many as if the labels belonged to other images: are they in another order?"
        if single := [made.labels[0] for made in tried if (made.labels == made.labels[0]).all()]:
            line += f"; all labels are of class {single[0]}"
        lines.append(line)
    return lines


def _checked(name: str, given: object, n: int, classes: int) -> Labels:
    must = f"must be {n} integers from 0 to {classes - 1}"
    try:
        array = np.asarray(given)
    except (TypeError, ValueError) as error:
        raise UserError(f"noise {name!r} gives no array ({error}): {must}") from error
    if array.shape != (n,) or array.dtype.kind not in "iu":
        raise UserError(f"noise {name!r} gives {array.dtype} of shape {array.shape}: {must}")
    if n and not (array.min() >= 0 and array.max() < classes):
        raise UserError(f"noise {name!r} gives labels from {array.min()} to {array.max()}: {must}")
    return array.astype(np.int64)


def _symmetric_share(rate: float, labels: Labels, classes: int) -> float:
    return int(rate * len(labels)) / len(labels)


@noises.register("symmetric", expected=_symmetric_share)
def inject_label_noise(labels: NDArray[np.integer], rate: float, seed: int, classes: int = 10) -> Labels:
    """Replace ``int(rate·n)`` of the ``n`` labels by one of the other classes, each equally likely.

    labels: (n,) integers in 0..classes-1, left unchanged. rate: 0 to 1. seed: 0 to 2**32 - 1.
    Returns a new (n,) int64 array. Raises UserError for values outside these ranges.

    Bit for bit the noise of the published runs (HIDEKI, Dual-Gradient Learning, Paper A): NumPy's legacy
    stream draws the indices without replacement, then for each in turn one of the other classes, ascending.
    """
    noisy = np.array(labels, dtype=np.int64)
    if noisy.ndim != 1:
        raise UserError(f"labels have shape {noisy.shape}: must be (n,)")
    if not 0 <= rate <= 1:
        raise UserError(f"noise rate = {rate}: must be from 0 to 1")
    if not 0 <= seed < 2**32:
        raise UserError(f"noise seed = {seed}: must be from 0 to 2**32 - 1")
    if noisy.size and not 0 <= noisy.min() <= noisy.max() < classes:
        raise UserError(f"labels run from {noisy.min()} to {noisy.max()}: must be within 0 to {classes - 1}")
    random = np.random.RandomState(seed)
    chosen = random.choice(noisy.size, int(rate * noisy.size), replace=False)
    # One array draw of randint is the same stream as a choice among classes - 1 values per index.
    drawn = random.randint(0, classes - 1, size=chosen.size)
    noisy[chosen] = drawn + (drawn >= noisy[chosen])
    return noisy


# ── labels from a file ──

_NAME = re.compile(r"(?P<path>.+\.(?:npy|npz|pt))(?::(?P<entry>[^/\\]+))?")


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


def _read(path: Path) -> object:
    """An array, or several by name."""
    try:
        if path.suffix == ".pt":
            return _read_torch(path)
        with path.open("rb") as file:
            content = np.load(file, allow_pickle=False)
            return content if isinstance(content, np.ndarray) else {key: content[key] for key in content}
    except Exception as error:  # whatever a damaged file makes a reader raise
        if isinstance(error, pickle.UnpicklingError) or "allow_pickle" in str(error):
            raise UserError(
                f"noise: {path} is damaged, or holds Python objects, which are never executed; convert these"
                " once, if you trust them: np.savez(new, clean_label=…, noisy_label=…) of its integer arrays"
            ) from error
        raise UserError(f"noise: {path} cannot be read: {' '.join(str(error).split())}") from error


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
