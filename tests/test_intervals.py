"""Intervals and fits: their coverage, by enumeration where that is exact, and their edges."""

import math

import coverage_simulation
import numpy as np
import pytest
from scipy import stats

from dglib.analysis.fits import logistic, width_at_rate
from dglib.analysis.intervals import Bounds, clopper_pearson, clopper_pearson_undecided
from dglib.analysis.summary import median_interval

SHARES = np.linspace(0.01, 0.99, 99)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 10, 30])
def test_clopper_pearson_covers_every_share_at_least_nominally(n):
    intervals = [clopper_pearson(k, n) for k in range(n + 1)]
    for share in SHARES:
        chances = stats.binom.pmf(range(n + 1), n, share)
        covered = sum(p for p, i in zip(chances, intervals, strict=True) if i.lower <= share <= i.upper)
        assert covered >= 0.95


def test_undecided_trials_widen_the_interval_to_both_ways_they_may_have_gone():
    found = clopper_pearson_undecided(3, 2, 10)
    assert found.lower == clopper_pearson(3, 10).lower
    assert found.upper == clopper_pearson(5, 10).upper
    assert clopper_pearson_undecided(3, 0, 10) == clopper_pearson(3, 10)


def test_below_six_values_no_95_percent_interval_of_a_median_exists():
    cells = [Bounds(float(k), float(k)) for k in range(6)]
    assert [median_interval(cells[:n]) for n in range(6)] == [None] * 6
    assert median_interval(cells) == Bounds(0, 5)


@pytest.fixture
def committed():
    """The rows of the committed table by their first four columns."""
    lines = coverage_simulation.TABLE.read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line[:1] == "|"]
    return {tuple(row[:4]): row for row in cells[2:]}


@pytest.fixture(scope="module")
def rows():
    """Sixty replicates a row."""
    return coverage_simulation.table(60)


def test_the_committed_table_has_the_rows_of_the_script_and_the_same_exact_coverages(committed, rows):
    assert set(committed) == {tuple(row[:4]) for row in rows}
    exact = [row for row in rows if "exact" in row]
    assert [committed[tuple(row[:4])] for row in exact] == exact


def test_every_interval_holds_but_those_that_are_approximate(committed, rows):
    for name, case, n, *_, verdict in (*committed.values(), *rows):
        if (case, n) == ("scale", "4"):  # four networks a dose; answers show the centre alone
            continue
        if not name.startswith(("paired t", "difference")) or case in ("normal gaps", "mean over shares"):
            assert verdict == "holds", (name, case)


def test_thresholds_leave_centre_and_scale_open_where_no_cell_bounds_them():
    unseen = Bounds(0.7, math.inf)
    for cells in ([unseen] * 10, [Bounds(0.55, 0.6), *[unseen] * 9]):
        found = logistic(cells)
        assert found["centre"]["ci95"][1] is found["scale"]["ci95"][1] is None
    beyond = logistic([unseen] * 10)["centre"]
    assert (beyond["estimate"], beyond["ci95"][0] > 0.6) == (None, True)
    one = logistic([Bounds(0.5, 0.55)] * 10)
    assert one["centre"]["estimate"] == pytest.approx(0.525, abs=0.01)
    assert one["scale"]["ci95"][0] is None
    assert 0.45 < one["centre"]["ci95"][0] < 0.525 < one["centre"]["ci95"][1] < 0.6
    assert logistic([Bounds(0.5, 0.55)]) is None


def test_more_thresholds_shorten_the_intervals_and_turning_the_axis_turns_the_fit():
    cells = [Bounds(0.45, 0.5), Bounds(0.5, 0.55), Bounds(0.55, 0.6), Bounds(0.6, math.inf)]
    few, many = (logistic(cells * k)["centre"] for k in (1, 8))
    assert few["ci95"][0] < many["ci95"][0] < many["ci95"][1] < few["ci95"][1]
    turned = logistic([Bounds(-cell.upper, -cell.lower) for cell in cells * 8])["centre"]
    assert turned["estimate"] == pytest.approx(-many["estimate"], abs=0.01)


def test_the_exponent_of_width_against_rate_is_open_for_one_width_and_not_fitted_to_two_rates():
    rates = [1 / 2, 1 / 4, 1 / 8, 1 / 16] * 4
    found = width_at_rate(rates, [0.2 + 0.01 * (k % 3) for k in range(16)])
    assert found["exponent"]["ci95"] == [None, None]
    assert found["factor"]["ci95"][0] < 0 < found["factor"]["ci95"][1]
    assert width_at_rate([0.5, 0.25] * 4, [0.3, 0.2] * 4) is None
