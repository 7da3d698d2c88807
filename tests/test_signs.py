"""Tδ1: its classes, and its early signs: exact tests, honest intervals, and a rival in the test error."""

import math
from itertools import combinations
from statistics import NormalDist

import numpy as np
import pytest
from analysis_cases import evaluation, td1, td1_diverged
from by_name import answer, summarise

from dglib.analysis import intervals
from dglib.analysis.intervals import auc, auc_interval, permutation_test, sign_flip_p
from dglib.experiments.trapping import category, early_tests, settled

# --- the permutation test


def by_brute_force(values, chosen):
    """(p, corrected p) of each column, by the correlation with the labels, with which Student's t grows."""
    n, ps = len(values), []
    labels = [chosen, *(np.isin(range(n), way) for way in combinations(range(n), sum(chosen)))]
    r = np.array([[np.corrcoef(label, column)[0, 1] for column in values.T] for label in labels])
    for sign in (1, -1):
        seen, every = sign * r[0] - 1e-9, sign * r[1:]
        ps.append([2 * (found >= seen).mean(axis=0) for found in (every, every.max(axis=1)[:, None])])
    return np.minimum(1, np.min(ps, axis=0)).T


@pytest.mark.parametrize("chosen", [[0, 0, 1, 0, 0], [0, 1, 1, 0, 0, 0, 1]])
def test_p_and_its_correction_are_those_of_brute_force_with_students_t_in_any_units(chosen):
    values = np.random.default_rng(len(chosen)).normal(size=(len(chosen), 4))
    values[:, 1] += 2.0 * np.array(chosen)
    for scaled in (values, 0.01 * values + 10):
        family = permutation_test(scaled, np.array(chosen) == 1)
        assert np.allclose(np.column_stack([family.p, family.corrected]), by_brute_force(values, chosen))


def test_under_the_null_hypothesis_tests_err_in_five_of_a_hundred_at_most():
    """With heavy tails: 13 dependent tests on 3 of 10 seeds, corrected, and the sign-flip test on 8 pairs."""
    generator, families = np.random.default_rng(0), 600
    first, errors = np.arange(10) < 3, np.zeros(2)
    for _ in range(families):
        values = generator.standard_t(2, size=(10, 13)) + 2 * generator.normal(size=(10, 1))
        found = min(permutation_test(values, first).corrected), sign_flip_p(generator.standard_t(2, size=8))
        errors += np.array(found) <= 0.05
    allowed = 0.05 + 3 * math.sqrt(0.05 * 0.95 / families)
    assert np.all((errors > 0) & (errors / families <= allowed))


def test_drawn_labellings_give_the_p_of_all_of_them_within_chance(monkeypatch):
    values = np.random.default_rng(4).normal(size=(12, 3))
    values[:5, 0] += 1.0
    first = np.arange(12) < 5
    exact = permutation_test(values, first)
    monkeypatch.setattr(intervals, "MOST_LABELLINGS", 10)
    monkeypatch.setattr(intervals, "_DRAWN", 20_000)
    drawn = permutation_test(values, first)
    assert exact.enumerated
    assert not drawn.enumerated
    for one, other in zip(exact.p + exact.corrected, drawn.p + drawn.corrected, strict=True):
        assert other == pytest.approx(one, abs=2 * 4 * math.sqrt(0.25 / 20_000))


# --- the area under the ROC curve


@pytest.mark.parametrize(("trapped", "partial", "area"), [(3, 3, 0.5), (3, 7, 0.95)])
def test_the_interval_covers_the_true_area_about_as_often_as_it_says(trapped, partial, area):
    generator, trials = np.random.default_rng(5), 1_500
    shift = math.sqrt(2) * NormalDist().inv_cdf(area)
    intervals, covered = {}, 0
    for _ in range(trials):
        first, second = generator.normal(shift, 1, trapped), generator.normal(0, 1, partial)
        seen = auc(first.tolist(), second.tolist())
        found = intervals.setdefault(seen, auc_interval(seen, trapped, partial))
        covered += found.lower <= area <= found.upper
    # Of three against three the two perfect separations alone have chance 0.10 without a difference.
    assert covered / trials >= (0.88 if partial == 3 else 0.93)


# --- classes of records


@pytest.mark.parametrize(
    ("error", "expected"),
    [(0.90, "trapped_90"), (0.85, "trapped_90"), (0.849, "partial_collapse"), (0.40, "partial_collapse"),
     (0.399, "ordered"), (0.0, "ordered")],
)  # fmt: skip
def test_the_class_follows_from_the_final_error(error, expected):
    assert category({"final_error": error}) == expected


