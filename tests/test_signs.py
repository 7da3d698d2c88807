"""What is claimed about Tδ1's early signs: exact tests, honest intervals, and a rival in the test error."""

import math
from itertools import combinations
from statistics import NormalDist, fmean

import numpy as np
import pytest
from analysis_cases import CONSTANT, evaluation, td1
from by_name import answer
from hypothesis import given
from hypothesis import strategies as st

from dglib.analysis import intervals
from dglib.analysis.intervals import auc, auc_interval, permutation_test
from dglib.experiments.trapping import early_tests, settled

# --- the permutation test


def pooled_t(column, chosen):
    """Student's pooled t of the chosen seeds against the rest."""
    a = [x for i, x in enumerate(column) if i in chosen]
    b = [x for i, x in enumerate(column) if i not in chosen]
    squares = sum((x - fmean(a)) ** 2 for x in a) + sum((x - fmean(b)) ** 2 for x in b)
    return (fmean(a) - fmean(b)) / math.sqrt(squares / (len(column) - 2) * (1 / len(a) + 1 / len(b)))


def by_brute_force(values, chosen):
    """(p, corrected p) of each column, by Student's t and nothing but loops."""
    columns = [list(column) for column in values.T]
    ways = [set(way) for way in combinations(range(len(values)), len(chosen))]
    seen = [pooled_t(column, chosen) for column in columns]
    all_t = [[pooled_t(column, way) for column in columns] for way in ways]
    found = []
    for j, t in enumerate(seen):
        alone = min(sum(s * row[j] >= s * t - 1e-9 for row in all_t) for s in (1, -1))
        any_test = min(sum(max(s * x for x in row) >= s * t - 1e-9 for row in all_t) for s in (1, -1))
        found.append((min(1.0, 2 * alone / len(ways)), min(1.0, 2 * any_test / len(ways))))
    return found


@pytest.mark.parametrize(("n", "size"), [(5, 1), (7, 3)])
def test_p_and_its_correction_are_those_of_brute_force_with_students_t(n, size):
    values = np.random.default_rng(n).normal(size=(n, 4))
    values[:size, 1] += 2.0
    family = permutation_test(values, np.arange(n) < size)
    expected = by_brute_force(values, set(range(size)))
    assert np.allclose(np.column_stack([family.p, family.corrected]), expected)


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 100), st.floats(-10, 10))
def test_units_and_the_order_of_seeds_and_tests_do_not_matter(key, scale, shift):
    generator = np.random.default_rng(key)
    values, first = generator.normal(size=(7, 3)), np.arange(7) < 3
    order = generator.permutation(7)
    plain = permutation_test(values, first)
    moved = permutation_test((scale * values + shift)[order][:, ::-1], first[order])
    assert moved.corrected == pytest.approx(plain.corrected[::-1])


def test_under_the_null_hypothesis_the_family_errs_in_five_of_a_hundred_at_most():
    """13 dependent tests on 3 of 10 seeds, with heavy tails; any corrected p of 0.05 or less is an error."""
    generator, families = np.random.default_rng(0), 600
    first, errors = np.arange(10) < 3, 0
    for _ in range(families):
        values = generator.standard_t(2, size=(10, 13)) + 2 * generator.normal(size=(10, 1))
        errors += min(permutation_test(values, first).corrected) <= 0.05
    allowed = 0.05 + 3 * math.sqrt(0.05 * 0.95 / families)
    assert 0 < errors / families <= allowed


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


# --- signs in records


def seed(number, trapped, early_sv=0.3, errors_tell=False):
    """A Tδ1 seed; its test error says nothing of its end before epoch 25 unless it is told to."""
    record = td1(number, 0.9 if trapped else 0.5, c_sv=early_sv)
    for row in record["step_logs"]:
        row |= {"norm_s": 1.8 + 0.01 * math.sin(9.1 * number), "loss_v": 1.7 + 0.01 * math.cos(5.7 * number)}
        row["c_sv"] += 0.001 * math.sin(3.3 * number)
    for entry in record["error_trajectory"]:
        if entry["epoch"] < 25:
            high = 0.88 if errors_tell and trapped else 0.6
            entry["error"] = high + 0.05 * math.sin(2.9 * number + entry["epoch"])
    return record


def planted(n_trapped=3, n_partial=7, errors_tell=False):
    return [seed(i, True, 0.5, errors_tell) for i in range(n_trapped)] + [
        seed(100 + i, False, 0.3, errors_tell) for i in range(n_partial)
    ]


def early(records):
    tests = early_tests(records)["tests"]
    return {(test["quantity"], test["first_epoch"], test["last_epoch"]): test for test in tests}


def test_a_planted_sign_is_found():
    signs, test = early_tests(planted()), early(planted())["c_sv", 5, 5]
    assert signs["smallest_p"] == pytest.approx(2 / 120)
    assert signs["labellings"] == 120
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


def test_too_few_seeds_give_means_without_a_test_and_the_answer_a_flag():
    alone = early([td1(0, 0.5), td1(1, 0.5)])["c_sv", 5, 5]
    assert alone["partial"] == pytest.approx(0.3, abs=0.05)
    assert [alone[name] for name in ("trapped", "difference", "auc", "p_corrected")] == [None] * 4
    (flag,) = answer("Td1", [td1(0), td1(1, 0.5)]).flags
    assert flag == "1 trapped and 1 partial seeds cannot give an early test a p below 1.00"
    rows = [row for row in answer("Td1", [td1(0), td1(1, 0.5)]).rows if row.table]
    assert len(rows) == 13
    assert {row.more["p"] for row in rows} == {1.0}


def test_seeds_without_step_logs_are_named_and_left_out():
    bare = td1(7) | {"step_logs": []}
    assert early_tests([*planted(), bare])["without_logs"] == [7]
    assert early([*planted(), bare]) == early(planted())


def test_an_error_has_settled_when_its_class_does_not_change_any_more():
    def of(*errors):
        entries = [evaluation("init", 0.6, 5 * (i + 1), e, constant=e == 0.9) for i, e in enumerate(errors)]
        return settled({"final_error": errors[-1], "error_trajectory": entries})

    assert of(0.9, 0.9, 0.9) == 5
    assert of(0.9, 0.5, 0.9, 0.9) == 15
    assert of(0.5, 0.84, 0.45) == 5
    assert of(0.9, 0.5) == 10
    assert settled({"final_error": 0.9}) is None
    assert len(CONSTANT) == 10
