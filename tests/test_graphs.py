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
from torch._dynamo.backends.debugging import aot_eager

from dglib.errors import UserError
from dglib.runs.seed import SeedRun, run_seed
from dglib.training import graphs, numerics
from dglib.training.evaluation import Evaluator
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


def mean(logits, labels):
    return logits.double().mean()


def differing(spec, recorder):
    """The first step whose state, or evaluation at an epoch's end, is another one when captured; or why none
    was captured."""
    for (direct, one), (captured, other) in zip(trained(spec), trained(spec, recorder), strict=True):
        pairs = ((direct, one), (captured, other)) if direct.t % 6 == 0 else ()
        evaluations = [trainer.evaluate(state, [f"{__name__}:mean"]) for state, trainer in pairs]
        if not same(direct, captured) or evaluations[:1] != evaluations[1:]:
            return direct.t
    return other.fallback or None


@pytest.mark.parametrize("name", CASES)
def test_captured_steps_give_the_bits_of_direct_ones_at_every_step(name):
    recorder = Recording()
    assert differing(CASES[name], recorder) is None
    # Refreshes and others, logged and not, of whole and of partial batches; none anew for another λ or LR.
    # Of an evaluation the first batch, those after it, and the last.
    assert 2 + 3 < recorder.captures <= 8 + 3


FILL = "self._held[number].fill_(value)"
# What a replay would not see: numbers, places and memory that are those of the capture.
MISTAKES = [
    (
        graphs.Captured._hold,
        FILL,
        f"number and self._held.__setitem__(number, self._held[number] + 0); {FILL}",
    ),
    (graphs.Captured.__call__, "at.add_(size)", "pass"),
    (Trainer._step, "self._batch(start, size)", "self._batch(int(start), size)"),
    (Trainer._draw, "self._noisy.copy_(data.noisy[order])", "self._noisy = data.noisy[order]"),
    (Trainer._draw, "self._epoch = None", "self._images = torch.empty_like(self._images)"),
    (Evaluator.__call__, "self._totals.zero_()", "self._totals = torch.zeros_like(self._totals)"),
    (Evaluator.__call__, "logits.clone()", "logits"),
    (update, "on_host = not fused and not compiling and ", "on_host = "),
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=[new for *_, new in MISTAKES])
def test_a_capture_that_cannot_be_replayed_would_be_noticed(mistake, monkeypatch):
    mutate(monkeypatch, *mistake)
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
    def capture(self, *given):
        if self.captures == 2:
            raise RuntimeError("operation not permitted when stream is capturing\nand more")
        return super().capture(*given)


class Syncing(Replaying):
    """Finds in the last warm-up that the step waits for the device."""

    def warm_up(self, function, *, last):
        found = function()
        if last:
            raise graphs.HostSync("the step waits", found)
        return found


@pytest.mark.parametrize(
    ("recorder", "captures", "reason"),
    [
        (Refusing, 2, "CUDA graphs: operation not permitted when stream is capturing"),
        (Syncing, 0, "CUDA graphs: the step waits"),
    ],
)
def test_a_step_that_cannot_be_captured_is_taken_once_with_the_same_bits(recorder, captures, reason):
    used = recorder()
    state, trainer = after(CASES["Td1 with logs and two-pass statistics"], used)
    assert (used.captures, trainer.fallback) == (captures, reason)
    assert same(state, after(CASES["Td1 with logs and two-pass statistics"])[0])


class Cuda:
    """Stands for torch.cuda as far as a recorder needs it. Which stream CUDA would use is not computed."""

    def __init__(self):
        self.modes, self.current, self.made, self.captured = [], [torch.device("cuda", 0)], [], []
        self.before = SimpleNamespace(wait_stream=lambda other: None)
        self.set_stream(self.before)

    def set_stream(self, stream):
        self.used = stream

    @contextmanager
    def device(self, device):
        self.current.append(device)
        yield
        self.current.pop()

    def Stream(self, device):  # noqa: N802
        self.made.append(device)
        return SimpleNamespace(device=device, wait_stream=lambda other: None)

    @contextmanager
    def graph(self, graph, stream):
        self.captured.append((self.current[-1], stream.device))
        self.used = stream
        yield
        self.used = self.before  # not after an error


