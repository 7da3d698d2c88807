"""CIFAR-10's archive: downloaded, resumed, checked and unpacked once among all processes.

torchvision's own download has no timeout and cannot resume.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from filelock import FileLock, Timeout

from dglib.errors import StorageError, UserError

TIMEOUT = 30.0  # seconds without a byte until a connection counts as lost
LINE_SECONDS = 10.0  # between two lines of progress
CHUNK = 1 << 16

Report = Callable[[str], None]


class DownloadError(Exception):
    """The file cannot be downloaded; the message is one line."""


def cifar10_parts(data_dir: Path) -> tuple[Any, Any]:
    """torchvision's training and test set in `data_dir`, downloaded unless there is an intact copy.

    An interrupted download is resumed. The environment variable DGLIB_CIFAR10_URL names a mirror.

    Raises:
        UserError: there is no copy and the download failed.
    """
    from torchvision.datasets import CIFAR10

    def parts() -> tuple[Any, Any]:
        return CIFAR10(data_dir, train=True), CIFAR10(data_dir, train=False)

    def report(line: str) -> None:
        print(f"cifar10: {line}", file=sys.stderr, flush=True)

    with suppress(RuntimeError):  # absent or damaged
        return parts()
    archive, new = data_dir / CIFAR10.filename, not data_dir.exists()
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with alone(data_dir / "cifar10.lock", report):
            with suppress(RuntimeError):  # done by the process that was waited for
                return parts()
            fetch(os.environ.get("DGLIB_CIFAR10_URL", CIFAR10.url), archive, CIFAR10.tgz_md5, report)
            report(f"unpacking {archive}")
            with tarfile.open(archive) as tar:  # what an interrupt leaves is damaged, and unpacked anew
                tar.extractall(data_dir, filter="data")
        return parts()
    except (OSError, RuntimeError, DownloadError) as error:
        raise UserError(
            f"dataset 'cifar10': no copy in {data_dir} and the download failed ({error}); put "
            f"{CIFAR10.url} there, or give the path of an .npz file as dataset"
        ) from error
    finally:
        if new:
            with suppress(OSError):  # not empty
                data_dir.rmdir()


@contextmanager
def alone(lock: Path, report: Report) -> Iterator[None]:
    """Hold a lock among processes, waiting without limit; the lock file is removed afterwards.

    Only its holder removes it, while holding it; filelock notices when it waited on a removed file.
    """
    held = FileLock(lock)
    try:
        held.acquire(timeout=0)
    except Timeout:
        report("waiting for another process that downloads it")
        held.acquire()
    try:
        yield
    finally:
        with suppress(OSError):  # Windows removes no open file
            lock.unlink(missing_ok=True)
        held.release()


def part_of(target: Path) -> Path:
    """An unfinished download of `target`."""
    return target.with_name(f"{target.name}.part")


def fetch(url: str, target: Path, md5: str, report: Report, *, timeout: float = TIMEOUT) -> None:
    """Download `url` to `target` through `<target>.part`, which the next call resumes.

    A lost connection is tried again as long as every attempt adds bytes.

    Args:
        md5: of the whole file, hexadecimal.
        report: called with lines of progress.
        timeout: seconds without a byte.

    Raises:
        DownloadError: the server has another file, or the connection is lost again and again.
        StorageError: the file cannot be written.
    """
    if _md5(target) == md5:
        return
    part = part_of(target)
    while _md5(part) != md5:
        before = _size(part)
        try:
            _receive(url, part, timeout, report)
        except HTTPError as error:
            error.close()
            if error.code != 416 or not before:  # 416: nothing follows on the part
                raise DownloadError(f"{url} answers {error.code} {error.reason}") from None
        except (OSError, HTTPException, ValueError) as error:
            cause = getattr(error, "reason", error)  # of a URLError
            reason = f"no data for {timeout:g} s" if isinstance(cause, TimeoutError) else str(cause)
            lost = f"{url}: {' '.join(reason.split()) or type(error).__name__}"
            if _size(part) > before:
                report(f"{lost}; trying again")
                continue
            rest = f"; {_mb(before)} MB are kept, and the same command resumes there" if before else ""
            raise DownloadError(f"{lost}{rest}") from None
        if (digest := _md5(part)) != md5:
            size = _size(part)
            part.unlink()
            if not before:
                raise DownloadError(f"{url} gives {size} bytes with the MD5 {digest}, not {md5}")
            report("the parts of the download do not fit together; starting again")
    part.replace(target)


def _receive(url: str, part: Path, timeout: float, report: Report) -> None:
    """Append what is missing of `part`, or write it anew where the server has no ranges."""
    had = _size(part)
    headers = {"User-Agent": "dglib"} | ({"Range": f"bytes={had}-"} if had else {})
    with urlopen(Request(url, headers=headers), timeout=timeout) as response:
        if response.headers.get_content_type() == "text/html":  # a login page must not replace the part
            raise DownloadError(f"{url} gives an HTML page instead of the file")
        done = start = had if response.status == 206 else 0
        length = response.headers.get("Content-Length", "")
        total = start + int(length) if length.isdigit() else None
        of = "" if total is None else f" of {_mb(total)}"
        report(f"resuming {url} at {_mb(start)}{of} MB" if start else f"downloading {url}{of} MB")
        began = reported = time.monotonic()
        with _writing(part):
            file = part.open("ab" if start else "wb")
        with file:
            while chunk := response.read1(CHUNK):
                with _writing(part):
                    file.write(chunk)
                    file.flush()
                done += len(chunk)
                now = time.monotonic()
                if now - reported >= LINE_SECONDS:
                    reported = now
                    report(f"{_mb(done)}{of} MB, {(done - start) / 1e6 / (now - began):.1f} MB/s")
    if total is not None and done < total:
        raise ConnectionError(f"the connection was closed after {_mb(done)} of {_mb(total)} MB")


@contextmanager
def _writing(part: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError.of(part, error) from error


def _md5(path: Path) -> str | None:
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _mb(n: int) -> str:
    return f"{n / 1e6:.0f}"
