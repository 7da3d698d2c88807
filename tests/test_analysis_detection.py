"""What is claimed of the estimand, of stricter rules than the run's, and of seeds that were cut short."""

import math

import pytest
from analysis_cases import DWELL, failed_init, published, t1
from by_name import summarise

from dglib.analysis.intervals import Bounds, clopper_pearson
from dglib.analysis.lifetimes import remaining
from dglib.analysis.thresholds import UP, threshold


def only_seed(experiment: str, record: dict) -> dict:
    return summarise(experiment, [record])["seeds"][0]


def under(record: dict, **limits: float) -> dict:
    return record | {"parameters": record["parameters"] | limits}


class TestFirstOfTheRun:
    """The estimand is the first level of the run that fires; records keep the last."""

    def crossing(self, form=lambda record: record):
        """Collapses in the last two evaluations of 0.55 and the first of 0.60."""
        record = t1(0, up=0.60)
        for entry in record["trajectory"]:
            if entry["lambda"] == 0.55:
                entry["error"] = 0.5 if entry["epoch"] % DWELL in (3, 0) else 0.1
        return form(record)

    @pytest.mark.parametrize("form", [lambda record: record, published])
    def test_it_is_recomputed_and_the_recorded_level_kept_beside_it(self, form):
        seed = only_seed("T1", self.crossing(form))
        assert (seed["level"], seed["fired"], seed["recorded"]) == (0.55, 0.60, 0.60)
        assert (seed["lower"], seed["upper"], seed["difference"]) == (0.50, 0.55, None)

    def test_without_a_trajectory_the_recorded_level_stands(self):
        record = {k: v for k, v in published(t1(0, 0.60)).items() if k != "trajectory"}
        seed = only_seed("T1", record)
        assert (seed["outcome"], seed["level"], seed["upper"], seed["lower"]) == ("collapsed", 0.6, 0.6, None)

    def test_a_record_that_its_trajectory_belies_is_named_and_the_trajectory_taken(self):
        record = published(t1(3, None)) | {"lambda_up": 0.65, "collapsed": True}
        summary = summarise("T1", [record])
        why = "seed 3: lambda_up 0.65 (collapsed: true) on record, none in the trajectory"
        assert summary["notes"] == [f"{why}; the trajectory was taken"]
        assert (summary["events"], summary["seeds"][0]["lower"]) == (0, 0.70)
        unseen = published(t1(0, 0.60)) | {"lambda_up": None, "collapsed": False}
        assert summarise("T1", [unseen])["events"] == 1

    def test_an_evaluation_on_the_limit_counts(self):
        record = t1(0, 0.60)
        for entry in record["trajectory"]:
            entry["error"] = 0.4 if entry["lambda"] == 0.60 else 0.39999
        assert only_seed("T1", record)["level"] == 0.60


class TestStricterRules:
    """A limit beyond the one at which the run stopped: the seed is censored at the stop."""

    def test_what_was_passed_is_passed(self):
        found = threshold(UP, under(t1(0, up=0.60), collapse_error=0.6))  # errors at 0.60: 0.53 to 0.57
        assert (found.outcome, found.bounds) == ("unfinished", Bounds(0.60, math.inf))

    def test_a_stop_within_a_level_leaves_that_level_open(self):
        record = t1(0, up=0.60)
        record["trajectory"].pop()  # three of the four evaluations at 0.60, as a real run stops
        assert threshold(UP, record).bounds == Bounds(0.55, 0.60)
        assert threshold(UP, under(record, collapse_error=0.7)).bounds == Bounds(0.55, math.inf)

    def test_a_run_under_way_at_the_stop_leaves_the_level_open_at_which_it_began(self):
        found = threshold(UP, under(t1(0, up=0.60), collapse_error=0.5, consecutive=5))
        assert found.bounds == Bounds(0.55, math.inf)

    def test_a_run_cut_short_by_the_end_of_the_sweep_proves_nothing_of_its_level(self):
        record = published(t1(0, None))
        record["trajectory"][-1]["error"] = 0.5
        assert only_seed("T1", record)["lower"] == 0.65


def test_a_seed_under_way_has_passed_what_it_has_passed():
    record = t1(0, None) | {"outcome": None}
    record["trajectory"] = record["trajectory"][:11]  # of the init 2, of two levels 4 each, and one more
    seed = only_seed("T1", record)
    assert (seed["outcome"], seed["lower"], seed["upper"]) == ("unfinished", 0.45, None)
    summary = summarise("T1", [record, t1(1, None), t1(2, 0.60)])
    assert summary["by_start"]["ordered"]["remaining"]["method"] == "Kaplan–Meier"
    assert summary["measured"] == 3


def test_the_share_still_ordered_is_a_binomial_with_exact_intervals():
    records = [t1(s, up) for s, up in enumerate((0.50, 0.55, 0.55, None, None))] + [failed_init(t1(5))]
    found = summarise("T1", records)["by_start"]["ordered"]["remaining"]
    assert (found["method"], found["n"]) == ("binomial", 5)
    shares = {step["level"]: step["share"] for step in found["steps"]}
    assert shares == {0.4: 1, 0.45: 1, 0.5: 0.8, 0.55: 0.4, 0.6: 0.4, 0.65: 0.4, 0.7: 0.4}
    known = clopper_pearson(2, 5)
    assert found["steps"][3]["lower"] == pytest.approx(known.lower)
    assert found["steps"][3]["upper"] == pytest.approx(known.upper)


def test_kaplan_meier_counts_a_cut_seed_as_long_as_it_was_seen():
    ends = [(0.3, 0.4), (0.4, 0.5), (0.4, math.inf), (0.5, 0.6), (0.6, math.inf)]
    found = remaining([Bounds(*each) for each in ends], [0.4, 0.5, 0.6], rising=True)
    shares = [step["share"] for step in found["steps"]]
    assert shares == pytest.approx([4 / 5, 4 / 5 * 2 / 3, 4 / 5 * 2 / 3 * 1 / 2])
    assert [step["undecided"] for step in found["steps"]] == [0, 1, 1]
    # whichever way the cut one went
    assert found["steps"][1]["lower"] == pytest.approx(clopper_pearson(2, 5).lower)
    assert found["steps"][1]["upper"] == pytest.approx(clopper_pearson(3, 5).upper)


def test_the_falling_share_is_the_rising_one_with_the_sign_turned():
    up = [Bounds(0.3, 0.4), Bounds(0.4, math.inf), Bounds(0.5, 0.6), Bounds(0.6, math.inf)]
    down = [Bounds(-cell.upper, -cell.lower) for cell in up]
    rising, falling = remaining(up, [0.4, 0.5, 0.6], True), remaining(down, [-0.6, -0.5, -0.4], False)
    assert [step["share"] for step in falling["steps"]] == [step["share"] for step in rising["steps"]]
    assert [step["level"] for step in falling["steps"]] == [-0.4, -0.5, -0.6]


def test_a_level_that_a_seed_did_not_visit_is_left_out_where_its_threshold_may_lie_on_either_side():
    ends = [(0, 1), (1, 2), (0, 0.5), (0.5, 1), (1, 1.5), (1.5, math.inf)]
    found = remaining([Bounds(*each) for each in ends], [0.5, 1, 1.5], rising=True)
    assert [(step["level"], step["share"]) for step in found["steps"]] == [(1, 0.5)]
