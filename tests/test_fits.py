"""Fits with profile intervals; their coverage is in tests/results/interval_coverage.md."""

import math

import pytest

from dglib.analysis.fits import logistic, width_at_rate
from dglib.analysis.intervals import Bounds


def test_thresholds_that_no_cell_bounds_from_above_have_no_estimate_and_an_open_interval():
    found = logistic([Bounds(0.7, math.inf)] * 10)
    assert found["centre"]["estimate"] is None
    low, high = found["centre"]["ci95"]
    assert (low > 0.6, high) == (True, None)


def test_the_scale_is_open_where_the_centre_is():
    for cells in ([Bounds(0.7, math.inf)] * 10, [Bounds(0.55, 0.6), *[Bounds(0.7, math.inf)] * 9]):
        found = logistic(cells)
        assert found["centre"]["ci95"][1] is None
        assert found["scale"]["ci95"][1] is None


def test_thresholds_in_one_cell_leave_the_scale_open_towards_zero():
    found = logistic([Bounds(0.5, 0.55)] * 10)
    assert found["centre"]["estimate"] == pytest.approx(0.525, abs=0.01)
    assert found["scale"]["ci95"][0] is None
    assert 0.45 < found["centre"]["ci95"][0] < 0.525 < found["centre"]["ci95"][1] < 0.6


def test_more_thresholds_shorten_the_intervals_and_turning_the_axis_turns_the_fit():
    cells = [Bounds(0.45, 0.5), Bounds(0.5, 0.55), Bounds(0.55, 0.6), Bounds(0.6, math.inf)]
    few, many = (logistic(cells * k)["centre"] for k in (1, 8))
    assert few["ci95"][0] < many["ci95"][0] < many["ci95"][1] < few["ci95"][1]
    turned = logistic([Bounds(-cell.upper, -cell.lower) for cell in cells * 8])["centre"]
    assert turned["estimate"] == pytest.approx(-many["estimate"], abs=0.01)


def test_a_width_that_does_not_depend_on_the_rate_leaves_the_exponent_open():
    rates = [1 / 2, 1 / 4, 1 / 8, 1 / 16] * 4
    found = width_at_rate(rates, [0.2 + 0.01 * (k % 3) for k in range(16)])
    assert found["exponent"]["ci95"] == [None, None]
    low, high = found["factor"]["ci95"]
    assert low < 0 < high


def test_two_rates_cannot_separate_an_exponent_from_a_width_at_rest():
    assert width_at_rate([0.5, 0.25] * 4, [0.3, 0.2] * 4) is None
    assert logistic([Bounds(0.5, 0.55)]) is None
