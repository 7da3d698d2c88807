"""Where a seed under way stands, read from its run directory: for this process, another, another machine."""

from __future__ import annotations

import json
import os
import socket
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from dglib.runs.attempts import read_attempts


def standing(directory: Path, seed_id: str) -> dict[str, Any] | None:
    """What a seed's heartbeat tells, with what follows from it; None where there is none.

    Besides what `runs.progress.heartbeat` writes: `updated`, Unix time; `epochs_per_second` of the attempt
    under way and `seconds_left` if no event ends the seed early, where an epoch of it has been completed.
    """
    try:
        beat: dict[str, Any] = json.loads((directory / "heartbeats" / f"{seed_id}.json").read_bytes())
        beat["updated"] = datetime.fromisoformat(beat["updated"]).timestamp()
        done, planned = int(beat["epochs_done"]), int(beat["epochs_planned"])
        attempts = read_attempts(directory / "attempts" / f"{seed_id}.jsonl")
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if attempts:
        began, found = attempts[-1]["began"], attempts[-1].get("found_epochs", 0.0)
        if beat["updated"] > began and done > found:
            beat["epochs_per_second"] = speed = (done - found) / (beat["updated"] - began)
            beat["seconds_left"] = (planned - done) / speed
    return beat


def last_line(log: Path, since: float) -> str:
    """The last line that a job has printed to its log since `since`, Unix time; "" where there is none."""
    try:
        with log.open("rb") as file:
            if os.fstat(file.fileno()).st_mtime < since:
                return ""
            file.seek(max(0, os.fstat(file.fileno()).st_size - 4096))
            *_, last = file.read().decode("utf-8", errors="replace").splitlines() or [""]
    except OSError:
        return ""
    return "" if last.startswith("-- ") else last.strip()  # what a process writes when it begins a job


def is_gone(process: dict[str, Any]) -> bool:
    """Whether a process, given as `pid` and `host`, is known to have ended; of other hosts nothing is."""
    if process.get("host") != socket.gethostname() or "pid" not in process:
        return False
    try:
        return bool(psutil.Process(process["pid"]).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
    except (psutil.Error, TypeError, ValueError):  # another user's, or no process id
        return False


def in_words(beat: dict[str, Any]) -> str:
    """Phase, λ, epoch, error, speed and time left of a heartbeat."""
    told = [
        f"{beat['phase']} λ {beat['lambda']:g}",
        f"epoch {beat['epochs_done']} of {beat['epochs_planned']}",
    ]
    if beat.get("error") is not None:
        told.append(f"error {beat['error']:.2f}")
    if "epochs_per_second" in beat:
        told += [f"{speed(beat['epochs_per_second'])}", f"{duration(beat['seconds_left'])} left at most"]
    return ", ".join(told)


def speed(epochs_per_second: float) -> str:
    """Epochs per second, or seconds per epoch where one takes longer than that."""
    if epochs_per_second >= 1:
        return f"{epochs_per_second:.1f} epochs/s"
    return f"{1 / epochs_per_second:.1f} s/epoch"


def duration(seconds: float) -> str:
    """Seconds in words: 45 s, 3 min 20 s, 5 h 10 min."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
