"""What is claimed about hysteresis widths: of one seed's loop, and between the sweeps of T1 and T2."""

import pytest
from analysis_cases import evaluation, t1, t2
from by_name import summarise, width


def test_bounds_are_those_of_each_seeds_own_pair():
    found = width([t1(0, 0.60), t1(1, 0.70)], [t2(1, 0.35), t2(0, 0.30)])
    bounds = {seed["seed"]: (seed["lower"], seed["upper"]) for seed in found["seeds"]}
    assert bounds == {0: (0.20, 0.30), 1: (0.25, 0.35)}
    median = found["estimates"]["width"]
    assert (median["lower"], median["upper"]) == pytest.approx((0.225, 0.325))


def test_overlapping_cells_prove_no_width():
    def proven(up, down):
        return width([t1(0, up)], [t2(0, down)])["estimates"]["above_zero"]["count"]

    assert proven(0.40, 0.35) == 0  # (0.35, 0.40] against [0.35, 0.40)
    assert proven(0.45, 0.35) == 1  # cells that meet: the ends are open


def test_a_closed_loop_has_its_width_with_the_bounds_of_both_cells():
    (loop,) = summarise("T1", [t1(0, 0.60, back=0.35, returns=True)])["loop"]["seeds"]
    assert (loop["outcome"], loop["lambda_up"], loop["lambda_down"]) == ("closed", 0.6, 0.35)
    assert loop["width"] == 0.2  # the centre of its cell
    assert (loop["lower"], loop["upper"]) == pytest.approx((0.15, 0.25))


def test_an_open_loop_is_wider_than_what_was_swept():
    loop = summarise("T1", [t1(0, 0.60, back=None, returns=True)])["loop"]
    assert loop["outcomes"] == {"closed": 0, "open": 1, "diverged": 0}
    assert (loop["seeds"][0]["lower"], loop["seeds"][0]["upper"]) == pytest.approx((0.25, None))
    assert loop["estimates"]["width"]["censored"] == "right"


def test_a_way_back_that_diverged_is_neither_open_nor_trapped():
    record = t1(0, 0.60, back=None, returns=True)
    for entry in record["return_trajectory"]:
        entry |= evaluation("return", entry["lambda"], entry["epoch"], None, constant=True)
    loop = summarise("T1", [record])["loop"]
    assert loop["outcomes"] == {"closed": 0, "open": 0, "diverged": 1}
    assert not loop["seeds"][0]["trapped"]
    assert loop["seeds"][0]["lower"] is None


def test_loops_are_summed_up_with_the_open_ones():
    records = [t1(0, 0.60, 0.35, True), t1(1, 0.65, 0.30, True), t1(2, 0.65, None, True)]
    loop = summarise("T1", records)["loop"]
    found = loop["estimates"]["width"]
    assert (loop["n"], found["lower"], found["upper"]) == (3, pytest.approx(0.25), pytest.approx(0.35))
