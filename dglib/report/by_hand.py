"""Runs in which λ was moved by hand and which were kept: named, and in no number of the report."""

from __future__ import annotations

from itertools import pairwise

from dglib.analysis import wording
from dglib.analysis.reading import Record, entries, level_of, number
from dglib.report.collect import Collection

READING = (
    "Kept from the explorer, where a hand moved λ while the network trained. They follow no protocol, so they"
    " are in no number above. Each record holds every move with its step, and can be retraced."
)


def by_hand(collection: Collection) -> list[tuple[str, str]]:
    """Run directory and a sentence for each kept live run, the oldest first."""
    return [(directory.absolute().name, _told(record)) for directory, record in collection.by_hand]


def _told(record: Record) -> str:
    points = entries(record, "trajectory")
    levels = [level for point in points if (level := level_of(point)) is not None]
    errors = [error for point in points if (error := number(point, "error")) is not None]
    moves = sum(a["lambda"] != b["lambda"] for a, b in pairwise(entries(record, "script")))
    said = [f"begun {record.get('start')}", f"{len(points)} epochs"]
    if levels and moves:
        moved = f"moved {moves} time{'' if moves == 1 else 's'}"
        said.append(f"λ {wording.level(min(levels))} to {wording.level(max(levels))}, {moved}")
    elif levels:
        said.append(f"λ held at {wording.level(levels[0])}")
    if errors:
        said.append(f"error {min(errors):.2f} to {max(errors):.2f}, at the end {errors[-1]:.2f}")
    return f"seed {record['seed']}, {'; '.join(said)}."
