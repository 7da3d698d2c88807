"""torch.compile behind the step: what it changes, and the fallback where it fails."""

import copy
from dataclasses import replace
from functools import partial

import pytest
import torch
from small import CPU, random_data, small_spec
from torch import nn

from dglib.runs.seed import SeedRun
from dglib.training.graphs import CompiledGradient, CompiledMix
from dglib.training.state import TrainState
from dglib.training.step import gradient, mix, total_norm

COMPILED = replace(CPU, compiled=True)
SPEC = small_spec("T1", batch_size=4, refresh_period=5)
DROPOUT = small_spec("V3", batch_size=4, network="vgg11_bn", network_width=0.0625)


def begun(spec, settled=CPU):
    return SeedRun(spec, 0, random_data(), settled)


def failing_forward(function, **_):
    def raising(*args):
        raise RuntimeError("no compiler here\nand how to install one")

    return raising


class _NoBackward(torch.autograd.Function):
    @staticmethod
    def forward(context, loss):
        return loss.clone()

    @staticmethod
    def backward(context, *grads):
        raise RuntimeError("the backward does not compile")


def failing_backward(function, **_):
    """Fails when BatchNorm's statistics have moved and dropout has been drawn."""
    return lambda *args: _NoBackward.apply(function(*args))


@pytest.mark.parametrize("compiler", [failing_forward, failing_backward])
@pytest.mark.parametrize("spec", [SPEC, DROPOUT], ids=["T1", "dropout"])
def test_where_compiling_fails_the_step_is_the_plain_one_and_the_reason_is_kept(compiler, spec, monkeypatch):
    monkeypatch.setattr(torch, "compile", compiler)
    plain, ours = begun(spec), begun(spec, COMPILED)
    for seed in (plain, ours):
        seed.trainer.advance(seed.state, 0.4, 0.05, 8)
    one, other = (
        [*s.state.model.state_dict().values(), *s.state.momentum(), s.state.dropout.get_state()]
        for s in (plain, ours)
    )
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert ours.trainer.fallback.startswith("torch.compile: RuntimeError: ")
    assert "install" not in ours.trainer.fallback


def counting(compiled):
    """A backend that runs the traced graph as it is, and notes that it was asked."""

    def backend(graph, inputs):
        compiled.append(graph)
        return graph.forward

    return partial(torch.compile, backend=backend)


def test_a_change_of_lambda_compiles_nothing_anew():
    compiled, generator = [], torch.Generator().manual_seed(0)
    g_s, g_v = ([torch.randn(3, 2, generator=generator), torch.randn(4, generator=generator)] for _ in "sv")
    ours = CompiledMix(mix, counting(compiled))
    for level in range(12):
        lam = 0.3 + 0.04 * level
        found = ours(g_s, g_v, lam)
        assert all(torch.equal(a, b) for a, b in zip(found, mix(g_s, g_v, lam), strict=True))
    assert len(compiled) == 1
    assert not ours.fallback


def test_a_traced_run_takes_every_kind_of_step_as_the_plain_one_does(monkeypatch):
    """Traced and differentiated as for compiling, without the minutes of code generation."""
    spec = small_spec("Td1", batch_size=8, log_every=2, network="vgg11_bn", network_width=0.0625)
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    plain, ours = begun(spec), begun(spec, COMPILED)
    for seed in (plain, ours):
        # Refreshes, logs, the smaller last batch. A mixed gradient's norm is at most 1, so nine steps at this
        # rate move the weights by at most 9e-3; rounding moves them by less than a thousandth of that.
        seed.trainer.advance(seed.state, 0.4, 1e-4, 9)
    assert ours.trainer.fallback == ""
    difference = [a.detach() - b.detach() for a, b in zip(ours.state.params, plain.state.params, strict=True)]
    assert float(total_norm(difference) / total_norm([p.detach() for p in plain.state.params])) < 1e-5
    # A draw or a step of the statistics more or less would be a difference of kind, not of rounding.
    assert torch.equal(ours.state.dropout.get_state(), plain.state.dropout.get_state())
    for a, b in zip(ours.state.model.buffers(), plain.state.model.buffers(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    rows = zip(ours.state.step_log, plain.state.step_log, strict=True)
    assert all(a.tolist() == pytest.approx(b.tolist(), rel=1e-3) for (_, a), (_, b) in rows)


@pytest.mark.slow
def test_generated_code_is_within_a_hundred_thousandth_of_the_plain_step():
    """The compiler fuses operations and rounds fewer times."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.BatchNorm1d(10))
    state = TrainState(model, SPEC.step, torch.device("cpu"), (0, 0))
    x, labels = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(8)
    compiled, mixing = CompiledGradient(), CompiledMix(mix)
    with CPU.applied():
        plain, _ = gradient(copy.deepcopy(state), x, labels, CPU)
        ours, _ = compiled(copy.deepcopy(state), x, labels, CPU)
        one, other = (mixer(plain, ours, 0.7) for mixer in (mixing, mix))
    assert not compiled.fallback
    assert not mixing.fallback
    for found, expected, bound in ((ours, plain, 1e-5), (one, other, 1e-6)):
        difference = [a - b for a, b in zip(found, expected, strict=True)]
        assert float(total_norm(difference) / total_norm(expected)) < bound
