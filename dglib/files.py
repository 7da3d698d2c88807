"""Files that are never torn: after a crash the old one or the new one is there.

All permanent files are written here: a draft in the same directory, flushed to the disk, renamed over the
target, and the directory flushed after that. Operations go through `os`, one call each, so that a test can
fail or kill any of them.
"""

from __future__ import annotations

import csv
import errno
import fnmatch
import hashlib
import io
import json
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from dglib.errors import StorageError, UserError

_BINARY = getattr(os, "O_BINARY", 0)  # on Windows files are text, with other line ends, by default
_DRAFT = re.compile(r"\..+\.\d+\.[0-9a-f]{8}")
CHECKPOINT_HEAD = re.compile(
    rb"dglib checkpoint (\d+) ([0-9a-f]{64}) (\d+)"
)  # version, SHA-256 of the rest, steps
LOCK_SECONDS = 60.0  # for tasks that take moments: choosing a directory, rebuilding views


def older(path: Path) -> Path:
    """The path of the generation before the one at `path`."""
    return path.with_suffix(".old")


def phase_end_path(checkpoint: Path, end: str) -> Path:
    """The path of the state at the end of a phase ("arm/phase"), given that of the seed's checkpoint."""
    return checkpoint.with_name(f"{checkpoint.stem}.{end.replace('/', '@')}.ckpt")


def matching(directory: Path, pattern: str) -> list[Path]:
    """The paths in a directory whose names match, by name; none where it is missing or access is denied.

    From Python 3.12 on, `Path.glob` takes a directory that cannot be read for an empty one.

    Raises:
        StorageError: it cannot be read.
    """
    try:
        return sorted(path for path in directory.iterdir() if fnmatch.fnmatch(path.name, pattern))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []
    except OSError as error:
        raise StorageError.of(directory, error, "read") from error


def files_below(directory: Path) -> list[Path]:
    """The files in a directory, to any depth.

    Raises:
        StorageError: a directory cannot be read; `Path.rglob` passes over it from Python 3.12 on.
    """

    def fail(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):  # removed meanwhile
            raise StorageError.of(directory, error, "read") from error

    walked = os.walk(directory, onerror=fail)
    paths = (Path(folder, name) for folder, _, names in walked for name in names)
    return sorted(path for path in paths if path.is_file())


def phase_end_paths(checkpoint: Path) -> list[Path]:
    """The states at phase ends next to a checkpoint's path, by name."""
    folder, stem = checkpoint.parent, checkpoint.stem
    return [path for path in matching(folder, "*@*.ckpt") if path.name.partition(".")[0] == stem]


def checkpoint_steps(content: bytes) -> int:
    """The steps of a checkpoint, without torch; -1: it is damaged, or none."""
    head, _, rest = content.partition(b"\n")
    match = CHECKPOINT_HEAD.fullmatch(head)
    intact = match is not None and hashlib.sha256(rest).hexdigest().encode() == match[2]
    return int(match[3]) if match is not None and intact else -1


def draft_of(path: Path) -> Path:
    """A new name in the same directory for a file that will be renamed to `path`."""
    return path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")


def remove_drafts(directory: Path, stem: str) -> None:
    """Remove what killed processes left of writing `<stem>.*`; for the one process that may write these."""
    with suppress(OSError):  # they do no harm
        for path in directory.iterdir():
            if _DRAFT.fullmatch(path.name) and path.name.startswith(f".{stem}."):
                path.unlink()


def is_draft(path: Path) -> bool:
    """Whether a file was to be renamed to another name in its directory."""
    return _DRAFT.fullmatch(path.name) is not None


def write_atomically(path: Path, content: bytes, *, backup: Path | None = None) -> None:
    """Replace the file at `path` by `content`; a reader or a crash sees the old file or the new one.

    The directory must exist: one that has vanished (an unmounted disk) must not come back empty.

    Args:
        backup: where the old file goes, the older generation.

    Raises:
        StorageError: the disk is full, read-only or gone; the old file is still there, or at `backup`.
    """
    draft = draft_of(path)
    try:
        try:
            write_through(draft, content)
            if backup is not None and path.exists():
                os.replace(path, backup)  # noqa: PTH105
            os.replace(draft, path)  # noqa: PTH105
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        _sync_directory(path.parent)
    except OSError as error:
        raise StorageError.of(path, error) from error


