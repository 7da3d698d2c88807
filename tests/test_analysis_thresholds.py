"""Thresholds of T1 and T2: the first level that fires, its cell, its censoring, and shares that remain."""

import math

import pytest
from analysis_cases import DWELL, Record, diverged, failed_init, published, t1, t2, td1, v3_failed
from by_name import summarise

from dglib.analysis.intervals import Bounds, clopper_pearson
from dglib.analysis.lifetimes import remaining
from dglib.analysis.thresholds import UP, threshold
from dglib.experiments import get

FORMATS = pytest.mark.parametrize("form", [lambda record: record, published])


def only_seed(experiment: str, record: Record) -> Record:
    return summarise(experiment, [record])["seeds"][0]


def without(record: Record, *fields: str) -> Record:
    return {name: value for name, value in record.items() if name not in fields}


@FORMATS
def test_a_threshold_lies_between_its_level_and_the_one_before_or_beyond_the_last(form):
    for experiment, record, *expected in (
        ("T1", t1(0, 0.60), "collapsed", 0.55, 0.60),
        ("T1", t1(0, 0.40), "collapsed", 0.35, 0.40),  # the first level: from the init
        ("T1", t1(0, None), "no_event", 0.70, None),
        ("T1", failed_init(t1(0, None)), "init_failed", None, None),
        ("T2", t2(0, 0.35), "recovered", 0.35, 0.40),
        ("T2", t2(0, 0.55), "recovered", 0.55, 0.65),
        ("T2", t2(0, None), "no_event", None, 0.25),
    ):
        seed = only_seed(experiment, form(record))
        assert [seed["outcome"], seed["lower"], seed["upper"]] == expected
    assert summarise("T1", [form(t1())])["dwell"]["epochs_per_level"] == [DWELL]


def test_outcomes_add_up_to_the_number_of_seeds():
    summary = summarise("T2", [t2(0), t2(1, None), failed_init(t2(2)), diverged(t2(3)), {"seed": 4}])
    names = ["recovered", "no_event", "init_failed", "diverged", "unfinished"]
    assert summary["outcomes"] == dict.fromkeys(names, 1)
    assert (summary["n"], summary["events"], summary["failed_inits"], summary["diverged"]) == (5, 1, 1, 1)


def last_evaluation(**changes) -> Record:
    record = published(t2(0, None, trapped=True))
    record["trajectory"][-1] |= changes
    return record


RUNNING = {"outcome": None}  # with every flag false, until the seed is done


@pytest.mark.parametrize(
    ("experiment", "record", "outcome"),
    [
        *[("T2", last_evaluation(**bad), "diverged") for bad in ({"error": math.nan}, {"finite": False})],
        ("T1", without(published(t1(0, None)), "lambda_up", "collapsed"), "unfinished"),
        ("T1", t1(0, None) | RUNNING, "unfinished"),
        ("T1", failed_init(t1(0)) | RUNNING, "unfinished"),
        ("V3", v3_failed(0) | RUNNING, "unfinished"),
        ("Td1", td1(0) | RUNNING, "unfinished"),
        ("T1", without(published(t1(0, None)), "trajectory"), "no_event"),
        ("T1", without(published(t1(0, None)), "final_lambda"), "no_event"),
        ("T1", without(published(t1(0, 0.60)), "trajectory"), "collapsed"),
    ],
)
def test_an_outcome_follows_from_what_is_on_record_and_from_no_silence(experiment, record, outcome):
    seed = only_seed(experiment, record)
    assert seed["outcome"] == outcome
    if outcome == "no_event":
        assert seed["lower"] == 0.70
    if outcome == "collapsed":
        assert (seed["level"], seed["lower"], seed["upper"]) == (0.60, None, 0.60)


def test_a_seed_at_chance_through_its_first_level_began_trapped():
    # Published T2 seed 0: exactly 0.9 at the end of the init and through the first level, then better.
    leaving, staying = t2(2, None, trapped=True, leaves=0.50), t2(3, None, trapped=True)
    flicker = [entry for entry in staying["trajectory"] if entry["phase"] == "sweep"][2]
    flicker |= {"error": 0.895, "predicted": [0, 1, 396, 0, 0, 0, 0, 0, 0, 0]}
    brief = published(t2(1, None, trapped=True, leaves=0.50))
    next(entry for entry in brief["trajectory"] if entry["lambda"] == 0.55)["error"] = 0.88
    records = [published(t2(0, None)), brief, published(leaving), staying]
    summary = summarise("T2", records)
    assert summary["start"] == {"collapsed": 2, "trapped": 2, "left_trap": 1}
    column = get("T2").seed_columns(summary)["State at the start"]
    found = ["collapsed", "collapsed", "trapped, left", "trapped"]
    assert [column(seed) for seed in summary["seeds"]] == found
    assert "1 of 2 seeds that began trapped left that state" in get("T2").answer(records).flags


