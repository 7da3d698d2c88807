"""Hold: what it decides on simulated branches of a known kind, and on runs of its own."""

import json

import pytest
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
NULLS = [kind for kind, (_, _, truth) in KINDS.items() if truth is None]
SHORT = [
    "network_width=0.25", "batch_size=8", "refresh_period=2", "ordered_epochs=2", "ordered_error_max=1",
    "collapse_epochs=1", "collapse_error_min=0", "init_evaluate_every=1", "hold_lambdas=[0.3, 0.7]",
    "hold_epochs=4", "consecutive=2",
]  # fmt: skip


def shares(kind: str, n: int, held: int) -> dict[str, float]:
    return {name: count / SETS for name, count in verdicts(kind, n, held, SETS).items()}


@pytest.mark.parametrize("kind", NULLS)
def test_branches_without_memory_are_called_bistable_in_at_most_5_percent_of_sets(kind):
    assert shares(kind, 24, 40).get("bistable", 0) <= 0.05


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in NULLS])
def test_a_known_truth_is_decided_rightly_by_24_branches_and_rightly_or_not_at_all_by_8(kind):
    truth = KINDS[kind][2]
    assert shares(kind, 24, 40).get(truth, 0) >= 0.95
    assert set(shares(kind, 8, 40)) <= {truth, "undecided"}


ERRORS = {"ordered": 0.1, "collapsed": 0.6, "trapped": 0.9, "in between": 0.4}


def group(start, *members, **others):
    """Branches from one start: when each left, its state at the end, mean errors of the last two thirds."""
    branches = []
    for left, state, *errors in members:
        middle, last = errors or (ERRORS[state], ERRORS[state])
        branches.append(Branch(start, left, others.get("held", 40), state, middle, last, "frozen" in others))
    return Group.of(branches)


def test_four_branches_decide_nothing_and_say_so():
    groups = [group(start, *[(None, start)] * 4) for start in ("ordered", "collapsed")]
    assert verdict(*groups, 40, 4).text == "undecided: too few seeds, 4 of at least 6"


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
    groups = [group("ordered", *[ordered] * 12), group("collapsed", *[collapsed] * 12)]
    assert verdict(*groups, 40, 4).text == expected


def test_a_lag_after_which_some_have_not_moved_gives_their_number():
    moved, stayed = (10, "ordered"), (None, "collapsed")
    groups = group("ordered", *[(None, "ordered")] * 24), group("collapsed", *[moved] * 20, *[stayed] * 4)
    assert verdict(*groups, 40, 4).text == "lag: 20 of 24 merged within 10 epochs"


def test_networks_of_which_none_is_ordered_any_more_are_not_said_to_differ():
    ends = [(30, "collapsed")] * 8 + [(30, "trapped")] * 8
    groups = group("ordered", *ends), group("collapsed", *[(None, state) for _, state in ends])
    assert verdict(*groups, 40, 4).text == "undecided: from both starts some collapsed, some trapped"


def test_frozen_branches_and_a_hold_that_is_no_longer_than_a_dwell_decide_nothing():
    frozen = [group(start, *[(None, start)] * 12, frozen=True) for start in ("ordered", "collapsed")]
    assert verdict(*frozen, 40, 4).text == "undecided: frozen"
    short = [group(start, *[(None, start)] * 12, held=4) for start in ("ordered", "collapsed")]
    assert verdict(*short, 4, 4).text == "undecided: held for no more than 4 epochs"


def test_a_branch_leaves_at_the_last_of_enough_evaluations_in_a_row_beyond_the_threshold():
    assert first_passage([0.5, 0.3, 0.4, 0.5], "ordered", 0.4, 2) == 4
    assert first_passage([0.5, 0.3, 0.4, 0.3, 0.39], "collapsed", 0.4, 2) == 5
    assert first_passage([0.1, 0.5, 0.1, 0.5], "ordered", 0.4, 2) is None


def test_rate_and_survival_agree_with_the_exponential_and_the_shares_that_they_were_drawn_from():
    left = [Branch("collapsed", k, 40, "ordered", 0.1, 0.1) for k in (10, 20, 20)]
    branches = left + [Branch("collapsed", None, 40, "collapsed", 0.6, 0.6)] * 5
    found = rate(branches)
    assert (found["events"], found["epochs"], found["estimate"]) == (3, 250, pytest.approx(3 / 250))
    low, high = found["ci95"]
    # Garwood's interval: the chance of as many events or more (fewer) is 2.5 % at its ends.
    assert stats.poisson.sf(2, low * 250) == pytest.approx(0.025)
    assert stats.poisson.cdf(3, high * 250) == pytest.approx(0.025)
    assert [(s["epochs"], s["share"]) for s in survival(branches)] == [(10, 0.875), (20, 0.625)]
    assert all(s["lower"] < s["share"] < s["upper"] for s in survival(branches))
    assert survival(branches[3:]) == []


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two seeds of small networks on random images."""
    base = tmp_path_factory.mktemp("hold")
    spec = build_spec("Hold", load_profile("Hold", "quick", SHORT))
    store = open_store(base, spec, random_data())[0]
    return spec, run_experiment(store, [0, 1], random_data(), CPU)


def test_a_run_holds_every_branch_from_both_states_and_counts_it(runs):
    spec, records = runs
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


def test_a_branch_that_diverged_is_named_and_leaves_the_others_counted(runs):
    _, (record, other) = runs
    bad = {**record, "ordered_trajectory": [dict(entry) for entry in record["ordered_trajectory"]]}
    bad["ordered_trajectory"][1] |= {"error": None, "finite": False}
    del bad["ordered_trajectory"][2:4]
    summary = get("Hold").summarise([bad, other])
    starts = summary["levels"][0]["starts"]
    assert (starts["ordered"]["n"], starts["collapsed"]["n"]) == (1, 2)
    assert summary["seeds"][0]["branches"]["ordered 0.3"] == "diverged"
    assert summary["levels"][1]["starts"]["ordered"]["n"] == 2


def test_limits_are_read_anew_without_training(runs):
    low = load_profile("Hold", "quick", [*SHORT, "threshold=0.01"])
    levels = get("Hold").summarise(read_under(low, runs[1]))["levels"]
    assert all(level["starts"]["ordered"]["states"]["ordered"]["count"] == 0 for level in levels)
    assert build_spec("Hold", low).arms == runs[0].arms


def test_branches_from_one_start_alone_count_as_measured(runs):
    records = [record | {"collapse_trajectory": []} for record in runs[1]]
    summary = get("Hold").summarise(records)
    assert (summary["measured"], summary["gap"]) == (2, None)
    assert not [note for note in summary["notes"] if "measured" in note]
