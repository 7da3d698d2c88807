"""The published label noise; and labels from a file: read, compared with the data set, part of the run."""

import hashlib
import json

import numpy as np
import pytest
import torch

from dglib.cli import main
from dglib.training.noise import inject_label_noise


def published_loop(labels: np.ndarray, rate: float, seed: int, classes: int) -> np.ndarray:
    """The noise as the published notebooks draw it, index by index."""
    np.random.seed(seed)  # noqa: NPY002
    noisy = labels.copy()
    for index in np.random.choice(len(labels), int(rate * len(labels)), replace=False):  # noqa: NPY002
        noisy[index] = np.random.choice([c for c in range(classes) if c != labels[index]])  # noqa: NPY002
    return noisy


def test_noisy_labels_have_the_published_hash():
    noisy = inject_label_noise(np.arange(50_000) % 10, 0.4, 0)
    assert noisy.dtype == np.int64
    published = "308f14dbce74e4486128ae275f81aba8e6f266820600339b68d536cb83dec915"
    assert hashlib.sha256(noisy.tobytes()).hexdigest() == published


@pytest.mark.parametrize(("classes", "rate"), [(2, 1.0), (3, 0.0), (10, 0.4), (17, 0.123)])
def test_the_vectorised_draw_is_the_published_loop_bit_for_bit(classes, rate):
    labels = np.random.default_rng(5).integers(0, classes, 403)
    for seed in (0, 7, 2**32 - 1):
        expected = published_loop(labels, rate, seed, classes)
        np.testing.assert_array_equal(inject_label_noise(labels, rate, seed, classes), expected)


N = 60
LABELS = np.arange(N) % 10
NOISY = np.where(np.arange(N) < 15, (LABELS + 1) % 10, LABELS)  # a quarter is wrong
WORSE = np.where(np.arange(N) < 30, (LABELS + 3) % 10, LABELS)


@pytest.fixture
def run(tiny_run, tmp_path):
    """Run on a small data set, with labels that the command's directory has."""
    images = np.random.default_rng(0).integers(0, 256, (N, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "data.npz", x_train=images, y_train=LABELS, x_test=images[:20], y_test=LABELS[:20])

    def run(noise, **options):
        return tiny_run("dataset=data.npz", f"noise={noise}", "noise_rate=0.25", **options)

    return run


def record(tmp_path, base="runs"):
    (path,) = tmp_path.glob(f"{base}/*/Td1_results.json")
    (found,) = json.loads(path.read_text())
    return found


def test_an_entry_of_arrays_tensors_or_lists_is_taken_and_what_is_unexpected_or_unchecked_is_one_line(
    run, tmp_path
):
    torch.save(
        {"clean_label": torch.tensor(LABELS), "aggre_label": NOISY, "worse_label": list(WORSE)}, "human.pt"
    )
    status, out, _ = run("human.pt:worse_label")
    assert (status, record(tmp_path)["noise"]["rate"]) == (0, 0.5)
    assert "noise human.pt:worse_label: 0.5000 of the labels are wrong, where 0.2500 was expected" in out
    np.save("labels.npy", NOISY.astype(np.uint8))
    status, out, _ = run("labels.npy", base="other")
    assert (status, record(tmp_path, "other")["noise"]["rate"]) == (0, 0.25)
    assert "noise labels.npy: holds no clean labels, so that its order could not be checked" in out


class Code:
    def __reduce__(self):
        return print, ("executed",)


FILES = {
    "good.npz": {"clean_label": LABELS, "noisy": NOISY},
    "order.npz": {"clean_label": LABELS[::-1], "noisy": NOISY},
    "other.npz": {"clean_label": (LABELS + 1) % 10, "noisy": NOISY},
    "short.npz": {"clean_label": LABELS, "noisy": NOISY[:-1]},
    "two.npz": {"clean_label": LABELS, "a": NOISY, "b": WORSE},
    "none.npz": {"clean_label": LABELS},
    "range.npz": {"clean_label": LABELS, "noisy": NOISY + 1},
    "objects.npz": {"noisy": np.array([Code()], dtype=object)},
}
DAMAGED = "is damaged, or holds Python objects, which are never executed"
REFUSED = {
    "order.npz": "the same labels in another order",
    "other.npz": "differ from the data set's in 60 of 60",
    "short.npz": "int64 of shape (59,): must be 60 integers",
    "two.npz": "must be one of two.npz:a, two.npz:b",
    "none.npz": "must be one of a file with an entry of noisy labels",
    "range.npz": "gives labels from 1 to 10: must be",
    "objects.npz": f"objects.npz {DAMAGED}",
    "objects.pt": f"objects.pt {DAMAGED}",
    "torn.npz": "torn.npz cannot be read: ",
    "torn.pt": "torn.pt cannot be read: ",
    "absent.pt:noisy": "noise 'absent.pt:noisy': no such file",
    "good.npz:absent": "noise 'good.npz:absent': must be one of good.npz:noisy",
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_does_not_fit_is_refused_in_one_line_with_nothing_executed_or_written(
    name, run, tmp_path
):
    for file, entries in FILES.items():
        np.savez(file, **entries)
    torch.save({"noisy": Code()}, "objects.pt")
    for torn in ("torn.npz", "torn.pt"):
        (tmp_path / torn).write_bytes(b"PK\x03\x04 and no more")
    status, out, error = run(name)
    assert (status, out, error.count("\n")) == (2, "", 1)
    assert REFUSED[name] in error
    assert not (tmp_path / "runs").exists()


def test_what_the_file_holds_identifies_the_run_and_not_where_it_lies(run, tmp_path):
    np.savez("labels.npz", clean_label=LABELS, noisy=NOISY)
    run("labels.npz")
    (tmp_path / "labels.npz").rename(tmp_path / "moved.npz")
    status, out, _ = run("moved.npz", seeds="0-1")
    assert (status, len(list(tmp_path.glob("runs/exp_*")))) == (0, 1)
    assert "resuming" in out
    np.savez("moved.npz", clean_label=LABELS, noisy=WORSE)
    _, out, _ = run("moved.npz")
    assert len(list(tmp_path.glob("runs/exp_*"))) == 2
    assert "differs in noise moved.npz gives other labels since " in out
    assert main(["verify", "runs"]) == 0
