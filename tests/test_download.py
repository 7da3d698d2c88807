"""Downloads from a server that is slow, breaks off, or gives something else."""

import gzip
import hashlib
import random
import subprocess
import sys
import threading

import pytest
from archive_server import ArchiveServer

from dglib.errors import StorageError
from dglib.training.download import DownloadError, alone, fetch, part_of

CONTENT = gzip.compress(random.Random(0).randbytes(400_000))
MD5 = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture
def server():
    with ArchiveServer(CONTENT).serving() as running:
        yield running


@pytest.fixture
def lines():
    return []


@pytest.fixture
def get(server, lines, tmp_path):
    """Fetch the file to `tmp_path/archive`; gives its content."""

    def fetched(**options):
        target = tmp_path / "archive"
        fetch(server.url, target, md5=MD5, report=lines.append, **{"line_seconds": 0.0} | options)
        return target.read_bytes()

    return fetched


def part(tmp_path):
    return part_of(tmp_path / "archive")


def test_a_file_is_downloaded_with_progress_and_nothing_else_is_left(get, server, lines, tmp_path):
    assert get() == CONTENT
    assert lines[0] == f"downloading {server.url} of 0 MB"
    assert any(line.startswith("0 of 0 MB, ") and line.endswith(" s left") for line in lines)
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]
    assert get() == CONTENT
    assert server.asked == [None], "an intact file is not asked for again"


def test_a_connection_that_breaks_off_is_resumed_at_once(get, server):
    server.mode = "cut"
    assert get() == CONTENT
    n = server.piece
    assert server.asked == [None, f"bytes={n}-", f"bytes={2 * n}-", f"bytes={3 * n}-"][: len(server.asked)]
    assert len(server.asked) > 2


def test_a_server_that_gives_no_ranges_and_breaks_off_is_given_up_and_the_part_kept(get, server, tmp_path):
    server.mode, server.ranges = "cut", False
    with pytest.raises(DownloadError, match=r"the connection was closed after 0 of 0 MB; 0 MB are kept, and"):
        get()
    assert part(tmp_path).stat().st_size == server.piece
    server.mode = "whole"
    assert get() == CONTENT


def test_a_server_that_hangs_is_given_up_after_the_timeout_and_resumed_by_the_next_call(
    get, server, tmp_path
):
    server.mode, server.piece = "hang", 1000
    part(tmp_path).write_bytes(CONTENT[:1000])
    with pytest.raises(DownloadError, match=r": no data for 0\.1 s; 0 MB are kept, and the same command"):
        get(timeout=0.1)
    server.mode = "whole"
    assert get() == CONTENT
    assert set(server.asked) == {"bytes=1000-"}


@pytest.mark.parametrize(("mode", "had"), [("page", 0), ("unnamed page", 0), ("page", 1000)])
def test_an_html_page_in_place_of_the_file_is_named_and_a_part_is_kept(mode, had, get, server, tmp_path):
    server.mode = mode
    part(tmp_path).write_bytes(CONTENT[:had])
    server.ranges = False
    with pytest.raises(DownloadError, match=r"gives an HTML page in place of the file \('Please log in'\)$"):
        get()
    assert part(tmp_path).read_bytes() == CONTENT[:had]


@pytest.mark.parametrize("mode", ["503", "404"])
def test_a_servers_refusal_is_given_with_its_status(mode, get, server, tmp_path):
    server.mode = mode
    with pytest.raises(DownloadError, match=rf"^{server.url} answers {mode} "):
        get()
    assert list(tmp_path.iterdir()) == []


def test_nobody_at_the_address_is_one_line(tmp_path, lines):
    for url in ("http://127.0.0.1:1/x", "no address"):
        with pytest.raises(DownloadError, match=rf"^{url}: "):
            fetch(url, tmp_path / "archive", md5=MD5, report=lines.append)


@pytest.mark.parametrize("wrong", [b"another file" * 1000, CONTENT + b"more"])
def test_a_part_that_does_not_fit_is_thrown_away_and_the_file_downloaded_anew(wrong, get, tmp_path, lines):
    part(tmp_path).write_bytes(wrong)
    assert get() == CONTENT
    assert "the parts of the download do not fit together; starting again" in lines


def test_a_file_that_was_cut_off_under_its_own_name_is_completed(get, server, tmp_path):
    (tmp_path / "archive").write_bytes(CONTENT[:5000])
    assert get() == CONTENT
    assert server.asked == ["bytes=5000-"]


def test_a_file_with_another_checksum_is_refused_and_not_kept(get, server, tmp_path):
    server.content = gzip.compress(b"something else")
    with pytest.raises(DownloadError, match=rf"gives {len(server.content)} bytes with the MD5 \w+, not "):
        get()
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fails_is_named_as_such_and_not_as_the_network(get, server, tmp_path):
    part(tmp_path).mkdir()
    with pytest.raises(StorageError, match=r"archive\.part: cannot be written: Is a directory"):
        get()


HOLDER = """
import sys
from pathlib import Path
from dglib.training.download import alone
with alone(Path(sys.argv[1]), Path(sys.argv[1]), print):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_another_process_waits_reports_it_and_leaves_no_lock_file(tmp_path):
    lock, lines, entered = tmp_path / "lock", [], threading.Event()

    def wait():
        with alone(lock, tmp_path / "archive", lines.append, line_seconds=0.01):
            entered.set()

    command = [sys.executable, "-c", HOLDER, str(lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        waiting = threading.Thread(target=wait)
        waiting.start()
        while len(lines) < 2:
            assert not entered.is_set()
        holder.stdin.close()
        waiting.join(300)
    assert entered.is_set()
    assert set(lines) == {"waiting for another process that downloads it"}
    assert list(tmp_path.iterdir()) == []
