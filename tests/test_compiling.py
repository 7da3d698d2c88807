"""torch.compile behind the step: what it changes, and the fallback where it fails."""

import copy
from dataclasses import replace
from functools import partial

import pytest
import torch
from small import CPU, random_data, small_spec
from torch import nn

from dglib.runs.seed import SeedRun
from dglib.training import numerics
from dglib.training.compiled import Compiled, CompiledGradient
from dglib.training.state import TrainState
from dglib.training.step import gradient, mix, total_norm, two_pass_statistics

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
    assert ours.trainer.take_step.fallback.startswith("torch.compile: RuntimeError: ")
    assert "install" not in ours.trainer.take_step.fallback


@pytest.mark.parametrize("compiler", [failing_forward, failing_backward])
def test_where_a_later_version_fails_to_compile_the_step_is_the_plain_one_too(compiler, monkeypatch):
    """Tδ1's second step has another momentum of BatchNorm, and so new code for a size that had compiled."""
    spec = small_spec("Td1", batch_size=4, log_every=3)

    def failing_later(function, **_):
        failing = compiler(function)
        return lambda model, *given: (function if momentum(model) == 0.1 else failing)(model, *given)

    monkeypatch.setattr(torch, "compile", failing_later)
    plain, ours = begun(spec), begun(spec, COMPILED)
    for seed in (plain, ours):
        seed.trainer.advance(seed.state, 0.4, 0.05, 8)
    one, other = ([*s.state.model.state_dict().values(), *s.state.momentum()] for s in (plain, ours))
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert ours.trainer.take_step.fallback.startswith("torch.compile: RuntimeError: ")


def momentum(model):
    if not isinstance(model, nn.Module):  # a gradient, for the mixing rule
        return 0.1
    return next(m.momentum for m in model.modules() if isinstance(m, nn.BatchNorm2d))


def test_two_pass_statistics_are_a_kind_of_their_own_for_the_compiler():
    seed, ours = begun(SPEC), CompiledGradient(lambda function, **_: function)
    batch = seed.trainer.batch(0, 0)
    for _ in range(2):
        ours(seed.state, batch.x, batch.noisy, CPU)
        with two_pass_statistics(seed.state.model):
            ours(seed.state, batch.x, batch.noisy, CPU)
    assert {size for size, _ in ours._kinds} == {4}
    assert len(ours._kinds) == 2


def counting(compiled):
    """A backend that runs the traced graph as it is, and notes that it was asked."""

    def backend(graph, inputs):
        compiled.append(graph)
        return graph.forward

    return partial(torch.compile, backend=backend)


def test_a_change_of_lambda_compiles_nothing_anew():
    compiled, generator = [], torch.Generator().manual_seed(0)
    g_s, g_v = ([torch.randn(3, 2, generator=generator), torch.randn(4, generator=generator)] for _ in "sv")
    ours = Compiled(mix, counting(compiled))
    for level in range(12):
        lam = 0.3 + 0.04 * level
        found = ours(g_s, g_v, torch.tensor(lam, dtype=torch.float64))
        assert all(torch.equal(a, b) for a, b in zip(found, mix(g_s, g_v, lam), strict=True))
    assert len(compiled) == 1
    assert not ours.fallback


def test_the_limit_of_versions_is_raised_in_a_run_and_reaching_it_is_told(monkeypatch):
    import torch._dynamo

    settled, compiled = replace(CPU, compiled=True), []
    before = torch._dynamo.config.recompile_limit
    ours = Compiled(lambda a, number: a * number, counting(compiled))
    with settled.applied():
        found = [ours(torch.ones(2), 0.5 + number).tolist() for number in range(before + 2)]
    assert len(compiled) == before + 2
    assert not ours.fallback
    assert torch._dynamo.config.recompile_limit == before

    monkeypatch.setattr(numerics, "RECOMPILE_LIMIT", before)
    again = Compiled(lambda a, number: number * a, counting(compiled))
    with settled.applied():
        assert [again(torch.ones(2), 0.5 + number).tolist() for number in range(before + 2)] == found
    assert again.fallback.startswith("torch.compile: FailOnRecompileLimitHit")


def test_a_function_that_does_not_compile_runs_as_it_is():
    ours = Compiled(lambda a: a + 1, failing_forward)
    assert ours(1) == 2
    assert ours.fallback == "torch.compile: RuntimeError: no compiler here"


def test_a_mistake_of_the_caller_is_still_told():
    with pytest.raises(ZeroDivisionError):
        Compiled(lambda a: 1 / a, lambda function, **_: function)(0)


def test_a_traced_run_takes_every_kind_of_step_as_the_plain_one_does(monkeypatch):
    """Traced and differentiated as for compiling, without the minutes of code generation."""
    spec = small_spec("Td1", batch_size=8, log_every=2, network="vgg11_bn", network_width=0.0625)
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    plain, ours = begun(spec), begun(spec, COMPILED)
    for seed in (plain, ours):
        # Refreshes, logs, the smaller last batch. A mixed gradient's norm is at most 1, so nine steps at this
        # rate move the weights by at most 9e-3; rounding moves them by less than a thousandth of that.
        seed.trainer.advance(seed.state, 0.4, 1e-4, 9)
    assert ours.trainer.take_step.fallback == ""
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
    compiled, mixing = CompiledGradient(), Compiled(mix)
    with CPU.applied():
        plain, _ = gradient(copy.deepcopy(state), x, labels, CPU)
        ours, _ = compiled(copy.deepcopy(state), x, labels, CPU)
        one, other = (mixer(plain, ours, 0.7) for mixer in (mixing, mix))
    assert not compiled.fallback
    assert not mixing.fallback
    for found, expected, bound in ((ours, plain, 1e-5), (one, other, 1e-6)):
        difference = [a - b for a, b in zip(found, expected, strict=True)]
        assert float(total_norm(difference) / total_norm(expected)) < bound
