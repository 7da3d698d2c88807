"""Forks: the original's bits up to an epoch, other parameters after it, and a line where that cannot be."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from small import random_data

from dglib import api
from dglib.cli import main
from dglib.control import Control, Interrupted
from dglib.errors import UserError
from dglib.experiments.profiles import load_profile
from dglib.files import sealed, unsealed
from dglib.fork import fork
from dglib.runs import checkpoint
from dglib.runs.progress import read_attempts
from dglib.runs.verify import verify

STEPS = 3  # of an epoch: 22 images in batches of 8
T1 = [  # an init of 3 epochs, then 3 levels of 2; random labels, an error near 0.9, never 1
    "network_width=0.25",
    "batch_size=8",
    "refresh_period=2",
    "init_epochs=3",
    "init_evaluate_every=2",
    "init_error_max=1",
    "milestones=[]",
    "sweep_lambdas=[0.5,0.6,0.7]",
    "epochs_per_level=2",
    "collapse_error=1",
    "return_sweep=false",
    "seeds=3",
]
T2 = [name for name in T1 if not name.startswith(("init_error", "sweep", "collapse", "return"))]
T2 += ["init_lambda=0.7", "init_error_min=0", "sweep_lambdas=[0.6,0.5]"]
V3 = [
    "network=small_cnn",
    "network_width=0.25",
    "batch_size=8",
    "ordered_epochs=2",
    "ordered_error_max=1",
    "ordered_milestones=[]",
    "collapse_epochs=2",
    "collapse_error_min=0",
    "collapse_milestones=[]",
    "sweep_lambdas=[0.3,0.5]",
    "epochs_per_level=1",
    "seeds=3",
]
TD1 = [
    "network_width=0.25",
    "batch_size=8",
    "init_epochs=6",
    "milestones=[]",
    "evaluate_every=2",
    "log_every=2",
    "augmentation=crop_flip",
    "crop_padding=1",
    "seeds=3",
]
SMALL = {"T1": T1, "T2": T2, "V3": V3, "Td1": TD1}


class StopAfter(Control):
    """Asks for a stop, or kills, once so many steps were taken."""

    def __init__(self, steps, kill=False):
        super().__init__()
        self.left, self.kill = steps, kill

    def stopping(self):
        self.left -= 1
        if self.left < 0 and self.kill:
            raise SystemExit
        return self.left < 0


@pytest.fixture(autouse=True)
def _without_figures(monkeypatch):
    monkeypatch.setattr(api, "draw_figure", lambda store, records: [])


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
    """Base directories of runs made before, by what they were asked for: a copy is cheaper than a run."""
    return {"": tmp_path_factory.mktemp("kept")}


@pytest.fixture
def original(tmp_path, dataset, kept):
    """Runs an experiment in `base`, and gives its directory; `stop` leaves it at so many steps."""

    def make(experiment="T1", *changes, stop=None, base="runs"):
        asked = repr((experiment, changes, stop))
        if asked not in kept:
            kept[asked] = kept[""] / str(len(kept))
            run(experiment, kept[asked], *changes, stop=stop)
        if not (tmp_path / base).exists():
            return Path(shutil.copytree(kept[asked], tmp_path / base)) / next(kept[asked].glob("exp_*")).name
        return run(experiment, tmp_path / base, *changes, stop=stop)

    def run(experiment, base, *changes, stop):
        given = [*SMALL[experiment], f"dataset={dataset}", f"base_dir={base}", *changes]
        parameters = load_profile(experiment, "quick", given)
        if stop is None:
            return api.run(parameters).directory
        with pytest.raises(Interrupted):
            api.run(parameters, control=StopAfter(stop))
        return next(base.glob("exp_*"))

    return make


def record_of(directory):
    """The one record in a directory, without what differs between any two attempts, and its lineage."""
    (path,) = (directory / "seeds").iterdir()
    record = unsealed("seed record", path)
    del record["time"], record["provenance"]
    return record, record.pop("lineage", None)


def found_steps(directory):
    (log,) = (directory / "attempts").iterdir()
    return [attempt["found_step"] for attempt in read_attempts(log)]


def content(directory):
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("experiment", "at"), [("T1", 1), ("T1", 4), ("V3", 2), ("V3", 5), ("Td1", 3)])
def test_a_fork_without_changes_gives_the_same_record_and_leaves_the_original_alone(experiment, at, original):
    directory = original(experiment)
    before = content(directory)
    forked = fork(directory, 3, at).directory
    assert content(directory) == before
    assert forked != directory
    (record, lineage), (expected, none) = record_of(forked), record_of(directory)
    assert none is None
    assert record == expected
    manifests = [next(path.glob("*_manifest.json")) for path in (directory, forked)]
    manifest, changed = (json.loads(path.read_bytes()) for path in manifests)
    assert lineage == changed["lineage"]
    assert lineage == {
        "forked_from": directory.name,
        "experiment_id": expected["experiment_id"],
        "fingerprint": manifest["fingerprint"],
        "epoch": at,
        "changed": {},
    }
    assert changed["fingerprint"] != manifest["fingerprint"]
    assert verify(forked) == []


@pytest.mark.parametrize(
    ("stop", "at", "found"),
    [
        (5 * STEPS, 5, 5 * STEPS),  # the state at that very epoch
        (4 * STEPS + 2, 5, 4 * STEPS + 2),  # within the epoch before
        (5 * STEPS + 1, 5, 5 * STEPS),  # beyond it: the generation before
        (5 * STEPS + 1, 4, 0),  # both beyond it: from scratch
        (2 * STEPS, 5, 2 * STEPS),  # trained on to it, where the original has never been
    ],
)
def test_a_fork_begins_at_the_newest_state_at_or_before_its_epoch(stop, at, found, original):
    directory = original("T1", "checkpoint_epochs=1", stop=stop)
    before = content(directory)
    forked = fork(directory, 3, at).directory
    assert content(directory) == before
    assert found_steps(forked) == [found]
    assert record_of(forked)[0] == record_of(original("T1", base="whole"))[0]
    assert fork(directory, 3, at).directory == forked
    assert verify(forked) == []


@pytest.mark.parametrize("stop", [2 * STEPS, 2 * STEPS + 2])
def test_a_fork_keeps_the_step_logs_of_the_state_it_begins_at(stop, original):
    directory = original("Td1", "log_every=6", stop=stop)  # in every second epoch
    forked = fork(directory, 3, 3, ["init_epochs=8"]).directory
    assert found_steps(forked) == [stop]
    record, _ = record_of(forked)
    assert record == record_of(original("Td1", "log_every=6", "init_epochs=8", base="scratch"))[0]
    assert [row["epoch"] for row in record["step_logs"]] == [0, 2, 4, 6]


def test_a_state_of_another_run_in_the_originals_place_is_not_taken(original):
    directory = original("T1", stop=4 * STEPS)
    (path,) = directory.glob("checkpoints/*.ckpt")
    (strange,) = original("T1", "noise_rate=0.2", stop=4 * STEPS, base="other").glob("checkpoints/*.ckpt")
    shutil.copy(strange, path)
    forked = fork(directory, 3, 4).directory
    assert found_steps(forked) == [0]
    assert record_of(forked)[0] == record_of(original("T1", base="whole"))[0]


def test_a_fork_passes_over_a_damaged_state(original):
    directory = original("T1", "checkpoint_epochs=1", stop=4 * STEPS + 2)
    (newest,) = directory.glob("checkpoints/*.ckpt")
    newest.write_bytes(newest.read_bytes()[:-1])
    forked = fork(directory, 3, 5).directory
    assert newest.exists()
    assert found_steps(forked) == [4 * STEPS]


@pytest.mark.parametrize(
    ("stop", "at", "changes"),
    [
        (None, 5, ["sweep_lambdas=[0.5,0.65,0.8,0.9]"]),
        (None, 3, ["sweep_lambdas=[0.4]", "sweep_lr=0.01"]),
        (2 * STEPS, 4, ["epochs_per_level=3"]),  # in the middle of a level
        (None, 6, ["sweep_lambdas=[0.5,0.6]", "return_sweep=true", "collapse_error=0", "consecutive=5"]),
        (None, 5, ["milestones=[7]", "sweep_lr=null"]),
        (None, 9, ["sweep_lambdas=[0.5,0.6,0.7,0.8]"]),  # beyond the original's end
        (2 * STEPS, 2, ["init_epochs=4"]),
        # The state is there, and an event that the original has not seen fires with its last evaluation.
        (6 * STEPS, 6, ["collapse_error=0", "return_sweep=true", "return_lambdas=[0.3]"]),
    ],
)
def test_after_its_epoch_a_fork_is_what_the_changed_parameters_give_from_scratch(stop, at, changes, original):
    # Because up to there the two are the same; and that fork and original differ after it, and only there:
    rate = ["sweep_lr=null"] if "sweep_lr=null" in changes else []
    directory = original("T1", *rate, stop=stop)
    forked = fork(directory, 3, at, changes).directory
    record, lineage = record_of(forked)
    assert record == record_of(original("T1", *changes, base="scratch"))[0]
    whole, _ = record_of(original("T1", *rate, base="whole"))
    assert record["epoch_log"][:at] == whole["epoch_log"][:at]
    assert record["epoch_log"][at : at + 3] != whole["epoch_log"][at : at + 3]
    assert record["epoch_log"] != whole["epoch_log"]
    now = {name: record["parameters"][name] for name in lineage["changed"]}
    old = {name: whole["parameters"][name] for name in lineage["changed"]}
    assert lineage["changed"] == {name: [old[name], now[name]] for name in old}
    assert set(lineage["changed"]) == {c.partition("=")[0] for c in changes} - (
        {"sweep_lr"} if rate else set()
    )
    assert verify(forked) == []


@pytest.mark.parametrize("stop", [None, 5 * STEPS])
def test_evaluations_before_the_epoch_count_for_an_event_after_it(stop, original):
    forked = fork(original(stop=stop), 3, 5, ["collapse_error=0", "consecutive=3"]).directory
    record, _ = record_of(forked)
    assert (record["lambda_up"], len(record["trajectory"])) == (0.6, 2 + 3)


def test_a_state_saved_with_the_next_arms_network_is_not_taken_for_this_arms(original):
    directory = original("V3", stop=4 * STEPS)  # stopped before the first step of the second arm
    (path,) = directory.glob("checkpoints/*.ckpt")
    assert checkpoint.read(path).state["run"] == [1, 0]
    forked = fork(directory, 3, 4, ["sweep_lambdas=[0.3,0.5,0.7]"]).directory
    scratch = original("V3", "sweep_lambdas=[0.3,0.5,0.7]", base="scratch")
    assert record_of(forked)[0] == record_of(scratch)[0]
    unchanged = fork(directory, 3, 4).directory
    assert found_steps(unchanged) == [4 * STEPS]
    assert record_of(unchanged)[0] == record_of(original("V3", base="whole"))[0]


def test_a_state_saved_at_an_arms_end_serves_there(original):
    directory = original("V3", "checkpoint_epochs=1", stop=4 * STEPS + 1)
    forked = fork(directory, 3, 4).directory
    assert found_steps(forked) == [4 * STEPS]
    assert record_of(forked)[0] == record_of(original("V3", base="whole"))[0]


@pytest.mark.parametrize("kill", [False, True])
def test_a_fork_interrupted_anywhere_goes_on_by_the_same_call(kill, original):
    directory = original("T1", stop=STEPS + 1)
    pieces = 0
    while True:
        try:
            run = fork(
                directory,
                3,
                5,
                ["sweep_lambdas=[0.5,0.55,0.8]", "checkpoint_epochs=1"],
                control=StopAfter(4, kill),
            )
            break
        except (Interrupted, SystemExit):
            pieces += 1
            assert pieces < 40
    assert pieces > 3
    assert found_steps(run.directory)[0] == STEPS + 1
    assert found_steps(run.directory)[-1] > 5 * STEPS
    assert len(list(directory.parent.glob("exp_*"))) == 2
    scratch = original("T1", "sweep_lambdas=[0.5,0.55,0.8]", base="scratch")
    assert record_of(run.directory)[0] == record_of(scratch)[0]
    assert verify(run.directory) == []


def test_only_the_same_fork_takes_up_its_directory(original):
    changes = ["sweep_lambdas=[0.5,0.55,0.8]"]
    directory = original()
    forked = fork(directory, 3, 5, changes)
    record = content(forked.directory / "seeds")
    again = fork(directory, 3, 5, changes)
    assert again.directory == forked.directory
    assert content(forked.directory / "seeds") == record
    assert fork(directory, 3, 4, changes).directory != forked.directory
    assert original("T2") == directory  # joins no fork, though newer: the width would be of two histories
    assert original("T1", *changes).name not in (directory.name, forked.directory.name)


# What is changed, at which epoch, and what the line says.
REFUSED = [
    (["network_width=0.5"], 4, "--set network.width: 0.25 → 0.5: … cannot change"),
    (["network=resnet18"], 4, "network.name: small_cnn → resnet18"),
    (["noise_rate=0.2"], 4, "data.noise_rate: 0.4 → 0.2"),
    (["augmentation=crop_flip"], 4, "data.augmentation: none → crop_flip"),
    (["batch_size=4"], 4, "step.batch_size: 8 → 4"),
    (["momentum=0.8"], 4, "step.momentum: 0.9 → 0.8"),
    (["weight_decay=0"], 4, "step.weight_decay: 0.0005 → 0"),
    (["refresh_period=3"], 4, "step.refresh_period: 2 → 3"),
    (["threads=2"], 4, "--set threads: cannot be set"),
    (["device=cuda"], 4, "--set device: cannot be set"),
    (["exact=true"], 4, "--set exact: cannot be set"),
    (["seeds=4"], 4, "--set seeds: cannot be set"),
    (["base_dir=x"], 4, "--set base_dir: cannot be set"),
    (["init_lambda=0.4"], 4, "epoch 1 would change: λ 0.35 → 0.4; only what comes after epoch 4 can"),
    (["lr=0.2"], 4, "epoch 1 would change: LR 0.1 → 0.2"),
    (["init_evaluate_every=1"], 4, "epoch 1 would change: evaluated False → True"),
    (["milestones=[2]"], 4, "epoch 3 would change: LR 0.1 → 0.01"),
    (["init_epochs=4"], 4, "epoch 3 would change: evaluated True → False"),
    (["init_epochs=2"], 4, "epoch 3 would change: phase main/init → main/sweep"),
    (["sweep_lr=0.05"], 4, "epoch 4 would change: LR 0.1 → 0.05"),
    (["sweep_lambdas=[0.45,0.6,0.7]"], 4, "epoch 4 would change: λ 0.5 → 0.45"),
    (["epochs_per_level=1"], 5, "epoch 5 would change: λ 0.5 → 0.6"),
    (["collapse_error=0", "consecutive=1", "return_sweep=true"], 6, "epoch 5 would change: phase … return"),
    (["collapse_error=0", "consecutive=2"], 6, "under the changed parameters … ends at epoch 5 (collapsed)"),
    (["init_error_max=0"], 3, "ends at epoch 3 (init_failed)"),
    ([], 0, "--at 0: must be from 1 to 8"),
    ([], 9, "--at 9: must be from 1 to 8"),
    (["sweep_lambdas=[0.5,0.6,0.7,0.8]"], 10, "--at 10: must be from 1 to 9"),
    (["sweep_lambda=[0.5]"], 4, "--set: sweep_lambda = [0.5] … did you mean sweep_lambdas"),
    (["consecutive=0"], 4, "--set: consecutive = 0: must be at least 1"),
    (["consecutive"], 4, "--set consecutive: must be name=value"),
]


@pytest.mark.parametrize(("changes", "at", "says"), REFUSED, ids=[says for *_, says in REFUSED])
def test_changes_of_what_came_before_are_refused_in_a_line_and_nothing_is_written(
    changes, at, says, original, capsys
):
    finished = original()
    before = content(finished.parent)
    capsys.readouterr()
    status = main(["fork", str(finished), "--seed", "3", "--at", str(at), *[f"--set={c}" for c in changes]])
    assert content(finished.parent) == before
    _refused(status, capsys, says)


def _refused(status, capsys, says):
    out, err = capsys.readouterr()
    assert (status, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("dglib: error: ")
    place = 0
    for words in says.split(" … "):
        assert words in line[place:], f"{words!r} is missing in: {line}"
        place = line.index(words, place)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("none --seed 3 --at 4", "none: no such directory"),
        (". --seed 3 --at 4", ".: no run there"),
        ("{run} --seed 7 --at 4", "T1-spinodal-007: was never begun in"),
        ("{run} --seed -1 --at 4", "--seed: seeds = -1"),
        ("{run} --seed x --at 4", "--seed: invalid int value: 'x'"),
        ("{run} --seed 3 --at 4 --experiment T2", "--experiment T2: must be T1"),
        ("{run} --seed 3 --at 4 --base-dir file", "--base-dir: base_dir = 'file': must be a directory"),
        ("{run} --seed 3", "required: --at"),
        ("{run} --at 3", "required: --seed"),
    ],
)
def test_a_fork_of_nothing_is_refused_in_a_line(arguments, says, original, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    finished, before = original(), content(tmp_path)
    capsys.readouterr()
    _refused(main(["fork", *arguments.format(run=finished).split()]), capsys, says)
    assert content(tmp_path) == before


def test_a_seed_that_ended_before_the_epoch_is_not_forked_there(original):
    directory = original("T1", "collapse_error=0", "consecutive=2")
    with pytest.raises(UserError, match=r"epoch 6: the seed ended at epoch 5 \(collapsed\)"):
        fork(directory, 3, 6, ["collapse_error=1"])
    forked = fork(directory, 3, 5, ["collapse_error=1"]).directory
    assert len(record_of(forked)[0]["epoch_log"]) == 9


def test_what_the_original_did_beyond_its_files_decides_on_the_way(original):
    directory = original("T1", stop=STEPS)  # nobody knows its errors in the sweep yet
    with pytest.raises(UserError, match=r"epoch 4 \(collapsed\): nothing comes after epoch 6"):
        fork(directory, 3, 6, ["collapse_error=0", "consecutive=1"])
    (forked,) = set(directory.parent.glob("exp_*")) - {directory}
    assert not list((forked / "seeds").iterdir())


def test_a_fork_that_does_not_retrace_the_original_is_refused(original):
    directory = original()
    (path,) = (directory / "seeds").iterdir()
    record = unsealed("seed record", path)
    record["epoch_log"][2]["loss_s"] += 1e-12
    path.write_bytes(sealed("seed record", record))
    with pytest.raises(UserError, match=r"epoch 3 comes out otherwise here \(loss_s "):
        fork(directory, 3, 4)
    fork(directory, 3, 2)


def test_an_original_under_other_data_or_with_an_edited_manifest_is_refused(original, dataset, tmp_path):
    own = tmp_path / "own.npz"
    shutil.copy(dataset, own)
    directory = original("T1", f"dataset={own}")
    manifest = directory / "T1-spinodal_manifest.json"
    text = manifest.read_text()
    manifest.write_text(text.replace('"threads": 1', '"threads": 2'))
    with pytest.raises(UserError, match="fingerprint not that of its identity: the file was edited"):
        fork(directory, 3, 4)
    manifest.write_text(text)
    arrays = dict(np.load(own))
    np.savez(own, **arrays | {"x_test": arrays["x_test"][::-1]})
    with pytest.raises(UserError, match=r"cannot be retraced here: dataset .* has changed since"):
        fork(directory, 3, 4)


def test_where_a_directory_holds_two_experiments_one_is_named(original):
    directory = original("T1")
    assert original("T2") == directory
    with pytest.raises(UserError, match="holds T1 and T2: say which with --experiment"):
        fork(directory, 3, 4)
    forked = fork(directory, 3, 4, ["sweep_lambdas=[0.6,0.1]"], experiment="T2").directory
    record, lineage = record_of(forked)
    assert record["trajectory"][-1]["lambda"] == 0.1
    assert lineage["experiment_id"] == "T2-spinodal-003"


def test_a_fork_of_a_fork_is_refused_by_the_name_of_its_original(original):
    directory = original()
    forked = fork(directory, 3, 4).directory
    with pytest.raises(UserError, match=f"is a fork itself; fork the original, {directory.name}"):
        fork(forked, 3, 5)


def test_the_command_forks_into_a_base_directory_and_says_what_came_out(
    original, tmp_path, monkeypatch, capsys
):
    finished = original()
    monkeypatch.undo()  # with its figure
    base = tmp_path / "elsewhere"
    command = f"fork {finished} --seed 3 --at 5 --set sweep_lambdas=[0.5,0.9] --base-dir {base}"
    assert main(command.split()) == 0
    (directory,) = base.glob("exp_*")
    out = capsys.readouterr().out.splitlines()
    assert "T1 seed 3: forked at epoch 5, from a state at step 0" in out
    assert f"records: {directory}" in out
    assert {path.suffix for path in (directory / "figures").iterdir()} == {".png", ".pdf"}
    assert verify(directory) == []
