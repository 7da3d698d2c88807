"""What is claimed about Tδ1's classes and their early signs."""

import math

import pytest
from analysis_cases import td1, td1_diverged
from by_name import summarise

from dglib.experiments.trapping import category


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
    assert category(record) == "diverged"
    outcomes = summarise("Td1", [record])["outcomes"]
    assert (outcomes["diverged"], outcomes["trapped_90"]) == (1, 0)


def test_each_seed_counts_once_whatever_the_number_of_its_rows():
    many, few, partial = td1(0), td1(1), td1(2, 0.5)
    many["step_logs"] = [{"epoch": 5, "step": s, "c_sv": 0.2} for s in range(9)]
    few["step_logs"] = [{"epoch": 5, "step": 0, "c_sv": 0.4}]
    tests = summarise("Td1", [many, few, partial])["signs"]["tests"]
    (found,) = (t for t in tests if (t["quantity"], t["first_epoch"]) == ("c_sv", 5))
    assert found["trapped"] == pytest.approx(0.3)


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
