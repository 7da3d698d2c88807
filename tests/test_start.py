"""Seeds that start from another run's saved states: the records of training from the beginning."""

import shlex
import shutil
import sys

import numpy as np
import pytest
from small import StopAfter, random_data

import dglib
from dglib.cli import main
from dglib.control import Interrupted
from dglib.errors import UserError
from dglib.experiments.profiles import load_profile
from dglib.files import phase_end_path, unsealed
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
HOLD = shlex.split(
    "network_width=0.25 batch_size=8 ordered_epochs=1 ordered_error_max=1 collapse_epochs=1"
    " collapse_error_min=0 init_evaluate_every=1 hold_lambdas=[0.3,0.7] hold_epochs=1 evaluate_every=1"
    " milestones=[] seeds=3"
)


@pytest.fixture(autouse=True)
def _without_figures(monkeypatch):
    monkeypatch.setattr("dglib.campaign.run.draw_figures", lambda store, records: [])


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    data = random_data(n_train=22, n_test=100)
    path = tmp_path_factory.mktemp("data") / "random.npz"
    images = {"x_train": data.x_train, "x_test": data.x_test}
    last = {name: array.transpose(0, 2, 3, 1) for name, array in images.items()}
    np.savez(path, y_train=data.y_train, y_test=data.y_test, **last)
    return path


@pytest.fixture
def train(tmp_path, dataset):
    """Runs an experiment in `base`, from states of `origin`; its directory. `stop`: after so many steps."""

    def run(experiment, *changes, stop=10**9, base="runs", origin=None):
        short = {"T1": T1, "V3": V3, "Hold": HOLD}[experiment]
        given = [*short, f"dataset={dataset}", f"base_dir={tmp_path / base}"]
        parameters = load_profile(experiment, "quick", [*given, *changes])
        try:
            return dglib.run(parameters, start_from=origin, control=StopAfter(stop)).directory
        except Interrupted:
            (directory,) = (tmp_path / base).glob("exp_*")
            return directory

    return run


def record_of(directory):
    """The one record in a directory, without what differs between any two attempts."""
    (path,) = (directory / "seeds").iterdir()
    record = unsealed("seed record", path)
    del record["time"], record["provenance"]
    return record


def first_step(directory):
    (log,) = (directory / "attempts").iterdir()
    return read_attempts(log)[0]["found_step"]


def content(directory):
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("stop", "changes", "first"),
    [
        (10**9, ["sweep_lambdas=[0.5,0.6,0.7,0.8]"], 9 * STEPS),  # beyond the original's end
        (10**9, ["init_error_max=0.99", "return_sweep=true", "collapse_error=0"], 3 * STEPS),
        (4 * STEPS + 2, ["epochs_per_level=3"], 4 * STEPS + 2),  # within an epoch of a level
        # The state is there, and an event that the original has not seen fires with its last evaluation.
        (6 * STEPS, ["collapse_error=0", "return_sweep=true", "return_lambdas=[0.3]"], 6 * STEPS),
    ],
)
def test_the_record_is_that_of_training_from_the_beginning_and_the_origin_stays(stop, changes, first, train):
    origin = train("T1", "keep_states=true", "checkpoint_epochs=1", stop=stop)
    before = content(origin)
    started = train("T1", *changes, base="started", origin=origin)
    assert content(origin) == before
    assert first_step(started) == first
    assert record_of(started) == record_of(train("T1", *changes, base="scratch"))
    assert verify(started) == []


def test_a_state_between_two_arms_begins_the_second_one_anew(train):
    origin = train("V3", "keep_states=true")
    longer = "sweep_lambdas=[0.3,0.5,0.7]"
    started = train("V3", longer, base="started", origin=origin)
    assert first_step(started) == 4 * STEPS
    assert record_of(started) == record_of(train("V3", longer, base="scratch"))


