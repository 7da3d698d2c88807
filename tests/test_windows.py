"""What Windows needs beyond the types that `mypy --platform win32` checks: binary files, lines of refusal."""

import os
import signal
from pathlib import Path

import pytest

from dglib import files
from dglib.cli import main, run_all


@pytest.mark.parametrize(
    ("command", "words", "message"),
    [
        (run_all, ["--only", "T1"], "run_all.py: needs a POSIX system"),
        (main, ["run", "T1", "--set", "seeds_at_once=2"], "seeds_at_once = 2: needs a POSIX system"),
    ],
)
def test_worker_processes_are_refused_in_a_line(command, words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delattr(signal, "pthread_kill")
    assert command([*words, "--base-dir", "runs"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert list(tmp_path.iterdir()) == []


def test_every_file_is_opened_as_binary_and_a_directory_need_not_open(tmp_path, monkeypatch):
    system, binary, opened = os.open, 1 << 30, []

    def as_there(path, flags, *rest):
        if Path(path).is_dir():
            raise PermissionError(13, "Permission denied", str(path))
        opened.append(flags & binary)
        return system(path, flags & ~binary, *rest)

    monkeypatch.setattr(files, "_BINARY", binary)
    monkeypatch.setattr(os, "open", as_there)
    files.write_atomically(tmp_path / "a", b"1\n")
    files.write_once(tmp_path / "b", b"1\n")
    files.append_line(tmp_path / "c", b"1")
    assert opened == [binary] * 3
