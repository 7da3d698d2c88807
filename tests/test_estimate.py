"""What falls into the time that `--dry-run` measures, and what it makes of it."""

from dataclasses import replace
from functools import partial

import pytest
from replaying import Replaying
from small import CPU, small_spec

from dglib import estimate, kernel
from dglib.data import describe_dataset
from dglib.numerics import Numerics
from dglib.trainer import Trainer

GRAPHS = Numerics("cpu", 1, fused=True, cuda_graphs=True)
PAPERS = {
    "T1": small_spec("T1", refresh_period=16, batch_size=4),
    "Td1": small_spec("Td1", refresh_period=16, log_every=20, batch_size=4),
}


class Clock:
    """In the place of time and device: one second a forward and backward pass; notes when it is asked."""

    def __init__(self, monkeypatch, watched=lambda: None):
        self.seconds, self.seen, original = 0.0, [], kernel.gradient

        def gradient(*given):
            self.seconds += 1
            return original(*given)

        def now(device):
            self.seen.append(watched())
            return self.seconds

        monkeypatch.setattr(kernel, "gradient", gradient)
        monkeypatch.setattr(estimate, "_now", now)


@pytest.mark.parametrize("name", PAPERS)
def test_every_piece_has_been_captured_before_the_time_is_taken(name, monkeypatch):
    recorder = Replaying()
    monkeypatch.setattr(kernel, "CudaRecorder", lambda device: recorder)
    monkeypatch.setitem(estimate.STEPS, "cpu", estimate.STEPS["cuda"])
    clock = Clock(monkeypatch, lambda: recorder.captures)
    estimate.estimate_seconds(PAPERS[name], GRAPHS)
    began, ended = clock.seen
    assert 5 < began == ended


@pytest.mark.parametrize("name", PAPERS)
def test_both_versions_for_a_size_have_been_compiled_before_the_time_is_taken(name, monkeypatch):
    kinds = []

    class Watched(kernel.CompiledGradient):
        def __init__(self):
            super().__init__(lambda function, **_: function)
            kinds.append(self._kinds)

    monkeypatch.setattr(kernel, "CompiledGradient", Watched)
    monkeypatch.setattr(kernel, "Compiled", partial(kernel.Compiled, compiler=lambda function, **_: function))
    clock = Clock(monkeypatch, lambda: len(kinds[0]))
    estimate.estimate_seconds(PAPERS[name], replace(CPU, compiled=True))
    assert clock.seen == [1 if name == "T1" else 2] * 2


@pytest.mark.parametrize("timed", [1, 3, 20])
@pytest.mark.parametrize(("period", "log_every"), [(16, 0), (16, 20), (1, 0), (2, 3), (4, 2), (7, 5)])
def test_the_estimate_is_of_the_passes_that_steps_take_in_the_long_run(period, log_every, timed, monkeypatch):
    """However many refreshes and logs fell into the time: at a second a pass it is exact."""
    spec = small_spec("Td1", refresh_period=period, log_every=log_every, batch_size=2)
    monkeypatch.setitem(estimate.STEPS, "cpu", timed)
    Clock(monkeypatch)
    steps = [1 + (t % period == 0 or (log_every > 0 and t % log_every == 0)) for t in range(1680)]
    per_image = sum(steps) / len(steps) / 2
    info = describe_dataset("digits")
    images = 4 * info.n_train + 2 * info.n_test / 3  # four epochs, two evaluations
    assert estimate.estimate_seconds(spec, CPU) == pytest.approx(per_image * images)


def test_an_estimate_on_a_cpu_takes_four_steps(monkeypatch):
    steps = []
    original = Trainer.advance
    monkeypatch.setattr(
        Trainer, "advance", lambda self, *given: steps.append(given[-1]) or original(self, *given)
    )
    estimate.estimate_seconds(PAPERS["Td1"], CPU)
    assert steps == [1, 3]


def test_warming_up_ends_even_where_a_refresh_is_rare():
    step = replace(PAPERS["T1"].step, refresh_period=10**6)
    assert estimate._steps_to_warm_up(step, GRAPHS) == estimate.MOST_TO_WARM_UP