def write_once(path: Path, content: bytes) -> bool:
    """As `write_atomically`, but never over an existing file; False where there is one."""
    draft = draft_of(path)
    try:
        try:
            write_through(draft, content)
            _link(draft, path)
        except FileExistsError:
            return False
        finally:
            draft.unlink(missing_ok=True)
        _sync_directory(path.parent)
    except OSError as error:
        raise StorageError.of(path, error) from error
    return True


def _link(draft: Path, path: Path) -> None:
    """Give the draft its final name; FileExistsError where that is taken."""
    try:
        os.link(draft, path)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL):  # the last: Windows
            raise
        # A file system without hard links (exFAT, some network shares): the seed's lock protects it.
        if path.exists():
            raise FileExistsError from None
        os.replace(draft, path)  # noqa: PTH105


def append_line(path: Path, line: bytes) -> None:
    """Append a line to a log. A torn line before it gets a line end; readers ignore it."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | _BINARY, 0o644)
        try:
            torn = os.lseek(handle, 0, os.SEEK_END) > 0
            if torn:
                os.lseek(handle, -1, os.SEEK_END)
                torn = os.read(handle, 1) != b"\n"
            _write_all(handle, b"\n" * torn + line.rstrip(b"\n") + b"\n")
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise StorageError.of(path, error) from error


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the operating system's lock on a file; it goes when the process does.

    Raises:
        StorageError: it cannot be made.
        UserError: another process holds it for longer than `LOCK_SECONDS`.
    """
    lock = FileLock(path)
    try:
        lock.acquire(timeout=LOCK_SECONDS)
    except Timeout:
        raise UserError(
            f"{path}: held by another process for more than {LOCK_SECONDS:g} s, although its task takes"
            " moments; end it if it hangs or was suspended, and give the same command again"
        ) from None
    except OSError as error:
        raise StorageError.of(path, error) from error
    try:
        yield
    finally:
        with suppress(OSError):
            lock.release()


def make_directory(path: Path, *, parents: bool = False) -> None:
    """Make a directory below one that exists, or with its `parents`.

    Raises:
        StorageError: it cannot be made.
    """
    try:
        path.mkdir(parents=parents, exist_ok=True)
    except OSError as error:
        raise StorageError.of(path, error) from error


def write_through(path: Path, content: bytes, *, anew: bool = True) -> None:
    """Write a file in place and flush it to the disk.

    Args:
        anew: the file must not exist; otherwise it is overwritten.
    """
    flags = os.O_WRONLY | os.O_CREAT | (os.O_EXCL if anew else os.O_TRUNC) | _BINARY
    handle = os.open(path, flags, 0o644)
    try:
        _write_all(handle, content)
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_all(handle: int, content: bytes) -> None:
    left = memoryview(content)
    while left:  # a disk that is nearly full takes a part
        left = left[os.write(handle, left) :]


def _sync_directory(directory: Path) -> None:
    """Make a rename last through a power cut; some file systems (Drive's, Windows') cannot."""
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


def to_csv(rows: Iterable[Mapping[str, Any]], names: Iterable[str]) -> str:
    """The rows as CSV, with these columns; fields of other names are left out, missing ones empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(names), extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def to_json(value: Any, *, indent: int | None = None) -> bytes:
    """UTF-8 JSON without NaN or infinity, ending in a newline."""
    return _encoded(json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent) + "\n")


def _encoded(text: str) -> bytes:
    """JSON as UTF-8. Undecodable bytes of a file name are escaped, and JSON decodes them again."""
    return text.encode("utf-8", "backslashreplace")


def sealed(kind: str, content: Any) -> bytes:
    """`content` as JSON in an envelope with its kind and the SHA-256 of its text."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False)
    digest = hashlib.sha256(_encoded(text)).hexdigest()
    return _encoded(f'{{"format": "dglib {kind} 1", "sha256": "{digest}", "content":\n{text}}}\n')


def unsealed(kind: str, path: Path) -> Any:
    """The content of a file written from `sealed`.

    Raises:
        UserError: the file is torn, edited, or something else.
    """
    expected = f"dglib {kind} 1"
    try:
        envelope = json.loads(path.read_bytes())
        if envelope["format"] != expected:
            raise UserError(f"{path}: is a {envelope['format']!r}, not a {expected!r}")
        text = json.dumps(envelope["content"], ensure_ascii=False, allow_nan=False)
        if hashlib.sha256(_encoded(text)).hexdigest() != envelope["sha256"]:
            raise UserError(f"{path}: its checksum does not match: the file was edited or damaged")
    except OSError as error:
        raise StorageError.of(path, error, "read") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not a readable {expected!r} ({error})") from None
    return envelope["content"]