@FORMATS
def test_the_first_level_of_the_run_is_recomputed_and_the_recorded_one_stays_beside_it(form):
    record = t1(0, up=0.60)
    for entry in record["trajectory"]:  # collapses in the last two evaluations of 0.55 and the first of 0.60
        if entry["lambda"] == 0.55:
            entry["error"] = 0.5 if entry["epoch"] % DWELL in (3, 0) else 0.1
    seed = only_seed("T1", form(record))
    assert (seed["level"], seed["fired"], seed["recorded"]) == (0.55, 0.60, 0.60)
    assert (seed["lower"], seed["upper"], seed["difference"]) == (0.50, 0.55, None)


def test_a_record_that_its_trajectory_belies_is_named_and_the_trajectory_taken():
    record = published(t1(3, None)) | {"lambda_up": 0.65, "collapsed": True}
    summary = summarise("T1", [record])
    why = "seed 3: lambda_up 0.65 (collapsed: true) on record, none in the trajectory"
    assert summary["notes"] == [f"{why}; the trajectory was taken"]
    assert (summary["events"], summary["seeds"][0]["lower"]) == (0, 0.70)
    unseen = published(t1(0, 0.60)) | {"lambda_up": None, "collapsed": False}
    assert summarise("T1", [unseen])["events"] == 1


def test_an_evaluation_on_the_limit_counts_and_one_that_the_end_of_the_sweep_cuts_short_proves_nothing():
    record = t1(0, 0.60)
    for entry in record["trajectory"]:
        entry["error"] = 0.4 if entry["lambda"] == 0.60 else 0.39999
    assert only_seed("T1", record)["level"] == 0.60
    cut = published(t1(0, None))
    cut["trajectory"][-1]["error"] = 0.5
    assert only_seed("T1", cut)["lower"] == 0.65


def test_under_a_stricter_rule_than_the_runs_a_seed_is_censored_at_the_stop():
    def bounds(record, **limits):
        return threshold(UP, record | {"parameters": record["parameters"] | limits}).bounds

    whole, stopped = t1(0, up=0.60), t1(0, up=0.60)  # errors at 0.60: 0.53 to 0.57
    stopped["trajectory"].pop()  # three of the four evaluations at 0.60, as a real run stops
    assert bounds(whole, collapse_error=0.6) == Bounds(0.60, math.inf)
    assert bounds(stopped) == Bounds(0.55, 0.60)
    assert bounds(stopped, collapse_error=0.7) == Bounds(0.55, math.inf)
    # the level stays open at which a run that the stop cut short began
    assert bounds(whole, collapse_error=0.5, consecutive=5) == Bounds(0.55, math.inf)


def test_a_seed_under_way_has_passed_what_it_has_passed():
    record = t1(0, None) | RUNNING
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
    assert (found["steps"][3]["lower"], found["steps"][3]["upper"]) == pytest.approx(known.pair)


def test_kaplan_meier_counts_a_cut_seed_as_long_as_it_was_seen_in_either_direction():
    cells = [
        Bounds(0.3, 0.4),
        Bounds(0.4, 0.5),
        Bounds(0.4, math.inf),
        Bounds(0.5, 0.6),
        Bounds(0.6, math.inf),
    ]
    steps = remaining(cells, [0.4, 0.5, 0.6], rising=True)["steps"]
    shares = [step["share"] for step in steps]
    assert shares == pytest.approx([4 / 5, 4 / 5 * 2 / 3, 4 / 5 * 2 / 3 * 1 / 2])
    assert [step["undecided"] for step in steps] == [0, 1, 1]
    either = clopper_pearson(2, 5).lower, clopper_pearson(3, 5).upper  # whichever way the cut one went
    assert (steps[1]["lower"], steps[1]["upper"]) == pytest.approx(either)
    turned = [Bounds(-cell.upper, -cell.lower) for cell in cells]
    falling = remaining(turned, [-0.6, -0.5, -0.4], rising=False)["steps"]
    assert [(step["level"], step["share"]) for step in falling] == list(
        zip([-0.4, -0.5, -0.6], shares, strict=True)
    )


def test_a_level_that_a_seed_did_not_visit_is_left_out_where_its_threshold_may_lie_on_either_side():
    ends = [(0, 1), (1, 2), (0, 0.5), (0.5, 1), (1, 1.5), (1.5, math.inf)]
    found = remaining([Bounds(*each) for each in ends], [0.5, 1, 1.5], rising=True)
    assert [(step["level"], step["share"]) for step in found["steps"]] == [(1, 0.5)]
