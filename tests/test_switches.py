"""torch's process-wide switches belong to every run of a process: held together, or refused."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from small import CPU, random_data, small_spec

from dglib.control import Control
from dglib.errors import UserError
from dglib.explorer.live_run import LiveRun
from dglib.runs.seed import run_seed
from dglib.training.numerics import Numerics

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
    control, begun = Control(), threading.Event()
    with ThreadPoolExecutor(1) as cell:
        control.pause()
        spec = small_spec("Td1", init_epochs=1, milestones=[])
        options = {"control": control, "resumed": lambda *_: begun.set()}
        training = cell.submit(run_seed, spec, 7, random_data(), replace(CPU, threads=2), **options)
        begun.wait(60)
        try:
            with pytest.raises(UserError, match=r"the live run: needs threads = 1 .*Td1 seed 7 holds 2"):
                live.step()
        finally:
            control.resume()
        assert live.status().steps == 0
        assert training.result()["bitwise"] is True
    live.step()
    assert live.status().steps == 1
