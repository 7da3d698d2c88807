"""What records, manifests and notebooks say about how they were made."""

import json
import shutil
import subprocess

import pytest
from small import CPU, StopAfter, random_data, small_spec

import dglib
from dglib.control import Interrupted
from dglib.experiments.profiles import load_profile
from dglib.files import unsealed
from dglib.report.facts import facts
from dglib.report.page import collect
from dglib.runs import provenance
from dglib.runs.checkpoint import Saving
from dglib.runs.seed import run_seed
from dglib.runs.verify import verify

TINY = ["network_width=0.25", "batch_size=128", "init_epochs=3", "init_error_min=0", "sweep_lambdas=[0.5]"]
SPEC = small_spec("Td1", batch_size=4)


def git(directory, *words):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    command = ["git", *identity, "-C", str(directory), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def copy_of_dglib(tmp_path):
    package = tmp_path / "project" / "dglib"
    shutil.copytree(provenance.HERE, package, ignore=shutil.ignore_patterns("__pycache__"))
    return package


def test_the_commit_is_that_of_the_package_and_any_changed_or_new_file_makes_it_dirty(tmp_path):
    package = copy_of_dglib(tmp_path)
    git(package.parent, "init", "--quiet")
    git(package.parent, "add", ".")
    git(package.parent, "commit", "--quiet", "-m", "first")
    clean = {"dglib": dglib.__version__, "commit": git(package, "rev-parse", "HEAD"), "dirty": False}
    assert provenance.code(package) == clean
    (package.parent / "notes.txt").touch()
    assert provenance.code(package) == clean, "a file next to the package changes no result"
    (package / "new.py").touch()
    one = provenance.code(package)
    (package / "new.py").unlink()
    (package / "step.py").write_text("")
    other = provenance.code(package)
    assert one == clean | {"dirty": True, "source": one["source"]}
    assert other == clean | {"dirty": True, "source": other["source"]}
    assert one["source"] != other["source"]


def test_an_installation_within_somebody_elses_checkout_is_not_taken_for_theirs(tmp_path):
    package = copy_of_dglib(tmp_path)
    git(package.parent, "init", "--quiet")
    (package.parent / "theirs.py").touch()
    git(package.parent, "add", "theirs.py")
    git(package.parent, "commit", "--quiet", "-m", "first")
    assert provenance.code(package)["commit"] is None


MADE = {
    "dglib": "0.1.0", "commit": "1a2b3c4d5e6f", "dirty": True, "python": "3.13.1", "numpy": "2.1.0",
    "torch": "2.11.0", "device_name": "NVIDIA H100 80GB HBM3",
    "data": "digits", "data_fingerprint": "97c7c46ae1b60e",
}  # fmt: skip


def test_seeds_of_other_code_are_listed_with_the_step_from_which_it_holds():
    other = MADE | {"commit": "ffffffffff", "dirty": False}
    records = [
        {"seed": 0, "provenance": [{"from_step": 0, **other}]},
        {"seed": 1, "provenance": [{"from_step": 0, **MADE}, {"from_step": 44, **other}]},
        {"seed": 2, "provenance": [{"from_step": 0, **MADE, "torch": "2.12.0"}]},
        {"seed": 3},
    ]
    assert provenance.different_code(records, MADE, "now") == (
        "seeds made by different code: seeds 0, 1 from step 44: dglib 0.1.0, commit fffffff; "
        "seed 3: dglib of a version not on record, no commit on record; "
        f"now: {provenance.code_line(MADE)}"
    )
    assert provenance.different_code(records[2:3], MADE) == ""


def test_a_record_contains_the_provenance_of_every_part_of_its_seed(tmp_path):
    def part(control=None, **changes):
        path = tmp_path / "seed.ckpt"
        return run_seed(
            SPEC, 0, random_data(), CPU, saving=Saving(path), control=control, made=MADE | changes
        )

    for steps in (3, 4):  # twice under the same, which makes one entry
        with pytest.raises(Interrupted):
            part(StopAfter(steps))
    with pytest.raises(Interrupted):
        part(StopAfter(2), commit="ffffffffff")
    record = part(dirty=False)
    assert record["provenance"] == [
        {"from_step": 0, **MADE},
        {"from_step": 7, **MADE, "commit": "ffffffffff"},
        {"from_step": 9, **MADE, "dirty": False},
    ]
    assert record["bitwise"], "by what it was made decides nothing"
    whole = run_seed(SPEC, 0, random_data(), CPU)
    assert "provenance" not in whole
    assert {**record, "time": 0} == {**whole, "time": 0, "provenance": record["provenance"]}


def test_a_run_prints_by_what_it_and_its_seeds_were_made_and_records_and_manifest_contain_it(
    tmp_path, monkeypatch, capsys
):
    parameters = load_profile("T2", "quick", [*TINY, "epochs_per_level=1", "seeds=0", f"base_dir={tmp_path}"])
    monkeypatch.setattr(
        provenance, "code", lambda: {"dglib": "0.0.9", "commit": "abcdefghij", "dirty": False}
    )
    directory = dglib.run(parameters).directory
    (path,) = (directory / "seeds").iterdir()
    (made,) = unsealed("seed record", path)["provenance"]
    assert made.pop("from_step") == 0
    assert provenance.line(made) in capsys.readouterr().out.splitlines()
    manifest = json.loads((directory / "T2-spinodal_manifest.json").read_bytes())
    shared = ("dglib", "commit", "dirty", "python", "numpy")
    assert {name: manifest[name] for name in shared} == {name: made[name] for name in shared}
    assert (manifest["data_name"], manifest["identity"]["data"]) == (made["data"], made["data_fingerprint"])
    monkeypatch.undo()
    assert dglib.run(parameters).directory == directory, "no identity depends on by what a run was made"
    assert (
        "\nseeds made by different code: seed 0: dglib 0.0.9, commit abcdefg; now: "
        in capsys.readouterr().out
    )


def test_a_seed_added_by_edited_code_is_a_warning_before_it_trains_and_noted_wherever_seeds_are_pooled(
    tmp_path, monkeypatch, capsys
):
    clean = {"dglib": "0.0.9", "commit": "abcdefghij", "dirty": False}
    for seed, code in enumerate((clean, clean, clean | {"dirty": True, "source": "1234567890"})):
        capsys.readouterr()
        monkeypatch.setattr(provenance, "code", lambda code=code: code)
        changes = [*TINY, "epochs_per_level=1", f"seeds={seed}", f"base_dir={tmp_path}"]
        directory = dglib.run(load_profile("T2", "quick", changes)).directory
        lines = capsys.readouterr().out.splitlines()
        warnings = [line for line in lines if line.startswith("warning: ")]
        if seed < 2:
            assert (warnings, verify(directory)) == ([], [])
    was = "dglib 0.0.9, commit abcdefg"
    now = f"{was} (files changed since, source 1234567)"
    (warning,) = warnings
    assert warning.startswith(f"warning: seeds made by different code: seeds 0, 1: {was}; now: {now}")
    (note,) = verify(directory)
    assert note.severity == "note"
    assert note.problem == f"seeds made by different code: seed 2: {now}; the others: {was}"
    (found,) = collect(tmp_path).runs
    assert f"seed 2: {now}; at the start: " in dict(facts(found))["Seeds by other code"]
