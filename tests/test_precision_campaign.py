"""The statistics behind `python tests/precision_campaign.py`, its committed result, and a short run of it."""

import json
import sys
from pathlib import Path

import numpy as np
import precision_campaign as campaign
import precision_comparison as comparison
import pytest
from precision_comparison import paired_tost, welch_tost

SCRIPT = Path(__file__).with_name("precision_campaign.py")
TESTS = [paired_tost, welch_tost]
LEVEL = 0.05


def sweep_levels(rng, n=30, shift=0.0):
    """Thresholds as a sweep gives them: normal, on a grid of one level."""
    return np.round(rng.normal(0.62 + shift, LEVEL, n) / LEVEL) * LEVEL


def test_the_paired_test_has_the_values_of_the_formula():
    first = [0.60, 0.65, 0.70, 0.60, 0.65]
    found = paired_tost(first, [0.65, 0.60, 0.70, 0.65, 0.65], LEVEL)
    # Differences 0.05, -0.05, 0, 0.05, 0: mean 0.01, standard error 0.0187083; t(0.95; 4) = 2.1318468.
    assert found.difference == pytest.approx(0.01)
    assert found.interval == pytest.approx(
        (0.01 - 2.1318468 * 0.0187083, 0.01 + 2.1318468 * 0.0187083), rel=1e-5
    )
    assert found.p == pytest.approx(0.04965, abs=1e-4)
    assert found.shown


@pytest.mark.parametrize("test", TESTS)
def test_equal_sides_are_equivalent_and_sides_one_level_apart_are_not(test):
    first = sweep_levels(np.random.default_rng(0))
    assert test(first, first, LEVEL).shown
    for shift in (LEVEL, -LEVEL):
        found = test(first, first + shift, LEVEL)
        assert not found.shown
        assert found.difference == pytest.approx(shift)


@pytest.mark.parametrize("test", TESTS)
def test_a_shift_of_the_margin_passes_in_one_of_twenty_and_none_passes_nearly_always(test):
    rng = np.random.default_rng(1)
    shown = dict.fromkeys((-LEVEL, 0.0, LEVEL), 0)
    for shift in shown:
        for _ in range(200):
            shown[shift] += test(sweep_levels(rng), sweep_levels(rng, shift=shift), LEVEL).shown
    assert shown[-LEVEL] <= 18  # 10 expected of 200; more with probability 0.005
    assert shown[LEVEL] <= 18
    assert shown[0.0] >= 180


def records(experiment, outcomes, thresholds=()):
    field = comparison.THRESHOLDS[experiment][0] if experiment in comparison.THRESHOLDS else "none"
    sweep = {"T1": [0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7], "T2": [0.55, 0.5, 0.45, 0.4]}.get(experiment)
    thresholds = list(thresholds) or [None] * len(outcomes)
    return [
        {"outcome": outcome, field: level, "parameters": {"sweep_lambdas": sweep}}
        for outcome, level in zip(outcomes, thresholds, strict=True)
    ]


def side(shift=0.0, trapped=3):
    up = np.round(sweep_levels(np.random.default_rng(5), 20) + shift, 9)
    return {
        "T1": records("T1", ["collapsed"] * 20, up),
        "T2": records("T2", ["recovered"] * 18 + ["no_event", "init_failed"], [0.45, 0.4] * 9 + [None] * 2),
        "Td1": records("Td1", ["trapped_90"] * trapped + ["ordered"] * (20 - trapped)),
    }


def test_a_censored_seed_counts_one_level_further_and_a_failed_one_not_at_all():
    found = comparison.levels(
        "T1", records("T1", ["collapsed", "no_event", "init_failed"], [0.6, None, None])
    )
    assert found == ([0.6, 0.75, None], 1)
    assert comparison.levels("T2", records("T2", ["no_event"])) == ([0.35], 1)


def test_sides_one_level_apart_differ_and_equal_ones_do_not():
    equal = comparison.compare(side(), side())
    assert equal["T1"]["equivalent"]
    assert equal["T1"]["tests"]["paired_t"]["interval_90"] == [0.0, 0.0]
    assert equal["T2"]["left_out"] == 1
    assert equal["Td1"]["seeds_that_end_alike"] == 20
    assert "(0.05) shown" in comparison.verdict("bf16", "fp32", equal)[0]
    apart = comparison.compare(side(), side(shift=LEVEL))
    assert not apart["T1"]["equivalent"]
    assert "not shown (shown by no test)" in comparison.verdict("bf16", "fp32", apart)[0]
    assert "leaves out 0" in comparison.verdict("bf16", "fp32", apart)[0]
    assert "leaves out 0" not in comparison.verdict("bf16", "fp32", equal)[0]


@pytest.mark.parametrize("path", sorted(SCRIPT.parent.glob("results/precision_campaign_*.json")), ids=str)
def test_the_committed_result_follows_from_its_own_thresholds(path):
    found = json.loads(path.read_bytes())
    assert found["seeds"] >= 30
    for part in found["compared"].values():
        a, b = part["T1"]["thresholds"]
        assert len(a) == len(b) == found["seeds"]
        pairs = [(x, y) for x, y in zip(a, b, strict=True) if x is not None and y is not None]
        for name, test in comparison.TESTS.items():
            assert test(*zip(*pairs, strict=True), LEVEL).as_dict() == part["T1"]["tests"][name]


@pytest.mark.slow
def test_a_short_campaign_runs_every_side_and_resumes_without_running_a_seed_again(tmp_path, monkeypatch):
    monkeypatch.setattr("dglib.api.draw_figure", lambda *_: [])  # most of the time, otherwise

    def run(seeds):
        file = tmp_path / f"{seeds}.json"
        words = f"--short --base {tmp_path} --seeds {seeds} --json {file}"
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *words.split()])
        assert campaign.main() == 1  # so few seeds show nothing
        return json.loads(file.read_bytes()), {
            p: p.stat().st_mtime_ns for p in tmp_path.rglob("seeds/*.json")
        }

    found, before = run(1)
    assert len(before) == 6
    assert found["numerics"]["bf16"]["precision"] == "bf16"
    assert found["compared"]["bf16"]["Td1"]["outcomes"].keys() == set(comparison.CLASSES["Td1"])
    _, after = run(2)
    assert len(after) == 12
    assert before.items() <= after.items()
