"""The log of attempts at a seed: who trained it when, from which step, and how that ended.

One file per seed, `attempts/<seed>.jsonl`, two lines an attempt; one that was killed has no second line.
"""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from dglib.errors import StorageError
from dglib.files import append_line, to_json


class Attempt:
    """One process's attempt at a seed, from taking the lock to giving it back.

    Args:
        log: the seed's file.
        epochs_before: epochs that the attempts before are known to have completed.
    """

    def __init__(self, log: Path, epochs_before: int) -> None:
        self._log = log
        self._epochs_before = epochs_before
        self._me = {"pid": os.getpid(), "host": socket.gethostname()}

    def found(self, steps: int, steps_per_epoch: int) -> int:
        """Note the beginning, at `steps` trained before. Returns about how many were trained and are lost."""
        lost = max(0, self._epochs_before * steps_per_epoch - steps)
        line = {
            **self._me,
            "began": time.time(),
            "found_step": steps,
            "found_epochs": round(steps / steps_per_epoch, 3),
            "lost_steps": lost,
        }
        append_line(self._log, to_json(line))
        return lost

    def ended(self, how: str) -> None:
        """Note the end: "done", "stopped" or "failed"."""
        with suppress(StorageError):  # what failed before has more to say
            append_line(self._log, to_json({**self._me, "ended": time.time(), "how": how}))


def read_attempts(log: Path) -> list[dict[str, Any]]:
    """The attempts of a log in order, each with its end where it has one. A torn line is passed over."""
    attempts: list[dict[str, Any]] = []
    for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else []:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if "began" in entry:
            attempts.append(entry)
            continue
        for attempt in reversed(attempts):  # not always the last one: two machines' attempts may overlap
            if "ended" not in attempt and _who(attempt) == _who(entry):
                attempt |= entry
                break
    return attempts


def _who(entry: dict[str, Any]) -> tuple[int, str]:
    return entry["pid"], entry["host"]
