import math
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from dglib.campaign.run import check
from dglib.errors import UserError
from dglib.experiments import build_spec
from dglib.experiments.profiles import load_profile
from dglib.training.data import Dataset, DatasetInfo, describe_dataset, load_dataset, make_dataset

# digits


def test_digits_are_scikit_learns_in_the_fixed_split(tmp_path):
    from sklearn.datasets import load_digits

    bunch = load_digits()
    order = np.random.RandomState(0).permutation(1797)
    digits = load_dataset("digits", data_dir=tmp_path)
    np.testing.assert_array_equal(digits.x_train[:, 0], bunch.images[order[:1400]])
    np.testing.assert_array_equal(digits.x_test[:, 0], bunch.images[order[1400:]])
    np.testing.assert_array_equal(digits.y_train, bunch.target[order[:1400]])
    np.testing.assert_array_equal(digits.y_test, bunch.target[order[1400:]])
    assert digits.x_train.dtype == np.uint8
    assert digits.y_train.dtype == np.int64
    assert digits.scale == 16
    pixels = bunch.images[order[:1400]] / 16
    assert digits.mean == pytest.approx([pixels.mean()])
    assert digits.std == pytest.approx([pixels.std()])
    assert list(tmp_path.iterdir()) == []


def test_mean_and_std_of_whole_pixels_are_exact_and_so_the_same_under_any_numpy(tmp_path, npz):
    """NumPy 2.1 and 2.4 sum floats to other last bits, by which the same data would have two fingerprints."""
    digits = load_dataset("digits", data_dir=tmp_path)
    assert digits.fingerprint.startswith("97c7c46ae1b6")
    own = load(npz())
    assert own.x_train.dtype == np.uint8
    for dataset, unit in ((digits, 16), (own, 255)):
        for channel, (mean, std) in enumerate(zip(dataset.mean, dataset.std, strict=True)):
            pixels = [int(value) for value in dataset.x_train[:, channel].ravel()]
            exact = Fraction(sum(pixels), len(pixels))
            variance = Fraction(sum(value**2 for value in pixels), len(pixels)) - exact**2
            assert mean == float(exact) / unit
            assert std == math.sqrt(variance * len(pixels) ** 2) / len(pixels) / unit


def test_digits_load_without_the_slow_imports():
    code = (
        "import sys; from dglib.training.data import load_dataset; load_dataset('digits', data_dir='.');"
        "print({'sklearn', 'torch', 'torchvision', 'pandas'} & set(sys.modules))"
    )
    root = Path(__file__).parents[1]
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert result.stdout == "set()\n"


# .npz


def grey(n: int, dtype: str = "uint8") -> np.ndarray:
    images = np.random.default_rng(n).integers(0, 256, (n, 6, 5), dtype=np.uint8)
    return images if dtype == "uint8" else (images / 255).astype(dtype)


def colour(n: int) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (n, 6, 5, 3), dtype=np.uint8)


def arrays(**changes: np.ndarray | None) -> dict[str, np.ndarray]:
    """Small, valid arrays, with some replaced, or left out where None."""
    valid = {"x_train": grey(8), "y_train": np.arange(8) % 4, "x_test": grey(3), "y_test": np.arange(3)}
    return {name: array for name, array in (valid | changes).items() if array is not None}


@pytest.fixture
def npz(tmp_path):
    """Write arrays to an .npz; gives its path."""

    def write(**changes: np.ndarray | None) -> str:
        path = tmp_path / "own.npz"
        np.savez(path, **arrays(**changes))
        return str(path)

    return write


def load(path: str, **options: object) -> Dataset:
    return load_dataset(path, data_dir="unused", **options)


def test_floating_images_become_float32_and_labels_int64(npz):
    own = load(npz(x_train=grey(8, ">f4"), x_test=grey(3, ">f4"), y_train=(np.arange(8) % 4).astype(">i8")))
    assert (own.x_train.dtype, own.y_train.dtype, own.scale) == (np.dtype("float32"), np.dtype("int64"), 1)
    np.testing.assert_array_equal(own.x_train[:, 0], grey(8, "float32"))
    np.testing.assert_array_equal(own.y_train, np.arange(8) % 4)


def test_colour_npz_images_are_turned_to_channels_first_with_their_own_statistics(npz):
    own = load(npz(x_train=colour(8), x_test=colour(3)))
    np.testing.assert_array_equal(own.x_train, colour(8).transpose(0, 3, 1, 2))
    assert own.x_train.flags.c_contiguous
    assert own.mean == pytest.approx((colour(8) / 255).mean(axis=(0, 1, 2)))
    assert own.std == pytest.approx((colour(8) / 255).std(axis=(0, 1, 2)))


def test_damage_inside_an_npz_names_the_array(npz):
    path = Path(npz())
    content = bytearray(path.read_bytes())
    content[content.find(grey(3).tobytes())] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(UserError, match="x_test cannot be read: Bad CRC-32"):
        load(str(path))


