"""Download one file: resumed where it stopped, checked, and never half-written under its own name.

The standard library's urllib suffices; torchvision's own download has no timeout and cannot resume.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from filelock import FileLock, Timeout

from dglib.errors import StorageError

TIMEOUT = 30.0  # seconds without a byte until a connection counts as lost
LINE_SECONDS = 10.0  # between two lines on the progress
CHUNK = 1 << 16

Tell = Callable[[str], None]


class DownloadError(Exception):
    """The file cannot be had; the message is one line."""


class _LostError(Exception):
    """A connection that may succeed when it is tried again."""


def fetch(
    url: str,
    target: Path,
    *,
    md5: str,
    tell: Tell,
    timeout: float = TIMEOUT,
    line_seconds: float = LINE_SECONDS,
) -> None:
    """Download `url` to `target` through `<target>.part`, which is kept for the next call to resume.

    A lost connection is tried again for as long as each attempt adds bytes. A `target` with another MD5 that
    begins as a gzip archive is taken for the beginning of a download that was cut off.

    Args:
        md5: of the whole file, hexadecimal.
        tell: is given a line for people at the start and then every `line_seconds`.
        timeout: seconds without a byte, above 0.

    Raises:
        DownloadError: what the server gives is not the file, or the connection is lost again and again.
        StorageError: the file cannot be written.
    """
    part = part_of(target)
    if target.exists():
        if _md5(target) == md5:
            return
        tell(f"{target} is not intact: its MD5 is not {md5}")
        if not part.exists() and _begins_as_gzip(target):
            target.replace(part)
    while True:
        had = _size(part)
        try:
            _receive(url, part, timeout, tell, line_seconds)
        except _LostError as lost:
            if _size(part) > had:
                tell(f"{lost}; trying again")
                continue
            kept = f"; {_mb(had)} MB are kept, and the same command resumes there" if had else ""
            raise DownloadError(f"{lost}{kept}") from None
        tell("checking")
        found, size = _md5(part), _size(part)
        if found == md5:
            part.replace(target)
            return
        part.unlink()
        if not had:
            raise DownloadError(f"{url} gives {size} bytes with the MD5 {found}, not {md5}")
        tell("the parts of the download do not fit together; beginning anew")


def part_of(target: Path) -> Path:
    """Where an unfinished download of `target` is kept."""
    return target.with_name(f"{target.name}.part")


@contextmanager
def alone(
    lock: Path, status: Callable[[], str], tell: Tell, line_seconds: float = LINE_SECONDS
) -> Iterator[None]:
    """Hold a lock among processes, waiting for as long as it takes; the lock file is gone afterwards.

    Only its holder removes it, while holding it; filelock notices when it was waiting on a removed file.

    Args:
        status: says what the other process is at, for a line every `line_seconds`.
    """
    held = FileLock(lock)
    try:
        with suppress(Timeout):
            held.acquire(timeout=0)
        while not held.is_locked:
            tell(status())
            with suppress(Timeout):
                held.acquire(timeout=line_seconds)
        yield
    finally:
        if held.is_locked:
            with suppress(OSError):  # Windows removes no open file
                lock.unlink(missing_ok=True)
            held.release()


def _receive(url: str, part: Path, timeout: float, tell: Tell, line_seconds: float) -> None:
    """Add to `part` what is missing of it, or write it anew where the server gives no ranges."""
    had = _size(part)
    try:
        headers = {"User-Agent": "dglib"} | ({"Range": f"bytes={had}-"} if had else {})
        with urlopen(Request(url, headers=headers), timeout=timeout) as response:
            resumes = response.status == 206
            if resumes and _first_byte(response) != had:
                raise DownloadError(f"{url} gives another range than asked for")
            start = had if resumes else 0
            length = response.headers.get("Content-Length")
            total = start + int(length) if length and length.isdigit() else None
            _copy(response, part, start, total, _Progress(url, start, total, tell, line_seconds))
    except HTTPError as error:
        error.close()
        if error.code == 416 and had:  # nothing follows: the checksum decides
            return
        raise DownloadError(f"{url} answers {error.code} {error.reason}") from None
    except URLError as error:
        raise _LostError(f"{url}: {_reason(error.reason, timeout)}") from None
    except (OSError, HTTPException, ValueError) as error:
        raise _LostError(f"{url}: {_reason(error, timeout)}") from None


def _copy(response: HTTPResponse, part: Path, start: int, total: int | None, progress: _Progress) -> None:
    chunk = response.read1(CHUNK)
    page = response.headers.get_content_type() == "text/html"
    if page or (start == 0 and chunk.lstrip()[:1] == b"<"):
        raise DownloadError(f"{progress.url} gives an HTML page in place of the file{_title(chunk)}")
    done = start
    with _writing(part):
        file = part.open("ab" if start else "wb")
    with file:
        while chunk:
            with _writing(part):
                file.write(chunk)
                file.flush()
            done += len(chunk)
            progress(done)
            chunk = response.read1(CHUNK)
    if total is not None and done < total:
        raise _LostError(f"{progress.url}: the connection was closed after {_mb(done)} of {_mb(total)} MB")


@contextmanager
def _writing(part: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError.of(part, error) from error


class _Progress:
    """Lines on a download: at the first byte, then every so many seconds."""

    def __init__(self, url: str, start: int, total: int | None, tell: Tell, line_seconds: float) -> None:
        self.url, self._start, self._total = url, start, total
        self._tell, self._line_seconds = tell, line_seconds
        self._began = self._told = time.monotonic()
        of = "" if total is None else f" of {_mb(total)} MB"
        tell(f"resuming {url} at {_mb(start)}{of or ' MB'}" if start else f"downloading {url}{of}")

    def __call__(self, done: int) -> None:
        now = time.monotonic()
        if now - self._told < self._line_seconds:
            return
        self._told = now
        speed = (done - self._start) / max(now - self._began, 1e-9)
        if self._total is None:
            self._tell(f"{_mb(done)} MB, {speed / 1e6:.1f} MB/s")
        else:
            left = (self._total - done) / max(speed, 1e-9)
            self._tell(f"{_mb(done)} of {_mb(self._total)} MB, {speed / 1e6:.1f} MB/s, {left:.0f} s left")


def _first_byte(response: HTTPResponse) -> int | None:
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def _title(page: bytes) -> str:
    """What a page calls itself, in one line."""
    text = page.decode("utf-8", errors="replace")
    title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
    words = " ".join(re.sub(r"<[^>]*>", " ", title[1] if title else text).split())
    return f" ({words[:60]!r})" if words else ""


def _reason(error: object, timeout: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no data for {timeout:g} s"
    return " ".join(str(error).split()) or type(error).__name__


def _begins_as_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _mb(n: int) -> str:
    return f"{n / 1e6:.0f}"
