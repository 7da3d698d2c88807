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


def test_the_commit_is_that_of_the_package_and_any_changed_or_new_file_makes_it_dirty(tmp_path):
    package = tmp_path / "project" / "dglib"
    shutil.copytree(provenance.HERE, package, ignore=shutil.ignore_patterns("__pycache__"))
    git(package.parent, "init", "--quiet")
    (package.parent / "theirs.py").touch()
    git(package.parent, "add", "theirs.py")
    git(package.parent, "commit", "--quiet", "-m", "of a project in which dglib is installed")
    assert provenance.code(package)["commit"] is None
    git(package.parent, "add", ".")
    git(package.parent, "commit", "--quiet", "-m", "of dglib")
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


MADE = {"dglib": "0.1.0", "commit": "1a2b3c4d5e6f", "dirty": True, "data": "digits"}


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


def test_seeds_of_edited_code_are_noted_wherever_they_are_pooled(tmp_path, monkeypatch, capsys):
    clean = {"dglib": "0.0.9", "commit": "abcdefghij", "dirty": False}
    for seed, code in enumerate((clean, clean, clean | {"dirty": True, "source": "1234567890"})):
        monkeypatch.setattr(provenance, "code", lambda code=code: code)
        changes = [*TINY, "epochs_per_level=1", f"seeds={seed}", f"base_dir={tmp_path}"]
        directory = dglib.run(load_profile("T2", "quick", changes)).directory
        lines = capsys.readouterr().out.splitlines()
        warnings = [line for line in lines if line.startswith("warning: ")]
        if seed == 0:
            (made,) = unsealed("seed record", *(directory / "seeds").iterdir())["provenance"]
            assert made.pop("from_step") == 0
            assert provenance.line(made) in lines
            manifest = json.loads((directory / "T2-spinodal_manifest.json").read_bytes())
            shared = ("dglib", "commit", "dirty", "python", "numpy")
            assert {name: manifest[name] for name in shared} == {name: made[name] for name in shared}
            data = (manifest["data_name"], manifest["identity"]["data"])
            assert data == (made["data"], made["data_fingerprint"])
        if seed < 2:
            assert (warnings, verify(directory)) == ([], [])
    was = "dglib 0.0.9, commit abcdefg"
    now = f"{was} (files changed since, source 1234567)"
    (warning,) = warnings
    assert warning.startswith(f"warning: seeds made by different code: seeds 0, 1: {was}; now: {now}")
    (note,) = verify(directory)
    assert note.severity == "note"
    assert note.problem == f"seeds made by different code: seed 2: {now}; the others: {was}"
    (found,) = collect(tmp_path).runs  # one directory: no identity depends on by what a run was made
    assert f"seed 2: {now}; at the start: " in dict(facts(found))["Seeds by other code"]
