"""CIFAR-10's archive: downloaded, resumed, checked and unpacked once among all processes.

torchvision's own download has no timeout and cannot resume.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import shutil
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

    An interrupted download is resumed. Environment: DGLIB_CIFAR10_URL, a mirror; DGLIB_DOWNLOAD_TIMEOUT, see
    `TIMEOUT`.

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
        with alone(data_dir / "cifar10.lock", archive, report):
            with suppress(RuntimeError):  # done by the process that was waited for
                return parts()
            url = os.environ.get("DGLIB_CIFAR10_URL", CIFAR10.url)
            fetch(url, archive, md5=CIFAR10.tgz_md5, report=report, timeout=_timeout())
            report(f"unpacking {archive}")
            _unpack(archive, CIFAR10.base_folder)
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


def fetch(
    url: str,
    target: Path,
    *,
    md5: str,
    report: Report,
    timeout: float = TIMEOUT,
    line_seconds: float = LINE_SECONDS,
) -> None:
    """Download `url` to `target` through `<target>.part`, which the next call resumes.

    A lost connection is tried again as long as every attempt adds bytes. A damaged `target` that begins as a
    gzip archive is resumed as well.

    Args:
        md5: of the whole file, hexadecimal.
        report: called with a line at the start and then every `line_seconds`.
        timeout: seconds without a byte, above 0.

    Raises:
        DownloadError: the server has another file, or the connection is lost again and again.
        StorageError: the file cannot be written.
    """
    part = part_of(target)
    if target.exists():
        if _md5(target) == md5:
            return
        report(f"{target} is not intact: its MD5 is not {md5}")
        with target.open("rb") as file:
            is_gzip = file.read(2) == b"\x1f\x8b"
        if is_gzip and not part.exists():
            target.replace(part)
    while True:
        before = _size(part)
        try:
            _receive(url, part, timeout, _Progress(url, report, line_seconds))
        except (OSError, HTTPException, ValueError) as error:
            cause = getattr(error, "reason", error)  # of a URLError
            reason = f"no data for {timeout:g} s" if isinstance(cause, TimeoutError) else str(cause)
            lost = f"{url}: {' '.join(reason.split()) or type(error).__name__}"
            if _size(part) > before:
                report(f"{lost}; trying again")
                continue
            kept = f"; {_mb(before)} MB are kept, and the same command resumes there" if before else ""
            raise DownloadError(f"{lost}{kept}") from None
        report("checking")
        digest, size = _md5(part), _size(part)
        if digest == md5:
            part.replace(target)
            return
        part.unlink()
        if not before:
            raise DownloadError(f"{url} gives {size} bytes with the MD5 {digest}, not {md5}")
        report("the parts of the download do not fit together; starting again")


def part_of(target: Path) -> Path:
    """An unfinished download of `target`."""
    return target.with_name(f"{target.name}.part")


@contextmanager
def alone(lock: Path, archive: Path, report: Report, line_seconds: float = LINE_SECONDS) -> Iterator[None]:
    """Hold a lock among processes, waiting without limit; the lock file is removed afterwards.

    Only its holder removes it, while holding it; filelock notices when it waited on a removed file.
    """
    held, seconds = FileLock(lock), 0.0
    try:
        while not held.is_locked:
            with suppress(Timeout):
                held.acquire(timeout=seconds)
                break
            size = f", {_mb(_size(part_of(archive)))} MB so far" if part_of(archive).exists() else ""
            report(f"waiting for another process that downloads it{size}")
            seconds = line_seconds
        yield
    finally:
        if held.is_locked:
            with suppress(OSError):  # Windows removes no open file
                lock.unlink(missing_ok=True)
            held.release()


def _receive(url: str, part: Path, timeout: float, progress: _Progress) -> None:
    """Append what is missing of `part`, or write it anew where the server has no ranges."""
    had = _size(part)
    headers = {"User-Agent": "dglib"} | ({"Range": f"bytes={had}-"} if had else {})
    try:
        response = urlopen(Request(url, headers=headers), timeout=timeout)
    except HTTPError as error:
        error.close()
        if error.code == 416 and had:  # nothing follows: the checksum decides
            return
        raise DownloadError(f"{url} answers {error.code} {error.reason}") from None
    with response:
        start = had if response.status == 206 else 0
        if start and not response.headers.get("Content-Range", "").startswith(f"bytes {had}-"):
            raise DownloadError(f"{url} gives another range than asked for")
        length = response.headers.get("Content-Length", "")
        total = start + int(length) if length.isdigit() else None
        chunk = response.read1(CHUNK)
        is_page = response.headers.get_content_type() == "text/html"
        if is_page or (start == 0 and chunk.lstrip()[:1] == b"<"):
            raise DownloadError(f"{url} gives an HTML page in place of the file{_title(chunk)}")
        progress.start(start, total)
        with _writing(part):
            file = part.open("ab" if start else "wb")
        done = start
        with file:
            while chunk:
                with _writing(part):
                    file.write(chunk)
                    file.flush()
                done += len(chunk)
                progress(done)
                chunk = response.read1(CHUNK)
    if total is not None and done < total:
        raise ConnectionError(f"the connection was closed after {_mb(done)} of {_mb(total)} MB")


@contextmanager
def _writing(part: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError.of(part, error) from error


class _Progress:
    """Lines on a download: at the first byte, then every so many seconds."""

    def __init__(self, url: str, report: Report, line_seconds: float) -> None:
        self._url, self._report, self._line_seconds = url, report, line_seconds

    def start(self, start: int, total: int | None) -> None:
        self._start, self._total = start, total
        self._began = self._reported = time.monotonic()
        of = "" if total is None else f" of {_mb(total)} MB"
        url = self._url
        self._report(f"resuming {url} at {_mb(start)}{of or ' MB'}" if start else f"downloading {url}{of}")

    def __call__(self, done: int) -> None:
        now = time.monotonic()
        if now - self._reported < self._line_seconds:
            return
        self._reported = now
        speed = (done - self._start) / max(now - self._began, 1e-9)
        of, left = "", ""
        if self._total is not None:
            of = f" of {_mb(self._total)}"
            left = f", {(self._total - done) / max(speed, 1e-9):.0f} s left"
        self._report(f"{_mb(done)}{of} MB, {speed / 1e6:.1f} MB/s{left}")


def _unpack(archive: Path, folder: str) -> None:
    """Unpack a folder of an archive next to it; every file appears whole, in place of a damaged one."""
    target, draft = archive.parent / folder, archive.parent / f".{folder}.part"
    shutil.rmtree(draft, ignore_errors=True)  # of a process that was killed
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(draft, filter="data")
        target.mkdir(exist_ok=True)
        for path in (draft / folder).iterdir():
            path.replace(target / path.name)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _timeout() -> float:
    text = os.environ.get("DGLIB_DOWNLOAD_TIMEOUT", str(TIMEOUT))
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise UserError(f"DGLIB_DOWNLOAD_TIMEOUT = {text!r}: must be a number of seconds above 0")
    return seconds


def _title(page: bytes) -> str:
    """The title of a page, or how its text begins, in one line."""
    text = page.decode("utf-8", errors="replace")
    title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
    words = " ".join(re.sub(r"<[^>]*>", " ", title[1] if title else text).split())
    return f" ({words[:60]!r})" if words else ""


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _mb(n: int) -> str:
    return f"{n / 1e6:.0f}"
