"""A trunk of training with branches: arms that start from the state at the end of another arm's phase."""

from dataclasses import replace

import pytest
import torch
from small import CPU, StopAfter, random_data, small_spec

from dglib.control import Interrupted
from dglib.errors import UserError
from dglib.files import phase_end_paths
from dglib.protocol.records import csv_views
from dglib.protocol.spec import Arm, Criterion, LearningRate, Phase, StopEvent, Success
from dglib.runs import identity
from dglib.runs.experiment import run_experiment
from dglib.runs.seed import Saving, SeedRun
from dglib.runs.store import Store
from dglib.runs.verify import verify

DATA = random_data()  # 22 images in batches of 8: three steps an epoch
LAMBDAS = (0.3, 0.5, 0.7)
RATE = LearningRate(0.05, (3,))


def trunk(name="trunk", *more):
    success = Success(Criterion("<=", 1.0), f"{name}_init", f"{name}_init_success")
    init = Phase("init", (0.35,), 2, RATE, 1, f"{name}_trajectory", success=success)
    return Arm(name, (init, *more))


def hold(lam, fires=0.0, **changes):
    """Three epochs at λ; the event fires, and ends nothing, once the error was `fires` or more twice."""
    name = f"hold_{lam:g}"
    event = StopEvent(Criterion(">=", fires), 2, f"{name}_lambda", f"{name}_left", f"{name}_epochs", False)
    return replace(Phase(name, (lam,), 3, RATE, 1, f"{name}_trajectory", event=event), **changes)


def branches(lambdas=LAMBDAS, **changes):
    return tuple(Arm(f"at {lam:g}", (hold(lam, **changes),), start=("trunk", "init")) for lam in lambdas)


def spec(*arms, **changes):
    small = small_spec("T1", batch_size=8, refresh_period=2, network="vgg11_bn", network_width=0.0625)
    return replace(small, arms=arms, **changes)


SPEC = spec(trunk(), *branches())


def run(spec, saving=None, control=None, seed=0):
    """A seed's record without its time, and the tensors that it ended with."""
    with CPU.applied():
        one = SeedRun(spec, seed, DATA, CPU, saving, control)
        record = one.run()
    del record["time"]
    state = one.state
    tensors = [*state.model.state_dict().values(), *state.momentum(), *state.g_v, state.dropout.get_state()]
    return record, [tensor.clone() for tensor in tensors]


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def rename(arm):
    """With record fields of its own."""
    (phase,) = arm.phases
    event = replace(phase.event, field=f"{arm.name}_lambda", flag=f"{arm.name}_left", epochs_field=None)
    return replace(arm, phases=(replace(phase, event=event, trajectory=f"{arm.name}_trajectory"),))


def epochs(record, arm):
    return [{k: v for k, v in row.items() if k != "arm"} for row in record["epoch_log"] if row["arm"] == arm]


@pytest.fixture(scope="module")
def undisturbed():
    return run(SPEC)


def test_a_branch_trains_as_if_its_phase_followed_in_the_trunk():
    branched, tensors = run(spec(trunk(), *branches((0.3, 0.7, 0.5))))
    one_arm, expected = run(spec(trunk("trunk", hold(0.5))))
    assert same(tensors, expected)
    assert epochs(branched, "trunk") + epochs(branched, "at 0.5") == epochs(one_arm, "trunk")
    for field in ("hold_0.5_trajectory", "hold_0.5_left", "hold_0.5_epochs"):
        assert branched[field] == one_arm[field]


def test_a_branch_that_restarts_begins_with_the_trunks_weights_and_streams_of_its_own():
    arms = [Arm(name, (hold(0.5, restart=True, name=name),), ("trunk", "init")) for name in ("a", "b")]
    record, _ = run(spec(trunk(), *(rename(arm) for arm in arms)))
    first, second = (epochs(record, name)[0] for name in ("a", "b"))
    assert first["loss_s"] != second["loss_s"]
    assert first["lr"] == RATE.base
    assert abs(first["weight_norm"] - second["weight_norm"]) < 0.1 * first["weight_norm"]


