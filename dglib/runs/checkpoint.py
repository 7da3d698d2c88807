"""The state of a seed on disk: one checksummed file, and of the unfinished seed the one before it."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import warnings
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from dglib.errors import StorageError, UserError
from dglib.files import CHECKPOINT_HEAD, older, write_atomically
from dglib.protocol.events import Event, from_plain, to_plain
from dglib.protocol.spec import Cursor

CHECKPOINT_SECONDS = 60.0
CHECKPOINT_EPOCHS = 10
VERSION = 1
UNREADABLE = (OSError, ValueError, KeyError, TypeError, RuntimeError)


@dataclass(frozen=True)
class Saving:
    """Where and how often a seed is saved.

    Attributes:
        path: the checkpoint of the unfinished seed; None saves nothing.
        seconds, epochs: it is saved at least this often, and when stopped.
        states: directory for the state at the end of every phase; None keeps none.
        former_jobs: jobs that a checkpoint may have as well, of `Store.former_jobs`.
    """

    path: Path | None = None
    seconds: float = CHECKPOINT_SECONDS
    epochs: int = CHECKPOINT_EPOCHS
    states: Path | None = None
    former_jobs: Sequence[str] = ()


@dataclass(frozen=True)
class Checkpoint:
    """The saved state of an unfinished seed.

    Attributes:
        job: fingerprint of specification, data and seed: whose state this is.
        state: of `TrainState.state_dict`.
        cursor, events: the position in the protocol, and what happened so far.
        steps: trained since the seed began.
        seconds: that they took.
        stretches: on what the steps were computed, see `dglib.training.numerics`.
        made: by what they were made, see `dglib.runs.provenance`; may be empty.
        hashes: of the user's network and noise, and of the seed's noisy "labels", see `dglib.runs.identity`.
    """

    job: str
    state: dict[str, Any]
    cursor: Cursor
    events: Sequence[Event]
    steps: int
    seconds: float
    stretches: Sequence[Mapping[str, Any]] = field(default_factory=list)
    made: Sequence[Mapping[str, Any]] = field(default_factory=list)
    hashes: Mapping[str, str] = field(default_factory=dict)


def save(path: Path, checkpoint: Checkpoint, *, keep_older: bool = True) -> None:
    """Write a checkpoint; the one before it stays as the older generation, unless `keep_older` is false.

    Raises:
        StorageError: it cannot be written; the generations that were there still are.
    """
    progress = {name: value for name, value in vars(checkpoint).items() if name != "state"}
    progress["cursor"] = asdict(checkpoint.cursor)
    progress["events"] = [to_plain(event) for event in checkpoint.events]
    buffer = io.BytesIO()
    torch.save({"state": checkpoint.state, "progress": json.dumps(progress)}, buffer)
    content = buffer.getvalue()
    digest = hashlib.sha256(content).hexdigest()
    head = f"dglib checkpoint {VERSION} {digest} {checkpoint.steps}\n"
    write_atomically(path, head.encode() + content, backup=older(path) if keep_older else None)


def load(path: Path, jobs: Container[str] | None = None) -> Checkpoint | None:
    """The newest readable generation, or None where there is none. Nothing in it is ever executed.

    A torn newest one is passed over with a warning and renamed to `.damaged`.

    Args:
        jobs: whose state it must be, one of these; None takes any.

    Raises:
        UserError: a generation is of a newer version or of another job, or none can be read.
    """
    problems = []
    for generation in (path, older(path)):
        if not generation.exists():
            continue
        try:
            saved = read(generation)
        except UNREADABLE as error:
            problems.append(f"{generation}: {error}")
            continue
        if jobs is not None and saved.job not in jobs:
            raise UserError(f"{generation}: the state of another run; remove it to train from the beginning")
        if problems:
            warnings.warn(f"passed over {problems[0]}; resuming from {generation.name}", stacklevel=2)
            # Or the next save would turn it into the older generation, over this good one.
            try:
                path.replace(path.with_suffix(".damaged"))
            except OSError as error:
                raise StorageError.of(path, error, "renamed") from error
        return saved
    if problems:
        raise UserError("; ".join(problems) + "; remove what is damaged to train from the beginning")
    return None


def read(path: Path) -> Checkpoint:
    """One generation. Nothing in it is ever executed, and nothing is renamed.

    Raises:
        UserError: it is of a newer version.
        UNREADABLE: it is damaged or foreign.
    """
    head, _, content = path.read_bytes().partition(b"\n")
    match = CHECKPOINT_HEAD.fullmatch(head)
    if match is None:
        raise ValueError("not a checkpoint of dglib")
    if int(match[1]) > VERSION:
        raise UserError(f"{path}: written by a newer version of dglib (format {int(match[1])})")
    if hashlib.sha256(content).hexdigest().encode() != match[2]:
        raise ValueError("checksum does not match: truncated or damaged")
    try:
        saved = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ValueError("contains more than tensors and plain data") from None
    progress = json.loads(saved["progress"])
    progress["cursor"].pop("passed", None)  # in checkpoints of dglib 0.2.0, always null
    if progress["steps"] != int(match[3]):  # the head's are for readers without torch
        raise ValueError("its head does not belong to its content: damaged")
    progress["cursor"] = Cursor(**progress["cursor"])
    progress["events"] = [from_plain(event) for event in progress["events"]]
    return Checkpoint(state=saved["state"], **progress)