# Every data set


def test_the_fingerprint_depends_on_every_field_but_the_name(npz):
    own = load(npz())
    changed = [
        replace(own, x_train=own.x_train[::-1]),
        replace(own, y_train=own.y_train[::-1]),
        replace(own, x_test=own.x_test ^ 1),
        replace(own, y_test=own.y_test[::-1]),
        replace(own, x_train=own.x_train.reshape(8, 1, 5, 6), x_test=own.x_test.reshape(3, 1, 5, 6)),
        replace(own, classes=5),
        replace(own, scale=256.0),
        replace(own, mean=(0.5,)),
        replace(own, std=(0.5,)),
    ]
    prints = [own.fingerprint, *(other.fingerprint for other in changed)]
    assert len(set(prints)) == len(prints)
    assert replace(own, name="other").fingerprint == own.fingerprint
    assert replace(own, x_train=np.asfortranarray(own.x_train)).fingerprint == own.fingerprint
    assert len(own.fingerprint) == 64


def own_loader(data_dir: Path) -> Dataset:
    return make_dataset(str(data_dir), grey(8)[:, None], np.arange(8) % 4, grey(3)[:, None], np.arange(3))


asked: list[Path] = []


def noted(data_dir: Path) -> Dataset:
    asked.append(data_dir)
    return own_loader(data_dir)


def no_dataset(data_dir: Path) -> int:
    return 3


def test_the_check_before_a_run_loads_a_users_data_set_from_data_dir():
    asked.clear()
    parameters = load_profile("T1", "quick", [f"dataset={__name__}:noted", "data_dir=mine"])
    check(build_spec("T1", parameters), parameters)
    assert set(asked) == {Path("mine")}


def test_a_loader_must_give_a_dataset(tmp_path):
    with pytest.raises(UserError, match="gives int: must be a dglib Dataset"):
        load_dataset(f"{__name__}:no_dataset", data_dir=tmp_path)


def test_a_description_is_what_loading_gives(npz, tmp_path):
    own = DatasetInfo(8, 3, (1, 6, 5), 4)
    with pytest.raises(UserError, match=r"x_test has shape \(3, 30\)"):
        describe_dataset(npz(x_test=grey(3).reshape(3, 30)))
    assert describe_dataset(npz()) == own
    assert describe_dataset(npz(x_train=colour(8), x_test=colour(3))) == replace(own, input_shape=(3, 6, 5))
    assert describe_dataset(f"{__name__}:own_loader") == own
    digits = load_dataset("digits", data_dir=tmp_path)
    sizes = len(digits.x_train), len(digits.x_test), digits.input_shape, digits.classes
    assert describe_dataset("digits") == DatasetInfo(*sizes)
    assert describe_dataset("cifar10") == DatasetInfo(50_000, 10_000, (3, 32, 32), 10)


# train_size


def test_a_subset_is_balanced_the_same_on_every_call_and_part_of_a_larger_one(npz):
    labels = np.repeat(np.arange(4), [20, 20, 20, 3])  # in order, and one class short
    own = load(npz(x_train=grey(63), y_train=labels))
    small, large = own.subset(10), own.subset(40)
    assert sorted(np.bincount(small.y_train)) == [2, 2, 3, 3]
    assert np.bincount(large.y_train).tolist() == [13, 12, 12, 3]
    whole = {image.tobytes(): label for image, label in zip(own.x_train, own.y_train, strict=True)}
    pairs = [list(zip(map(bytes, part.x_train), part.y_train, strict=True)) for part in (small, large)]
    assert set(pairs[0]) < set(pairs[1])
    assert all(whole[image] == label for image, label in pairs[1])
    again = load(npz(x_train=grey(63), y_train=labels)).subset(10)
    np.testing.assert_array_equal(again.x_train, small.x_train)
    np.testing.assert_array_equal(again.subset(10).x_train, small.x_train)
    assert (small.mean, small.std, small.fingerprint) == (own.mean, own.std, own.fingerprint)
    assert len(small.x_test) == len(own.x_test)
    assert own.subset(None) is own
    np.testing.assert_array_equal(own.subset(63).x_train, own.x_train)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (1401, "train_size = 1401: must be from 10, an image per class, to 1400, all of digits"),
        (9, "train_size = 9: must be from 10, an image per class, to 1400, all of digits"),
        (63, "train_size = 63: must be at least batch_size = 64"),
    ],
)
def test_a_train_size_that_does_not_fit_is_refused_before_a_run(size, message):
    parameters = load_profile("T1", "quick", [f"train_size={size}"])
    with pytest.raises(UserError) as caught:
        check(build_spec("T1", parameters), parameters)
    assert str(caught.value) == message
    assert describe_dataset("digits", train_size=700).n_train == 700
