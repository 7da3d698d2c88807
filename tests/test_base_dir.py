"""Directories of runs and data: the defaults, Drive, and what is refused in one line."""

import os
from pathlib import Path

import pytest

from dglib import base_dir
from dglib.base_dir import base_directory, data_directory
from dglib.cli import main
from dglib.errors import UserError


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    """An empty directory, in which Colab's /content would be `content`; no DGLIB_HOME, as for a user."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(base_dir, "CONTENT", tmp_path / "content")
    monkeypatch.setattr(base_dir, "MOUNT", tmp_path / "content" / "drive")
    monkeypatch.delenv("DGLIB_HOME")


@pytest.fixture
def colab(monkeypatch):
    """As in a command that is started from a Colab notebook."""
    monkeypatch.setenv("COLAB_RELEASE_TAG", "release-colab_20260801")


def test_the_defaults_are_the_projects_own_directories_wherever_one_is(monkeypatch):
    root = Path(__file__).resolve().parents[1]
    for here in (".", root / "notebooks"):
        monkeypatch.chdir(here)
        assert (base_directory(None), data_directory(None)) == (root / "runs", root / "data")
    monkeypatch.setenv("DGLIB_HOME", "/elsewhere")
    assert data_directory(None) == Path("/elsewhere/data")


def test_on_a_mounted_drive_runs_go_to_a_folder_there_and_data_never(tmp_path, monkeypatch):
    drive = tmp_path / "content" / "drive" / "MyDrive"
    drive.mkdir(parents=True)
    assert base_directory(None) == drive / "dual-gradient-learning" / "Paper-A"
    monkeypatch.setattr(base_dir, "CHECKOUT", drive / "copy")
    (drive / "copy").mkdir()
    (drive / "copy" / "run_all.py").touch()
    assert data_directory(None) == tmp_path / "content" / "data"


@pytest.mark.parametrize("given", [None, "content/drive/MyDrive/a", "content/drive/Shareddrives/a", "link/a"])
def test_a_base_directory_on_a_drive_that_is_not_mounted_is_refused_until_it_is(given, tmp_path, colab):
    (tmp_path / "link").symlink_to(tmp_path / "content" / "drive" / "MyDrive")
    with pytest.raises(UserError) as caught:
        base_directory(given, where="notebook")
    assert str(caught.value) == (
        f"notebook: base_dir = {given!r}: is on Google Drive, which is not mounted at"
        f" {tmp_path}/content/drive; run the first cell again,"
        f" or set base_dir = '{tmp_path}/content/runs', which is lost when this runtime ends"
    )
    assert base_directory("content/runs") == Path("content/runs")
    (tmp_path / "content" / "drive" / "MyDrive").mkdir(parents=True)
    base_directory(given)


def test_a_file_or_a_directory_without_permission_is_named_and_a_missing_drive_refused(tmp_path, monkeypatch):
    (tmp_path / "file").touch(mode=0o777)
    with pytest.raises(UserError) as caught:
        base_directory("file/x", where="--base-dir")
    asked = "--base-dir: base_dir = 'file/x': must be a directory to write in"
    assert str(caught.value) == f"{asked}, but {tmp_path}/file is not a directory"
    (tmp_path / "closed").mkdir()
    # Root may write anywhere, so the system's answer is played.
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "closed")
    with pytest.raises(UserError, match=r"^base_dir = 'closed/runs': .*/closed cannot be written to$"):
        base_directory("closed/runs")
    assert base_directory("open/runs") == Path("open/runs")
    monkeypatch.setattr(os.path, "lexists", lambda path: False)  # as of E: on Windows
    monkeypatch.setattr(Path, "is_dir", lambda path: False)
    with pytest.raises(UserError, match="base_dir = '/nowhere/x': must be a directory"):
        base_directory("/nowhere/x")


@pytest.mark.parametrize("name", ["base_dir", "data_dir", "dataset"])
def test_a_path_that_cannot_be_is_refused_in_a_line_before_anything_is_written(name, tmp_path, capsys):
    words = ["base_dir=runs", f"{name}=~nosuchuser/x.npz"]
    assert main(["run", "T1", "--seeds", "0", "--set", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{name} = '~nosuchuser/x.npz': no home directory is known for ~nosuchuser" in line
    assert not list(tmp_path.iterdir())
