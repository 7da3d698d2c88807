"""A run whose results end up elsewhere: mirrored, lost here, damaged there, stopped at any time, resumed."""

import errno
import json
import shutil
import time

import pytest
from mirror_cases import contents, stored, sync
from small import StopAfter, unreadable

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


def test_a_base_directory_on_drive_is_always_mirrored(tmp_path, monkeypatch):
    monkeypatch.setattr(base_dir, "MOUNT", tmp_path / "drive")
    (tmp_path / "drive" / "MyDrive").mkdir(parents=True)
    for base in ("drive/MyDrive", "drive/MyDrive/deeper", "drive/Shareddrives/ours"):
        asked = parameters(tmp_path, "mirror=false", f"base_dir={tmp_path / base}")
        assert RunLocation.of(asked).local == tmp_path / "work"


def test_a_base_directory_that_cannot_be_read_is_an_error_and_not_an_empty_one(
    mirrored, tmp_path, monkeypatch
):
    unreadable(monkeypatch, tmp_path / "drive", errno.ENOTCONN)
    with pytest.raises(StorageError, match="not connected"):
        dglib.run(parameters(tmp_path))
    assert not (tmp_path / "work").exists()


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


def test_verify_checks_a_mirror_by_manifests_and_seals(mirrored, finished, tmp_path, capsys):
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


def test_what_is_lost_on_the_mirror_is_named_before_it_is_trained_again(mirrored, tmp_path, capsys):
    def damaged():
        [line] = [line for line in capsys.readouterr().err.splitlines() if "damaged" in line]
        return line

    path = "seeds/T2-spinodal-000.json"
    victim = stored(mirrored, path)
    victim.write_bytes(b"")
    run = dglib.run(parameters(tmp_path))
    assert run.directory.name == mirrored.name
    assert f"seeds/{victim.name} (lost)" in damaged()
    assert contents(mirrored)[path] == (run.directory / path).read_bytes()
    assert main(["verify", str(tmp_path / "drive")]) == 0
    for file in (mirrored / "mirror").rglob("*"):
        if file.is_file():
            file.write_bytes(b"")
    shutil.rmtree(tmp_path / "work")
    assert main(["verify", str(tmp_path / "drive")]) == 1
    assert "not a readable manifest of a mirror" in capsys.readouterr().out
    dglib.run(parameters(tmp_path))
    assert damaged().endswith(
        "no manifest of a run can be read, nothing is restored; what is lost is trained again"
    )


def claimed(remote, age=0.0):
    path = remote / "mirror" / f"claim-0123abcd-77-{time.time() - age:.0f}-lab-pc.local"
    path.write_text("/home/ann/.cache/dglib/0\n")
    return path


def test_a_run_that_another_machine_trains_is_refused_before_a_write(mirrored, tmp_path, untrained):
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