def test_a_branch_is_independent_of_its_siblings_and_their_order(undisturbed):
    record, _ = undisturbed
    reversed_, _ = run(spec(trunk(), *branches(LAMBDAS[::-1])))
    alone, _ = run(spec(trunk(), *branches((0.5,))))
    for lam in LAMBDAS:
        assert record[f"hold_{lam}_trajectory"] == reversed_[f"hold_{lam}_trajectory"]
    assert record["hold_0.5_trajectory"] == alone["hold_0.5_trajectory"]
    assert record["hold_0.5_trajectory"] != record["hold_0.7_trajectory"]


def test_a_record_has_one_trajectory_and_event_per_branch(undisturbed):
    record, _ = undisturbed
    for lam in LAMBDAS:
        points = record[f"hold_{lam}_trajectory"]
        assert [(point["lambda"], point["epoch"]) for point in points] == [(lam, 3), (lam, 4), (lam, 5)]
        assert (record[f"hold_{lam}_left"], record[f"hold_{lam}_epochs"]) == (True, 2)
    assert [point["epoch"] for point in record["trunk_trajectory"]] == [1, 2]
    assert [row["lr"] for row in epochs(record, "at 0.5")] == [RATE.after(n) for n in (2, 3, 4)]
    (text,) = csv_views(SPEC, [record]).values()
    assert len(text.splitlines()) == 1 + 2 + 3 * len(LAMBDAS)
    censored, _ = run(spec(trunk(), *branches((0.5,), fires=1.1)))
    assert (censored["hold_0.5_left"], censored["hold_0.5_epochs"]) == (False, None)


class Killed(StopAfter):
    """Ends the process, as far as the run can tell, after so many steps."""

    def stopping(self):
        if super().stopping():
            raise SystemExit
        return False


@pytest.mark.parametrize(
    ("control", "steps", "saving"),
    [(StopAfter, 1, {}), (Killed, 4, {"epochs": 1}), (Killed, 5, {"seconds": -1})],
    ids=["stopped at every step", "killed, saved at epochs", "killed, saved within epochs"],
)
def test_a_run_interrupted_again_and_again_ends_in_the_same_record_and_weights(
    control, steps, saving, undisturbed, tmp_path, monkeypatch
):
    monkeypatch.setattr("dglib.runs.seed.STEPS_BETWEEN_LOOKS", 2)
    saving, attempts, found = Saving(tmp_path / "seed.ckpt", **saving), 0, None
    while found is None:
        try:
            found = run(SPEC, saving, control(steps))
        except (Interrupted, SystemExit):
            attempts += 1
            assert attempts < 100
    total = 3 * len(undisturbed[0]["epoch_log"])
    assert attempts == total - 1 if control is StopAfter else attempts > 3
    assert found[0] == undisturbed[0]
    assert same(found[1], undisturbed[1])


def store_in(base, spec=SPEC):
    described = identity.describe(spec, DATA.fingerprint, device="cpu", threads=1)
    return Store.open(base, spec, described, identity.describe_shared(spec, DATA.fingerprint), {})[0]


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
    with pytest.raises(UserError, match=r"trunk@init\.ckpt: .*remove .* from the beginning$"):
        run_experiment(store, [0], DATA, CPU)


def test_an_arm_starts_only_from_a_phase_of_an_earlier_arm_that_is_always_held():
    with pytest.raises(ValueError, match=r"arm at 0\.5: start = .*: must be one of"):
        spec(*branches((0.5,)), trunk())
    skipped = hold(0.4, only_after_event="below", name="skipped")
    with pytest.raises(ValueError, match=r"start = .*'skipped'"):
        spec(trunk("trunk", hold(0.6), skipped), Arm("next", (hold(0.5),), ("trunk", "skipped")))


def test_starts_and_later_fields_leave_the_identity_of_other_specifications_alone():
    plain = identity.describe(small_spec("T1"), "data")
    assert "start" not in plain["spec"]["arms"][0]
    (event,) = {
        tuple(sorted(phase["event"])) for phase in plain["spec"]["arms"][0]["phases"] if phase["event"]
    }
    assert event == ("consecutive", "criterion", "field", "flag")
    assert identity.job(SPEC, "data", 0) != identity.job(spec(trunk(), *branches((0.3, 0.5))), "data", 0)
