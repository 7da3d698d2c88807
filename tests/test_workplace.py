"""Working here and keeping there: a run that is mirrored, lost here, and gone on with from the mirror."""

import json
import shutil

import pytest

from dglib import api, base_dir, batch
from dglib.control import Interrupted
from dglib.errors import UserError
from dglib.experiments.profiles import load_profile
from dglib.workplace import Workplace

TINY = ["network_width=0.25", "batch_size=128", "init_epochs=4", "init_error_min=0", "sweep_lambdas=[0.5]"]


def parameters(tmp_path, *more):
    places = [f"base_dir={tmp_path / 'drive'}", f"work_dir={tmp_path / 'work'}", "mirror=true"]
    return load_profile("T2", "quick", [*TINY, "epochs_per_level=2", "seeds=0", *places, *more])


def record(directory):
    found = json.loads((directory / "T2-spinodal_results.json").read_bytes())
    return [{k: v for k, v in each.items() if k not in ("time", "provenance")} for each in found]


def test_without_a_mirror_work_goes_on_where_results_end_up(tmp_path):
    place = Workplace.of(parameters(tmp_path, "mirror=false"))
    assert (place.base, place.work, place.mirrored) == (tmp_path / "drive", tmp_path / "drive", False)


def test_a_base_directory_on_drive_is_always_mirrored(tmp_path, monkeypatch):
    monkeypatch.setattr(base_dir, "MOUNT", tmp_path / "drive")
    (tmp_path / "drive" / "MyDrive").mkdir(parents=True)
    for base in ("drive/MyDrive", "drive/MyDrive/deeper", "drive/Shareddrives/ours"):
        asked = parameters(tmp_path, "mirror=false", f"base_dir={tmp_path / base}")
        assert Workplace.of(asked).work == tmp_path / "work"


def test_each_base_directory_has_a_local_one_of_its_own(tmp_path):
    one, other = (
        Workplace.of(parameters(tmp_path, "work_dir=null", f"base_dir={tmp_path / name}")) for name in "ab"
    )
    assert one.work != other.work
    assert "dglib" in one.work.parts


def test_a_local_directory_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "work").write_text("a file")
    with pytest.raises(UserError, match="must be a directory to write in"):
        Workplace.of(parameters(tmp_path))


@pytest.mark.slow
def test_a_mirrored_run_that_is_stopped_and_lost_here_goes_on_from_the_mirror(tmp_path, monkeypatch):
    undisturbed = api.run(parameters(tmp_path, f"base_dir={tmp_path / 'plain'}", "mirror=false"))

    original, calls = batch.run_seed, []

    def stopped_after_three_epochs(*args, control, sinks, **options):
        def stop(event):
            calls.append(event)
            if len({e.epoch for e in calls}) == 3:
                control.stop()

        return original(*args, control=control, sinks=[*sinks, stop], **options)

    monkeypatch.setattr(batch, "run_seed", stopped_after_three_epochs)
    with pytest.raises(Interrupted):
        api.run(parameters(tmp_path))
    monkeypatch.undo()
    assert not list((tmp_path / "drive").glob("*/locks")), "locks are never mirrored"
    shutil.rmtree(tmp_path / "work")

    resumed = api.run(parameters(tmp_path))
    assert resumed.directory.parent == tmp_path / "work"
    assert record(resumed.directory) == record(undisturbed.directory)
    attempts = (resumed.directory / "attempts" / "T2-spinodal-000.jsonl").read_text().splitlines()
    assert [json.loads(line)["found_step"] for line in attempts if "found_step" in line] == [0, 33]
    # Results lie under their plain names where people look.
    remote = tmp_path / "drive" / resumed.directory.name
    assert record(remote) == record(resumed.directory)
    assert (remote / "figures" / "T2-spinodal_analysis.png").exists()
