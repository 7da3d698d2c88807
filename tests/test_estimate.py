"""The estimate of a dry run: from two steps within a time limit."""

import pytest
from small import CPU, small_spec

from dglib.campaign import dry_run
from dglib.campaign.dry_run import Estimator
from dglib.training import step
from dglib.training.data import describe_dataset

SPEC = small_spec("T1", batch_size=16)


@pytest.fixture
def clock(monkeypatch):
    """A hundredth of a second an image, in each forward and backward pass; the images of each pass."""
    taken, original = [], step.gradient
    monkeypatch.setattr(
        step, "gradient", lambda m, x, *more: (taken.append(len(x)), original(m, x, *more))[1]
    )
    monkeypatch.setattr(dry_run, "_now", lambda device: sum(taken) / 100)
    for name in ("monotonic", "process_time"):
        monkeypatch.setattr(dry_run.time, name, lambda: sum(taken) / 100)
    return taken


@pytest.mark.parametrize(("period", "log_every"), [(16, 0), (2, 3)])
def test_the_estimate_is_of_the_passes_that_steps_take_in_the_long_run(period, log_every, clock):
    spec = small_spec("Td1", refresh_period=period, log_every=log_every, batch_size=2)
    info = describe_dataset("digits")
    images = 4 * info.n_train * (1 + 1 / period) + 2 * info.n_test / 3  # 4 epochs, 2 evaluations
    assert Estimator().seconds(spec, CPU) == pytest.approx(images / 100)


@pytest.mark.parametrize(("limit", "passes"), [(0.0, []), (0.1, [2, 2]), (0.3, [2, 2, 16])])
def test_no_step_is_taken_that_would_exceed_the_time_limit(limit, passes, clock, monkeypatch):
    monkeypatch.setattr(dry_run, "SECONDS", limit)
    assert (Estimator().seconds(SPEC, CPU) is None) == (limit < 0.3)
    assert clock == passes
