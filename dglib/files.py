"""Files that are either the old ones or the new ones, never torn ones."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from dglib.errors import UserError


def write_atomically(path: Path, content: bytes) -> None:
    """Write beside, flush to the disk, rename over: a reader or a crash sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    """Make a rename last through a power cut; some file systems (Drive's) cannot, and need not stop us."""
    try:
        handle = os.open(directory, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)


def to_json(value: Any, *, indent: int | None = None) -> bytes:
    """UTF-8 JSON without NaN or infinity, ending in a newline."""
    return (json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent) + "\n").encode()


def sealed(kind: str, content: Any) -> bytes:
    """`content` as JSON in an envelope with its kind and the SHA-256 of its text."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f'{{"format": "dglib {kind} 1", "sha256": "{digest}", "content":\n{text}}}\n'.encode()


def unsealed(kind: str, path: Path) -> Any:
    """The content of a file that `sealed` gave.

    Raises:
        UserError: the file is torn, edited, or something else.
    """
    expected = f"dglib {kind} 1"
    try:
        envelope = json.loads(path.read_bytes())
        if envelope["format"] != expected:
            raise UserError(f"{path}: is a {envelope['format']!r}, not a {expected!r}")
        text = json.dumps(envelope["content"], ensure_ascii=False, allow_nan=False)
        if hashlib.sha256(text.encode()).hexdigest() != envelope["sha256"]:
            raise UserError(f"{path}: its checksum does not match: the file was edited or damaged")
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not a readable {expected!r} ({error})") from None
    return envelope["content"]
