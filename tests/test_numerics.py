"""Numerics: what "auto" becomes, torch's process-wide settings, and resuming a seed under others."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from small import CPU, StopAfter, random_data, small_spec

from dglib.control import Control, Interrupted
from dglib.errors import UserError
from dglib.explorer.live_run import LiveRun
from dglib.runs.checkpoint import Saving
from dglib.runs.seed import run_seed
from dglib.training.numerics import Numerics

SPEC = small_spec("Td1", batch_size=4, init_epochs=3, log_every=0)  # six steps an epoch


def stopped(path, numerics=CPU):
    with pytest.raises(Interrupted):
        run_seed(SPEC, 0, random_data(), numerics, saving=Saving(path), control=StopAfter(8))


def elsewhere(monkeypatch, **other):
    """From now on numerics describe another machine; what is computed stays the same."""
    here = CPU.describe()
    monkeypatch.setattr(Numerics, "describe", lambda self: {**here, **other})


def test_a_seed_on_one_machine_has_one_stretch_and_claims_its_bits(tmp_path):
    stopped(tmp_path / "seed.ckpt")
    record = run_seed(SPEC, 0, random_data(), CPU, saving=Saving(tmp_path / "seed.ckpt"))
    assert record["bitwise"] is True
    assert record["numerics"] == [{"from_step": 0, **CPU.describe()}]


@pytest.mark.parametrize(
    "other",
    [
        {"device": "cuda", "device_name": "a GPU"},
        {"threads": 2},
    ],
)
def test_another_device_precision_or_torch_begins_a_stretch_that_claims_no_bits(other, tmp_path, monkeypatch):
    stopped(tmp_path / "seed.ckpt")
    elsewhere(monkeypatch, **other)
    record = run_seed(SPEC, 0, random_data(), CPU, saving=Saving(tmp_path / "seed.ckpt"))
    assert record["bitwise"] is False
    assert [stretch["from_step"] for stretch in record["numerics"]] == [0, 8]
    for name, value in other.items():
        assert record["numerics"][1][name] == value != record["numerics"][0][name]


def test_exact_mode_refuses_to_resume_elsewhere_and_names_what_differs(tmp_path, monkeypatch):
    path, exact = tmp_path / "seed.ckpt", replace(CPU, exact=True)
    stopped(path, exact)
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        elsewhere(patch, device_name="another CPU")
        with pytest.raises(UserError, match=r"seed 0 began with other numerics .*→ another CPU.*exact"):
            run_seed(SPEC, 0, random_data(), exact, saving=Saving(path))
    assert path.read_bytes() == before
    assert run_seed(SPEC, 0, random_data(), exact, saving=Saving(path))["bitwise"] is True


# ── what "auto" becomes ──


def on_cuda(monkeypatch, capability=(9, 0), triton=True):
    """A machine that reports a CUDA device; nothing is run there."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr("dglib.training.numerics._has_triton", lambda: triton)


LARGE = {"network_parameters": 11_000_000}


@pytest.mark.parametrize(("capability", "precision"), [((6, 1), "fp32"), ((7, 5), "fp16"), ((9, 0), "fp16")])
def test_cuda_takes_fp16_where_the_card_has_matrix_units(capability, precision, monkeypatch):
    on_cuda(monkeypatch, capability)
    assert Numerics.resolve().precision == precision


def test_exact_mode_leaves_out_what_may_move_a_bit(monkeypatch):
    on_cuda(monkeypatch)
    found = Numerics.resolve(exact=True, **LARGE)
    assert not (found.compiled)
    assert not (found.cuda_graphs)
    assert not (found.autotune)


