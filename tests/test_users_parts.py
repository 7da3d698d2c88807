"""Noises, networks and data sets of a user's own: copied, checked before anything is written, recorded."""

import numpy as np
import pytest
import users_parts
from small import CPU, random_data, small_spec

import dglib
from dglib.cli import main

TINY = ["init_epochs=1", "milestones=[]", "evaluate_every=1", "network_width=0.25", "threads=1"]


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run the command line in an empty directory; its exit status, output, and error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("dglib.campaign.run.draw_figure", lambda *_: [], raising=False)  # takes seconds

    def run(*changes, seeds="0"):
        words = ["run", "Td1", "--base-dir", "runs", "--seeds", seeds, "--set", *TINY, *changes]
        status = main(words)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def assert_refused(done, tmp_path, *words):
    """One line that holds the words, exit status 2, and nothing written."""
    status, out, error = done
    assert (status, out) == (2, "")
    assert error.startswith("dglib: error: ")
    assert error.count("\n") == 1
    assert [word for word in words if word not in error] == []
    assert list(tmp_path.iterdir()) == []


# ── noise ──


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("ignored_class", "gives labels from -100 to 9: must be 1400 integers from 0 to 9"),
        ("twice", "gives int64 of shape (2800,): must be 1400 integers"),
        ("floats", "gives float64 of shape (1400,): must be 1400 integers"),
        ("nothing", "gives None: must be 1400 integers"),
        ("fails", "fails: IndexError: index 1400 is out of bounds"),
        ("unseeded", "gives other labels when it is called again"),
        ("nonsense_declared", "expects a rate of 40: must be a number from 0 to 1"),
    ],
)
def test_a_noise_that_gives_no_labels_is_refused_in_one_line_before_anything_is_written(
    name, why, run, tmp_path
):
    assert_refused(run(f"noise=users_parts:{name}"), tmp_path, f"noise 'users_parts:{name}' {why}")


def test_an_error_in_a_users_function_is_reported_with_its_file_and_line(run, tmp_path):
    assert_refused(run("noise=users_parts:fails"), tmp_path, f"({users_parts.__file__}, line ")


def test_every_seed_asked_for_is_tried_before_anything_is_written(run, tmp_path):
    assert_refused(run("noise=users_parts:second_seed_fails", seeds="0-1"), tmp_path, "(1399,)")


def record_of(noise, seed=0, data=None, **changes):
    changes = {"init_epochs": 1, "milestones": []} | changes
    spec = small_spec("Td1", noise=f"users_parts:{noise}", **changes)
    return dglib.run_seed(spec, seed, random_data(n_train=200) if data is None else data, CPU)


def test_a_noise_that_writes_in_place_changes_neither_the_data_nor_the_next_seed():
    data = random_data(n_train=200)
    clean = data.y_train.copy()
    first = record_of("in_place", data=data)
    record_of("in_place", 1, data)
    assert np.array_equal(data.y_train, clean)
    assert record_of("in_place", data=data)["noise"] == first["noise"]


def test_integers_of_any_size_are_labels():
    noise = record_of("small_integers")["noise"]
    assert (noise["rate"], np.trace(noise["flips"])) == (0, 200)


def test_a_record_holds_the_rate_that_came_out_and_the_flips_per_class_pair():
    data = random_data(n_train=200)
    record = record_of("one_class", data=data)
    noisy = users_parts.one_class(data.y_train, 0.4, 0, 10)
    flips = np.zeros((10, 10), int)
    np.add.at(flips, (data.y_train, noisy), 1)
    assert record["noise"]["flips"] == flips.tolist()
    assert record["noise"]["rate"] == pytest.approx(np.mean(noisy != data.y_train), abs=1e-12)
    assert 0 < record["noise"]["rate"] < 0.1
    assert record["eta"] == 0.4


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("one_class", "0.0429 of the labels are wrong, where 0.4000 was expected"),
        ("shuffled", "the labels belonged to other images: are they in another order?"),
        ("constant", "where 0.4000 was expected; all labels are of class 3"),
        ("one_class_declared", None),
    ],
)
def test_an_unexpected_rate_is_one_line_at_the_start(name, line, run):
    status, out, _ = run(f"noise=users_parts:{name}")
    assert status == 0
    lines = [each for each in out.splitlines() if each.startswith(f"noise users_parts:{name}: ")]
    assert len(lines) == (line is not None)
    assert line is None or line in lines[0]


def test_a_registered_noise_declares_what_it_expects(run):
    @dglib.noises.register("declared", expected=lambda rate, labels, classes: 0.0)
    def declared(labels, rate, seed, classes):
        return labels

    status, out, _ = run("noise=declared")
    assert (status, "wrong" in out) == (0, False)


# ── networks ──


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("too_many_outputs", "must be logits of shape (2, 10)"),
        ("not_finite", "must be finite floating logits"),
        ("changes_its_input", "changes the images"),
        ("without_gradient", "gives logits without a gradient"),
        ("unused", "does not use its parameters head.weight, head.bias"),
        ("frozen", "has parameters that are not trained"),
        ("the_same_each_time", "gives the same parameters at each call"),
    ],
)
def test_a_network_that_cannot_be_trained_is_refused_in_one_line_before_anything_is_written(
    name, why, run, tmp_path
):
    assert_refused(run(f"network=users_parts:{name}"), tmp_path, f"network 'users_parts:{name}' ", why)


# ── data sets ──


def test_an_error_in_a_data_sets_function_is_one_line(run, tmp_path):
    why = "dataset 'users_parts:unreadable' fails: FileNotFoundError: no images here"
    assert_refused(run("dataset=users_parts:unreadable"), tmp_path, why)


def test_a_data_set_is_what_it_was_when_it_was_loaded(tmp_path):
    data = dglib.load_dataset("users_parts:held_arrays", data_dir=tmp_path)
    before, labels = data.fingerprint, users_parts.LABELS.copy()
    try:
        record_of("writes_to_the_arrays", data=data)
    finally:
        users_parts.LABELS[:] = labels
    assert np.array_equal(data.y_train, labels)
    for array in (data.x_train, data.y_train, data.x_test, data.y_test):
        with pytest.raises(ValueError, match="read-only"):
            array[:] = 0
    again = dglib.load_dataset("users_parts:held_arrays", data_dir=tmp_path)
    assert again.fingerprint == before
