"""Numerics: what "auto" becomes, torch's process-wide settings, and resuming a seed under others."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from small import CPU, StopAfter, open_store, random_data, small_spec

from dglib.control import Control, Interrupted
from dglib.errors import UserError
from dglib.explorer.live_run import LiveRun
from dglib.protocol.spec import StepSpec
from dglib.runs.checkpoint import Saving
from dglib.runs.seed import run_experiment, run_seed
from dglib.training.numerics import Numerics
from dglib.training.state import TrainState

SPEC = small_spec("V3", batch_size=8, ordered_epochs=1, network="vgg11_bn", network_width=0.0625)
DATA = random_data()
STEPS = 2  # in the middle of the first epoch, which has three


def test_exact_mode_refuses_to_resume_elsewhere_and_names_what_differs(tmp_path):
    exact, saving = replace(CPU, exact=True), Saving(tmp_path / "seed.ckpt")
    with pytest.raises(Interrupted):
        run_seed(SPEC, 0, DATA, exact, saving=saving, control=StopAfter(STEPS))
    before = saving.path.read_bytes()
    with pytest.raises(UserError, match=r"seed 0 began with other numerics .*threads.* 1 → 2.*exact"):
        run_seed(SPEC, 0, DATA, replace(exact, threads=2), saving=saving)
    assert saving.path.read_bytes() == before
    record = run_seed(SPEC, 0, DATA, exact, saving=saving)
    assert (record["bitwise"], record["numerics"]) == (True, [{"from_step": 0, **exact.describe()}])


def test_a_resume_under_another_torch_prints_that_it_is_not_bit_for_bit(tmp_path, monkeypatch):
    store, here, lines = open_store(tmp_path, SPEC, DATA)[0], CPU.describe(), []
    with pytest.raises(Interrupted):
        run_experiment(store, [0], DATA, CPU, control=StopAfter(STEPS), report=print)
    monkeypatch.setattr(Numerics, "describe", lambda self: {**here, "torch": "9.0.0"})
    (record,) = run_experiment(store, [0], DATA, CPU, report=lines.append)
    assert record["bitwise"] is False
    assert [line.partition("lost), ")[2] for line in lines] == [
        f"not bit for bit: torch {here['torch']} → 9.0.0"
    ]


class Generator(torch.Generator):
    """Its states have 16 bytes, as a CUDA device's, not the 5,056 of a CPU's: neither restores the other."""

    def get_state(self):
        return states_of_16_bytes(self.initial_seed())

    def set_state(self, state):
        if state.numel() != 16:
            raise RuntimeError("RNG state is wrong size")
        self.manual_seed(int.from_bytes(bytes(state[:8].tolist()), "little"))
        return self


def states_of_16_bytes(seed):
    return torch.tensor([*seed.to_bytes(8, "little"), *bytes(8)], dtype=torch.uint8)


def as_on_cuda(monkeypatch):
    monkeypatch.setattr(torch, "Generator", Generator)
    here = CPU.describe()
    monkeypatch.setattr(Numerics, "describe", lambda self: {**here, "device": "cuda"})


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_a_seed_resumes_on_another_kind_of_device_and_claims_no_bits(kind, tmp_path, monkeypatch):
    saving, other = Saving(tmp_path / "seed.ckpt"), {"cpu": "cuda", "cuda": "cpu"}[kind]
    with monkeypatch.context() as patch:
        if kind == "cpu":
            as_on_cuda(patch)
        with pytest.raises(Interrupted):
            run_seed(SPEC, 0, DATA, CPU, saving=saving, control=StopAfter(STEPS))
    if kind == "cuda":
        as_on_cuda(monkeypatch)
    record = run_seed(SPEC, 0, DATA, CPU, saving=saving)
    assert record["bitwise"] is False
    stretches = [(stretch["from_step"], stretch["device"]) for stretch in record["numerics"]]
    assert stretches == [(0, other), (STEPS, kind)]


def new_state(seed, t=0):
    step = StepSpec(8, 16)
    state = TrainState.create(SPEC.network, step, DATA.input_shape, DATA.classes, CPU, seed=0)
    state.dropout.manual_seed(seed)
    state.t = t
    return state


def test_dropout_is_keyed_anew_by_key_and_step_and_repeats_nothing():
    def masks(seed, t):
        """What the dropout draws next in a state that loads one of the other device."""
        state = new_state(seed=99)
        state.load_state_dict({**new_state(seed, t).state_dict(), "dropout": states_of_16_bytes(seed)})
        return torch.rand(20, generator=state.dropout)

    assert torch.equal(masks(5, 7), masks(5, 7))
    begun = torch.rand(20, generator=torch.Generator().manual_seed(5))
    assert not any(torch.equal(masks(5, 7), other) for other in (masks(5, 8), masks(6, 7), begun))


@pytest.mark.parametrize(("capability", "precision"), [((6, 1), "fp32"), ((7, 5), "fp16"), ((9, 0), "fp16")])
def test_cuda_takes_fp16_where_the_card_has_matrix_units_and_exact_mode_nothing_that_may_move_a_bit(
    capability, precision, monkeypatch
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr("dglib.training.numerics._has_triton", lambda: True)
    assert Numerics.resolve().precision == precision
    found = Numerics.resolve(exact=True, network_parameters=11_000_000)
    assert not any((found.compiled, found.cuda_graphs, found.autotune))


@pytest.mark.parametrize(
    ("network", "units", "half"),
    [(None, True, False), (1000, True, False), (10**7, True, True), (10**7, False, False)],
)
def test_a_cpu_takes_bf16_for_large_networks_where_it_has_matrix_units(network, units, half, monkeypatch):
    monkeypatch.setattr("dglib.training.numerics.has_bf16_matrix_units", lambda: units)
    found = Numerics.resolve("cpu", network_parameters=network)
    assert (found.precision, found.channels_last) == (("bf16", True) if half else ("fp32", False))
    assert not any((found.fused, found.compiled, found.cuda_graphs))


@pytest.mark.parametrize(("precision", "products"), [("fp32", "ieee"), ("tf32", "tf32"), ("fp16", "tf32")])
def test_fp32_means_fp32_in_convolutions_and_products_too(precision, products):
    before = observed()
    with Numerics("cuda", 1, precision=precision).applied():
        assert observed()["products"] == (products, products)
    assert observed() == before


@pytest.mark.parametrize("autotune", [False, True])
def test_the_compiler_chooses_by_timing_only_where_autotuning_is_on(autotune):
    with replace(CPU, compiled=True, autotune=autotune).applied():
        from torch._inductor import config

        assert config.deterministic == (not autotune)


FP32 = Numerics("cuda", 1)


def observed():
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    return {
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "cudnn": (cudnn.deterministic, cudnn.benchmark),
        "products": (cudnn.conv.fp32_precision, matmul.fp32_precision),
    }


@pytest.mark.parametrize("first", [0, 1])
def test_switches_last_for_the_last_holder_and_are_restored_in_any_order_of_leaving(first):
    before = observed()
    numerics = replace(FP32, threads=torch.get_num_threads() + 1, exact=True)
    holders = numerics.applied(), numerics.applied("another run")
    for holder in holders:
        holder.__enter__()
    held = observed()
    assert held != before
    holders[first].__exit__(None, None, None)
    assert observed() == held
    holders[1 - first].__exit__(None, None, None)
    assert observed() == before


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"precision": "tf32"}, r"cudnn\.conv\.fp32_precision = tf32 .* holds ieee"),
        ({"autotune": True}, r"cudnn\.deterministic = False .* holds True"),
    ],
)
def test_a_contradiction_is_refused_with_switch_values_and_holder_and_changes_nothing(change, named):
    others = replace(FP32, **change)
    with FP32.applied("T1 seed 4"):
        before = observed()
        with pytest.raises(UserError, match=rf"^the live run: needs {named}.*T1 seed 4"):
            others.applied("the live run").__enter__()
        assert observed() == before
    with others.applied():
        pass


def test_a_live_run_is_refused_while_a_cell_trains_otherwise_and_trains_on_after_it():
    live = LiveRun(random_data(n_train=130), CPU)
    begun, released = threading.Event(), threading.Event()

    class Held(Control):
        def stopping(self):
            begun.set()
            return not released.wait(60)

    control = Held()
    with ThreadPoolExecutor(1) as cell:
        spec = small_spec("Td1", init_epochs=1, milestones=[])
        training = cell.submit(run_seed, spec, 7, random_data(), replace(CPU, threads=2), control=control)
        begun.wait(60)
        try:
            with pytest.raises(UserError, match=r"the live run: needs threads = 1 .*Td1 seed 7 holds 2"):
                live.step()
        finally:
            released.set()
        assert training.result()["bitwise"] is True
    live.step()
    assert live.steps == 1
