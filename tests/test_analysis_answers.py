"""What the answers say in words, and what they must never say."""

import json
import re

import pytest
from analysis_cases import (
    diverged,
    failed_init,
    published,
    t1,
    t2,
    td1,
    td1_diverged,
    v3,
    v3_diverged,
    v3_failed,
)
from by_name import answer, summarise

CASES = {
    "T1": {
        "events": [t1(0, 0.6), t1(1, 0.65)],
        "none": [t1(0, None)],
        "loops": [t1(0, 0.6, 0.35, True), t1(1, 0.6, None, True)],
        "failed": [failed_init(t1(0))],
        "diverged": [diverged(t1(0))],
        "bare": [{"seed": 0}, {}],
    },
    "T2": {
        "events": [t2(0), t2(1, 0.3)],
        "trapped": [t2(0, None, trapped=True), t2(1, None, trapped=True, leaves=0.3)],
        "failed": [failed_init(t2(0))],
        "diverged": [diverged(t2(0, None, trapped=True))],
        "bare": [{"seed": 0}],
    },
    "V3": {
        "gap": [v3(0), v3(1, 0.4)],
        "trapped": [v3(0, trapped=True)],
        "failed": [v3_failed(0)],
        "diverged": [v3_diverged(0)],
        "bare": [{"seed": 0}],
    },
    "Td1": {
        "classes": [td1(0), td1(1, 0.5), td1(2, 0.1)],
        "one": [td1(0)],
        "diverged": [td1_diverged(0)],
        "bare": [{"seed": 0}],
    },
}
EVERY = [pytest.param(e, r, id=f"{e}-{name}") for e, cases in CASES.items() for name, r in cases.items()]


@pytest.mark.parametrize(("experiment", "records"), EVERY)
def test_every_answer_is_short_and_ends_with_dwell_time_and_lr(experiment, records):
    text = answer(experiment, records)
    assert re.search(r"Dwell time: [^;]+; LR: [^;]+\.$", text)
    assert len(re.split(r"\. ", text)) <= 4
    assert not re.search(r"insufficient|nan|inf\b|None|-0", text)


@pytest.mark.parametrize(("experiment", "records"), EVERY)
def test_every_summary_is_plain_strict_json(experiment, records):
    summary = summarise(experiment, records)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_no_event_is_a_result_with_its_bound():
    assert "all 2 showed no collapse up to 0.70, so λ↑ > 0.70" in answer("T1", [t1(0, None), t1(1, None)])
    assert "1 showed no recovery down to 0.25, so λ↓ < 0.25" in answer("T2", [t2(0, None)])


def test_a_path_retraced_exactly_shows_no_memory_although_it_has_a_width():
    record = t1(0, 0.60, 0.35, True)
    errors = {0.60: 0.5, 0.55: 0.45, 0.50: 0.35, 0.45: 0.25, 0.40: 0.2, 0.35: 0.1}
    for entry in [*record["trajectory"], *record["return_trajectory"]]:
        entry["error"] = errors.get(entry["lambda"], 0.1)
    loop = summarise("T1", [record])["loop"]
    assert loop["memory"]["mean"] == loop["area"]["mean"] == 0
    assert loop["width"]["mean"] == 0.15
    for entry in record["return_trajectory"]:
        entry["error"] += 0.125
    loop = summarise("T1", [record])["loop"]
    assert (loop["memory"]["mean"], loop["area"]["mean"]) == (0.125, pytest.approx(0.125 * 0.15))
    assert "different errors (0.40 and 0.20); at the same λ" in answer("T1", [record])


def test_constant_and_falling_rates_read_differently_and_absent_ones_are_no_number():
    falling = t1(0)
    falling |= {"sweep_lr": None}
    for entry in falling["trajectory"]:
        entry["lr"] = 0.01 if entry["epoch"] < 30 else 0.001
    assert answer("T1", [t1(0)]).endswith("Dwell time: 4 epochs per level; LR: 0.1 (constant).")
    assert answer("T1", [falling]).endswith("LR: 0.01, then 0.001.")
    assert answer("T1", [published(t1(0, None))]).endswith("4 epochs per level; LR: not recorded.")


def test_an_interval_for_a_gap_of_two_seeds_holds_no_gap_that_cannot_be():
    records = [v3(0, 0.2), v3(1, 0.6)]
    summary = summarise("V3", records)
    intervals = [summary["gap_interval"], *(g["interval"] for g in summary["gap_by_level"]["collapsed"])]
    assert all(-1 <= each["lower"] <= each["upper"] <= 1 for each in intervals)
    assert "95 % t interval −1.00 to 1.00" in answer("V3", records)
