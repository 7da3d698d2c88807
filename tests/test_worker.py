"""What one job does in the process that calls it: once, again, stopped, mirrored, and of a notebook."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from dglib.campaign import notebooks, worker
from dglib.campaign.jobs import Plan, anchored
from dglib.control import Control, Interrupted
from dglib.errors import UserError
from dglib.experiments.profiles import load_profile
from dglib.runs.location import RunLocation
from dglib.runs.store import read_records

TINY = [
    "network_width=0.25",
    "init_epochs=2",
    "epochs_per_level=1",
    "sweep_lambdas=[0.5]",
    "init_error_min=0",
]


def job(base: Path, seed: int = 0, *changes: str) -> dict[str, Any]:
    given = load_profile("T2", "quick", [*TINY, f"seeds={seed}", f"base_dir={base}", *changes])
    location = RunLocation.of(given)
    return Plan(anchored(given, location.base), location.local).jobs[0].message()


def test_a_seed_is_trained_once_however_often_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = job(tmp_path) | {"command": ["python", "run_all.py"]}
    first = worker.train(asked)
    assert Path(first["directory"]).parent == tmp_path
    (record,) = read_records(Path(first["directory"]), "T2")
    manifest = json.loads(Path(first["directory"], "T2-spinodal_manifest.json").read_bytes())
    assert manifest["command"] == ["python", "run_all.py"]
    assert (record["seed"], record["outcome"], record["time"]) == (0, first["outcome"], first["seconds"])
    monkeypatch.setattr("dglib.runs.seed.SeedRun", lambda *_, **__: pytest.fail("trained again"))
    assert worker.train(asked) == first


def test_a_stopped_job_saves_its_state_and_resumes(tmp_path: Path) -> None:
    control = Control()
    control.stop()
    with pytest.raises(Interrupted):
        worker.train(job(tmp_path), control=control)
    assert list(tmp_path.glob("*/checkpoints/T2-spinodal-000.ckpt"))
    assert worker.train(job(tmp_path))["outcome"] == "no_event"


def test_a_mirrored_seed_is_in_the_base_directory_when_its_job_returns(tmp_path: Path) -> None:
    mirrored = ["mirror=true", f"work_dir={tmp_path / 'work'}"]
    result = worker.train(job(tmp_path / "drive", 0, *mirrored))
    directory = Path(result["directory"])
    assert directory.parent == tmp_path / "work"
    remote = tmp_path / "drive" / directory.name
    here = (directory / "T2-spinodal_results.json").read_bytes()
    assert (remote / "T2-spinodal_results.json").read_bytes() == here
    shutil.rmtree(tmp_path / "work")
    assert worker.train(job(tmp_path / "drive", 0, *mirrored)) == result, "trained again"


@pytest.mark.parametrize("ends", ["well", "badly"])
def test_an_executed_notebook_appears_whole_and_drafts_that_a_kill_left_go(
    ends: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "executed" / "T2_spinodal.ipynb"
    output.parent.mkdir()
    output.write_text("the old one")
    (output.parent / ".T2_spinodal.77-abc.ipynb").write_text("torn")

    def papermill(notebook: str, target: str, parameters: dict[str, Any], **_: object) -> None:
        assert Path(notebook).read_bytes()
        assert parameters["seeds"] == [0]
        assert output.read_text() == "the old one"
        Path(target).write_text("the new one")
        if ends == "badly":
            raise ValueError("no")

    monkeypatch.setattr(notebooks.papermill, "execute_notebook", papermill)
    if ends == "well":
        assert worker.execute_notebook(job(tmp_path)) == {"notebook": str(output)}
    else:
        with pytest.raises(UserError, match="ValueError: no"):
            worker.execute_notebook(job(tmp_path))
    assert [path.name for path in output.parent.iterdir()] == [output.name]
    assert output.read_text() == "the new one"
