"""The state of an unfinished seed on disk: one checksummed file, and the one before it."""

from __future__ import annotations

import hashlib
import io
import json
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from dglib.errors import UserError
from dglib.events import Event, from_plain, to_plain
from dglib.files import write_atomically
from dglib.protocol import Cursor

_MAGIC = b"dglib checkpoint 1 "


@dataclass(frozen=True)
class Checkpoint:
    """Where a seed stood: training state, cursor, the events so far, and the seconds they took."""

    state: dict[str, Any]
    cursor: Cursor
    events: list[Event]
    seconds: float


def save(
    path: Path, state: dict[str, Any], cursor: Cursor, events: Sequence[Event], seconds: float
) -> None:
    """Write a checkpoint; the one before it stays as the older generation (`.old`)."""
    progress = {
        "cursor": asdict(cursor),
        "events": [to_plain(event) for event in events],
        "seconds": seconds,
    }
    buffer = io.BytesIO()
    torch.save({"state": state, "progress": json.dumps(progress)}, buffer)
    content = buffer.getvalue()
    if path.exists():
        path.replace(path.with_suffix(".old"))
    write_atomically(path, _MAGIC + hashlib.sha256(content).hexdigest().encode() + b"\n" + content)


def load(path: Path) -> Checkpoint | None:
    """The newest readable generation, or None where there is none.

    A torn newest one is passed over with a warning.

    Raises:
        UserError: generations are there, and none can be read.
    """
    generations = [p for p in (path, path.with_suffix(".old")) if p.exists()]
    problems = []
    for generation in generations:
        try:
            return _read(generation)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            problems.append(f"{generation}: {error}")
            warnings.warn(f"{generation}: passed over: {error}", stacklevel=2)
    if problems:
        raise UserError("; ".join(problems) + "; remove the file(s) to train the seed from its beginning")
    return None


def _read(path: Path) -> Checkpoint:
    head, _, content = path.read_bytes().partition(b"\n")
    if not head.startswith(_MAGIC):
        raise ValueError("not a checkpoint of this version")
    if hashlib.sha256(content).hexdigest().encode() != head[len(_MAGIC) :]:
        raise ValueError("checksum does not match: truncated or damaged")
    saved = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    progress = json.loads(saved["progress"])
    return Checkpoint(
        saved["state"],
        Cursor(**progress["cursor"]),
        [from_plain(event) for event in progress["events"]],
        progress["seconds"],
    )
