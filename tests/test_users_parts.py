"""Noises, networks and data sets of a user's own: copied, checked before anything is written, recorded."""

import numpy as np
import pytest
import users_parts
from small import CPU, random_data, small_spec

import dglib


def record_of(noise, seed=0, data=None):
    spec = small_spec("Td1", noise=f"users_parts:{noise}", init_epochs=1, milestones=[])
    return dglib.run_seed(spec, seed, data or random_data(n_train=200), CPU)


def test_a_noise_that_writes_in_place_changes_neither_the_data_nor_the_next_seed():
    data = random_data(n_train=200)
    clean = data.y_train.copy()
    first = record_of("in_place", data=data)
    record_of("in_place", 1, data)
    assert np.array_equal(data.y_train, clean)
    assert record_of("in_place", data=data)["noise"] == first["noise"]


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
def test_an_unexpected_rate_is_one_line_at_the_start(name, line, tiny_run):
    status, out, _ = tiny_run(f"noise=users_parts:{name}")
    assert status == 0
    lines = [each for each in out.splitlines() if each.startswith(f"noise users_parts:{name}: ")]
    assert len(lines) == (line is not None)
    assert line is None or line in lines[0]


def test_a_registered_noise_gives_integers_of_any_size_and_declares_what_it_expects(tiny_run):
    @dglib.noises.register("declared", expected=lambda rate, labels, classes: 0.0)
    def declared(labels, rate, seed, classes):
        return labels.astype(np.int8)

    status, out, _ = tiny_run("noise=declared")
    assert (status, "wrong" in out) == (0, False)


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