@pytest.mark.parametrize("network", [None, 1000, 11_000_000])
@pytest.mark.parametrize("units", [False, True])
def test_a_cpu_takes_bf16_for_large_networks_where_it_has_matrix_units(network, units, monkeypatch):
    monkeypatch.setattr("dglib.training.numerics.has_bf16_matrix_units", lambda: units)
    found = Numerics.resolve("cpu", network_parameters=network)
    half = units and network == 11_000_000
    assert (found.precision, found.channels_last) == (("bf16", True) if half else ("fp32", False))
    assert not (found.fused)
    assert not (found.compiled)
    assert not (found.cuda_graphs)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"precision": "fp8"}, "precision = 'fp8': must be auto, fp32, tf32, bf16, fp16"),
        ({"precision": "tf32"}, "precision = 'tf32': CUDA devices alone"),
        ({"compiled": "yes"}, "compiled = 'yes': must be auto, on or off"),
        ({"exact": True, "compiled": "on"}, "exact = true: goes with compiled"),
        ({"cuda_graphs": "on"}, "cuda_graphs = 'on': needs a CUDA device"),
    ],
)
def test_what_a_cpu_cannot_do_is_refused_in_a_line(given, message):
    with pytest.raises(UserError, match=message):
        Numerics.resolve("cpu", **given)


@pytest.mark.parametrize(
    ("precision", "convolutions"), [("fp32", "ieee"), ("tf32", "tf32"), ("fp16", "tf32")]
)
def test_fp32_means_fp32_in_convolutions_and_products_too(precision, convolutions):
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.conv.fp32_precision, matmul.fp32_precision
    with Numerics("cuda", 1, precision=precision).applied():
        assert (cudnn.conv.fp32_precision, matmul.fp32_precision) == (convolutions, convolutions)
    assert (cudnn.conv.fp32_precision, matmul.fp32_precision) == before


@pytest.mark.parametrize("autotune", [False, True])
def test_the_compiler_chooses_by_timing_only_where_autotuning_is_on(autotune):
    with replace(CPU, compiled=True, autotune=autotune).applied():
        from torch._inductor import config

        assert config.deterministic == (not autotune)


FP32 = Numerics("cuda", 1)


def observed():
    """What a thread that comes now finds."""
    backends = torch.backends

    def read():
        return {
            "threads": torch.get_num_threads(),
            "deterministic": torch.are_deterministic_algorithms_enabled(),
            "cudnn": (backends.cudnn.deterministic, backends.cudnn.benchmark),
            "products": (backends.cudnn.conv.fp32_precision, backends.cuda.matmul.fp32_precision),
        }

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(read).result()


@contextmanager
def applied_in_a_thread(numerics, holder="another run"):
    """Held by a thread of its own, until the end of the block."""
    entered, leave = threading.Event(), threading.Event()

    def body():
        with numerics.applied(holder):
            entered.set()
            leave.wait()

    with ThreadPoolExecutor(1) as thread:
        done = thread.submit(body)
        while not entered.wait(0.01) and not done.done():
            pass
        try:
            if done.done():
                done.result()
            yield
        finally:
            leave.set()
            done.result()


@pytest.mark.parametrize("first", ["ours", "the other's"])
def test_switches_last_for_the_last_holder_and_are_restored_in_any_order_of_leaving(first):
    before = observed()
    numerics = replace(FP32, threads=torch.get_num_threads() + 1, exact=True)
    ours, others = numerics.applied(), applied_in_a_thread(numerics)
    order = (ours, others) if first == "ours" else (others, ours)
    order[0].__enter__()
    order[1].__enter__()
    held = observed()
    assert held != before
    order[0].__exit__(None, None, None)
    assert observed() == held
    order[1].__exit__(None, None, None)
    assert observed() == before


@pytest.mark.parametrize(
    ("ours", "others", "named"),
    [
        (FP32, replace(FP32, precision="tf32"), r"cudnn\.conv\.fp32_precision = tf32 .* holds ieee"),
        (FP32, replace(FP32, autotune=True), r"cudnn\.deterministic = False .* holds True"),
        (CPU, replace(CPU, threads=3), r"threads = 3 .* holds 1"),
    ],
)
def test_a_contradiction_is_refused_with_switch_values_and_holder_and_changes_nothing(ours, others, named):
    with ours.applied("T1 seed 4"):
        before = observed()
        with pytest.raises(UserError, match=rf"^the live run: needs {named}") as refused:
            applied_in_a_thread(others, "the live run").__enter__()
        assert "T1 seed 4" in str(refused.value)
        assert "\n" not in str(refused.value)
        assert observed() == before
    with applied_in_a_thread(others):
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
        assert live.steps == 0
        assert training.result()["bitwise"] is True
    live.step()
    assert live.steps == 1
