"""By what results were made: code, versions, machine and data. Information alone: nothing depends on it."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dglib

if TYPE_CHECKING:
    from dglib.protocol.records import Record
    from dglib.training.data import Dataset
    from dglib.training.numerics import Numerics

HERE = Path(__file__).parents[1]


def code(directory: Path = HERE) -> dict[str, Any]:
    """The version of dglib, the commit it comes from, and whether its files were changed since.

    `commit` and `dirty` are None where git does not know the files: a copy without its history, or an
    installation, possibly within an unrelated checkout.
    """

    def git(*words: str) -> str | None:
        try:
            command = ["git", "--no-optional-locks", "-C", str(directory), *words]
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=True)
        except (OSError, subprocess.CalledProcessError):
            return None
        return done.stdout.strip()

    known = git("ls-files", "--error-unmatch", "--", "__init__.py") is not None
    commit = git("rev-parse", "HEAD") if known else None
    changes = git("status", "--porcelain", "--", ".") if commit else None
    return {
        "dglib": dglib.__version__,
        "commit": commit,
        "dirty": None if changes is None else bool(changes),
    }


def versions() -> dict[str, Any]:
    """The code, and the versions of Python and numpy."""
    import numpy as np

    return {**code(), "python": platform.python_version(), "numpy": np.__version__}


def made_by(numerics: Numerics, data: Dataset) -> dict[str, Any]:
    """All that a run is made by: `versions`, torch, the device's model, and the data with its fingerprint."""
    described = numerics.describe()
    return {
        **versions(),
        **{name: described[name] for name in ("torch", "cuda", "device", "device_name")},
        "data": data.name,
        "data_fingerprint": data.fingerprint,
    }


def line(made: Mapping[str, Any]) -> str:
    """A provenance in words: "made by dglib 0.1.0, commit 1a2b3c4, …"."""
    words = [f"dglib {made.get('dglib', 'of a version not on record')}", _commit(made)]
    for name, shown in (("python", "Python"), ("torch", "torch"), ("numpy", "numpy")):
        if made.get(name):
            words.append(f"{shown} {made[name]}")
    if made.get("device_name"):
        words.append(str(made["device_name"]))
    if made.get("data"):
        words.append(f"data {made['data']} {str(made.get('data_fingerprint'))[:12]}")
    return f"made by {', '.join(words)}"


def made_otherwise(records: Iterable[Record], here: Mapping[str, Any]) -> list[str]:
    """A line for every provenance other than `here` that seeds have, as a whole or from some step on."""
    seeds: dict[str, list[str]] = {}
    own = line(here)
    for record in records:
        for made in record.get("provenance") or [{}]:
            if (words := line(made)) != own:
                since = f" from step {made['from_step']}" if made.get("from_step") else ""
                seeds.setdefault(words, []).append(f"{record['seed']}{since}")
    return [f"seed{'s'[: len(of) - 1]} {', '.join(of)}: {words}" for words, of in seeds.items()]


def _commit(made: Mapping[str, Any]) -> str:
    if not made.get("commit"):
        return "no commit on record"
    return f"commit {str(made['commit'])[:7]}" + (" (files changed since)" if made.get("dirty") else "")
