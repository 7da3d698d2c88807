import math
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms
from torchvision.transforms import functional as tv

from dglib.errors import UserError
from dglib.protocol.spec import DataSpec
from dglib.training.batches import DeviceData, crop_flip
from dglib.training.data import Dataset, DatasetInfo, describe_dataset, load_dataset, make_dataset


def test_digits_are_scikit_learns_in_the_fixed_split_with_the_fingerprint_of_earlier_releases(tmp_path):
    from sklearn.datasets import load_digits

    bunch = load_digits()
    order = np.random.RandomState(0).permutation(1797)
    digits = load_dataset("digits", data_dir=tmp_path)
    np.testing.assert_array_equal(digits.x_train[:, 0], bunch.images[order[:1400]])
    np.testing.assert_array_equal(digits.x_test[:, 0], bunch.images[order[1400:]])
    np.testing.assert_array_equal(digits.y_train, bunch.target[order[:1400]])
    np.testing.assert_array_equal(digits.y_test, bunch.target[order[1400:]])
    assert digits.scale == 16
    assert digits.fingerprint.startswith("97c7c46ae1b6")
    assert list(tmp_path.iterdir()) == []


def test_mean_and_std_of_whole_pixels_are_exact_and_so_the_same_under_any_numpy(tmp_path, npz):
    """NumPy 2.1 and 2.4 sum floats to other last bits, by which the same data would have two fingerprints."""
    for dataset, unit in ((load_dataset("digits", data_dir=tmp_path), 16), (load(npz()), 255)):
        (mean,), (std,) = dataset.mean, dataset.std
        pixels = [int(value) for value in dataset.x_train.ravel()]
        exact = Fraction(sum(pixels), len(pixels))
        variance = Fraction(sum(value**2 for value in pixels), len(pixels)) - exact**2
        assert mean == float(exact) / unit
        assert std == math.sqrt(variance * len(pixels) ** 2) / len(pixels) / unit


def test_digits_load_without_the_import_of_sklearn_or_torch():
    code = "import sys; from dglib.training.data import load_dataset; load_dataset('digits', data_dir='.')\n"
    code += "assert not {'sklearn', 'torch', 'torchvision', 'pandas'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def grey(n: int, *channels: int) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (n, 6, 5, *channels), dtype=np.uint8)


@pytest.fixture
def npz(tmp_path):
    """Write small, valid arrays to an .npz, some of them replaced; gives its path."""

    def write(**changes: np.ndarray) -> str:
        valid = {"x_train": grey(8), "y_train": np.arange(8) % 4, "x_test": grey(3), "y_test": np.arange(3)}
        np.savez(tmp_path / "own.npz", **valid | changes)
        return str(tmp_path / "own.npz")

    return write


def load(path: str) -> Dataset:
    return load_dataset(path, data_dir="unused")


def test_floating_images_become_float32_and_labels_int64(npz):
    images = [(grey(n) / 255).astype(">f4") for n in (8, 3)]
    own = load(npz(x_train=images[0], x_test=images[1], y_train=(np.arange(8) % 4).astype(">i8")))
    assert (own.x_train.dtype, own.y_train.dtype, own.scale) == (np.dtype("float32"), np.dtype("int64"), 1)
    np.testing.assert_array_equal(own.x_train[:, 0], images[0])
    np.testing.assert_array_equal(own.y_train, np.arange(8) % 4)


def test_colour_npz_images_are_turned_to_channels_first_with_their_own_statistics(npz):
    own = load(npz(x_train=grey(8, 3), x_test=grey(3, 3)))
    np.testing.assert_array_equal(own.x_train, grey(8, 3).transpose(0, 3, 1, 2))
    assert own.x_train.flags.c_contiguous
    assert own.mean == pytest.approx((grey(8, 3) / 255).mean(axis=(0, 1, 2)))
    assert own.std == pytest.approx((grey(8, 3) / 255).std(axis=(0, 1, 2)))


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


def test_a_description_is_what_loading_gives(npz, tmp_path):
    own = DatasetInfo(8, 3, (1, 6, 5), 4)
    with pytest.raises(UserError, match=r"x_test has shape \(3, 30\)"):
        describe_dataset(npz(x_test=grey(3).reshape(3, 30)))
    assert describe_dataset(npz()) == own
    assert describe_dataset(npz(x_train=grey(8, 3), x_test=grey(3, 3))) == replace(own, input_shape=(3, 6, 5))
    assert describe_dataset(f"{__name__}:own_loader") == own
    digits = load_dataset("digits", data_dir=tmp_path)
    sizes = len(digits.x_train), len(digits.x_test), digits.input_shape, digits.classes
    assert describe_dataset("digits") == DatasetInfo(*sizes)
    assert describe_dataset("cifar10") == DatasetInfo(50_000, 10_000, (3, 32, 32), 10)


def test_a_subset_is_balanced_the_same_on_every_call_and_part_of_a_larger_one(npz):
    labels = np.repeat(np.arange(4), [20, 20, 20, 3])  # in order, and one class short
    own = load(npz(x_train=grey(63), y_train=labels))
    small, large = own.subset(10), own.subset(40)
    assert sorted(np.bincount(small.y_train)) == [2, 2, 3, 3]
    assert np.bincount(large.y_train).tolist() == [13, 12, 12, 3]
    pairs = [set(zip(map(bytes, d.x_train), d.y_train, strict=True)) for d in (small, large, own)]
    assert pairs[0] < pairs[1] < pairs[2]
    np.testing.assert_array_equal(own.subset(10).x_train, small.x_train)
    np.testing.assert_array_equal(small.subset(10).x_train, small.x_train)
    assert (small.mean, small.std, small.fingerprint) == (own.mean, own.std, own.fingerprint)
    assert len(small.x_test) == len(own.x_test)
    assert own.subset(None) is own
    assert describe_dataset("digits", train_size=700).n_train == 700


CIFAR_MEAN, CIFAR_STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (8, 11)])
def test_pixels_are_torchvisions_bit_for_bit_at_every_offset(height, width):
    dy, dx, flip = torch.cartesian_prod(torch.arange(9), torch.arange(9), torch.arange(2)).unbind(1)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (len(dy), 3, height, width), dtype=torch.uint8, generator=generator)
    x, y = images.numpy(), np.zeros(len(images), np.int64)
    data = Dataset("cifar", x, y, x, y, 10, 255.0, CIFAR_MEAN, CIFAR_STD)
    ours = DeviceData(data, DataSpec("cifar", noise_rate=0.0), 0, torch.device("cpu")).inputs(
        crop_flip(images, dy, dx, flip.bool(), 4)
    )

    finish = transforms.Compose([transforms.ToTensor(), transforms.Normalize(CIFAR_MEAN, CIFAR_STD)])
    for index, pixels in enumerate(images):
        image = tv.pad(Image.fromarray(pixels.permute(1, 2, 0).numpy()), 4)  # filled with black
        image = tv.crop(image, int(dy[index]), int(dx[index]), height, width)
        if flip[index]:
            image = tv.hflip(image)
        assert torch.equal(ours[index], finish(image))
