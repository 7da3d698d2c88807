import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dglib.errors import UserError
from dglib.training.noise import inject_label_noise


def published_loop(labels: np.ndarray, rate: float, seed: int, classes: int) -> np.ndarray:
    """The noise as the published notebooks draw it, index by index."""
    np.random.seed(seed)  # noqa: NPY002
    noisy = labels.copy()
    for index in np.random.choice(len(labels), int(rate * len(labels)), replace=False):  # noqa: NPY002
        noisy[index] = np.random.choice([c for c in range(classes) if c != labels[index]])  # noqa: NPY002
    return noisy


@pytest.mark.parametrize(
    ("seed", "sha256"),
    [
        (0, "308f14dbce74e4486128ae275f81aba8e6f266820600339b68d536cb83dec915"),
        (1, "f75114f497a3203036567b84eb2c3dd244547bb477dc6f68e166707e66195242"),
    ],
)
def test_noisy_labels_have_the_published_hash(seed, sha256):
    noisy = inject_label_noise(np.arange(50_000) % 10, 0.4, seed)
    assert noisy.dtype == np.int64
    assert hashlib.sha256(noisy.tobytes()).hexdigest() == sha256


@pytest.mark.parametrize(("classes", "rate"), [(2, 1.0), (3, 0.0), (10, 0.4), (17, 0.123)])
def test_the_vectorised_draw_is_the_published_loop_bit_for_bit(classes, rate):
    labels = np.random.default_rng(5).integers(0, classes, 403)
    for seed in (0, 7, 2**32 - 1):
        expected = published_loop(labels, rate, seed, classes)
        np.testing.assert_array_equal(inject_label_noise(labels, rate, seed, classes), expected)


@settings(deadline=None)  # a busy machine is no error
@given(
    n=st.integers(1, 300), rate=st.floats(0, 1), seed=st.integers(0, 2**32 - 1), classes=st.integers(2, 12)
)
def test_exactly_the_asked_number_of_labels_becomes_wrong_within_the_classes(n, rate, seed, classes):
    labels = np.arange(n) % classes
    noisy = inject_label_noise(labels, rate, seed, classes)
    assert np.count_nonzero(noisy != labels) == int(rate * n)
    assert 0 <= noisy.min() <= noisy.max() < classes


def test_every_other_class_is_equally_likely():
    noisy = inject_label_noise(np.full(90_000, 3), 1.0, 0)
    counts = np.bincount(noisy, minlength=10)
    assert counts[3] == 0
    assert np.abs(np.delete(counts, 3) - 10_000).max() < 500  # five standard deviations


@pytest.mark.parametrize(
    ("labels", "rate", "seed", "message"),
    [
        ([0, 1], 1.2, 0, "noise rate = 1.2: must be from 0 to 1"),
        ([0, 1], float("nan"), 0, "noise rate = nan: must be from 0 to 1"),
        ([0, 1], 0.4, -1, "noise seed = -1: must be"),
        ([0, 1], 0.4, 2**32, "noise seed = 4294967296: must be"),
        ([0, 10], 0.4, 0, "labels run from 0 to 10: must be within 0 to 9"),
        ([[0, 1]], 0.4, 0, r"labels have shape \(1, 2\): must be \(n,\)"),
    ],
)
def test_values_out_of_range_are_refused(labels, rate, seed, message):
    with pytest.raises(UserError, match=message):
        inject_label_noise(np.array(labels), rate, seed)
