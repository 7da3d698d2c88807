"""Properties of the mixed gradient and of the step around it."""

import copy
import math
from contextlib import nullcontext

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small import CPU, digits, random_data, small_spec

from dglib.runs.seed import SeedRun
from dglib.training import step
from dglib.training.step import gradient, mix, total_norm

SHAPES = [(8, 3, 3, 3), (8,), (10, 8), (10,)]
UNIT = 2.0**-24  # float32's unit roundoff
# A sum of n squares is within (n - 1) roundings in any order, its root within half of that, plus a few.
NORM_ROUNDING = (sum(math.prod(shape) for shape in SHAPES) + 8) * UNIT
lambdas = st.floats(0, 1)
seeds = st.integers(0, 2**31)


def gradients(seed, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    return [scale * torch.randn(shape, generator=generator) for shape in SHAPES]


def begun(experiment="T1", data=None, **changes):
    """A seed that has not trained yet: its state, trainer and data."""
    return SeedRun(small_spec(experiment, **changes), 0, data or random_data(), CPU)


@given(seeds, lambdas, st.sampled_from([2.0**-12, 2.0**-3, 2.0**10]), st.booleans())
def test_multiplying_a_loss_by_a_power_of_two_changes_no_bit(seed, lam, scale, structure):
    g_s, g_v = gradients(seed), gradients(seed + 1)
    scaled = [scale * g for g in (g_s if structure else g_v)]
    other = mix(scaled, g_v, lam) if structure else mix(g_s, scaled, lam)
    assert all(torch.equal(a, b) for a, b in zip(mix(g_s, g_v, lam), other, strict=True))


@given(seeds, lambdas)
def test_the_mix_agrees_with_the_flat_vector_form(seed, lam):
    g_s, g_v = gradients(seed), gradients(seed + 1)
    flat_s, flat_v = (torch.cat([g.flatten() for g in part]) for part in (g_s, g_v))
    flat = (1 - lam) * flat_s / (flat_s.norm() + 1e-12) + lam * flat_v / (flat_v.norm() + 1e-12)
    ours = torch.cat([g.flatten() for g in mix(g_s, g_v, lam)])
    assert float((ours - flat).norm()) < NORM_ROUNDING  # of two parts with norms 1 - lam and lam


def test_zero_gradients_mix_to_zero_and_not_to_nan():
    zeros = [torch.zeros(shape) for shape in SHAPES]
    assert all(torch.equal(g, z) for g, z in zip(mix(zeros, zeros, 0.5), zeros, strict=True))


def test_logged_cosines_and_norms_are_those_of_the_gradients_on_that_batch():
    seed = begun("Td1", batch_size=4, log_every=1, two_pass_statistics=False)
    seed.trainer.advance(seed.state, 0.6, 0.01, 2)  # the second step holds a stale g_v
    batch, state = seed.trainer.batch(0, 2), copy.deepcopy(seed.state)
    g_s = gradient(state, batch.x, batch.noisy, CPU)
    fresh = gradient(state, batch.x, batch.clean, CPU)
    g = mix(g_s, seed.state.g_v, 0.6)
    seed.trainer.advance(seed.state, 0.6, 0.01, 1)

    def cos(a, b):
        a, b = (torch.cat([t.flatten() for t in part]).double() for part in (a, b))
        return float(a @ b / a.norm() / b.norm())

    number, row = seed.state.step_log[-1]
    assert number == 2
    expected = [cos(g_s, fresh), cos(g, fresh), *(float(total_norm(x)) for x in (g_s, fresh, g))]
    # Float32 sums of n products against double: about sqrt(n) roundings each, and a few such sums in a row.
    rounding = 8 * sum(g.numel() for g in g_s) ** 0.5 * UNIT
    assert row.tolist() == pytest.approx(
        [*expected, float(g_s.loss), float(fresh.loss)], rel=rounding, abs=rounding
    )


def run_bits(**changes):
    """A whole small run: final tensors with the generator's state, errors, record."""
    seed = begun("Td1", digits(), **changes)
    with CPU.applied():
        record = seed.run()
    tensors = [*seed.state.model.state_dict().values(), *seed.state.momentum(), *seed.state.g_v]
    return [*tensors, seed.state.dropout.get_state()], record.pop("step_logs", None), record


@pytest.mark.parametrize("traced", [False, True])
def test_without_logged_steps_the_bits_are_the_same_unless_a_log_leaves_a_trace(traced, monkeypatch):
    if traced:
        monkeypatch.setattr(step, "no_trace", lambda *given: nullcontext())
    vgg = {"network": "vgg11_bn", "network_width": 0.0625, "two_pass_statistics": False}
    for changes in ({}, vgg):
        (on, rows, record), (off, none, without) = run_bits(**changes), run_bits(log_every=0, **changes)
        assert (len(rows), none) == (30, None)
        assert all(torch.equal(a, b) for a, b in zip(on, off, strict=True)) == (not traced)
        assert traced or record["error_trajectory"] == without["error_trajectory"]


def test_two_pass_statistics_equal_two_real_passes_and_move_no_weight():
    once, twice, off = (begun("Td1", batch_size=4, two_pass_statistics=flag) for flag in (True, False, False))
    # Fixed weights: only the statistics move.
    for k in range(5):
        once.trainer.take_step(once.state, 0.6, 0.0)
        twice.trainer.take_step(twice.state, 0.6, 0.0)
        if k % 4:  # no refresh, so no second forward of its own
            twice.state.model(twice.trainer.batch(0, k).x)
    ours, real = once.state.model.state_dict(), twice.state.model.state_dict()
    names = [name for name in ours if "running" in name]
    assert len(names) == 6
    for name in names:
        # Four roundings a step, of which the next keeps 0.9^2: at most 4 / (1 - 0.81) of them.
        torch.testing.assert_close(ours[name], real[name], rtol=22 * UNIT, atol=22 * UNIT)
    on = begun("Td1", batch_size=4)
    for seed in (on, off):
        seed.trainer.advance(seed.state, 0.6, 0.1, 6)
    assert all(torch.equal(a, b) for a, b in zip(on.state.params, off.state.params, strict=True))
    assert {m.momentum for m in on.state.model.modules() if hasattr(m, "running_mean")} == {0.1}
