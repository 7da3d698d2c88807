"""Value gradients that are not finite: what a step loses by them, what stays held, and what is reported."""

import math
from collections import Counter
from itertools import pairwise

import pytest
import torch
from replaying import Operations, Replaying
from small import CPU, StopAfter, random_data, small_spec

from dglib.control import Interrupted
from dglib.experiments import get
from dglib.runs.checkpoint import Saving
from dglib.runs.seed import SeedRun, run_seed
from dglib.training import step
from dglib.training.evaluation import epoch_stats
from dglib.training.numerics import Numerics
from dglib.training.step import total_norm

K = 5
SPEC = small_spec("T1", batch_size=4, refresh_period=K)  # six steps an epoch


def losing(monkeypatch, steps):
    """Have the value gradients of these steps, given as `t in steps`, come out with an infinity in them."""
    original, calls = step.gradient, Counter()

    def found(state, *given):
        grads = original(state, *given)
        calls[state, state.t] += 1
        if state.t in steps and calls[state, state.t] == 2:  # the first is the structure gradient's
            grads[-1][0] = float("inf")
            grads.norm = total_norm(list(grads))
        return grads

    monkeypatch.setattr(step, "gradient", found)


def direct():
    return SeedRun(SPEC, 0, random_data(), CPU)


def captured(recorder=None):
    seed = SeedRun(SPEC, 0, random_data(), Numerics("cpu", 1, fused=True))
    seed.trainer.capture(recorder or Replaying())
    return seed


def copies(tensors):
    return [tensor.detach().clone() for tensor in tensors]


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def steps_of(seed, count):
    """Take steps; after each which moved the weights, what is held, how many were lost, and the sums."""
    before = copies(seed.state.params)
    for t in range(count):
        seed.trainer.advance(seed.state, 0.3, 0.05, 1)
        now = copies(seed.state.params)
        held = copies([*seed.state.g_v, seed.state.g_v.norm])
        yield t, not equal(before, now), held, int(seed.state.lost), seed.state.sums.clone()
        before = now


@pytest.mark.parametrize("begun", [direct, captured])
def test_a_lost_refresh_costs_its_step_alone_and_leaves_the_last_finite_one_held(begun, monkeypatch):
    losing(monkeypatch, {30})
    seed = begun()
    taken = list(steps_of(seed, 42))
    assert [t for t, moved, *_ in taken if not moved] == [30]
    helds = [held for _, _, held, _, _ in taken]
    changed = [t + 1 for t, (a, b) in enumerate(pairwise(helds)) if not equal(a, b)]
    assert changed == [t for t in range(5, 42, K) if t != 30]
    assert [t for t, _, _, lost, _ in taken if lost] == [30, 31, 32, 33, 34]
    assert all(bool(tensor.isfinite().all()) for held in helds for tensor in held)
    sums = taken[35][-1]  # of the sixth epoch: steps 30 to 35, refreshes 30 and 35
    assert sums.isfinite().all()
    assert sums[[1, 3, 4]].tolist() == [6, 1, 1]
    seed.state.sums.copy_(sums)
    stats = epoch_stats(seed.state, 0.05)
    assert (stats.taken, stats.skipped) == (6, 1)
    assert -1 <= stats.c_sv <= 1
    assert stats.loss_s == pytest.approx(float(sums[0]) / 5)


def record_of(monkeypatch, steps, spec=SPEC, **kwargs):
    with monkeypatch.context() as patch:
        losing(patch, steps)
        return run_seed(spec, 0, random_data(), CPU, **kwargs)


def test_a_run_whose_refreshes_are_all_lost_is_diverged(monkeypatch):
    record = record_of(monkeypatch, range(K, 10**6))
    assert record["outcome"] == "diverged"
    assert "steps had a gradient that is not finite" in record["reason"]
    assert f"seed 0 diverged: {record['reason']}" in get("T1").answer([record]).text()
    assert len(record["epoch_log"]) == 4  # the fourth in a row was lost at step 20, the third of its epoch


@pytest.mark.parametrize("stop", [1, 22])
def test_a_run_interrupted_after_lost_refreshes_resumes_bit_for_bit(stop, monkeypatch, tmp_path):
    lost = {0, 10, 15, 20, 25, 45}  # none held yet, then one too many in a row
    spec, saving = small_spec("T1", batch_size=2, refresh_period=K), Saving(tmp_path / "seed.ckpt")
    whole = record_of(monkeypatch, lost, spec)
    with pytest.raises(Interrupted):  # of eleven steps an epoch
        record_of(monkeypatch, lost, spec, saving=saving, control=StopAfter(stop))
    parts = record_of(monkeypatch, lost, spec, saving=saving)
    del whole["time"], parts["time"]
    assert whole == parts
    # A value gradient more than three periods old moves nothing until one is finite.
    assert whole["skipped_steps"] == len([0, 10, 15, 20, *range(25, 30), 45])


def test_a_log_row_of_a_lost_refresh_has_no_value_gradient(monkeypatch):
    spec = small_spec("Td1", batch_size=4, refresh_period=K, log_every=K)
    record = record_of(monkeypatch, {10}, spec)
    rows = {row["step"]: row for row in record["step_logs"]}
    values = ("c_sv", "c_mc", "norm_v")
    assert [rows[10][name] for name in values] == [None] * 3
    assert all(math.isfinite(rows[10][name]) for name in ("norm_s", "norm_mix", "loss_s", "loss_v"))
    assert all(math.isfinite(row[name]) for step, row in rows.items() if step != 10 for name in values)
    assert record["skipped_steps"] == 1


class Idle(Replaying):
    """Its replays do nothing once `idle`, so that what is dispatched then lies between the graphs."""

    idle = False

    def capture(self, *given):
        replay, rows = super().capture(*given)
        return lambda: None if self.idle else replay(), rows


def test_a_captured_step_leaves_no_operation_to_the_host():
    """What is left to the host there costs it microseconds an operation, and a small GPU step has few."""
    recorder = Idle()
    seed = captured(recorder)
    list(steps_of(seed, 120))  # of both sizes of batch
    recorder.idle = True
    seed.trainer.take_step(seed.state, 0.3, 0.05)  # draws an epoch
    for _ in range(121, 126):  # the last one a refresh
        with Operations() as dispatched:
            seed.trainer.take_step(seed.state, 0.3, 0.05)
        assert dispatched.recorded == []
