"""The statistics behind `python tests/precision_campaign.py`, its committed result, and a short run of it."""

import json
import sys
from pathlib import Path

import numpy as np
import precision_campaign as campaign
import pytest
from precision_campaign import paired_tost

LEVEL = 0.05


def sweep_levels(rng, shift=0.0):
    """30 thresholds as a sweep gives them: normal, on a grid of one level."""
    return np.round(rng.normal(0.62 + shift, LEVEL, 30) / LEVEL) * LEVEL


def test_a_shift_of_the_margin_is_accepted_in_one_of_twenty_and_none_nearly_always():
    rng = np.random.default_rng(1)
    shown = dict.fromkeys((-LEVEL, 0.0, LEVEL), 0)
    for shift in shown:
        for _ in range(200):
            test = paired_tost(sweep_levels(rng), sweep_levels(rng, shift), LEVEL)
            shown[shift] += test["within_margin"]
    assert max(shown[-LEVEL], shown[LEVEL]) <= 18  # 10 expected of 200; more with probability 0.005
    assert shown[0.0] >= 180


def test_a_censored_seed_counts_one_level_further_and_a_failed_one_not_at_all():
    outcomes = zip(["collapsed", "no_event", "init_failed"], [0.6, None, None], strict=True)
    sweep = {"sweep_lambdas": [0.65, 0.7]}
    seeds = [{"outcome": outcome, "lambda_up": level, "parameters": sweep} for outcome, level in outcomes]
    assert campaign.lambda_up(seeds) == ([0.6, 0.75, None], 1)


@pytest.mark.parametrize(
    "path", sorted(Path(__file__).parent.glob("results/precision_campaign_*.json")), ids=str
)
def test_the_committed_result_follows_from_its_own_thresholds(path):
    found = json.loads(path.read_bytes())
    assert found["seeds"] >= 30
    for part in found["compared"].values():
        pairs = [pair for pair in zip(*part["T1"]["thresholds"], strict=True) if None not in pair]
        assert paired_tost(*zip(*pairs, strict=True), LEVEL) == part["T1"]["tests"]["paired_t"]


@pytest.mark.slow
def test_a_short_campaign_runs_every_side(tmp_path, monkeypatch):
    monkeypatch.setattr("dglib.campaign.run.draw_figures", lambda *_: [], raising=False)  # takes seconds
    words = ["--short", "--base", str(tmp_path), "--seeds", "1", "--json", str(tmp_path / "result.json")]
    monkeypatch.setattr(sys, "argv", ["precision_campaign.py", *words])
    assert campaign.main() == 1  # one seed shows nothing
    found = json.loads((tmp_path / "result.json").read_bytes())
    assert found["numerics"]["bf16"][0]["precision"] == "bf16"
    assert len(list(tmp_path.rglob("seeds/*.json"))) == 6
