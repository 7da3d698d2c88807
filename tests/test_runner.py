"""Small real runs: the same bits stopped, killed or left alone, and divergence reported for what it is."""

import hashlib
import io
import os
import random
from dataclasses import replace
from itertools import cycle

import numpy as np
import pytest
import torch
from small import CPU, KillAfter, StopAfter, branching_spec, random_data, run_to_end, small_spec

from dglib.control import Control, Interrupted
from dglib.errors import UserError
from dglib.protocol.events import SeedDone
from dglib.runs import checkpoint
from dglib.runs import seed as runner
from dglib.runs.checkpoint import Saving
from dglib.runs.seed import SeedRun, run_seed
from dglib.training import step
from dglib.training.evaluation import Evaluator, epoch_stats
from dglib.training.step import total_norm

# 22 random images in batches of 4 or 8: six or three steps an epoch, the last one smaller.
SPECS = {
    # An event that is counted across a level's end, then the return.
    "T1": small_spec("T1", batch_size=4, init_epochs=2, consecutive=3, return_lambdas=[0.3]),
    "V3 with dropout": small_spec(
        "V3",
        batch_size=8,
        ordered_epochs=1,
        network="vgg11_bn",
        network_width=0.0625,
        augmentation="crop_flip",
        crop_padding=2,
    ),
    "Td1 with logs": small_spec("Td1", batch_size=4),
    "branches": branching_spec(),
}


def assert_same(ours, expected):
    assert ours[0] == expected[0]
    assert all(torch.equal(a, b) for a, b in zip(ours[1], expected[1], strict=True))


@pytest.fixture(scope="module")
def undisturbed():
    """Each experiment's record and final tensors, run without a stop, before any test changes a thing."""
    return {name: run_to_end(spec) for name, spec in SPECS.items()}


def run_interrupted(spec, saving, make_control, error):
    """Run a seed again and again, each time until it is interrupted; its result, and how often it was."""
    for interruptions in range(200):
        try:
            return run_to_end(spec, saving, make_control()), interruptions
        except error:
            continue
    raise AssertionError("it makes no progress")


def test_the_small_runs_go_through_what_a_stop_could_disturb(undisturbed):
    t1, branches = undisturbed["T1"][0], undisturbed["branches"][0]
    assert (t1["outcome"], t1["lambda_up"], len(t1["return_trajectory"])) == ("collapsed", 0.7, 2)
    assert [point["lambda"] for point in t1["trajectory"]] == [0.35, 0.5, 0.5, 0.7]
    v3 = undisturbed["V3 with dropout"][0]
    assert (v3["outcome"], len(v3["collapse_trajectory"])) == ("complete", 2)
    assert len(undisturbed["Td1 with logs"][0]["step_logs"]) == 8
    assert [len(branches[f"hold_{lam}_trajectory"]) for lam in (0.3, 0.5, 0.7)] == [3, 3, 3]


