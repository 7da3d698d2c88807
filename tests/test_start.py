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
    ("experiment", "stop", "changes", "first"),
    [
        ("T1", 10**9, ["sweep_lambdas=[0.5,0.6,0.7,0.8]"], 9 * STEPS),  # beyond the original's end
        ("T1", 10**9, ["init_error_max=0.99", "return_sweep=true", "collapse_error=0"], 3 * STEPS),
        ("T1", 4 * STEPS + 2, ["epochs_per_level=3"], 4 * STEPS + 2),  # within an epoch of a level
        # The state is there, and an event that the original has not seen fires with its last evaluation.
        ("T1", 6 * STEPS, ["collapse_error=0", "return_sweep=true", "return_lambdas=[0.3]"], 6 * STEPS),
        ("V3", 10**9, ["sweep_lambdas=[0.3,0.5,0.7]"], 4 * STEPS),  # between two arms
        ("Hold", 10**9, ["hold_lambdas=[0.3,0.5]"], 2 * STEPS),  # after the branch at 0.3, before that at 0.5
    ],
)
def test_the_record_is_that_of_training_from_the_beginning_and_the_origin_stays(
    experiment, stop, changes, first, train
):
    origin = train(experiment, "keep_states=true", "checkpoint_epochs=1", stop=stop)
    before = content(origin)
    started = train(experiment, *changes, base="started", origin=origin)
    assert content(origin) == before
    assert first_step(started) == first
    assert record_of(started) == record_of(train(experiment, *changes, base="scratch"))
    assert verify(started) == []


def test_a_branch_whose_start_is_damaged_in_the_origin_is_refused(train, tmp_path):
    origin = train("Hold", "keep_states=true")
    trunk = phase_end_path(origin / "states" / "Hold-003.ckpt", "ordered/init")
    trunk.write_bytes(trunk.read_bytes()[:-1])
    with pytest.raises(UserError, match="a later arm starts from the end of ordered/init, which has none"):
        train("Hold", "hold_lambdas=[0.3,0.5]", base="started", origin=origin)
    assert not (tmp_path / "started").exists()


def test_an_interrupted_seed_resumes_without_the_origin(train):
    origin, changes = train("T1", "keep_states=true"), ["sweep_lambdas=[0.5,0.55,0.8]"]
    stopped = train("T1", *changes, base="started", origin=origin, stop=4)
    shutil.rmtree(origin)
    started = train("T1", *changes, base="started", origin=origin)  # the same command
    assert (started, first_step(started)) == (stopped, 3 * STEPS)
    assert record_of(started) == record_of(train("T1", *changes, base="scratch"))


REFUSED = {
    "network_width=0.5": "must be the same in both runs: network.width: 0.25 → 0.5",
    "init_lambda=0.4": "seed 3 has no saved state to start from: epoch 1 of main/init: λ: 0.35 → 0.4;",
    "init_error_max=0": "(init_failed) under the new parameters",
    "seeds=7": "seed 7 has no saved state to start from: with keep_states=true a run keeps",
    "seeds=3-4": "seed 4 has no saved state",
}
NETWORK = """
import math
from torch import nn

def net(input_shape, classes, width):
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(input_shape), classes))
"""


def test_what_does_not_fit_is_refused_in_a_line_and_nothing_is_written(train, tmp_path, dataset, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "started_net.py").write_text(NETWORK)
    own = [f"dataset={tmp_path / 'own.npz'}", "network=started_net:net"]
    shutil.copy(dataset, tmp_path / "own.npz")
    origin = train("T1", *own, "keep_states=true")

    def refused(change, why, experiment="T1"):
        with pytest.raises(UserError) as caught:
            train(experiment, *own, change, base="started", origin=origin)
        assert str(caught.value).startswith(f"--start-from {origin}: ")
        assert why in str(caught.value)
        assert not (tmp_path / "started").exists()

    for change, why in REFUSED.items():
        refused(change, why)
    refused("seeds=3", "must be a run directory with a run of V3", "V3")
    (tmp_path / "started_net.py").write_text(NETWORK + "OTHER = 1\n")
    del sys.modules["started_net"]  # as in another process
    refused("epochs_per_level=3", "must be the same in both runs: hash of the network")
    arrays = dict(np.load(dataset))
    np.savez(tmp_path / "own.npz", **arrays | {"x_test": arrays["x_test"][::-1]})
    refused("epochs_per_level=3", "pixels and labels: ")


def test_the_command_prints_from_where_a_seed_starts_and_fork_names_it(train, tmp_path, dataset, capsys):
    origin = train("T1", "keep_states=true")
    words = ["--base-dir", str(tmp_path / "started"), "--start-from", str(origin)]
    assert main(["run", "T1", *words, "--set", *T1, f"dataset={dataset}", "sweep_lambdas=[0.5,0.9]"]) == 0
    assert f"T1 seed 3: starts from step {3 * STEPS} in {origin}\n" in capsys.readouterr().out
    assert main(["fork", str(origin), "--seed", "3", "--at", "3"]) == 2
    assert "run EXPERIMENT --start-from DIR" in capsys.readouterr().err
