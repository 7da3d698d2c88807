"""The published label noise; and labels from a file: read, compared with the data set, part of the run."""

import hashlib
import json

import numpy as np
import pytest
import torch

from dglib.cli import main
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


@pytest.mark.parametrize(
    ("labels", "rate", "seed", "message"),
    [
        ([0, 1], 1.2, 0, "noise rate = 1.2: must be from 0 to 1"),
        ([0, 1], 0.4, 2**32, "noise seed = 4294967296: must be"),
        ([0, 10], 0.4, 0, "labels run from 0 to 10: must be within 0 to 9"),
        ([[0, 1]], 0.4, 0, r"labels have shape \(1, 2\): must be \(n,\)"),
    ],
)
def test_values_out_of_range_are_refused(labels, rate, seed, message):
    with pytest.raises(UserError, match=message):
        inject_label_noise(np.array(labels), rate, seed)


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


def record(tmp_path, seed=0):
    (path,) = tmp_path.glob("runs/*/Td1_results.json")
    return next(one for one in json.loads(path.read_text()) if one["seed"] == seed)


def save(name, **entries):
    if name.endswith(".pt"):
        torch.save(entries, name)
    else:
        np.savez(name, **entries)


def test_of_several_entries_the_named_one_is_taken_from_arrays_tensors_or_lists(run, tmp_path):
    save("human.pt", clean_label=torch.tensor(LABELS), aggre_label=NOISY, worse_label=list(WORSE))
    status, out, _ = run("human.pt:worse_label")
    assert status == 0
    assert record(tmp_path)["noise"]["rate"] == 0.5
    assert "noise human.pt:worse_label: 0.5000 of the labels are wrong, where 0.2500 was expected" in out


def test_an_array_without_clean_labels_is_taken_and_said_to_be_unchecked(run, tmp_path):
    np.save("labels.npy", NOISY.astype(np.uint8))
    status, out, _ = run("labels.npy")
    assert status == 0
    assert "noise labels.npy: holds no clean labels, so that its order could not be checked" in out
    assert record(tmp_path)["noise"]["rate"] == 0.25


def swapped(labels):
    return labels[::-1].copy()


REFUSED = {
    "another order": ({"clean_label": swapped(LABELS), "noisy": NOISY}, "the same labels in another order"),
    "other labels": (
        {"clean_label": (LABELS + 1) % 10, "noisy": NOISY},
        "differ from the data set's in 60 of 60",
    ),
    "noisy too short": (
        {"clean_label": LABELS, "noisy": NOISY[:-1]},
        "int64 of shape (59,): must be 60 integers",
    ),
    "several": ({"clean_label": LABELS, "a": NOISY, "b": WORSE}, "must be one of labels.npz:a, labels.npz:b"),
    "none": ({"clean_label": LABELS}, "must be one of a file with an entry of noisy labels"),
    "out of range": ({"clean_label": LABELS, "noisy": NOISY + 1}, "gives labels from 1 to 10: must be"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_labels_that_are_not_the_data_sets_are_refused_in_one_line_before_anything_is_written(
    case, run, tmp_path
):
    entries, why = REFUSED[case]
    save("labels.npz", **entries)
    status, out, error = run("labels.npz")
    assert (status, out, error.count("\n")) == (2, "", 1)
    assert why in error
    assert not (tmp_path / "runs").exists()


class Code:
    def __reduce__(self):
        return print, ("executed",)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("objects.npz", "objects.npz is damaged, or holds Python objects, which are never executed"),
        ("objects.pt", "objects.pt is damaged, or holds Python objects, which are never executed"),
        ("torn.npz", "torn.npz cannot be read: "),
        ("torn.pt", "torn.pt cannot be read: "),
        ("absent.pt:worse_label", "noise 'absent.pt:worse_label': no such file"),
        ("labels.npz:absent", "noise 'labels.npz:absent': must be one of labels.npz:noisy"),
    ],
)
def test_objects_a_torn_file_and_what_is_missing_are_refused_in_one_line_and_nothing_is_executed(
    name, why, run, tmp_path
):
    save("labels.npz", clean_label=LABELS, noisy=NOISY)
    torch.save({"clean_label": LABELS, "noisy": Code()}, "objects.pt")
    np.savez("objects.npz", np.array([Code()], dtype=object))
    for torn in ("torn.npz", "torn.pt"):
        (tmp_path / torn).write_bytes(b"PK\x03\x04 and no more")
    status, out, error = run(name)
    assert (status, out, error.count("\n")) == (2, "", 1)
    assert why in error
    assert not (tmp_path / "runs").exists()


def directories(tmp_path):
    return sorted(path.name for path in (tmp_path / "runs").iterdir() if path.is_dir())


def test_what_the_file_holds_identifies_the_run_and_not_where_it_lies(run, tmp_path):
    save("labels.npz", clean_label=LABELS, noisy=NOISY)
    run("labels.npz")
    (tmp_path / "labels.npz").rename(tmp_path / "moved.npz")
    status, out, _ = run("moved.npz", seeds="0-1")
    assert (status, len(directories(tmp_path))) == (0, 1)
    assert "resuming" in out
    save("moved.npz", clean_label=LABELS, noisy=WORSE)
    _, out, _ = run("moved.npz")
    assert len(directories(tmp_path)) == 2
    assert "differs in noise moved.npz gives other labels since " in out
    assert main(["verify", "runs"]) == 0
