"""What the summaries of T1 and T2 claim about single thresholds."""

import math

import pytest
from analysis_cases import DWELL, diverged, failed_init, published, t1, t2, td1, v3_failed
from by_name import summarise

from dglib.analysis.intervals import UNKNOWN, Bounds
from dglib.analysis.summary import median_bounds
from dglib.experiments import get


def only_seed(experiment: str, record: dict) -> dict:
    return summarise(experiment, [record])["seeds"][0]


@pytest.mark.parametrize("form", [lambda record: record, published])
class TestInBothFormats:
    def test_an_event_lies_between_the_level_before_and_its_own(self, form):
        seed = only_seed("T1", form(t1(up=0.60)))
        assert (seed["outcome"], seed["lower"], seed["upper"]) == ("collapsed", 0.55, 0.60)

    def test_a_falling_event_lies_between_its_level_and_the_one_before(self, form):
        seed = only_seed("T2", form(t2(down=0.35)))
        assert (seed["outcome"], seed["lower"], seed["upper"]) == ("recovered", 0.35, 0.40)

    def test_an_event_at_the_first_level_reaches_back_to_the_init(self, form):
        assert only_seed("T1", form(t1(up=0.40)))["lower"] == 0.35
        assert only_seed("T2", form(t2(down=0.55)))["upper"] == 0.65

    def test_no_event_is_censored_at_the_last_level(self, form):
        rising, falling = only_seed("T1", form(t1(up=None))), only_seed("T2", form(t2(down=None)))
        assert (rising["outcome"], rising["lower"], rising["upper"]) == ("no_event", 0.70, None)
        assert (falling["outcome"], falling["lower"], falling["upper"]) == ("no_event", None, 0.25)

    def test_a_failed_init_counts_among_all_seeds_and_has_no_bounds(self, form):
        summary = summarise("T1", [t1(0), form(failed_init(t1(1, up=None)))])
        assert (summary["n"], summary["events"], summary["failed_inits"]) == (2, 1, 1)
        assert summary["seeds"][1]["lower"] is summary["seeds"][1]["upper"] is None

    def test_the_dwell_time_is_known(self, form):
        assert summarise("T1", [form(t1(up=None))])["dwell"]["epochs_per_level"] == [DWELL]

    def test_trapped_and_collapsed_starts_are_told_apart(self, form):
        records = [form(t2(0, None)), form(t2(1, None, trapped=True)), form(t2(2, 0.3))]
        assert summarise("T2", records)["start"] == {"collapsed": 2, "trapped": 1, "left_trap": 0}


def test_outcomes_add_up_to_the_number_of_seeds():
    records = [t2(0), t2(1, None), failed_init(t2(2)), diverged(t2(3)), {"seed": 4}]
    summary = summarise("T2", records)
    assert summary["outcomes"] == dict.fromkeys(
        ["recovered", "no_event", "init_failed", "diverged", "unfinished"], 1
    )
    assert sum(summary["outcomes"].values()) == summary["n"] == 5
    assert (summary["events"], summary["failed_inits"], summary["diverged"]) == (1, 1, 1)


@pytest.mark.parametrize("bad", [{"error": math.nan}, {"error": None}, {"finite": False}])
def test_divergence_is_seen_in_the_evaluations_where_no_outcome_is_recorded(bad):
    record = published(t2(0, None, trapped=True))
    record["trajectory"][-1] |= bad
    assert only_seed("T2", record)["outcome"] == "diverged"


def test_silence_about_an_event_is_no_finding():
    record = {k: v for k, v in published(t1(0, None)).items() if k not in ("lambda_up", "collapsed")}
    assert only_seed("T1", record)["outcome"] == "unfinished"


def test_a_seed_that_is_still_running_is_neither_failed_nor_censored_nor_classed():
    # Ours has every flag false and the last error so far until the seed is done; then it names an outcome.
    running = {"outcome": None}
    early = failed_init(t1(0)) | running
    assert [only_seed("T1", r)["outcome"] for r in (t1(0, None) | running, early)] == ["unfinished"] * 2
    assert only_seed("V3", v3_failed(0) | running)["outcome"] == "unfinished"
    assert only_seed("Td1", td1(0) | running)["outcome"] == "unfinished"


def test_a_censored_level_is_found_in_the_trajectory_or_the_final_values():
    for missing in ("trajectory", "final_lambda"):
        record = {k: v for k, v in published(t1(0, None)).items() if k != missing}
        seed = only_seed("T1", record)
        assert (seed["outcome"], seed["lower"]) == ("no_event", 0.70)


def test_a_seed_at_chance_through_its_first_level_began_trapped_and_left():
    # Published T2 seed 0: exactly 0.9 at the end of the init and through the first level, then better.
    leaving, staying = t2(2, None, trapped=True, leaves=0.50), t2(3, None, trapped=True)
    records = [published(record) for record in (t2(0, None), t2(1, None), leaving, staying)]
    summary = summarise("T2", records)
    assert summary["start"] == {"collapsed": 2, "trapped": 2, "left_trap": 1}
    assert [(seed["start"], seed["left_trap"]) for seed in summary["seeds"]][2:] == [
        ("trapped", True),
        ("trapped", False),
    ]
    column = get("T2").seed_columns(summary)["State at the start"]
    assert [column(seed) for seed in summary["seeds"]][1:] == ["collapsed", "trapped, left", "trapped"]
    assert "1 of 2 seeds that began trapped left that state" in get("T2").answer(records).flags


def test_a_few_evaluations_at_chance_are_no_trap():
    record = published(t2(0, None, trapped=True, leaves=0.50))
    first = [entry for entry in record["trajectory"] if entry["lambda"] == 0.55 and entry["phase"] == "sweep"]
    first[0]["error"] = 0.88
    assert only_seed("T2", record)["start"] == "collapsed"


def test_a_trap_stays_one_through_single_flickers():
    record = t2(0, None, trapped=True)
    sweep = [entry for entry in record["trajectory"] if entry["phase"] == "sweep"]
    sweep[2] |= {"error": 0.895, "predicted": [0, 1, 396, 0, 0, 0, 0, 0, 0, 0]}
    assert only_seed("T2", record)["start"] == "trapped"


def test_the_median_of_bounds_is_open_where_the_median_seed_is():
    closed, open_above = Bounds(0.1, 0.2), Bounds(0.3, math.inf)
    assert median_bounds([closed, closed, open_above]) == closed
    assert median_bounds([closed, open_above]) == Bounds(0.2, math.inf)
    assert median_bounds([]) == UNKNOWN
