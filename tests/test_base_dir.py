"""Where the run directories lie."""

import os
from pathlib import Path

import pytest

from dglib import base_dir
from dglib.base_dir import base_directory
from dglib.errors import UserError


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(base_dir, "DRIVE", tmp_path / "MyDrive")


def test_a_given_directory_is_taken_and_not_created(tmp_path: Path) -> None:
    assert base_directory("a/b/c") == Path("a/b/c")
    assert base_directory(str(tmp_path)) == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_a_tilde_is_the_home_directory() -> None:
    assert base_directory("~") == Path.home()


def test_the_default_is_runs_and_with_colabs_drive_a_folder_there(tmp_path: Path) -> None:
    assert base_directory(None) == Path("runs")
    (tmp_path / "MyDrive").mkdir()
    assert base_directory(None) == tmp_path / "MyDrive" / "dual-gradient-learning" / "Paper-A"


@pytest.mark.parametrize("below", ["", "/x", "/x/y"])
def test_a_file_in_the_way_is_named(below: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch(mode=0o777)
    with pytest.raises(UserError) as caught:
        base_directory(f"file{below}", where="--base-dir")
    assert str(caught.value) == (
        f"--base-dir: base_dir = 'file{below}': must be a directory to write in, "
        f"but {tmp_path}/file is not a directory"
    )


def test_a_link_to_nothing_is_in_the_way_too(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    with pytest.raises(UserError, match=r"link is not a directory$"):
        base_directory("link/runs")


def test_a_directory_without_permission_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "closed").mkdir()
    # Root may write anywhere, so the system's answer is played.
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "closed")
    with pytest.raises(UserError, match=r"^base_dir = 'closed/runs': .*/closed cannot be written to$"):
        base_directory("closed/runs")
    assert base_directory("open/runs") == Path("open/runs")