def test_a_branch_starts_from_a_state_of_the_origin_unless_that_is_damaged(train, tmp_path):
    origin, more = train("Hold", "keep_states=true"), "hold_lambdas=[0.3,0.5]"
    started = train("Hold", more, base="started", origin=origin)
    assert first_step(started) == 2 * STEPS  # after the branch at 0.3, before that at 0.5
    assert record_of(started) == record_of(train("Hold", more, base="scratch"))
    trunk = phase_end_path(origin / "states" / "Hold-003.ckpt", "ordered/init")
    trunk.write_bytes(trunk.read_bytes()[:-1])
    with pytest.raises(UserError, match="a later arm starts from the end of ordered/init, which has none"):
        train("Hold", more, base="damaged", origin=origin)
    assert not (tmp_path / "damaged").exists()


def test_an_interrupted_seed_resumes_without_the_origin(train):
    origin, changes = train("T1", "keep_states=true"), ["sweep_lambdas=[0.5,0.55,0.8]"]
    stopped = train("T1", *changes, base="started", origin=origin, stop=4)
    shutil.rmtree(origin)
    started = train("T1", *changes, base="started", origin=origin)  # the same command
    assert (started, first_step(started)) == (stopped, 3 * STEPS)
    assert record_of(started) == record_of(train("T1", *changes, base="scratch"))


# What is changed, and what the line contains.
REFUSED = [
    ("network_width=0.5", "must be the same in both runs: network.width: 0.25 → 0.5"),
    ("init_lambda=0.4", "seed 3 has no saved state to start from: epoch 1 of main/init: λ: 0.35 → 0.4;"),
    ("init_error_max=0", "(init_failed) under the new parameters"),
    ("seeds=7", "seed 7 has no saved state to start from: with keep_states=true a run keeps"),
    ("seeds=3-4", "seed 4 has no saved state"),
]


@pytest.mark.parametrize(("change", "contains"), REFUSED)
def test_what_does_not_fit_is_refused_in_a_line_and_nothing_is_written(change, contains, train, tmp_path):
    origin = train("T1", "keep_states=true")
    with pytest.raises(UserError) as refused:
        train("T1", change, base="started", origin=origin)
    assert str(refused.value).startswith(f"--start-from {origin}: ")
    assert contains in str(refused.value)
    assert not (tmp_path / "started").exists()


def test_other_data_and_a_directory_without_the_experiment_are_refused(train, tmp_path, dataset):
    own = tmp_path / "own.npz"
    shutil.copy(dataset, own)
    origin = train("T1", f"dataset={own}", "keep_states=true")
    with pytest.raises(UserError, match="must be a run directory with a run of V3"):
        train("V3", base="started", origin=origin)
    arrays = dict(np.load(own))
    np.savez(own, **arrays | {"x_test": arrays["x_test"][::-1]})
    with pytest.raises(UserError, match="pixels and labels: "):
        train("T1", f"dataset={own}", base="started", origin=origin)


def test_another_source_of_the_network_is_refused_and_nothing_is_written(train, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    module = tmp_path / "started_net.py"
    module.write_text(
        "import math\nfrom torch import nn\n\n\ndef net(input_shape, classes, width):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(input_shape), classes))\n"
    )
    origin = train("T1", "network=started_net:net", "keep_states=true")
    module.write_text(module.read_text() + "\n\nOTHER = 1\n")
    del sys.modules["started_net"]  # as in another process
    with pytest.raises(UserError, match="must be the same in both runs: hash of the network"):
        train("T1", "network=started_net:net", "epochs_per_level=3", base="started", origin=origin)
    assert not (tmp_path / "started").exists()


def test_the_command_prints_from_where_a_seed_starts_and_fork_names_it(train, tmp_path, dataset, capsys):
    origin = train("T1", "keep_states=true")
    words = ["--base-dir", str(tmp_path / "started"), "--start-from", str(origin)]
    assert main(["run", "T1", *words, "--set", *T1, f"dataset={dataset}", "sweep_lambdas=[0.5,0.9]"]) == 0
    assert f"T1 seed 3: starts from step {3 * STEPS} in {origin}\n" in capsys.readouterr().out
    assert main(["fork", str(origin), "--seed", "3", "--at", "3"]) == 2
    assert "run EXPERIMENT --start-from DIR" in capsys.readouterr().err