@pytest.fixture
def cuda(monkeypatch):
    ours = Cuda()
    graph = SimpleNamespace(register_generator_state=lambda generator: None, replay=lambda: None)
    others = {
        "CUDAGraph": lambda: graph,
        "stream": lambda stream: nullcontext(),
        "current_stream": lambda device: ours.used,
        "get_sync_debug_mode": lambda: 0,
        "set_sync_debug_mode": ours.modes.append,
    }
    for name in ("device", "Stream", "graph", "set_stream", *others):
        monkeypatch.setattr(torch.cuda, name, others.get(name) or getattr(ours, name))
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


def test_after_a_failed_capture_stream_and_generator_are_good_and_the_next_step_has_the_same_bits(
    cuda, monkeypatch
):
    monkeypatch.setattr(graphs, "SAFE_FROM", (0, 0))
    state, trainer = after(CASES["Td1 with dropout"], steps=3)
    before = state.dropout, state.log_dropout

    def fail():
        with pytest.raises(RuntimeError, match="no"):
            graphs.CudaRecorder(torch.device("cuda", 1)).capture(partial(failing, state), state)

    state.model.eval()
    drawn = state.dropout.get_state()
    fail()  # of an evaluation: graphs of the step draw from this generator
    assert state.dropout is before[0]
    state.dropout.set_state(drawn)
    state.model.train()
    fail()
    assert cuda.used is cuda.before
    assert state.dropout is not before[0]
    assert state.log_dropout is not before[1]
    with FUSED.applied():
        trainer.advance(state, 0.3, 0.05, 1)
    assert same(state, after(CASES["Td1 with dropout"], steps=4)[0])
    monkeypatch.setattr(graphs, "SAFE_FROM", (99, 0))
    with pytest.raises(UserError, match=r"CUDA graphs: no; torch .* set cuda_graphs=off, or use torch 99\.0"):
        graphs.CudaRecorder(torch.device("cuda")).capture(partial(failing, state), state)


def test_a_whole_run_through_captured_steps_is_the_direct_run_and_has_the_reason_of_a_fallback(monkeypatch):
    """With restarts, new networks and events in between: each run of the protocol has a kernel of its own."""
    spec = small_spec("V3", batch_size=4, network="vgg11_bn", network_width=0.0625, ordered_epochs=3)
    direct = run_seed(spec, 0, random_data(), FUSED)
    monkeypatch.setattr("dglib.runs.seed.Trainer", CapturingTrainer)
    captured = run_seed(spec, 0, random_data(), FUSED)
    monkeypatch.setattr(CapturingTrainer, "recorder", lambda self: Syncing())
    refused = run_seed(spec, 0, random_data(), FUSED)
    assert refused["numerics"][0].pop("fallback") == "CUDA graphs: the step waits"
    for record in (direct, captured, refused):
        del record["time"]
    assert direct == captured == refused


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


def test_logged_norms_and_losses_are_unscaled_in_fp16():
    def logged(precision):
        seed = begun(small_spec("Td1", log_every=1), replace(CPU, precision=precision), digits())
        seed.trainer.advance(seed.state, 0.6, 0.1, 2)
        return [number for _, row in seed.state.step_log for number in row.tolist()]

    assert logged("fp16") == pytest.approx(
        logged("fp32"), rel=0.5
    )  # left scaled they would be 2^10 times these


@pytest.mark.parametrize(("fused", "device"), [(False, "cpu"), (False, "meta"), (True, "cpu")])
def test_a_step_that_overflows_moves_no_weight_and_is_counted(fused, device, monkeypatch):
    seed = begun(CASES["T1"], replace(CPU, precision="fp16", fused=fused))
    seed.state.device = torch.device(device)  # the host is asked on a CPU alone whether a step is finite
    if fused:
        seed.trainer.capture(Replaying())
    seed.trainer.advance(seed.state, 0.3, 0.05, 5)
    before = [t.detach().clone() for t in (*seed.state.params, *seed.state.momentum())]
    with monkeypatch.context() as patch:
        patch.setitem(numerics.LOSS_SCALE, "fp16", 2.0**40)
        seed.trainer.advance(seed.state, 0.3, 0.05, 1)  # a refresh: both gradients overflow
    now = [t.detach().clone() for t in (*seed.state.params, *seed.state.momentum())]
    assert all(torch.equal(a, b) for a, b in zip(before, now, strict=True))
    assert (seed.state.t, float(seed.state.sums[4])) == (6, 1)
    seed.trainer.advance(seed.state, 0.3, 0.05, 1)  # the value gradient held before is still there
    assert not any(torch.equal(a, b) for a, b in zip(now, seed.state.params, strict=False))


