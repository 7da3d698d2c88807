"""What is claimed about V3's two branches."""

import pytest
from analysis_cases import ALL_LEVELS, v3
from by_name import summarise
from scipy import stats

from dglib.analysis.curves import Curve, median_curve
from dglib.experiments.branches import gaps


def bare(record: dict) -> dict:
    """The fields of the published format alone."""
    fields = ("seed", "arch", "ordered_init", "collapse_init", "experiment_id")
    branches = ("ordered_trajectory", "collapse_trajectory")
    entry = ("lambda", "error")
    kept = {field: record[field] for field in fields}
    return kept | {branch: [{f: e[f] for f in entry} for e in record[branch]] for branch in branches}


@pytest.mark.parametrize("form", [lambda record: record, bare])
def test_the_gap_pairs_the_branches_at_the_same_level(form):
    record = form(v3(0, gap=0.3))
    found = gaps(record)
    assert list(found) == ALL_LEVELS
    assert found[0.50] == pytest.approx(0.3)
    assert found[0.40] == pytest.approx(0.1)
    summary = summarise("V3", [record])
    assert summary["by_start"]["collapsed"]["gap_mean"]["mean"] == pytest.approx(0.3)
    assert summary["seeds"][0]["start"] == "collapsed"


@pytest.mark.parametrize(
    ("found", "two"),
    [
        ((0.2, 0.21), "yes"),
        ((0.05, 0.045), "no"),
        ((-0.3, -0.3), "no"),
        ((0.2, 0.4), "undecided"),  # 0.3 ± 1.27
        ((0.05, 0.15), "undecided"),
        ((0.5,), "undecided"),
    ],
)
def test_two_branches_are_claimed_only_where_the_interval_excludes_the_limit(found, two):
    assert summarise("V3", [v3(seed, gap) for seed, gap in enumerate(found)])["two_branches"] == two


def test_the_gap_has_an_interval_at_every_level_paired_by_seed():
    records = [v3(0, 0.2), v3(1, 0.3), v3(2, 0.4), v3(3, trapped=True)]
    curve = {step["lambda"]: step for step in summarise("V3", records)["gap_by_level"]["collapsed"]}
    assert list(curve) == ALL_LEVELS
    known = stats.ttest_1samp([0.2, 0.3, 0.4], 0).confidence_interval()
    assert (curve[0.5]["n"], curve[0.5]["mean"]) == (3, pytest.approx(0.3))
    assert curve[0.5]["ci95"] == pytest.approx(list(known))
    assert [step["n"] for step in summarise("V3", records)["gap_by_level"]["trapped"]] == [1] * 9


def test_the_limit_and_the_level_are_those_of_the_experiment():
    records = [v3(0, gap=0.2), v3(1, gap=0.2)]
    for record in records:
        record["parameters"] |= {"gap_lambda": 0.35, "gap_error": 0.3}
    summary = summarise("V3", records)
    assert summary["by_start"]["collapsed"]["gap_mean"]["mean"] == pytest.approx(0.2 / 3)
    assert (summary["gap_lambda"], summary["two_branches"]) == (0.35, "no")
    assert summary["limits"] == {"gap_error": 0.3}


def test_the_median_does_not_drift_towards_seeds_that_never_fired():
    calm = [Curve({0.6: 0.1, 0.7: error}) for error in (0.1, 0.2, 0.3)]
    fired = [Curve({0.6: 0.6}, fired=True)] * 2
    assert median_curve(calm + fired, rising=True) == ([0.6, 0.7], [0.1, 0.3])
    assert median_curve(calm + fired * 2, rising=True) == ([0.6], [0.6])
