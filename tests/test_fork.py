"""Forks: a new run from a saved state of another, and a line where there is none or it does not fit."""

import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from small import StopAfter, random_data

import dglib
from dglib.cli import main
from dglib.control import Interrupted
from dglib.errors import UserError
from dglib.experiments.profiles import load_profile
from dglib.files import unsealed
from dglib.fork import fork
from dglib.runs.progress import read_attempts
from dglib.runs.verify import verify

STEPS = 3  # of an epoch: 22 images in batches of 8
T1 = shlex.split(
    # an init of 3 epochs, then 3 levels of 2; random labels, an error near 0.9, never 1
    "network_width=0.25 batch_size=8 refresh_period=2 init_epochs=3 init_evaluate_every=2 init_error_max=1"
    " milestones=[] sweep_lambdas=[0.5,0.6,0.7] epochs_per_level=2 collapse_error=1 return_sweep=false"
    " sweep_lr=null seeds=3"
)
V3 = shlex.split(
    "network=small_cnn network_width=0.25 batch_size=8 ordered_epochs=2 ordered_error_max=1"
    " ordered_milestones=[] collapse_epochs=2 collapse_error_min=0 collapse_milestones=[]"
    " sweep_lambdas=[0.3,0.5] epochs_per_level=1 seeds=3"
)