@pytest.mark.parametrize("name", SPECS)
def test_a_run_stopped_at_every_step_ends_in_the_same_bits(name, undisturbed, tmp_path):
    saving = Saving(tmp_path / "seed.ckpt", seconds=1e9)
    ours, stops = run_interrupted(SPECS[name], saving, lambda: StopAfter(1), Interrupted)
    steps = -(-22 // SPECS[name].step.batch_size) * len(undisturbed[name][0]["epoch_log"])
    assert stops == steps - 1
    assert_same(ours, undisturbed[name])


@pytest.mark.parametrize("name", ["T1", "branches"])
def test_a_run_killed_often_resumes_at_its_last_checkpoint(name, undisturbed, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "STEPS_BETWEEN_CHECKS", 2)
    saving = Saving(tmp_path / "seed.ckpt", seconds=-1)
    ours, kills = run_interrupted(SPECS[name], saving, lambda: KillAfter(5), SystemExit)
    assert kills > 3
    assert_same(ours, undisturbed[name])


@pytest.mark.parametrize("allowed", [(1, 2), (2, 1)])  # at a phase's end there are two saves
def test_a_kill_before_a_save_loses_no_state_of_a_branch(allowed, undisturbed, tmp_path, monkeypatch):
    save, allowed, left = checkpoint.save, cycle(allowed), 0

    def save_or_be_killed(*arguments, **options):
        nonlocal left
        if left == 0:
            raise SystemExit
        left -= 1
        save(*arguments, **options)

    def begin():
        nonlocal left
        left = next(allowed)
        return Control()

    monkeypatch.setattr(checkpoint, "save", save_or_be_killed)
    saving = Saving(tmp_path / "seed.ckpt", epochs=1)
    ours, kills = run_interrupted(SPECS["branches"], saving, begin, SystemExit)
    assert kills >= len(undisturbed["branches"][0]["epoch_log"]) // 2
    assert_same(ours, undisturbed["branches"])


def test_a_kill_during_an_evaluation_trains_no_epoch_twice(undisturbed, tmp_path, monkeypatch):
    """All its steps are taken, and the cursor still is in the epoch: no checkpoint may have that."""
    monkeypatch.setattr(runner, "STEPS_BETWEEN_CHECKS", 1)
    evaluate, calls = Evaluator.__call__, iter(range(1000))

    def killed_every_other_time(*given):
        if next(calls) % 2 == 0:
            raise SystemExit
        return evaluate(*given)

    monkeypatch.setattr(Evaluator, "__call__", killed_every_other_time)
    ours, kills = run_interrupted(
        SPECS["T1"], Saving(tmp_path / "seed.ckpt", seconds=-1), Control, SystemExit
    )
    assert kills == 6
    assert_same(ours, undisturbed["T1"])


@pytest.mark.parametrize("lost", ["g_v", "dropout", "momentum", "sums", "step_log"])
def test_the_comparison_notices_what_a_checkpoint_loses(lost, undisturbed, tmp_path, monkeypatch):
    """Otherwise the tests above would show nothing about it."""
    name = {"dropout": "V3 with dropout", "step_log": "Td1 with logs"}.get(lost, "T1")
    save, empty = checkpoint.save, torch.Generator().get_state()
    nothing = {"g_v": None, "dropout": empty, "momentum": [], "sums": torch.ones(6).double(), "step_log": []}

    def forgetful(path, found, **options):
        save(path, replace(found, state={**found.state, lost: nothing[lost]}), **options)

    monkeypatch.setattr(checkpoint, "save", forgetful)
    saving = Saving(tmp_path / "seed.ckpt", seconds=1e9)
    ours, _ = run_interrupted(SPECS[name], saving, lambda: StopAfter(5), Interrupted)
    with pytest.raises(AssertionError):
        assert_same(ours, undisturbed[name])


def test_sinks_see_every_event_once_and_after_a_resume_all_of_them_again(tmp_path):
    path, whole, again = tmp_path / "seed.ckpt", [], []
    run_seed(SPECS["T1"], 0, random_data(), CPU, sinks=[whole.append])
    assert [event.number for event in whole] == list(range(len(whole)))
    assert isinstance(whole[-1], SeedDone)
    with pytest.raises(Interrupted):
        run_seed(SPECS["T1"], 0, random_data(), CPU, saving=Saving(path), control=StopAfter(27))
    run_seed(SPECS["T1"], 0, random_data(), CPU, saving=Saving(path), sinks=[again.append])
    assert again == whole


def test_a_run_neither_moves_nor_reads_the_global_generators(undisturbed):
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    random.seed(5)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    assert_same(run_to_end(SPECS["V3 with dropout"]), undisturbed["V3 with dropout"])
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002
    assert random.getstate() == before[2]


@pytest.fixture
def two_generations(tmp_path):
    """The checkpoints of a seed stopped at steps 9 and 20, the newest first."""
    path = tmp_path / "seed.ckpt"
    for more in (9, 11):
        with pytest.raises(Interrupted):
            run_to_end(SPECS["T1"], Saving(path, seconds=1e9), StopAfter(more))
    return path, path.with_suffix(".old")


def test_a_damaged_generation_never_takes_the_place_of_a_good_one(two_generations):
    newest, older = two_generations
    newest.write_bytes(b"torn")
    with pytest.warns(UserWarning, match="passed over"), pytest.raises(Interrupted):
        run_to_end(SPECS["T1"], Saving(newest), StopAfter(1))
    assert [checkpoint.load(path).state["t"] for path in (newest, older)] == [10, 9]


def test_a_checkpoint_of_a_newer_format_or_another_run_is_refused(two_generations):
    newest, _ = two_generations
    with pytest.raises(UserError, match=r"seed\.ckpt: the state of another run"):
        run_seed(SPECS["T1"], 1, random_data(), CPU, saving=Saving(newest))
    with pytest.raises(UserError, match="the state of another run"):
        run_to_end(small_spec("T1", batch_size=4, lr=0.2), Saving(newest))
    newest.write_bytes(newest.read_bytes().replace(b"dglib checkpoint 1", b"dglib checkpoint 2", 1))
    with pytest.raises(UserError, match=r"seed\.ckpt: written by a newer version of dglib \(format 2\)"):
        run_to_end(SPECS["T1"], Saving(newest))


def test_a_checkpoint_is_never_executed(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "executed"),))

    buffer = io.BytesIO()
    torch.save({"state": Bomb(), "progress": "{}"}, buffer)
    digest = hashlib.sha256(buffer.getvalue()).hexdigest().encode()
    path = tmp_path / "seed.ckpt"
    path.write_bytes(b"dglib checkpoint 1 " + digest + b" 9\n" + buffer.getvalue())
    with pytest.raises(UserError, match=r"seed\.ckpt: "):
        run_to_end(SPECS["T1"], Saving(path))
    assert not (tmp_path / "executed").exists()


