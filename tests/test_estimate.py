"""The estimate of a dry run: from two steps within a time limit."""

import pytest
from small import CPU, small_spec

from dglib.campaign import dry_run
from dglib.campaign.dry_run import Estimator
from dglib.training import graphs, step
from dglib.training.data import describe_dataset
from dglib.training.numerics import Numerics
from dglib.training.trainer import Trainer

SPEC = small_spec("T1", batch_size=2)


@pytest.fixture
def clock(monkeypatch):
    """One second a forward and backward pass."""
    seconds, original = [0.0], step.gradient

    def gradient(*given):
        seconds[0] += 1
        return original(*given)

    monkeypatch.setattr(step, "gradient", gradient)
    monkeypatch.setattr(dry_run, "_now", lambda device: seconds[0])
    monkeypatch.setattr(dry_run.time, "monotonic", lambda: seconds[0])
    return seconds


@pytest.mark.parametrize(("period", "log_every"), [(16, 0), (1, 0), (2, 3)])
def test_the_estimate_is_of_the_passes_that_steps_take_in_the_long_run(period, log_every, clock):
    spec = small_spec("Td1", refresh_period=period, log_every=log_every, batch_size=2)
    info = describe_dataset("digits")
    images = 4 * info.n_train * (1 + 1 / period) + 2 * info.n_test / 3  # 4 epochs, 2 evaluations
    assert Estimator().seconds(spec, CPU) == pytest.approx(images / 2)


def test_networks_that_train_alike_are_timed_once_on_a_part_of_a_large_batch(monkeypatch):
    taken, original = [], Trainer.advance

    def advance(self, state, lam, lr, n_steps):
        taken.append((n_steps, len(self.data.clean)))
        return original(self, state, lam, lr, n_steps)

    monkeypatch.setattr(Trainer, "advance", advance)
    estimator = Estimator()
    for changes in ({}, {"noise_rate": 0.1}, {"refresh_period": 9}):
        assert estimator.seconds(small_spec("T1", batch_size=256, **changes), CPU) > 0
    assert taken == [(1, dry_run.CPU_BATCH)] * 2


@pytest.mark.parametrize("limit", [0.0, 1.0, 2.0])
def test_there_is_no_estimate_where_the_time_is_used_up_before_the_second_step(limit, clock, monkeypatch):
    monkeypatch.setattr(dry_run, "SECONDS", limit)
    assert Estimator().seconds(SPEC, CPU) is None
    assert clock[0] == (2 if limit else 0)  # the first step refreshes: two passes


def test_neither_compilation_nor_capture_is_timed(monkeypatch):
    monkeypatch.setattr(graphs, "CudaRecorder", lambda device: pytest.fail("captured"))
    monkeypatch.setattr(graphs, "CompiledGradient", lambda: pytest.fail("compiled"))
    fast = Numerics("cpu", 1, fused=True, cuda_graphs=True, compiled=True)
    assert Estimator().seconds(SPEC, fast) > 0
