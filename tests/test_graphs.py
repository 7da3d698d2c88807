"""The step captured, compiled, fused and in half precision, against the plain step."""

import copy
import warnings
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from mutation import mutate
from replaying import CapturingTrainer, Recording, Replaying
from small import CPU, digits, random_data, small_spec
from torch import nn

from dglib.errors import UserError
from dglib.runs.seed import SeedRun, run_seed
from dglib.training import graphs, numerics
from dglib.training import step as step_module
from dglib.training.evaluation import Evaluator, metrics
from dglib.training.graphs import CompiledGradient, CompiledUpdate
from dglib.training.state import TrainState
from dglib.training.step import Method, batch_loss, gradient, total_norm, update
from dglib.training.trainer import Trainer

FUSED = replace(CPU, fused=True)
CASES = {
    "T1": small_spec("T1", batch_size=4, refresh_period=5),
    "Td1 with logs and two-pass statistics": small_spec("Td1", batch_size=4, log_every=3),
    "Td1 with dropout": small_spec(
        "Td1", batch_size=4, log_every=2, network="vgg11_bn", network_width=0.0625, two_pass_statistics=False
    ),
}


def begun(spec, settled=CPU, data=None):
    return SeedRun(spec, 0, data or random_data(), settled)


def trained(spec, recorder=None, settled=FUSED, steps=40):
    """A state after steps at changing λ and LR, with six steps an epoch, the last of two images."""
    seed = begun(spec, settled)
    seed.state.log_dropout = torch.Generator()  # as on a GPU
    seed.trainer.evaluate._size = 3  # of ten images
    if recorder is not None:
        seed.trainer.capture(recorder)
    with settled.applied():
        for t in range(steps):
            lam, lr = (0.3, 0.05) if t < 17 else (0.7, 0.02)
            seed.trainer.advance(seed.state, lam, lr, 1)
            yield seed.state, seed.trainer


def after(*args, **kwargs):
    *_, (state, trainer) = trained(*args, **kwargs)
    return state, trainer


def everything(state):
    tensors = [*state.model.state_dict().values(), *state.momentum(), *state.g_v, state.g_v.norm]
    return [*tensors, state.dropout.get_state(), state.sums, *(row for _, row in state.step_log)]


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(everything(one), everything(other), strict=True))


# ── captured steps ──


@pytest.mark.parametrize("name", CASES)
def test_captured_steps_give_the_bits_of_direct_ones_at_every_step(name):
    recorder = Recording()
    assert differing(CASES[name], recorder) is None
    # Refreshes and others, logged and not, of whole and of partial batches; none anew for another λ or LR.
    # Of an evaluation the first batch, those after it, and the last.
    assert 2 + 3 < recorder.captures <= 8 + 3


def differing(spec, recorder):
    """The first step whose state, or evaluation at an epoch's end, is another one when captured; or why none
    was captured."""
    with metrics_of({"mean": lambda logits, labels: logits.double().mean()}):
        for (direct, one), (captured, other) in zip(trained(spec), trained(spec, recorder), strict=True):
            at_end = direct.t % 6 == 0
            evaluations = [
                x.evaluate(s, ["mean"]) if at_end else None for s, x in ((direct, one), (captured, other))
            ]
            if not same(direct, captured) or evaluations[0] != evaluations[1]:
                return direct.t
    return other.fallback or None


@contextmanager
def metrics_of(entries):
    before = dict(metrics._entries)
    metrics._entries.update(entries)
    try:
        yield
    finally:
        metrics._entries.clear()
        metrics._entries.update(before)


