"""Cells of a table of seeds, as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dglib.analysis import wording

NONE = "–"
OUTCOMES = {"init_failed": "init failed", "unfinished": "not finished"}


def bounds(lower: float | None, upper: float | None) -> str:
    """Where a threshold lies: "0.55 to 0.60", "above 0.70", or a dash where nothing is known."""
    if lower is None and upper is None:
        return NONE
    return wording.interval(lower, upper).removeprefix("between ").replace(" and ", " to ")


def seed(found: Mapping[str, Any]) -> str:
    """The seed; a dash where the record has none."""
    return NONE if found["seed"] < 0 else str(found["seed"])


def error(value: float | None) -> str:
    """An error or a gap with three decimals."""
    return NONE if value is None else wording.decimal(value, 3)


def outcome(name: str, words: Mapping[str, str] | None = None) -> str:
    """What became of a seed, in words where it has any."""
    return (OUTCOMES | dict(words or {})).get(name, name)
