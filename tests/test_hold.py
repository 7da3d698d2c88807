"""Hold: what it decides on simulated branches of a known kind, and on runs of its own."""

import json

import pytest
from analysis_cases import hold
from hold_simulation import KINDS, verdicts
from scipy import stats
from small import CPU, open_store, random_data

from dglib.analysis.lifetimes import Branch, Group, first_passage, rate, survival, verdict
from dglib.experiments import build_spec, get
from dglib.experiments.profiles import load_profile
from dglib.protocol.records import csv_views
from dglib.runs.reading import read_under
from dglib.runs.seed import run_experiment

SETS = 60
SHORT = [
    "network_width=0.25", "batch_size=8", "refresh_period=2", "ordered_epochs=2", "ordered_error_max=1",
    "collapse_epochs=1", "collapse_error_min=0", "init_evaluate_every=1", "hold_lambdas=[0.3, 0.7]",
    "hold_epochs=4", "consecutive=2",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_known_truth_is_decided_rightly_and_branches_without_memory_are_bistable_in_5_percent_at_most(kind):
    truth, found = KINDS[kind][2], verdicts(kind, 24, 40, SETS)
    if truth is None:
        assert found["bistable"] <= 0.05 * SETS
    else:
        assert found[truth] >= 0.95 * SETS
        assert set(verdicts(kind, 8, 40, SETS)) <= {truth, "undecided"}


ERRORS = {"ordered": 0.1, "collapsed": 0.6, "trapped": 0.9, "in between": 0.4}


def branches(start, n, left, state, middle=None, last=None, held=40, frozen=False):
    """From one start: when each left, its state at the end, mean errors of the last two thirds."""
    errors = middle or ERRORS[state], last or ERRORS[state]
    return [Branch(start, left, held, state, *errors, frozen)] * n


def verdict_on(ordered, collapsed, held=40):
    return verdict(Group.of(ordered), Group.of(collapsed), held, 4).text


DIFFER = "undecided: branches from one start differ"


@pytest.mark.parametrize(
    ("ordered", "collapsed", "expected"),
    [
        ((None, "ordered"), (None, "collapsed"), "bistable for at least 40 epochs"),
        ((None, "ordered"), (None, "trapped"), "trapped: from the collapsed start alone"),
        ((3, "trapped"), (None, "trapped"), "trapped"),
        ((None, "ordered"), (3, "ordered"), "ordered only"),
        ((3, "collapsed"), (None, "collapsed"), "collapsed only"),
        ((None, "ordered"), (20, "ordered"), "lag: merged within 20 epochs"),
        ((30, "collapsed"), (None, "collapsed"), "lag: merged within 30 epochs"),
        ((None, "ordered"), (None, "in between"), DIFFER),
        ((30, "collapsed"), (30, "ordered"), DIFFER),
        ((3, "ordered"), (30, "ordered"), "lag: merged within 30 epochs"),
        ((5, "ordered"), (None, "collapsed"), "undecided: branches left their state and came back"),
        ((None, "ordered"), (None, "collapsed", 0.7, 0.5), "undecided: the states still approach each other"),
        ((None, "ordered"), (3, "ordered", 0.35, 0.35), "undecided: most end ordered, yet apart"),
    ],
)
def test_the_verdict_on_branches_that_agree(ordered, collapsed, expected):
    assert verdict_on(branches("ordered", 12, *ordered), branches("collapsed", 12, *collapsed)) == expected


def test_few_frozen_and_short_branches_decide_nothing_and_mixed_ones_what_most_did():
    def stay(n, **others):
        both = [branches(start, n, None, start, **others) for start in ("ordered", "collapsed")]
        return verdict_on(*both, others.get("held", 40))

    assert stay(4) == "undecided: too few seeds, 4 of at least 6"
    assert stay(12, frozen=True) == "undecided: frozen"
    assert stay(12, held=4) == "undecided: held for no more than 4 epochs"
    stayed = branches("collapsed", 4, None, "collapsed")
    merged = branches("collapsed", 20, 10, "ordered") + stayed
    found = verdict_on(branches("ordered", 24, None, "ordered"), merged)
    assert found == "lag: 20 of 24 merged within 10 epochs"
    ends = ("collapsed", "trapped")
    gone, there = (
        [one for state in ends for one in branches(start, 8, left, state)]
        for start, left in (("ordered", 30), ("collapsed", None))
    )
    assert verdict_on(gone, there) == "undecided: from both starts some collapsed, some trapped"


def test_a_branch_leaves_at_the_last_of_enough_evaluations_in_a_row_beyond_the_threshold():
    assert first_passage([0.5, 0.3, 0.4, 0.5], "ordered", 0.4, 2) == 4
    assert first_passage([0.5, 0.3, 0.4, 0.3, 0.39], "collapsed", 0.4, 2) == 5
    assert first_passage([0.1, 0.5, 0.1, 0.5], "ordered", 0.4, 2) is None


def test_rate_and_survival_agree_with_the_exponential_and_the_shares_that_they_were_drawn_from():
    left = [Branch("collapsed", k, 40, "ordered", 0.1, 0.1) for k in (10, 20, 20)]
    members = left + [Branch("collapsed", None, 40, "collapsed", 0.6, 0.6)] * 5
    found = rate(members)
    assert (found["events"], found["epochs"], found["estimate"]) == (3, 250, pytest.approx(3 / 250))
    low, high = found["ci95"]
    # Garwood's interval: the chance of as many events or more (fewer) is 2.5 % at its ends.
    assert stats.poisson.sf(2, low * 250) == pytest.approx(0.025)
    assert stats.poisson.cdf(3, high * 250) == pytest.approx(0.025)
    assert [(s["epochs"], s["share"]) for s in survival(members)] == [(10, 0.875), (20, 0.625)]
    assert all(s["lower"] < s["share"] < s["upper"] for s in survival(members))
    assert survival(members[3:]) == []


def test_a_run_holds_every_branch_from_both_states_counts_it_and_is_read_anew_under_other_limits(tmp_path):
    spec = build_spec("Hold", load_profile("Hold", "quick", SHORT))
    store = open_store(tmp_path, spec, random_data())[0]
    records = run_experiment(store, [0, 1], random_data(), CPU)
    for record in records:
        for arm, before in (("ordered", 2), ("collapse", 1)):
            found = [(e["lambda"], e["epoch"] - before) for e in record[f"{arm}_trajectory"]]
            assert found == [(lam, epoch) for lam in (0.3, 0.7) for epoch in (1, 2, 3, 4)]
    summary = get("Hold").summarise(records)
    json.dumps(summary, allow_nan=False)
    assert [level["lambda"] for level in summary["levels"]] == [0.3, 0.7]
    for level in summary["levels"]:
        assert (level["held"], level["verdict"]) == (4, "undecided: too few seeds, 2 of at least 6")
        assert level["gap"]["n"] == 2
        for start in level["starts"].values():
            assert start["n"] == sum(state["count"] for state in start["states"].values()) == 2
    rows = csv_views(spec, records)["Hold_results.csv"].splitlines()[1:]
    assert len(rows) == 2 * (2 + 1 + 4 * 4)
    low = load_profile("Hold", "quick", [*SHORT, "threshold=0.01"])
    levels = get("Hold").summarise(read_under(low, records))["levels"]
    assert all(level["starts"]["ordered"]["states"]["ordered"]["count"] == 0 for level in levels)
    assert build_spec("Hold", low).arms == spec.arms


def test_branches_that_diverged_are_named_and_those_of_one_start_alone_count_as_measured():
    records = [hold(seed, {0.3: [0.6] * 4, 0.7: [0.6] * 4}) for seed in (0, 1)]
    records[0]["ordered_trajectory"][1] |= {"error": None, "finite": False}
    del records[0]["ordered_trajectory"][2:4]
    summary = get("Hold").summarise(records)
    counts = [{start: found["n"] for start, found in level["starts"].items()} for level in summary["levels"]]
    assert counts == [{"ordered": 1, "collapsed": 2}, {"ordered": 2, "collapsed": 2}]
    assert summary["seeds"][0]["branches"]["ordered 0.3"] == "diverged"
    summary = get("Hold").summarise([record | {"collapse_trajectory": []} for record in records])
    assert (summary["measured"], summary["gap"]) == (2, None)
    assert not [note for note in summary["notes"] if "measured" in note]