MISTAKES = {
    "numbers of the capture": (
        graphs.Captured,
        "_hold",
        "self._held[number].fill_(value)",
        "self._held[number] = self._held[number].fill_(value) if number == 0 else self._held[number] + value",
    ),
    "a start that stays": (graphs.Captured, "__call__", "at.add_(size)", "pass"),
    "an index of the host's": (
        Trainer,
        "_step",
        "self._batch(start, size)",
        "self._batch(self._locate(*divmod(state.t, self.steps_per_epoch))[0], size)",
    ),
    "an epoch's labels in new memory": (
        Trainer,
        "_draw",
        "self._noisy.copy_(data.noisy[order])",
        "self._noisy = data.noisy[order]",
    ),
    "an epoch's images in new memory": (
        Trainer,
        "_draw",
        "self._epoch = None",
        "self._images = torch.empty_like(self._images)",
    ),
    "totals of an evaluation in new memory": (
        Evaluator,
        "__call__",
        "self._totals.zero_()",
        "self._totals = torch.zeros_like(self._totals)",
    ),
    "logits that the next batch overwrites": (Evaluator, "__call__", "logits.clone()", "logits"),
    "a step that the host decides on": (
        step_module,
        "update",
        "on_host = not fused and not compiling and ",
        "on_host = ",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_capture_that_cannot_be_replayed_would_be_noticed(name, monkeypatch):
    mutate(monkeypatch, *MISTAKES[name])
    assert differing(CASES["T1"], Recording()) is not None


def test_another_state_or_a_value_gradient_that_moved_in_memory_is_refused():
    state, trainer = after(CASES["T1"], Recording())
    trainer.evaluate(state)
    for use in (trainer.evaluate, lambda other: trainer.take_step(other, 0.3, 0.05)):
        with pytest.raises(ValueError, match="belong to one state"):
            use(copy.deepcopy(state))
    state.hold([g.clone() for g in state.g_v])
    with pytest.raises(ValueError, match="have been replaced"):
        trainer.advance(state, 0.3, 0.05, 1)


class Refusing(Replaying):
    """Captures a few times, then no more."""

    def __init__(self, after):
        super().__init__()
        self.left = after

    def capture(self, *given):
        if self.left == 0:
            raise RuntimeError("operation not permitted when stream is capturing\nand more")
        self.left -= 1
        return super().capture(*given)


@pytest.mark.parametrize("captured", [0, 2])
def test_a_capture_that_fails_changes_no_bits_and_reports_the_reason(captured):
    state, trainer = after(CASES["T1"], Refusing(captured))
    assert trainer.fallback == "CUDA graphs: operation not permitted when stream is capturing"
    assert same(state, after(CASES["T1"])[0])


class Syncing(Replaying):
    """Finds in the last warm-up that the step waits for the device."""

    def warm_up(self, function, *, last):
        found = function()
        if last:
            raise graphs.HostSync("the step waits", found)
        return found


def test_a_step_that_waits_for_the_device_is_not_captured_and_not_taken_twice():
    recorder = Syncing()
    state, trainer = after(CASES["Td1 with logs and two-pass statistics"], recorder)
    assert (recorder.captures, trainer.fallback) == (0, "CUDA graphs: the step waits")
    assert same(state, after(CASES["Td1 with logs and two-pass statistics"])[0])


class Cuda:
    """Stands for torch.cuda as far as a recorder needs it. Which stream CUDA would use is not computed."""

    def __init__(self):
        self.modes, self.current, self.made, self.captured = [], [torch.device("cuda", 0)], [], []
        self.stream = self.before = SimpleNamespace(wait_stream=lambda other: None)

    @contextmanager
    def device(self, device):
        self.current.append(device)
        yield
        self.current.pop()

    def Stream(self, device):  # noqa: N802
        self.made.append(device)
        return SimpleNamespace(device=device, wait_stream=lambda other: None)

    def CUDAGraph(self):  # noqa: N802
        return SimpleNamespace(register_generator_state=lambda generator: None, replay=lambda: None)

    @contextmanager
    def graph(self, graph, stream):
        self.captured.append((self.current[-1], stream.device))
        self.stream = stream
        yield
        self.stream = self.before  # not after an error

    def set_stream(self, stream):
        self.stream = stream


@pytest.fixture
def cuda(monkeypatch):
    ours = Cuda()
    for name, value in {
        **{name: getattr(ours, name) for name in ("device", "Stream", "CUDAGraph", "graph", "set_stream")},
        "stream": lambda stream: nullcontext(),
        "current_stream": lambda device: ours.stream,
        "get_sync_debug_mode": lambda: 0,
        "set_sync_debug_mode": ours.modes.append,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(graphs, "_streams", {})
    return ours


def test_each_device_has_one_stream_and_captures_on_itself(cuda):
    state = begun(CASES["T1"]).state
    devices = [torch.device("cuda", index) for index in (1, 1, 0)]
    for device in devices:
        graphs.CudaRecorder(device).capture(lambda: None, state)
    assert cuda.captured == [(device, device) for device in devices]
    assert cuda.made == devices[1:]


def test_the_last_warm_up_runs_to_its_end_and_reports_a_wait_for_the_device(cuda):
    def step():
        warnings.warn("called a synchronizing CUDA operation", UserWarning, stacklevel=1)
        return 5

    recorder = graphs.CudaRecorder(torch.device("cuda", 1))
    assert recorder.warm_up(lambda: 4, last=True) == 4
    with pytest.raises(graphs.HostSync, match=r"waits for the device, at .*test_graphs") as raised:
        recorder.warm_up(step, last=True)
    assert raised.value.result == 5
    assert cuda.modes == ["warn", 0, "warn", 0]


def failing(state):
    state.dropout.manual_seed(5)  # a capture leaves it anywhere
    raise RuntimeError("no\nand more")


def test_after_a_failed_capture_the_stream_is_the_one_before_and_the_generator_a_new_one(cuda, monkeypatch):
    monkeypatch.setattr(graphs, "SAFE_FROM", (0, 0))
    state, trainer = after(CASES["Td1 with dropout"], steps=3)
    before = state.dropout, state.log_dropout
    with pytest.raises(RuntimeError, match="no"):
        graphs.CudaRecorder(torch.device("cuda", 1)).capture(partial(failing, state), state)
    assert cuda.stream is cuda.before
    assert state.dropout is not before[0]
    assert state.log_dropout is not before[1]
    with FUSED.applied():
        trainer.advance(state, 0.3, 0.05, 1)
    assert same(state, after(CASES["Td1 with dropout"], steps=4)[0])


def test_a_torch_that_stays_in_capture_is_refused_in_one_line(cuda, monkeypatch):
    monkeypatch.setattr(graphs, "SAFE_FROM", (99, 0))
    state = begun(CASES["T1"]).state
    with pytest.raises(UserError, match=r"CUDA graphs: no; torch .* set cuda_graphs=off, or use torch 99\.0"):
        graphs.CudaRecorder(torch.device("cuda")).capture(partial(failing, state), state)


def test_a_failed_capture_of_an_evaluation_leaves_the_generator_that_graphs_of_the_step_draw_from(
    cuda, monkeypatch
):
    monkeypatch.setattr(graphs, "SAFE_FROM", (0, 0))
    state = begun(CASES["Td1 with dropout"]).state
    before = state.dropout
    state.model.eval()
    with pytest.raises(RuntimeError, match="no"):
        graphs.CudaRecorder(torch.device("cuda", 1)).capture(partial(failing, state), state)
    assert state.dropout is before


def test_the_record_contains_the_reason_of_a_fallback(monkeypatch, tmp_path):
    monkeypatch.setattr(CapturingTrainer, "recorder", lambda self: Refusing(2))
    monkeypatch.setattr("dglib.runs.seed.Trainer", CapturingTrainer)
    record = run_seed(CASES["T1"], 0, random_data(), FUSED)
    assert record["numerics"][0]["fallback"].startswith("CUDA graphs: operation not permitted")


def test_a_whole_run_through_captured_steps_is_the_direct_run(monkeypatch):
    """With restarts, new networks and events in between: each run of the protocol has a kernel of its own."""
    spec = small_spec("V3", batch_size=4, network="vgg11_bn", network_width=0.0625, ordered_epochs=3)
    direct = run_seed(spec, 0, random_data(), FUSED)
    monkeypatch.setattr("dglib.runs.seed.Trainer", CapturingTrainer)
    record = run_seed(spec, 0, random_data(), FUSED)
    del record["time"], direct["time"]
    assert record == direct


# ── fused SGD, memory format: small differences, stated ──


def distance(one, other):
    difference = [a - b for a, b in zip(one, other, strict=True)]
    return float(total_norm(difference) / total_norm(other))


@pytest.mark.parametrize(("technique", "name"), [("fused", "T1"), ("channels_last", "Td1 with dropout")])
def test_one_step_with_a_technique_is_the_plain_one_but_for_rounding(technique, name):
    before = detached(begun(CASES[name]).state)
    steps = (after(CASES[name], settled=s, steps=1)[0] for s in (replace(CPU, **{technique: True}), CPU))
    ours, plain = ([p - b for p, b in zip(detached(s), before, strict=True)] for s in steps)
    assert distance(ours, plain) < 1e-3


def test_a_checkpoint_resumes_in_another_memory_format():
    plain, _ = after(CASES["T1"], steps=3)
    other, trainer = after(CASES["T1"], settled=replace(FUSED, channels_last=True), steps=1)
    other.load_state_dict(plain.state_dict())
    assert same(plain, other)
    assert all(b.stride() == p.stride() for b, p in zip(other.momentum(), other.params, strict=True))
    trainer.advance(other, 0.3, 0.05, 2)


# ── half precision ──


def test_logged_norms_and_losses_are_unscaled_in_fp16():
    spec = small_spec("Td1", log_every=1)
    rows = {precision: begun_log(spec, replace(CPU, precision=precision)) for precision in ("fp32", "fp16")}
    assert rows["fp16"] == pytest.approx(rows["fp32"], rel=0.5)  # left scaled they would be 2^10 times these


def begun_log(spec, settled):
    seed = begun(spec, settled, digits())
    seed.trainer.advance(seed.state, 0.6, 0.1, 2)
    (_, first), (_, second) = seed.state.step_log
    return [*first.tolist(), *second.tolist()]


# ── steps that are not finite ──


@pytest.mark.parametrize(
    ("fused", "recorder", "device"),
    [(False, None, "cpu"), (False, None, "a GPU"), (True, None, "cpu"), (True, Replaying, "cpu")],
)
def test_a_step_that_overflows_moves_no_weight_and_is_counted(fused, recorder, device, monkeypatch):
    settled = replace(CPU, precision="fp16", fused=fused)
    seed = begun(CASES["T1"], settled)
    if device != "cpu":  # where the host is not asked whether a step is finite
        seed.state.device = torch.device("meta")
    if recorder is not None:
        seed.trainer.capture(recorder())
    seed.trainer.advance(seed.state, 0.3, 0.05, 5)
    before = [t.detach().clone() for t in (*seed.state.params, *seed.state.momentum())]
    with monkeypatch.context() as patch:
        patch.setitem(numerics.LOSS_SCALE, "fp16", 2.0**40)
        seed.trainer.advance(seed.state, 0.3, 0.05, 1)  # a refresh: both gradients overflow
    now = [t.detach().clone() for t in (*seed.state.params, *seed.state.momentum())]
    assert all(torch.equal(a, b) for a, b in zip(before, now, strict=True))
    assert seed.state.t == 6
    assert float(seed.state.sums[4]) == 1
    seed.trainer.advance(seed.state, 0.3, 0.05, 1)  # the value gradient held before is still there
    assert not any(torch.equal(a, b) for a, b in zip(now, seed.state.params, strict=False))


def test_a_seed_whose_steps_overflow_is_diverged_with_a_remedy(monkeypatch):
    monkeypatch.setitem(numerics.LOSS_SCALE, "fp16", 2.0**40)
    record = run_seed(CASES["T1"], 0, random_data(), replace(CPU, precision="fp16"))
    assert record["outcome"] == "diverged"
    assert record["skipped_steps"] == record["epoch_log"][0]["skipped_steps"] == 6
    assert "6 of an epoch's 6 steps" in record["reason"]
    assert "bf16 or fp32" in record["reason"]


# ── compiled ──

COMPILED = replace(CPU, compiled=True)
SPEC = small_spec("T1", batch_size=4, refresh_period=5)
DROPOUT = small_spec("V3", batch_size=4, network="vgg11_bn", network_width=0.0625)


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
    return (lambda *args: _NoBackward.apply(function(*args))) if function is batch_loss else function


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


def two_states():
    """Two equal states that hold a value gradient, the method, and a gradient."""
    seed = begun(SPEC)
    seed.trainer.advance(seed.state, 0.3, 0.05, 1)
    batch = seed.trainer.batch(0, 1)
    found = gradient(seed.state, batch.x, batch.noisy, CPU)
    return seed.state, copy.deepcopy(seed.state), seed.trainer.method, found


def test_a_change_of_lambda_or_learning_rate_compiles_nothing_anew(monkeypatch):
    compiled = []
    one, other, method, found = two_states()
    monkeypatch.setattr(torch, "compile", counting(compiled))
    ours = CompiledUpdate()
    for level in range(12):
        numbers = {"lam": 0.3 + 0.04 * level, "lr": 0.05 / (1 + level)}
        ours(one, method, found, None, **numbers)
        update(other, method, found, None, **numbers)
    assert moved_apart(one, other) < 1e-6
    assert len(compiled) == 1
    assert not ours.fallback


def moved_apart(one, other):
    return max(
        distance(*pair) for pair in ((one.momentum(), other.momentum()), (detached(one), detached(other)))
    )


def detached(state):
    return [p.detach() for p in state.params]


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
    compiled, updating, method = CompiledGradient(), CompiledUpdate(), Method.of(SPEC.step, CPU)
    with CPU.applied():
        plain = gradient(copy.deepcopy(state), x, labels, CPU)
        ours = compiled(copy.deepcopy(state), x, labels, CPU)
        state.hold(plain)
        other = copy.deepcopy(state)
        for one, run in ((state, updating), (other, update)):
            run(one, method, plain, plain, lam=0.7, lr=0.05)
    assert not compiled.fallback
    assert not updating.fallback
    assert distance(ours, plain) < 1e-5
    assert moved_apart(state, other) < 1e-6
