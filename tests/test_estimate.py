"""What a dry run estimates: from seeds that have ended, else from two steps within a time limit."""

import math
from dataclasses import replace

import pytest
from small import CPU, small_spec

from dglib.campaign import estimate
from dglib.training import graphs
from dglib.training.data import describe_dataset
from dglib.training.numerics import Numerics
from dglib.training.trainer import Trainer

SPEC = small_spec("T1", batch_size=2)


@pytest.fixture
def clock(monkeypatch):
    """One second a forward and backward pass."""
    seconds, original = [0.0], graphs.gradient

    def gradient(*given):
        seconds[0] += 1
        return original(*given)

    monkeypatch.setattr(graphs, "gradient", gradient)
    monkeypatch.setattr(estimate, "_now", lambda device: seconds[0])
    monkeypatch.setattr(estimate.time, "monotonic", lambda: seconds[0])
    return seconds


@pytest.mark.parametrize(("period", "log_every"), [(16, 0), (16, 20), (1, 0), (2, 3), (4, 1), (7, 5)])
def test_the_estimate_is_of_the_passes_that_steps_take_in_the_long_run(period, log_every, clock):
    """Whatever the timed step was: at a second a pass it is exact."""
    spec = small_spec("Td1", refresh_period=period, log_every=log_every, batch_size=2)
    steps = [1 + (t % period == 0 or (log_every > 0 and t % log_every == 0)) for t in range(1680)]
    per_image = sum(steps) / len(steps) / 2
    info = describe_dataset("digits")
    images = 4 * info.n_train + 2 * info.n_test / 3  # four epochs, two evaluations
    assert estimate.estimate_seconds(spec, CPU, {}, math.inf) == pytest.approx(per_image * images)


def test_an_estimate_takes_two_steps_of_a_part_of_a_large_batch(monkeypatch):
    taken, original = [], Trainer.advance

    def advance(self, state, lam, lr, n_steps):
        taken.append((n_steps, len(self.data.clean)))
        return original(self, state, lam, lr, n_steps)

    monkeypatch.setattr(Trainer, "advance", advance)
    assert estimate.estimate_seconds(small_spec("T1", batch_size=256), CPU, {}, math.inf) > 0
    assert taken == [(1, estimate.CPU_BATCH)] * 2


@pytest.mark.parametrize("limit", [0.0, 1.0, 2.0])
def test_there_is_no_estimate_where_the_time_is_used_up_before_the_second_step(limit, clock):
    assert estimate.estimate_seconds(SPEC, CPU, {}, limit) is None
    assert clock[0] == (2 if limit else 0)  # the first step refreshes: two passes


def test_neither_compilation_nor_capture_falls_into_the_time(monkeypatch):
    monkeypatch.setattr(graphs, "CudaRecorder", lambda device: pytest.fail("captured"))
    monkeypatch.setattr(graphs, "CompiledGradient", lambda: pytest.fail("compiled"))
    fast = Numerics("cpu", 1, fused=True, cuda_graphs=True, compiled=True)
    assert estimate.estimate_seconds(SPEC, fast, {}, math.inf) > 0


def test_what_trains_alike_is_timed_once(clock):
    known = {}
    for changes in ({}, {"noise_rate": 0.1}, {"init_epochs": 9}):
        estimate.estimate_seconds(small_spec("T1", batch_size=2, **changes), CPU, known, math.inf)
    assert len(known) == 1
    estimate.estimate_seconds(replace(SPEC, step=replace(SPEC.step, momentum=0.5)), CPU, known, math.inf)
    assert len(known) == 2