def test_a_seed_whose_steps_overflow_is_diverged_with_a_remedy(monkeypatch):
    monkeypatch.setitem(numerics.LOSS_SCALE, "fp16", 2.0**40)
    record = run_seed(CASES["T1"], 0, random_data(), replace(CPU, precision="fp16"))
    assert (record["outcome"], record["skipped_steps"]) == ("diverged", 6)
    assert "6 of an epoch's 6 steps" in record["reason"]
    assert "bf16 or fp32" in record["reason"]


COMPILED = replace(CPU, compiled=True)


def failing_forward(function, **_):
    def raising(*args, **kwargs):
        raise RuntimeError("this does not compile\nand more")

    return raising


class _NoBackward(torch.autograd.Function):
    @staticmethod
    def forward(context, loss):
        return loss.clone()

    @staticmethod
    def backward(context, *grads):
        raise RuntimeError("this does not compile\nand more")


def failing_backward(function, **_):
    """Fails when BatchNorm's statistics have moved and dropout has been drawn."""
    return (lambda *args: _NoBackward.apply(function(*args))) if function is batch_loss else function


@pytest.mark.parametrize("compiler", [failing_forward, failing_backward])
def test_where_compiling_fails_the_step_is_the_plain_one_and_the_reason_is_kept(compiler, monkeypatch):
    monkeypatch.setattr(torch, "compile", compiler)
    plain, ours = (begun(CASES["Td1 with dropout"], settled) for settled in (CPU, COMPILED))
    for seed in (plain, ours):
        seed.trainer.advance(seed.state, 0.4, 0.05, 8)
    assert same(plain.state, ours.state)
    assert ours.trainer.fallback == "torch.compile: RuntimeError: this does not compile"


def detached(state):
    return [p.detach() for p in state.params]


def test_a_traced_run_takes_every_kind_of_step_as_the_plain_one_and_traces_none_for_another_lambda_or_rate(
    monkeypatch,
):
    """Traced and differentiated as for compiling, without the minutes of code generation."""
    traced = []
    backend = partial(torch.compile, backend=lambda *given: traced.append(1) or aot_eager(*given))
    monkeypatch.setattr(torch, "compile", backend)
    spec = small_spec("Td1", batch_size=8, log_every=2, network="vgg11_bn", network_width=0.0625)
    plain, ours = begun(spec), begun(spec, COMPILED)
    for seed in (plain, ours):
        # Refreshes, logs, the smaller last batch. A mixed gradient's norm is at most 1, so nine steps at this
        # rate move the weights by at most 9e-3; rounding moves them by less than a thousandth of that.
        seed.trainer.advance(seed.state, 0.4, 1e-4, 9)
    assert ours.trainer.fallback == ""
    assert distance(detached(ours.state), detached(plain.state)) < 1e-5
    # A draw or a step of the statistics more or less would be a difference of kind, not of rounding.
    assert torch.equal(ours.state.dropout.get_state(), plain.state.dropout.get_state())
    for a, b in zip(ours.state.model.buffers(), plain.state.model.buffers(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    rows = zip(ours.state.step_log, plain.state.step_log, strict=True)
    assert all(a.tolist() == pytest.approx(b.tolist(), rel=1e-3) for (_, a), (_, b) in rows)
    before = len(traced)
    for level in range(12):
        ours.trainer.advance(ours.state, 0.4 + 0.04 * level, 1e-4 / (1 + level), 1)
    assert len(traced) == before > 0


@pytest.mark.slow
def test_generated_code_is_within_a_hundred_thousandth_of_the_plain_step():
    """The compiler fuses operations and rounds fewer times."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.BatchNorm1d(10))
    state = TrainState(model, CASES["T1"].step, torch.device("cpu"), (0, 0))
    x, labels = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(8)
    compiled, updating, method = CompiledGradient(), CompiledUpdate(), Method.of(CASES["T1"].step, CPU)
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
    assert distance(state.momentum(), other.momentum()) < 1e-6
    assert distance(detached(state), detached(other)) < 1e-6
