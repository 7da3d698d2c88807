"""Controls of sweeps: frozen networks and levels that had not settled, in the answers that they change."""

import analysis_cases
import pytest
from by_name import width_answer

from dglib.analysis.curves import drift, is_frozen
from dglib.experiments import get

IMAGES = 400


def entry(lam, epoch, error, lr):
    return {
        "phase": "sweep", "lambda": lam, "epoch": epoch, "error": error, "lr": lr, "finite": True,
        "predicted": [IMAGES - 40, *[8] * 5],
    }  # fmt: skip


def v3(seed, ordered, collapse, lr):
    def branch(errors, levels):
        return [
            entry(lam, 10 + i, error, lr) for i, (lam, error) in enumerate(zip(levels, errors, strict=True))
        ]

    levels = [0.4, 0.5, 0.6]
    return {
        "seed": seed, "experiment": "V3", "experiment_id": f"V3-s{seed}", "outcome": "complete", "lr": 0.1,
        "eta": 0.4, "init_success": True, "ordered_init": ordered[0], "collapse_init": collapse[0],
        "ordered_trajectory": branch(ordered, levels),
        "collapse_trajectory": branch(collapse, levels[::-1]),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("lr", "moves", "expected"),
    [
        (0.01, 0.0, "frozen"),
        (0.01, 0.2, "yes"),
        (0.1, 0.0, "yes"),
        (0.0100000001, 0.0, "frozen"),
        (0.02, 0.0, "yes"),
    ],
)
def test_branches_that_do_not_move_at_a_tenth_of_the_lr_are_frozen_in_place_of_two(lr, moves, expected):
    records = [
        v3(seed, [0.1, 0.11, 0.1 + moves], [0.6, 0.61, 0.6 + seed / 1000 + moves], lr) for seed in range(4)
    ]
    summary = get("V3").summarise(records)
    assert summary["two_branches"] == expected
    answer = get("V3").answer(records)
    assert any(flag.startswith("frozen") for flag in answer.flags) == (expected == "frozen")
    assert {seed["end"] for seed in summary["seeds"]} == {
        "frozen" if expected == "frozen" else "two_branches"
    }


def test_noise_of_the_test_set_is_no_movement_and_more_than_that_is():
    record = {"lr": 0.1}
    within = [entry(0.5, k, 0.2 + 0.03 * (k % 2), 0.01) for k in range(6)]  # two SE are 0.04
    beyond = [entry(0.5, k, 0.2 + 0.05 * (k % 2), 0.01) for k in range(6)]
    assert is_frozen(record, within)
    assert not is_frozen(record, beyond)
    assert not is_frozen({}, within)  # published records do not have the LR


def test_branches_that_keep_their_inits_errors_at_an_lr_of_0_are_frozen_in_records_of_few_fields():
    def branch(error, levels):
        return [{"lambda": lam, "error": error} for lam in levels]

    levels = [0.3, 0.5, 0.7]
    records = [
        {
            "seed": seed, "arch": "VGG11-BN", "ordered_init": 0.07, "collapse_init": 0.6 + seed / 100,
            "ordered_trajectory": branch(0.07, levels), "sweep_lr": 0.0,
            "collapse_trajectory": branch(0.6 + seed / 100, levels[::-1]), "experiment_id": f"V3-s{seed}",
        }
        for seed in range(3)
    ]  # fmt: skip
    assert get("V3").summarise(records)["two_branches"] == "frozen"
    for record in records:
        record["ordered_trajectory"][1]["error"] += 0.001
        record["collapse_trajectory"][1]["error"] += 0.001
    assert get("V3").summarise(records)["two_branches"] == "yes"


def t1(seed, drifting):
    sweep = [
        entry(lam, 10 + 4 * i + k, 0.1 + 0.02 * i + drifting * k + seed / 1000, 0.1)
        for i, lam in enumerate((0.4, 0.5, 0.6))
        for k in range(4)
    ]
    return {
        "seed": seed, "experiment": "T1", "experiment_id": f"T1-spinodal-{seed:03d}", "outcome": "no_event",
        "lr": 0.1, "eta": 0.4, "init_success": True, "init_error": 0.1, "collapsed": False, "lambda_up": None,
        "final_lambda": 0.6, "final_error": sweep[-1]["error"],
        "trajectory": [{**entry(0.35, 9, 0.1, 0.1), "phase": "init"}, *sweep],
    }  # fmt: skip


@pytest.mark.parametrize("drifting", [0.0, 0.02])
def test_a_sweep_that_does_not_wait_until_the_error_has_settled_is_flagged(drifting):
    records = [t1(seed, drifting * (1 + seed / 10)) for seed in range(4)]
    summary = get("T1").summarise(records)
    assert summary["drift"]["mean"] == pytest.approx(2 * drifting * 1.15)
    assert any(flag.startswith("drifting") for flag in get("T1").answer(records).flags) == bool(drifting)


def test_levels_with_fewer_than_four_evaluations_say_nothing_about_drift():
    assert drift([entry(0.4, 1, 0.1, 0.1), entry(0.4, 2, 0.3, 0.1), entry(0.4, 3, 0.5, 0.1)]) is None


def test_trapped_seeds_which_never_move_do_not_make_frozen_branches_of_the_others():
    records = [analysis_cases.v3(seed, trapped=seed > 2) for seed in range(5)]
    for record in records:
        for moving in record["ordered_trajectory"] + record["collapse_trajectory"]:
            moving["lr"] = record["lr"] / 10
    found = get("V3").summarise(records)
    assert (found["frozen"], found["two_branches"]) == (2, "yes")


def test_a_drifting_sweep_is_flagged_at_the_width_too_and_four_seeds_name_the_least_p_that_they_allow():
    ups = [t1(seed, 0.02 * (1 + seed / 10)) for seed in range(4)]
    assert any("T1 drifting" in flag for flag in width_answer(ups, []).flags)
    (row,) = [row for row in get("T1").answer(ups).rows if row.quantity == "drift within a level"]
    assert "0.13 (≥ 0.13)" in row.texts["p"]
