"""A run kept earlier, for the still picture where none can be trained: λ raised to 0.65 and lowered again.

python -m dglib.explorer.live_example  # trains it anew, for a minute
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dglib.campaign.jobs import NOTEBOOKS
from dglib.data import load_dataset
from dglib.explorer.keep import record_of
from dglib.explorer.live_run import LiveRun
from dglib.explorer.live_settings import STARTS, Settings
from dglib.explorer.live_status import Point, Status
from dglib.files import to_json, write_atomically
from dglib.numerics import Numerics
from dglib.records import views

EXAMPLE = NOTEBOOKS / "assets" / "live" / "Live_results.json"  # comes with the project
_DWELL = 3  # epochs at each λ
_UP = [0.40, 0.45, 0.50, 0.55, 0.60, 0.65]
_DOWN = [0.60, 0.55, 0.50, 0.45, 0.40, 0.35, 0.30, 0.25, 0.20, 0.15, 0.10, 0.05]
_COMPARED = 0.4  # λ at which the words compare the two ways


def example() -> tuple[Status, str] | None:
    """Where that run ended, and what to see in it; None where the project's files are not there."""
    try:
        (record,) = json.loads(EXAMPLE.read_bytes())
    except FileNotFoundError:
        return None
    status = status_of(record)
    up, down = (_mean(status, way) for way in (True, False))
    return status, (
        f"A run kept earlier, seed {record['seed']}: λ raised by hand from {status.start.lam:.2f} to"
        f" {max(_UP):.2f} and lowered to {min(_DOWN):.2f}, {_DWELL} epochs at each. At λ {_COMPARED:.2f} the"
        f" mean error was {up:.2f} on the way up and {down:.2f} on the way down."
    )


def status_of(record: Mapping[str, Any]) -> Status:
    """Where a kept run ended."""
    last = Settings.of_row(record["script"][-1])
    start = STARTS[record["start"]]
    points = tuple(
        Point(each["epoch"], each["lambda"], each["error"], each["phase"] == "init")
        for each in record["trajectory"]
    )
    steps, seconds = record["steps"], record["time"]
    return Status(start, "kept", steps, len(points), last, last, points, points[-1], seconds)


def train(target: Path = EXAMPLE) -> None:
    """Train it and write its results' file."""
    run = LiveRun(load_dataset("digits"), Numerics.resolve("cpu", 1))
    epochs = run.status().start.epochs
    for lam in [None, *_UP, *_DOWN]:
        if lam is not None:
            run.change(lam=lam)
            epochs += _DWELL
        while run.status().epochs < epochs:
            run.step()
    spec, record = record_of(run)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(target, views(spec, [json.loads(to_json(record))])[target.name])


def _mean(status: Status, rising: bool) -> float:
    """The mean error at the λ compared, on the way up or down."""
    by_hand = [point for point in status.points if not point.prepared]
    top = max(range(len(by_hand)), key=lambda index: by_hand[index].lam)
    way = by_hand[:top] if rising else by_hand[top:]
    errors = [point.error for point in way if point.lam == _COMPARED and point.error is not None]
    return sum(errors) / len(errors)


if __name__ == "__main__":
    train()