def test_a_network_that_diverges_is_recorded_as_diverged_and_in_the_sweep_has_not_collapsed():
    def run(**changes):
        spec = small_spec("T1", batch_size=4, init_evaluate_every=1, **changes)
        return run_seed(spec, 0, random_data(), CPU)

    record = run(lr=1e30)
    assert (record["outcome"], record["init_success"], record["collapsed"]) == ("diverged", False, False)
    assert record["init_error"] is None
    (last,) = record["trajectory"]
    assert (last["error"], last["test_loss"], last["finite"]) == (None, None, False)
    assert sum(last["predicted"]) == 10
    record = run(sweep_lr=1e30, consecutive=1, collapse_error=0.0, init_epochs=1)
    assert (record["outcome"], record["init_success"], record["lambda_up"]) == ("diverged", True, None)
    assert (record["collapsed"], record["final_lambda"], record["final_error"]) == (False, 0.5, None)
    assert [point["finite"] for point in record["trajectory"]] == [True, False]


def test_the_epoch_log_holds_norms_of_weights_and_change_and_mean_losses(monkeypatch):
    losses, original = [], step.gradient

    def spy(*given):
        grads = original(*given)
        losses.append(float(grads.loss))
        return grads

    monkeypatch.setattr(step, "gradient", spy)
    one = SeedRun(SPECS["T1"], 0, random_data(), CPU)
    one.trainer.advance(one.state, 0.35, 0.01, 5)
    before = [p.detach().clone() for p in one.state.params]
    one.trainer.advance(one.state, 0.35, 0.01, 1)
    stats = epoch_stats(one.state, 0.01)
    # Refreshes at steps 0 and 4: a second loss after the first.
    noisy, clean = [losses[k] for k in (0, 2, 3, 4, 5, 7)], [losses[k] for k in (1, 6)]
    assert len(losses) == 8
    assert (stats.loss_s, stats.loss_v) == pytest.approx((sum(noisy) / 6, sum(clean) / 2), rel=1e-6)
    weights = [p.detach() for p in one.state.params]
    change = [p - b for p, b in zip(weights, before, strict=True)]
    assert stats.update_norm == pytest.approx(float(total_norm(change)), rel=1e-3)
    assert stats.weight_norm == pytest.approx(float(total_norm(weights)), rel=1e-6)
