"""By what results were made: code, versions, machine and data. Information alone: nothing depends on it."""

from __future__ import annotations

import hashlib
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
    installation, possibly within an unrelated checkout. Where no commit stands for the files, there is also
    `source`: SHA-256 of the Python files.
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
    info = {
        "dglib": dglib.__version__,
        "commit": commit,
        "dirty": None if changes is None else bool(changes),
    }
    return info if info["dirty"] is False else info | {"source": _source(directory)}


def _source(directory: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(directory.rglob("*.py")):
        digest.update(f"{path.relative_to(directory).as_posix()}\n".encode() + path.read_bytes())
    return digest.hexdigest()


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
    words = [code_line(made)]
    for name, shown in (("python", "Python"), ("torch", "torch"), ("numpy", "numpy")):
        if made.get(name):
            words.append(f"{shown} {made[name]}")
    if made.get("device_name"):
        words.append(str(made["device_name"]))
    if made.get("data"):
        words.append(f"data {made['data']} {str(made.get('data_fingerprint'))[:12]}")
    return f"made by {', '.join(words)}"


def code_line(made: Mapping[str, Any]) -> str:
    """The code of a provenance in words, other ones for other code: "dglib 0.1.0, commit 1a2b3c4"."""
    commit = f"commit {str(made['commit'])[:7]}" if made.get("commit") else "no commit on record"
    more = ["files changed since"] if made.get("dirty") else []
    more += [f"source {str(made['source'])[:7]}"] if made.get("source") else []
    words = f"dglib {made.get('dglib', 'of a version not on record')}, {commit}"
    return words + (f" ({', '.join(more)})" if more else "")


def different_code(
    records: Iterable[Record], first: Mapping[str, Any] | None = None, name: str = "the others"
) -> str:
    """One line that names the seeds made by other code, as a whole or from some step on; empty of none.

    Args:
        first: the provenance that they are compared with; by default that of the first record.
        name: what the line calls `first`.
    """
    records = list(records)
    first = first or next((made for record in records for made in record.get("provenance") or ()), {})
    seeds: dict[str, list[str]] = {}
    for record in records:
        for made in record.get("provenance") or [{}]:
            if (words := code_line(made)) != code_line(first):
                since = f" from step {made['from_step']}" if made.get("from_step") else ""
                seeds.setdefault(words, []).append(f"{record['seed']}{since}")
    lines = [f"seed{'s'[: len(of) - 1]} {', '.join(of)}: {words}" for words, of in seeds.items()]
    return (
        f"seeds made by different code: {'; '.join([*lines, f'{name}: {code_line(first)}'])}" if lines else ""
    )
