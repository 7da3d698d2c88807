"""A run whose results end up elsewhere: mirrored, lost here, damaged there, stopped at any time, resumed."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from mirror_cases import contents, stored, sync
from small import StopAfter

import dglib
from dglib import base_dir
from dglib.cli import main
from dglib.control import Interrupted
from dglib.errors import StorageError, UserError
from dglib.experiments.profiles import load_profile
from dglib.runs import seed as batch
from dglib.runs.location import RunLocation

TINY = ["network_width=0.25", "batch_size=128", "init_epochs=1", "init_error_min=0", "sweep_lambdas=[0.5]"]
PATIENCE = 120  # seconds, on a loaded machine


def parameters(tmp_path, *more):
    places = [f"base_dir={tmp_path / 'drive'}", f"work_dir={tmp_path / 'work'}", "mirror=true"]
    return load_profile("T2", "quick", [*TINY, "epochs_per_level=1", "seeds=0", *places, *more])


def record(directory):
    found = json.loads((directory / "T2-spinodal_results.json").read_bytes())
    return [{k: v for k, v in each.items() if k not in ("time", "provenance")} for each in found]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A mirrored run of one seed; `made` has its mirror in `drive` and its run directory in `work`."""
    made = tmp_path_factory.mktemp("finished")
    dglib.run(parameters(made))
    return made


@pytest.fixture
def mirrored(finished, tmp_path):
    """A copy of the mirror alone, as a new machine finds it."""
    shutil.copytree(finished / "drive", tmp_path / "drive")
    [remote] = (tmp_path / "drive").glob("exp_*")
    return remote


@pytest.fixture
def untrained(monkeypatch):
    """Training fails the test."""

    def trained(*_, **options):
        raise AssertionError("trained again")

    monkeypatch.setattr(batch, "SeedRun", trained)


# ── where ──


def test_a_base_directory_on_drive_is_always_mirrored(tmp_path, monkeypatch):
    monkeypatch.setattr(base_dir, "MOUNT", tmp_path / "drive")
    (tmp_path / "drive" / "MyDrive").mkdir(parents=True)
    for base in ("drive/MyDrive", "drive/MyDrive/deeper", "drive/Shareddrives/ours"):
        asked = parameters(tmp_path, "mirror=false", f"base_dir={tmp_path / base}")
        assert RunLocation.of(asked).local == tmp_path / "work"


