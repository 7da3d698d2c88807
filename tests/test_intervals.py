"""What is claimed of the intervals: coverage by enumeration where that is exact, and their edges."""

import coverage_simulation
import numpy as np
import pytest
from scipy import stats

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


def cells_of(lowers, uppers):
    return [Bounds(float(low), float(high)) for low, high in zip(lowers, uppers, strict=True)]


def test_below_six_values_no_95_percent_interval_of_a_median_exists():
    assert [median_interval(cells_of(range(n), range(n))) for n in range(6)] == [None] * 6
    assert median_interval(cells_of(range(6), range(6))) == Bounds(0, 5)


@pytest.fixture
def committed():
    """The rows of the committed table by their first four columns."""
    lines = coverage_simulation.TABLE.read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line[:1] == "|"]
    return {tuple(row[:4]): row for row in cells[2:]}


@pytest.fixture(scope="module")
def rows():
    """Sixty replicates a row."""
    return [row.cells for row in coverage_simulation.table(60)]


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
