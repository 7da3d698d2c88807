"""CIFAR-10's archive: downloaded, resumed, checked and unpacked once among all processes.

torchvision's own download has no timeout and cannot resume.
"""

from __future__ import annotations

import os
import sys
import tarfile
import time
from collections.abc import Iterator
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

    with suppress(RuntimeError):  # absent or damaged
        return parts()
    archive, new = data_dir / CIFAR10.filename, not data_dir.exists()
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with alone(data_dir / "cifar10.lock"):
            with suppress(RuntimeError):  # done by the process that was waited for
                return parts()
            fetch(os.environ.get("DGLIB_CIFAR10_URL", CIFAR10.url), archive, CIFAR10.tgz_md5)
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


def report(line: str) -> None:
    print(f"cifar10: {line}", file=sys.stderr, flush=True)


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Hold a lock among processes, waiting without limit; the lock file is removed afterwards."""
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


def fetch(url: str, target: Path, md5: str, *, timeout: float = TIMEOUT) -> None:
    """Download a file with this MD5 through `<target>.part`, which the next call resumes.

    A lost connection is tried again as long as every attempt adds bytes.

    Raises:
        DownloadError: the server has another file, or the connection is lost again and again.
        StorageError: the file cannot be written.
    """
    from torchvision.datasets.utils import check_integrity

    part = target.with_name(f"{target.name}.part")
    while not check_integrity(target, md5):
        if check_integrity(part, md5):
            part.replace(target)
            return
        had = size_of(part)
        try:
            receive(url, part, timeout)
        except HTTPError as error:
            error.close()
            if error.code != 416 or not had:  # 416: nothing follows on the part
                raise DownloadError(f"{url} answers {error.code} {error.reason}") from None
        except (OSError, HTTPException, ValueError) as error:
            if size_of(part) > had:
                report(f"{url}: {error}; trying again")
                continue
            cause = getattr(error, "reason", error)  # of a URLError
            why = f"no data for {timeout:g} s" if isinstance(cause, TimeoutError) else str(cause)
            rest = f"; {had / 1e6:.0f} MB are kept, and the same command resumes there" if had else ""
            raise DownloadError(f"{url}: {' '.join(why.split())}{rest}") from None
        if not check_integrity(part, md5):
            size = size_of(part)
            part.unlink()
            if not had:
                raise DownloadError(f"{url} gives {size} bytes with another MD5 than {md5}")
            report("the parts of the download do not fit together; starting again")


def receive(url: str, part: Path, timeout: float) -> None:
    """Append what is missing of `part`, or write it anew where the server has no ranges."""
    had = size_of(part)
    headers = {"User-Agent": "dglib"} | ({"Range": f"bytes={had}-"} if had else {})
    with urlopen(Request(url, headers=headers), timeout=timeout) as response:
        if response.headers.get_content_type() == "text/html":  # a login page must not replace the part
            raise DownloadError(f"{url} gives an HTML page instead of the file")
        done = start = had if response.status == 206 else 0
        length = response.headers.get("Content-Length", "")
        total = start + int(length) if length.isdigit() else 0
        of = f" of {total / 1e6:.0f} MB" if total else " MB"
        report(f"resuming {url} at {start / 1e6:.0f}{of}" if start else f"downloading {url}{of}")
        began = reported = time.monotonic()
        with writing(part):
            file = part.open("ab" if start else "wb")
        with file:
            while chunk := response.read1(CHUNK):
                with writing(part):
                    file.write(chunk)
                    file.flush()
                done += len(chunk)
                if (now := time.monotonic()) - reported >= LINE_SECONDS:
                    reported = now
                    report(f"{done / 1e6:.0f}{of}, {(done - start) / 1e6 / (now - began):.1f} MB/s")
    if done < total:
        raise ConnectionError(f"the connection was closed after {done} of {total} bytes")


@contextmanager
def writing(part: Path) -> Iterator[None]:
    """A disk that fails is reported as such, and not as the network."""
    try:
        yield
    except OSError as error:
        raise StorageError.of(part, error) from error


def size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
