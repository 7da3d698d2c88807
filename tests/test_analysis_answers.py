"""Answers: a row for each quantity and start state, its controls, and one table in every form."""

import json
import re
from statistics import fmean

import pytest
from analysis_cases import every_outcome, published, t1, t2, v3
from by_name import answer, summarise, width, width_answer
from scipy import stats

OPEN = t1(4, 0.6, None, True)
LEAVES = t2(5, None, trapped=True, leaves=0.3)
CASES = [
    (experiment, records)
    for experiment, group in every_outcome().items()
    for records in (group, *([record] for record in group), [{"seed": 0}, {}])
] + [("T1", [t1(0, 0.6, 0.35, True), OPEN]), ("T2", [t2(0), LEAVES])]


@pytest.mark.parametrize(("experiment", "records"), CASES)
def test_every_summary_is_strict_json_and_every_answer_has_title_settings_and_whole_rows(experiment, records):
    summary = summarise(experiment, records)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    found = answer(experiment, records)
    assert re.search(r"LR (\d|not recorded)", found.settings)
    assert len(found.shown_flags) <= 3
    for text in (found.text(), found.html()):
        assert found.title.partition(",")[0] in text
        assert not re.search(r"\bnan\b|\binf\b|None|-0", text)
    for _, heads, rows in found.tables:
        assert all(len(row) == len(heads) for row in rows)


def rows_of(found):
    return {(row.quantity, row.start): row for row in found.rows}


def test_a_threshold_is_the_middle_of_its_cell_with_it_and_no_event_is_a_result_with_its_bound():
    row = rows_of(answer("T1", [t1(0, 0.60)]))["λ↑", "ordered"]
    assert (row.value, row.cell) == (0.575, (0.55, 0.60))
    assert {"0.575 [0.55, 0.60]", "none (n < 6)"} <= set(row.texts.values())
    up = rows_of(answer("T1", [t1(0, None), t1(1, None)]))["λ↑", "ordered"]
    assert (up.n, up.events, up.cell, up.value) == (2, 0, (0.70, None), None)
    assert "> 0.70" in up.texts.values()
    assert rows_of(answer("T2", [t2(0, None)]))["λ↓", "collapsed"].cell == (None, 0.25)


def test_start_states_have_rows_of_their_own_one_that_is_not_recorded_too():
    unknown = {k: v for k, v in published(t2(3)).items() if k != "trajectory"}
    records = [t2(0), t2(1, 0.3), t2(2, None, trapped=True), unknown]
    found = rows_of(answer("T2", records))
    starts = {"collapsed": (2, 2), "trapped": (1, 0), "not recorded": (1, 1)}
    assert {start: (found["λ↓", start].n, found["λ↓", start].events) for start in starts} == starts
    assert found["share recovered", "trapped"].events == 0
    widths = rows_of(width_answer([t1(seed) for seed in range(4)], records))
    assert [widths["width λ↑ − λ↓", start].n for start in starts] == [2, 1, 1]


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


def test_a_path_retraced_exactly_shows_no_memory_and_no_more_width_than_the_null_without_lag():
    record = t1(0, 0.60, 0.35, True)
    errors = {0.60: 0.5, 0.55: 0.45, 0.50: 0.35, 0.45: 0.25, 0.40: 0.2, 0.35: 0.1}
    for entry in [*record["trajectory"], *record["return_trajectory"]]:
        entry["error"] = errors.get(entry["lambda"], 0.1)
    loop = summarise("T1", [record])["loop"]
    assert loop["memory"]["mean"] == loop["area"]["mean"] == 0
    assert loop["estimates"]["width"]["estimate"] == 0.10
    rows = rows_of(answer("T1", [record]))
    row = rows["loop width λ↑ − λ↓", "ordered"]
    assert row.more["null (no lag)"] == row.cell == pytest.approx((0.05, 0.15))
    low, high = rows["loop width, both read at error 0.30", "ordered"].cell
    assert low <= 0 <= high
    wide = rows_of(answer("T1", [t1(0, 0.60, 0.35, True)]))["loop width λ↑ − λ↓", "ordered"]
    assert wide.cell[0] >= wide.more["null (no lag)"][1]
    for entry in record["return_trajectory"]:
        entry["error"] += 0.125
    loop = summarise("T1", [record])["loop"]
    assert (loop["memory"]["mean"], loop["area"]["mean"]) == (0.125, pytest.approx(0.125 * 0.15))


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
