"""Answers: a row for each quantity and start state, its controls, and one table in every form."""

import json
import re
from statistics import fmean

import numpy as np
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
from by_name import answer, summarise, width, width_answer
from scipy import stats

from dglib.analysis.intervals import sign_flip_p

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
def test_every_answer_has_title_settings_and_whole_rows_in_every_form(experiment, records):
    found = answer(experiment, records)
    assert re.search(r"LR (\d|not recorded)", found.settings)
    assert len(found.shown_flags) <= 3
    for text in (found.text(), found.html()):
        assert found.title.partition(",")[0] in text
        assert not re.search(r"\bnan\b|\binf\b|None|-0", text)
    for _, heads, rows in found.tables:
        assert all(len(row) == len(heads) for row in rows)


@pytest.mark.parametrize(("experiment", "records"), EVERY)
def test_every_summary_is_plain_strict_json(experiment, records):
    summary = summarise(experiment, records)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def rows_of(found):
    return {(row.quantity, row.start): row for row in found.rows}


def test_no_event_is_a_result_with_its_bound():
    up = rows_of(answer("T1", [t1(0, None), t1(1, None)]))["λ↑", "ordered"]
    assert (up.n, up.events, up.cell, up.value) == (2, 0, (0.70, None), None)
    assert "> 0.70" in up.texts.values()
    assert rows_of(answer("T2", [t2(0, None)]))["λ↓", "collapsed"].cell == (None, 0.25)


def test_a_threshold_is_given_at_the_middle_of_its_cell_and_with_it():
    row = rows_of(answer("T1", [t1(0, 0.60)]))["λ↑", "ordered"]
    assert (row.value, row.cell) == (0.575, (0.55, 0.60))
    assert "0.575 [0.55, 0.60]" in row.texts.values()
    assert "none (n < 6)" in row.texts.values()


def test_start_states_have_rows_of_their_own():
    records = [t2(0), t2(1, 0.3), t2(2, None, trapped=True)]
    found = rows_of(answer("T2", records))
    assert (found["λ↓", "collapsed"].n, found["λ↓", "trapped"].n) == (2, 1)
    assert found["share recovered", "trapped"].events == 0
    widths = rows_of(width_answer([t1(seed) for seed in range(3)], records))
    assert (widths["width λ↑ − λ↓", "collapsed"].n, widths["width λ↑ − λ↓", "trapped"].n) == (2, 1)


def test_thresholds_on_record_without_evaluations_count_under_a_start_that_is_not_recorded():
    records = [{k: v for k, v in published(t2(seed)).items() if k != "trajectory"} for seed in range(3)]
    row = rows_of(answer("T2", records))["λ↓", "not recorded"]
    assert (row.n, row.events) == (3, 3)
    found = rows_of(width_answer([t1(seed) for seed in range(3)], records))
    assert found["width λ↑ − λ↓", "not recorded"].n == 3


def test_a_gap_that_was_not_measured_is_named_as_that_where_seeds_were():
    record = v3(0)
    for name in ("ordered_trajectory", "collapse_trajectory"):
        record[name] = [entry for entry in record[name] if entry["lambda"] != 0.50]
    found = answer("V3", [record])
    assert rows_of(found)["final error, ordered branch, λ = 0.70", "ordered"].n == 1
    assert found.flags == ("no gap: no seed has both branches at λ = 0.50",)
    assert answer("V3", [v3(0, trapped=True)]).flags == ()


def test_a_trapped_network_has_no_drift_and_hides_none():
    def drifting(seed):
        record = t2(seed, None)
        for entry in record["trajectory"]:
            entry["error"] -= 0.02 * ((entry["epoch"] - 1) % 4)
        return record

    found = answer("T2", [*map(drifting, range(4)), *(t2(seed, None, trapped=True) for seed in range(4, 12))])
    assert ("drift within a level", "trapped") not in rows_of(found)
    assert rows_of(found)["drift within a level", "collapsed"].n == 4
    assert any(flag.startswith("drifting") for flag in found.flags)


def retraced():
    """A loop whose return has at each λ the error of the rising sweep."""
    record = t1(0, 0.60, 0.35, True)
    errors = {0.60: 0.5, 0.55: 0.45, 0.50: 0.35, 0.45: 0.25, 0.40: 0.2, 0.35: 0.1}
    for entry in [*record["trajectory"], *record["return_trajectory"]]:
        entry["error"] = errors.get(entry["lambda"], 0.1)
    return record


def test_a_path_retraced_exactly_shows_no_memory_although_it_has_a_width():
    record = retraced()
    loop = summarise("T1", [record])["loop"]
    assert loop["memory"]["mean"] == loop["area"]["mean"] == 0
    assert loop["estimates"]["width"]["estimate"] == 0.10
    for entry in record["return_trajectory"]:
        entry["error"] += 0.125
    loop = summarise("T1", [record])["loop"]
    assert (loop["memory"]["mean"], loop["area"]["mean"]) == (0.125, pytest.approx(0.125 * 0.15))


def test_the_null_is_the_width_of_a_path_retraced_and_at_one_limit_there_is_none():
    row = rows_of(answer("T1", [retraced()]))["loop width λ↑ − λ↓", "ordered"]
    assert row.more["null (no lag)"] == row.cell == pytest.approx((0.05, 0.15))
    low, high = rows_of(answer("T1", [retraced()]))["loop width, both read at error 0.30", "ordered"].cell
    assert low <= 0 <= high
    wide = rows_of(answer("T1", [t1(0, 0.60, 0.35, True)]))["loop width λ↑ − λ↓", "ordered"]
    assert wide.cell[0] >= wide.more["null (no lag)"][1]


def test_the_gap_at_equal_lambda_is_paired_by_seed_with_its_sign_flip_test():
    ups, downs = [t1(seed, None) for seed in range(6)], [t2(seed, None) for seed in range(6)]
    found = width(ups, downs)
    gap = found["by_start"]["collapsed"]["gap"]

    def error(record):
        at = [e for e in record["trajectory"] if e["lambda"] == found["gap_lambda"] and e["phase"] == "sweep"]
        return fmean(e["error"] for e in at)

    gaps = [error(down) - error(up) for up, down in zip(ups, downs, strict=True)]
    assert gap["mean"] == pytest.approx(fmean(gaps))
    assert gap["ci95"] == pytest.approx(list(stats.t.interval(0.95, 5, fmean(gaps), stats.sem(gaps))))
    assert gap["p"] == pytest.approx(2 / 2**6)
    assert width(ups, downs[:1])["by_start"]["collapsed"]["gap"]["p"] is None


def test_under_the_null_the_sign_flip_test_errs_in_five_of_a_hundred_at_most():
    generator, trials = np.random.default_rng(0), 400
    errors = sum(sign_flip_p(generator.standard_t(2, size=8)) <= 0.05 for _ in range(trials))
    assert 0 < errors / trials <= 0.05 + 3 * (0.05 * 0.95 / trials) ** 0.5


def test_an_interval_for_a_gap_of_two_seeds_holds_no_gap_that_cannot_be():
    records = [v3(0, 0.2), v3(1, 0.6)]
    summary = summarise("V3", records)
    assert all(
        -1 <= low <= high <= 1 for low, high in (g["ci95"] for g in summary["gap_by_level"]["collapsed"])
    )
    assert "−1.000 to 1.000" in answer("V3", records).text()
