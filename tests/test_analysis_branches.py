"""V3's two branches, and the controls of sweeps: frozen networks, and levels that had not settled."""

import pytest
from analysis_cases import ALL_LEVELS, DWELL, Record, evaluation, t1, v3
from by_name import answer, summarise, width_answer
from scipy import stats

from dglib.analysis.curves import Curve, drift, is_frozen, median_curve
from dglib.experiments.branches import gaps

BRANCHES = ("ordered", "collapse")


def bare(record: Record) -> Record:
    """The fields of the published format alone."""
    kept = {name: record[name] for name in ("seed", "arch", "ordered_init", "collapse_init", "experiment_id")}
    entries = {f"{name}_trajectory": record[f"{name}_trajectory"] for name in BRANCHES}
    return kept | {
        field: [{name: entry[name] for name in ("lambda", "error")} for entry in found]
        for field, found in entries.items()
    }


@pytest.mark.parametrize("form", [lambda record: record, bare])
def test_the_gap_pairs_the_branches_at_the_same_level(form):
    record = form(v3(0, gap=0.3))
    found = gaps(record)
    assert list(found) == ALL_LEVELS
    assert (found[0.50], found[0.40]) == pytest.approx((0.3, 0.1))
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
        ((0.5,), "undecided"),
    ],
)
def test_two_branches_are_claimed_only_where_the_interval_excludes_the_limit(found, two):
    assert summarise("V3", [v3(seed, gap) for seed, gap in enumerate(found)])["two_branches"] == two


def test_the_gap_has_an_interval_at_every_level_paired_by_seed_that_holds_no_gap_that_cannot_be():
    records = [v3(0, 0.2), v3(1, 0.3), v3(2, 0.4), v3(3, trapped=True)]
    found = summarise("V3", records)["gap_by_level"]
    curve = {step["lambda"]: step for step in found["collapsed"]}
    assert list(curve) == ALL_LEVELS
    known = stats.ttest_1samp([0.2, 0.3, 0.4], 0).confidence_interval()
    assert (curve[0.5]["n"], curve[0.5]["mean"]) == (3, pytest.approx(0.3))
    assert curve[0.5]["ci95"] == pytest.approx(list(known))
    assert [step["n"] for step in found["trapped"]] == [1] * 9
    two = [v3(0, 0.2), v3(1, 0.6)]
    assert summarise("V3", two)["gap_by_level"]["collapsed"][4]["ci95"] == [-1, 1]
    assert "−1.000 to 1.000" in answer("V3", two).text()


def test_the_median_does_not_drift_towards_seeds_that_never_fired():
    calm = [Curve({0.6: 0.1, 0.7: error}) for error in (0.1, 0.2, 0.3)]
    fired = [Curve({0.6: 0.6}, fired=True)] * 2
    assert median_curve(calm + fired, rising=True) == ([0.6, 0.7], [0.1, 0.3])
    assert median_curve(calm + fired * 2, rising=True) == ([0.6], [0.6])


def still(seed: int, lr: float, moves: float = 0.0) -> Record:
    """Branches at the errors of their inits, but for their last level."""
    record = v3(seed)
    for name, error in zip(BRANCHES, (0.1, 0.6 + seed / 1000), strict=True):
        branch = record[f"{name}_trajectory"] = [
            entry | {"error": error, "lr": lr} for entry in record[f"{name}_trajectory"]
        ]
        branch[-1]["error"] += moves
        record[f"{name}_init"] = error
    return record


@pytest.mark.parametrize(
    ("lr", "moves", "expected"),
    [(0.01, 0.0, "frozen"), (0.0100000001, 0.0, "frozen"), (0.01, 0.2, "yes"), (0.02, 0.0, "yes")],
)
def test_branches_that_do_not_move_at_a_tenth_of_the_lr_are_frozen_in_place_of_two(lr, moves, expected):
    records = [still(seed, lr, moves) for seed in range(4)]
    summary = summarise("V3", records)
    assert summary["two_branches"] == expected
    frozen = expected == "frozen"
    assert any(flag.startswith("frozen") for flag in answer("V3", records).flags) == frozen
    assert {seed["end"] for seed in summary["seeds"]} == {"frozen" if frozen else "two_branches"}
    few = [bare(still(seed, lr, moves)) | {"sweep_lr": 0.0} for seed in range(3)]  # at an LR of 0: exactly
    assert summarise("V3", few)["two_branches"] == ("yes" if moves else "frozen")


def test_trapped_seeds_which_never_move_do_not_make_frozen_branches_of_the_others():
    records = [v3(seed, trapped=seed > 2) for seed in range(5)]
    for record in records:
        for moving in record["ordered_trajectory"] + record["collapse_trajectory"]:
            moving["lr"] = record["lr"] / 10
    found = summarise("V3", records)
    assert (found["frozen"], found["two_branches"]) == (2, "yes")


def test_noise_of_the_test_set_is_no_movement_and_more_than_that_is():
    def held(step):  # two SE are 0.04
        return [evaluation("sweep", 0.5, k, 0.2 + step * (k % 2)) | {"lr": 0.01} for k in range(6)]

    assert is_frozen({"lr": 0.1}, held(0.03))
    assert not is_frozen({"lr": 0.1}, held(0.05))
    assert not is_frozen({}, held(0.03))  # published records have neither LR
    assert not is_frozen({"lr": 0.1}, [{"lambda": 0.5, "error": 0.2}] * 6)


@pytest.mark.parametrize("rate", [0.0, 0.02])
def test_a_sweep_that_does_not_wait_until_the_error_has_settled_is_flagged(rate):
    records = [t1(seed, None) for seed in range(4)]
    for record in records:
        sweep = [entry for entry in record["trajectory"] if entry["phase"] == "sweep"]
        for k, entry in enumerate(sweep):
            entry["error"] = 0.1 + rate * (1 + record["seed"] / 10) * (k % DWELL)
    assert summarise("T1", records)["drift"]["mean"] == pytest.approx(2 * rate * 1.15)
    found = answer("T1", records)
    assert any(flag.startswith("drifting") for flag in found.flags) == bool(rate)
    assert any("T1 drifting" in flag for flag in width_answer(records, []).flags) == bool(rate)
    (row,) = [row for row in found.rows if row.quantity == "drift within a level"]
    assert ("0.13 (≥ 0.13)" in row.texts["p"]) == bool(rate)  # the least that four seeds allow
    assert drift(sweep[:3]) is None
