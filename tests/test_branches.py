"""A trunk of training with branches: arms that start from the state at the end of another arm's phase."""

import pytest
import torch
from small import CPU, RATE, StopAfter, branching_spec, hold, random_data, run_to_end, trunk

from dglib.control import Interrupted
from dglib.errors import UserError
from dglib.files import phase_end_paths
from dglib.protocol.records import csv_views
from dglib.protocol.spec import Arm
from dglib.runs import identity
from dglib.runs.location import Mirror
from dglib.runs.mirror import MirrorFolder, restore
from dglib.runs.seed import run_experiment
from dglib.runs.store import Store
from dglib.runs.verify import verify

DATA = random_data()  # 22 images in batches of 8: three steps an epoch
SPEC = branching_spec()
LAMBDAS = (0.3, 0.5, 0.7)


def epochs(record, arm):
    return [{k: v for k, v in row.items() if k != "arm"} for row in record["epoch_log"] if row["arm"] == arm]


@pytest.fixture(scope="module")
def record():
    return run_to_end(SPEC)[0]


def test_a_branch_trains_as_if_its_phase_followed_in_the_trunk_whatever_its_siblings():
    branched, tensors = run_to_end(branching_spec(lambdas=(0.3, 0.7, 0.5)))
    one_arm, expected = run_to_end(branching_spec(trunk(hold(0.5))))
    assert all(torch.equal(a, b) for a, b in zip(tensors, expected, strict=True))
    assert epochs(branched, "trunk") + epochs(branched, "at 0.5") == epochs(one_arm, "trunk")
    assert (
        branched["hold_0.5_trajectory"] == one_arm["hold_0.5_trajectory"] != branched["hold_0.7_trajectory"]
    )


def test_a_branch_that_restarts_begins_with_the_trunks_weights_and_streams_of_its_own():
    arms = [Arm(name, (hold(0.5, restart=True, name=name),), "trunk/init") for name in ("a", "b")]
    found, _ = run_to_end(branching_spec(trunk(), *arms))
    first, second = (epochs(found, name)[0] for name in ("a", "b"))
    assert first["loss_s"] != second["loss_s"]
    assert first["lr"] == RATE.base
    assert abs(first["weight_norm"] - second["weight_norm"]) < 0.1 * first["weight_norm"]


def test_a_record_has_one_trajectory_per_branch(record):
    for lam in LAMBDAS:
        points = record[f"hold_{lam}_trajectory"]
        assert [(point["lambda"], point["epoch"]) for point in points] == [(lam, 3), (lam, 4), (lam, 5)]
    assert [point["epoch"] for point in record["trunk_trajectory"]] == [1, 2]
    assert [row["lr"] for row in epochs(record, "at 0.5")] == [RATE.after(n) for n in (2, 3, 4)]
    (text,) = csv_views(SPEC, [record]).values()
    assert len(text.splitlines()) == 1 + 2 + 3 * len(LAMBDAS)


def store_in(base, spec=SPEC):
    described = identity.describe(spec, DATA.fingerprint, device="cpu", threads=1)
    return Store.open(base, spec, described, {})[0]


def test_states_are_removed_with_the_checkpoint_or_kept_where_asked_for(tmp_path):
    store = store_in(tmp_path)
    with pytest.raises(Interrupted):
        run_experiment(store, [0], DATA, CPU, control=StopAfter(10))
    (state,) = phase_end_paths(store.files(0).checkpoint)
    assert state.name == "T1-spinodal-000.trunk@init.ckpt"
    run_experiment(store, [0], DATA, CPU)
    assert list(state.parent.iterdir()) == list((store.directory / "states").iterdir()) == []
    records = run_experiment(store, [0, 1], DATA, CPU, keep_states=True)
    kept = sorted(path.name for path in (store.directory / "states").iterdir())
    arms = ["at 0.3@hold_0.3", "at 0.5@hold_0.5", "at 0.7@hold_0.7", "trunk@init"]
    assert kept == [f"T1-spinodal-001.{name}.ckpt" for name in arms]
    assert run_experiment(store, [0, 1], DATA, CPU) == records
    assert len(list((store.directory / "states").iterdir())) == 4
    assert verify(store.directory) == []


def test_a_mirrored_run_resumes_in_a_branch_on_another_machine(record, tmp_path):
    store, remote = store_in(tmp_path / "here"), tmp_path / "remote"
    with pytest.raises(Interrupted):
        run_experiment(store, [0], DATA, CPU, control=StopAfter(10))
    Mirror(store.directory, remote).sync(last=True)
    assert restore(MirrorFolder(remote), tmp_path / "there" / store.directory.name) == []
    (found,) = run_experiment(store_in(tmp_path / "there"), [0], DATA, CPU)
    assert {**found, "time": None} == {**record, "time": None}
    run_experiment(store, [0], DATA, CPU)
    Mirror(store.directory, remote).sync(last=True)
    newest, *_ = MirrorFolder(remote).generations.values()
    assert not [path for path in newest if path.endswith(".ckpt")]


@pytest.mark.parametrize("damage", ["missing", "torn", "of another seed"])
def test_a_state_that_cannot_be_used_is_refused_in_a_line_that_names_it(damage, tmp_path):
    store = store_in(tmp_path)
    for seed in (0, 1):
        with pytest.raises(Interrupted):
            run_experiment(store, [seed], DATA, CPU, control=StopAfter(6))  # at the end of the trunk
    (state,), (other,) = (phase_end_paths(store.files(seed).checkpoint) for seed in (0, 1))
    match damage:
        case "missing":
            state.unlink()
        case "torn":
            state.write_bytes(state.read_bytes()[:-1])
        case _:
            state.write_bytes(other.read_bytes())
    if damage == "torn":
        assert [(found.path, found.severity) for found in verify(store.directory)] == [(state, "wrong")]
    with pytest.raises(UserError, match=r"trunk@init\.ckpt: .*remove .* from the beginning$"):
        run_experiment(store, [0], DATA, CPU)


def test_an_arm_starts_only_from_a_phase_of_an_earlier_arm_that_is_always_held():
    early = Arm("early", (hold(0.5),), "trunk/init")
    with pytest.raises(ValueError, match=r"arm early: start = 'trunk/init': must be one of"):
        branching_spec(early, trunk())
    skipped = hold(0.4, only_after_event="below", name="skipped")
    with pytest.raises(ValueError, match=r"start = 'trunk/skipped'"):
        branching_spec(trunk(hold(0.6), skipped), Arm("next", (hold(0.5),), "trunk/skipped"))