def test_without_a_home_to_write_in_a_mirrored_run_ends_in_one_line_that_names_work_dir(
    tmp_path, monkeypatch, capsys
):
    (tmp_path / "home").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert main(["run", "T2", "--base-dir", str(tmp_path / "drive"), "--mirror"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("dglib: error: work_dir = '")
    assert "must be a directory to write in" in line
    assert not (tmp_path / "drive").exists()


def test_a_base_directory_that_cannot_be_read_is_an_error_and_not_an_empty_one(
    mirrored, tmp_path, monkeypatch
):
    real = os.listdir

    def disconnected(path="."):
        if str(path).startswith(str(tmp_path / "drive")):
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        return real(path)

    monkeypatch.setattr(os, "listdir", disconnected)
    with pytest.raises(StorageError, match="not connected"):
        dglib.run(parameters(tmp_path))
    assert not (tmp_path / "work").exists()


# ── and back ──


@pytest.mark.slow
def test_a_mirrored_run_that_is_stopped_and_lost_here_is_resumed_from_the_mirror(tmp_path):
    more = ["init_epochs=4", "epochs_per_level=2"]
    undisturbed = dglib.run(parameters(tmp_path, *more, f"base_dir={tmp_path / 'plain'}", "mirror=false"))

    with pytest.raises(Interrupted):
        dglib.run(parameters(tmp_path, *more), control=StopAfter(33))
    assert not list((tmp_path / "drive").glob("*/locks")), "locks are never mirrored"
    shutil.rmtree(tmp_path / "work")

    resumed = dglib.run(parameters(tmp_path, *more))
    assert resumed.directory.parent == tmp_path / "work"
    assert record(resumed.directory) == record(undisturbed.directory)
    attempts = (resumed.directory / "attempts" / "T2-spinodal-000.jsonl").read_text().splitlines()
    assert [json.loads(line)["found_step"] for line in attempts if "found_step" in line] == [0, 33]
    # Results lie under their plain names where people look.
    remote = tmp_path / "drive" / resumed.directory.name
    assert record(remote) == record(resumed.directory)
    assert (remote / "figures" / "T2-spinodal_analysis.png").exists()


def test_verify_compares_a_mirror_with_its_manifests_and_its_records_with_their_seals(
    mirrored, finished, tmp_path, capsys
):
    assert main(["verify", str(tmp_path / "drive")]) == 0
    assert capsys.readouterr().out == "1 run directory: all is well\n"
    victim = stored(mirrored, "seeds/T2-spinodal-000.json")
    content = victim.read_bytes()
    for damage in (b"", content.replace(b"0", b"1", 1)):
        victim.write_bytes(damage)
        assert main(["verify", str(tmp_path / "drive")]) == 1
        first, *_ = capsys.readouterr().out.splitlines()
        assert first.startswith(f"wrong: {victim}: damaged; manifest-0000000")
    victim.unlink()
    assert main(["verify", str(mirrored)]) == 1
    assert f"wrong: {victim}: missing" in capsys.readouterr().out
    # A record that was edited before it was mirrored has a right checksum there.
    made = shutil.copytree(finished, tmp_path / "made")
    [run] = (made / "work").glob("exp_*")
    path = run / "seeds" / "T2-spinodal-000.json"
    path.write_text(path.read_text().replace('"outcome": "', '"outcome": "x', 1))
    sync(run, mirrored.with_name("exp_T_spinodal_20200101_000000"))
    assert main(["verify", str(tmp_path / "drive")]) == 1
    assert "checksum does not match: the file was edited" in capsys.readouterr().out


def test_where_all_files_of_a_mirror_are_empty_verify_and_a_new_machine_report_it(mirrored, tmp_path, capsys):
    for path in (mirrored / "mirror").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    assert main(["verify", str(tmp_path / "drive")]) == 1
    assert "not a readable manifest of a mirror" in capsys.readouterr().out
    dglib.run(parameters(tmp_path))
    [line] = [line for line in capsys.readouterr().err.splitlines() if "damaged" in line]
    assert line.startswith(f"mirror: {mirrored}: damaged: ")
    assert "no manifest of a run can be read, nothing is restored" in line


def test_a_record_that_is_lost_on_the_mirror_is_named_before_it_is_trained_again(mirrored, tmp_path, capsys):
    victim = stored(mirrored, "seeds/T2-spinodal-000.json")
    victim.write_bytes(b"")
    run = dglib.run(parameters(tmp_path))
    assert run.directory.name == mirrored.name
    [line] = [line for line in capsys.readouterr().err.splitlines() if "damaged" in line]
    assert f"seeds/{victim.name} (lost)" in line
    assert (
        contents(mirrored)["seeds/T2-spinodal-000.json"]
        == (run.directory / "seeds" / "T2-spinodal-000.json").read_bytes()
    )
    assert main(["verify", str(tmp_path / "drive")]) == 0


# ── two machines ──


def claimed(remote, age=0.0):
    path = remote / "mirror" / f"claim-0123abcd-77-{time.time() - age:.0f}-lab-pc.local"
    path.write_text("/home/ann/.cache/dglib/0\n")
    return path


def test_a_run_on_which_another_machine_works_is_refused_before_anything_is_written(
    mirrored, tmp_path, untrained, capsys
):
    claim = claimed(mirrored)
    with pytest.raises(UserError, match=r"lab-pc\.local trains this run") as caught:
        dglib.run(parameters(tmp_path))
    assert str(claim) in str(caught.value)
    assert not (tmp_path / "work").exists()
    claim.unlink()
    claimed(mirrored, age=3600)
    dglib.run(parameters(tmp_path))
    assert list((mirrored / "mirror").glob("claim-*")) == []


def test_an_experiment_that_would_join_another_machines_directory_gets_its_own(mirrored, tmp_path):
    mirrored = mirrored.rename(mirrored.with_name("exp_T_spinodal_20260101_000000"))  # of another second
    claimed(mirrored)
    t1 = ["init_epochs=1", "init_error_max=1", "sweep_lambdas=[0.5]", "epochs_per_level=1", "seeds=0"]
    places = [f"base_dir={tmp_path / 'drive'}", f"work_dir={tmp_path / 'work'}", "mirror=true"]
    run = dglib.run(load_profile("T1", "quick", [*TINY[:2], *t1, *places, "milestones=[1]"]))
    assert run.directory.name != mirrored.name


# ── the last pass ──


HELD = """
import sys, time
from pathlib import Path
from dglib import cli
from dglib.campaign import run
from dglib.runs import location, mirror

location.POLL_S = location.PERIOD_S = 1000.0
real = mirror.write_through

def held(*_):
    Path("drawing").touch()
    time.sleep(1000)

def slow(path, *rest, **options):
    if sys.argv[1] == "slow" and Path("drawing").exists():
        Path("writing").touch()
        time.sleep(1000)
    real(path, *rest, **options)

mirror.write_through = slow
run.draw_figures = held
sys.exit(cli.main(sys.argv[2:]))
"""


@pytest.mark.parametrize("stops", [1, 2])
def test_a_stop_makes_the_last_pass_and_a_second_one_ends_at_once_with_a_valid_mirror(stops, tmp_path):
    words = [*TINY, "epochs_per_level=1", f"base_dir={tmp_path / 'drive'}", f"work_dir={tmp_path / 'work'}"]
    mode = "slow" if stops == 2 else "plain"
    command = [sys.executable, "-c", HELD, mode, "run", "T2", "--mirror", "--seeds", "0", "--set", *words]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True
    )
    for name in ("drawing", "writing")[:stops]:
        end = time.monotonic() + PATIENCE
        while not (tmp_path / name).exists():
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.02)
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "Traceback" not in out
    assert ("mirror: the last state is only in" in out) == (stops == 2)
    assert main(["verify", str(tmp_path / "drive")]) == 0
    [remote] = (tmp_path / "drive").glob("exp_*")
    assert ("seeds/T2-spinodal-000.json" in contents(remote)) == (stops == 1)