@pytest.mark.parametrize(
    "record",
    [
        td1_diverged(0),
        {"final_error": 0.9, "category": "diverged"},
        {"final_error": 0.9, "outcome": "diverged"},
        {"final_error": 0.9, "error_trajectory": [{"epoch": 5, "error": math.nan}]},
        {"final_error": 0.9, "error_trajectory": [{"epoch": 5, "error": 0.9, "finite": False}]},
    ],
)
def test_a_diverged_seed_is_never_trapped(record):
    outcomes = summarise("Td1", [record])["outcomes"]
    assert (category(record), outcomes["diverged"], outcomes["trapped_90"]) == ("diverged", 1, 0)


@pytest.mark.parametrize(("partial", "expected"), [(0.40, True), (0.20, True), (0.32, False)])
def test_an_early_divergence_is_a_difference_of_more_than_the_limit(partial, expected):
    trapped, others = (
        [td1(seed, final, c_sv=c_sv) for seed in (0, 1)] for final, c_sv in ((0.9, 0.3), (0.5, partial))
    )
    found = summarise("Td1", [*trapped, *others])
    assert found["early"]["early_divergence"] is expected
    assert found["signs"]["tests"][0]["difference"] == pytest.approx(0.3 - partial)
    alone = summarise("Td1", [*trapped, others[0]])["early"]
    assert alone["early_divergence"] is None  # one seed has no spread


def test_an_error_has_settled_when_its_class_does_not_change_any_more():
    def of(*errors):
        entries = [evaluation("init", 0.6, 5 * (i + 1), e, constant=e == 0.9) for i, e in enumerate(errors)]
        return settled({"final_error": errors[-1], "error_trajectory": entries})

    assert [of(0.9, 0.9, 0.9), of(0.9, 0.5, 0.9, 0.9), of(0.5, 0.84, 0.45), of(0.9, 0.5)] == [5, 15, 5, 10]
    assert settled({"final_error": 0.9}) is None


# --- signs in records


def planted(errors_tell=False):
    """Three trapped seeds that differ from seven partial ones in c_sv, and in the error where that tells."""
    records = [td1(i, 0.9 if i < 3 else 0.5, 0.5 if i < 3 else 0.3) for i in range(10)]
    for number, record in enumerate(records):
        for row in record["step_logs"]:
            row |= {
                "norm_s": 1.8 + 0.01 * math.sin(9.1 * number),
                "loss_v": 1.7 + 0.01 * math.cos(5.7 * number),
            }
        for entry in record["error_trajectory"][:4]:
            high = 0.88 if errors_tell and number < 3 else 0.6
            entry["error"] = high + 0.05 * math.sin(2.9 * number + entry["epoch"])
    return records


def early(records):
    tests = early_tests(records)["tests"]
    return {(test["quantity"], test["first_epoch"], test["last_epoch"]): test for test in tests}


def test_a_planted_sign_is_found_also_where_a_seed_has_no_step_logs():
    found = early_tests([*planted(), td1(17) | {"step_logs": []}])
    assert found["without_logs"] == [17]
    signs, test = early_tests(planted()), early(planted())["c_sv", 5, 5]
    assert found["tests"] == signs["tests"]
    assert (signs["smallest_p"], signs["labellings"]) == (pytest.approx(2 / 120), 120)
    assert test["sign"]
    assert test["p_corrected"] <= 0.05
    assert (test["trapped"], test["partial"], test["auc"]) == pytest.approx((0.5, 0.3, 1.0), abs=0.01)
    assert test["difference"] == pytest.approx(test["trapped"] - test["partial"])
    low, high = test["difference_ci95"]
    assert 0 < low < test["difference"] < high


def test_a_sign_that_the_test_error_gives_as_well_is_none():
    clear = [test for test in early(planted(errors_tell=True)).values() if test["p_corrected"] <= 0.05]
    assert clear
    assert not any(test["beats_error"] or test["sign"] for test in clear)
    assert all(test["error_auc"] == 1.0 for test in clear)


def test_too_few_seeds_give_means_in_which_each_counts_once_without_a_test_and_the_answer_a_flag():
    records = [td1(0, 0.5), td1(1, 0.5)]
    for record, steps in zip(records, (9, 1), strict=True):
        record["step_logs"] = [{"epoch": 5, "step": s, "c_sv": 0.4 / steps**0.5} for s in range(steps)]
    alone = early(records)["c_sv", 5, 5]
    assert alone["partial"] == pytest.approx((0.4 / 3 + 0.4) / 2)
    assert [alone[name] for name in ("trapped", "difference", "auc", "p_corrected")] == [None] * 4
    (flag,) = answer("Td1", [td1(0), td1(1, 0.5)]).flags
    assert flag == "1 trapped and 1 partial seeds cannot give an early test a p below 1.00"
    rows = [row for row in answer("Td1", [td1(0), td1(1, 0.5)]).rows if row.table]
    assert (len(rows), {row.more["p"] for row in rows}) == (13, {1.0})