@pytest.fixture(autouse=True)
def _without_figures(monkeypatch):
    monkeypatch.setattr("dglib.campaign.run.draw_figure", lambda store, records: [])


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    data = random_data(n_train=22, n_test=100)
    path = tmp_path_factory.mktemp("data") / "random.npz"
    images = {"x_train": data.x_train, "x_test": data.x_test}
    last = {name: array.transpose(0, 2, 3, 1) for name, array in images.items()}
    np.savez(path, y_train=data.y_train, y_test=data.y_test, **last)
    return path


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Runs made before, by what was asked for: a copy is cheaper than a run."""
    return {"": tmp_path_factory.mktemp("kept")}


@pytest.fixture
def original(tmp_path, dataset, kept):
    """Runs an experiment in `base` and gives its directory; `stop` interrupts it after so many steps."""

    def make(experiment, *changes, stop=None, base="runs"):
        asked = repr((experiment, changes, stop))
        if asked not in kept:
            kept[asked] = kept[""] / str(len(kept))
            given = [*{"T1": T1, "V3": V3}[experiment], f"dataset={dataset}", f"base_dir={kept[asked]}"]
            parameters = load_profile(experiment, "quick", [*given, *changes])
            try:
                dglib.run(parameters, control=StopAfter(10**9 if stop is None else stop))
            except Interrupted:
                assert stop is not None
        return Path(shutil.copytree(kept[asked], tmp_path / base)) / next(kept[asked].glob("exp_*")).name

    return make


def record_of(directory):
    """The one record in a directory, without what differs between any two attempts, and its lineage."""
    (path,) = (directory / "seeds").iterdir()
    record = unsealed("seed record", path)
    del record["time"], record["provenance"]
    return record, record.pop("lineage", None)


def first_step(directory):
    (log,) = (directory / "attempts").iterdir()
    return read_attempts(log)[0]["found_step"]


def content(directory):
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_a_fork_without_changes_gives_the_same_record_and_leaves_the_original_alone(original):
    directory = original("T1", "keep_states=true")
    before = content(directory)
    forked = fork(directory, 3, 4).directory
    assert content(directory) == before
    (record, lineage), (expected, none) = record_of(forked), record_of(directory)
    assert none is None
    assert record == expected
    assert first_step(forked) == 3 * STEPS
    manifests = [next(path.glob("*_manifest.json")) for path in (directory, forked)]
    manifest, changed = (json.loads(path.read_bytes()) for path in manifests)
    assert lineage == changed["lineage"]
    assert lineage == {
        "forked_from": directory.name,
        "experiment_id": expected["experiment_id"],
        "fingerprint": manifest["fingerprint"],
        "epoch": 3,
        "changed": {},
    }
    assert changed["fingerprint"] != manifest["fingerprint"]
    assert verify(forked) == verify(directory) == []


@pytest.mark.parametrize(
    ("stop", "at", "changes", "first"),
    [
        (None, 9, ["sweep_lambdas=[0.5,0.6,0.7,0.8]"], 9 * STEPS),  # beyond the original's end
        (None, 8, ["init_error_max=0.99", "return_sweep=true", "collapse_error=0"], 3 * STEPS),
        (4 * STEPS + 2, 5, ["epochs_per_level=3"], 4 * STEPS + 2),  # within an epoch of a level
        # The state is there, and an event that the original has not seen fires with its last evaluation.
        (6 * STEPS, 6, ["collapse_error=0", "return_sweep=true", "return_lambdas=[0.3]"], 6 * STEPS),
    ],
)
def test_a_fork_is_what_the_changed_parameters_give_from_scratch(stop, at, changes, first, original):
    directory = original("T1", "keep_states=true", "checkpoint_epochs=1", stop=stop)
    before = content(directory)
    forked = fork(directory, 3, at, changes).directory
    assert content(directory) == before
    assert first_step(forked) == first
    record, lineage = record_of(forked)
    assert record == record_of(original("T1", *changes, base="scratch"))[0]
    assert {name: now for name, (_, now) in lineage["changed"].items()} == {
        name: record["parameters"][name] for name in (change.partition("=")[0] for change in changes)
    }
    assert lineage["epoch"] == first // STEPS
    assert verify(forked) == []


def test_seeds_that_finished_without_states_are_reported_and_their_forks_refused(original, dataset, capsys):
    directory = original("T1")
    before = content(directory / "seeds")
    given = [*T1, f"dataset={dataset}", f"base_dir={directory.parent}", "keep_states=true"]
    capsys.readouterr()
    dglib.run(load_profile("T1", "quick", given))
    assert content(directory / "seeds") == before
    assert "1 finished seed has no saved states: trained without keep_states\n" in capsys.readouterr().out
    with pytest.raises(UserError, match="in another base directory if its seeds have finished"):
        fork(directory, 3, 4)


def test_a_fork_between_two_arms_begins_the_second_one_anew(original):
    directory = original("V3", "keep_states=true")
    forked = fork(directory, 3, 5).directory
    assert first_step(forked) == 4 * STEPS
    assert record_of(forked)[0] == record_of(directory)[0]
    with pytest.raises(UserError, match="the state at epoch 4 is of a phase that the changed parameters"):
        fork(original("V3", stop=4 * STEPS, base="at"), 3, 4, ["sweep_lambdas=[0.3,0.5,0.7]"])


def test_an_interrupted_fork_is_resumed_by_the_same_call_even_without_the_originals_states(original):
    directory, changes = original("T1", "keep_states=true"), ["sweep_lambdas=[0.5,0.55,0.8]"]
    with pytest.raises(Interrupted):
        fork(directory, 3, 5, changes, control=StopAfter(4))
    shutil.rmtree(directory / "states")
    forked = fork(directory, 3, 5, changes).directory
    record = record_of(forked)[0]
    assert record == record_of(original("T1", *changes, base="scratch"))[0]
    assert fork(directory, 3, 5, changes).directory == forked
    assert len(list(directory.parent.glob("exp_*"))) == 2


# What is changed, at which epoch, and what the line contains.
REFUSED = [
    ("network_width=0.5", 4, "--set network.width: 0.25 → 0.5: … cannot change"),
    ("threads=2", 4, "--set threads: cannot be set"),
    ("init_lambda=0.4", 4, "epoch 1 of main/init: λ 0.35 → 0.4: only what comes after epoch 3 can"),
    ("sweep_lambdas=[0.45,0.6,0.7]", 9, "epoch 4 of main/sweep: λ 0.5 → 0.45"),
    ("init_error_max=0", 3, "under the changed parameters the seed ends at epoch 3 (init_failed)"),
    ("consecutive=0", 4, "--set: consecutive = 0: must be at least 1"),
    ("sweep_lr=0.1", 2, "T1-spinodal-003: no saved state at or before epoch 2 (3, 9) in … keep_states=true"),
]


@pytest.mark.parametrize(("change", "at", "contains"), REFUSED, ids=[contains for *_, contains in REFUSED])
def test_what_does_not_fit_is_refused_in_a_line_and_nothing_is_written(
    change, at, contains, original, capsys
):
    directory = original("T1", "keep_states=true")
    before = content(directory.parent)
    capsys.readouterr()
    status = main(["fork", str(directory), "--seed", "3", "--at", str(at), "--set", change])
    assert content(directory.parent) == before
    _refused(status, capsys, contains)


def _refused(status, capsys, contains):
    out, err = capsys.readouterr()
    assert (status, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("dglib: error: ")
    place = 0
    for words in contains.split(" … "):
        assert words in line[place:], f"{words!r} is missing in: {line}"
        place = line.index(words, place)


@pytest.mark.parametrize(
    ("arguments", "contains"),
    [
        ("none --seed 3 --at 4", "none: no such directory"),
        (". --seed 3 --at 4", ".: no run there"),
        ("{run} --seed 3 --at 4", "T1-spinodal-003: no saved state … keep_states=true"),
        ("{run} --seed 7 --at 4", "T1-spinodal-007: has not been trained in "),
        ("{run} --seed 3 --at 4 --experiment T2", "--experiment T2: must be T1"),
        ("{run} --seed 3 --at 4 --base-dir file", "--base-dir: base_dir = 'file': must be a directory"),
    ],
)
def test_a_fork_of_nothing_is_refused_in_a_line(arguments, contains, original, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    finished, before = original("T1"), content(tmp_path)
    capsys.readouterr()
    _refused(main(["fork", *arguments.format(run=finished).split()]), capsys, contains)
    assert {p: b for p, b in content(tmp_path).items() if finished not in p.parents} == {
        p: b for p, b in before.items() if finished not in p.parents
    }


def test_an_original_under_other_data_or_with_an_edited_manifest_is_refused(original, dataset, tmp_path):
    own = tmp_path / "own.npz"
    shutil.copy(dataset, own)
    directory = original("T1", f"dataset={own}", "keep_states=true")
    manifest = directory / "T1-spinodal_manifest.json"
    text = manifest.read_text()
    manifest.write_text(text.replace('"threads": 1', '"threads": 2'))
    with pytest.raises(UserError, match="fingerprint not that of its identity: the file was edited"):
        fork(directory, 3, 4)
    manifest.write_text(text)
    arrays = dict(np.load(own))
    np.savez(own, **arrays | {"x_test": arrays["x_test"][::-1]})
    with pytest.raises(UserError, match=r"own\.npz has changed since that run"):
        fork(directory, 3, 4)


def test_the_command_forks_into_a_base_directory_and_prints_what_came_out(original, tmp_path, capsys):
    directory = original("T1", "keep_states=true")
    base = tmp_path / "elsewhere"
    command = f"fork {directory} --seed 3 --at 5 --set sweep_lambdas=[0.5,0.9] --base-dir {base}"
    assert main(command.split()) == 0
    (forked,) = base.glob("exp_*")
    out = capsys.readouterr().out.splitlines()
    assert "T1 seed 3: starts from the state at epoch 3" in out
    assert f"records: {forked}" in out
