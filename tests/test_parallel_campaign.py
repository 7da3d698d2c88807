"""The campaign of two workers against one: in turn, and no record that differs goes unnoticed."""

import math
from pathlib import Path
from typing import Any

import parallel_campaign
import pytest


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stands in for the commands, two workers being twice as fast; the directories of those asked for."""
    found: list[str] = []

    def timed(workers: int, base: Path, settings: object) -> dict[str, Any]:
        found.append(base.name)
        return {"seconds": 10.0 + 20.0 / workers, "jobs_seconds": 20.0 / workers}

    monkeypatch.setattr(parallel_campaign, "timed", timed)
    return found


def same(base: Path) -> dict[str, dict[str, Any]]:
    return {f"T2-spinodal-00{seed}": {"seed": seed, "final_error": 0.1} for seed in range(4)}


def test_pairs_are_measured_in_turn_and_give_ratios(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel_campaign, "records", same)
    found = parallel_campaign.measure(3, [], Path())
    assert asked == ["0-2", "0-1", "1-1", "1-2", "2-2", "2-1"]
    assert found["ratio"]["jobs_seconds"] == {"n": 3, "median": 0.5, "min": 0.5, "max": 0.5}
    assert found["ratio"]["seconds"]["median"] == round(20 / 30, 3)
    assert (found["records_compared"], found["differing"]) == (20, [])


@pytest.mark.parametrize(
    ("other", "named"),
    [({"final_error": 0.1}, []), ({"final_error": math.nextafter(0.1, 1)}, ["T2-spinodal-002"])],
    ids=["the same float", "the next float"],
)
def test_a_record_that_differs_by_a_bit_is_named(
    other: dict[str, float], named: list[str], asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(base: Path) -> dict[str, dict[str, Any]]:
        found = same(base)
        if base.name == "1-1":
            found["T2-spinodal-002"] |= other
        return found

    monkeypatch.setattr(parallel_campaign, "records", made)
    assert parallel_campaign.measure(2, [], Path())["differing"] == [f"pair 1, 1 workers: {n}" for n in named]


def test_a_seed_that_is_missing_is_noticed(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel_campaign, "records", lambda base: {"T2-spinodal-000": {}})
    assert len(parallel_campaign.measure(1, [], Path())["differing"]) == 2
