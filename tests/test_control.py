"""What may be asked of a run from outside, between its steps: stop, pause, another λ or learning rate."""

import threading

import pytest
import torch
from small import CPU, random_data, small_spec

from dglib.control import Control, Interrupted
from dglib.runs.seed import SeedRun, run_seed

SPEC = small_spec("T1", batch_size=8, init_epochs=1, epochs_per_level=1)


def begun(control=None):
    return SeedRun(SPEC, 0, random_data(), CPU, control=control)


def weights(seed):
    return torch.cat([p.detach().flatten() for p in seed.state.params])


class PauseAfter(Control):
    """Pauses once so many steps were taken, and resumes (or stops) from another thread."""

    def __init__(self, steps, then):
        super().__init__()
        self.left, self.then, self.pauses = steps, then, 0

    def stopping(self):
        self.left -= 1
        if self.left == 0:
            self.pause()
            self.pauses += 1
            threading.Timer(0.1, self.then, [self]).start()
        return super().stopping()


@pytest.mark.parametrize("name", ["lam", "lr"])
def test_an_override_acts_as_if_the_protocol_had_planned_so(name):
    planned = {"lam": 0.5, "lr": 0.1}
    wanted = planned | {name: 0.03}
    control = Control()
    setattr(control, name, 0.03)
    overridden, plain = begun(), begun()
    overridden.trainer.advance(overridden.state, planned["lam"], planned["lr"], 5, control)
    plain.trainer.advance(plain.state, wanted["lam"], wanted["lr"], 5)
    unmoved = begun()
    unmoved.trainer.advance(unmoved.state, planned["lam"], planned["lr"], 5)
    assert torch.equal(weights(overridden), weights(plain))
    assert not torch.equal(weights(overridden), weights(unmoved))


def test_a_pause_changes_nothing_of_a_record():
    expected = run_seed(SPEC, 0, random_data(), CPU)
    control = PauseAfter(5, Control.resume)
    found = run_seed(SPEC, 0, random_data(), CPU, control=control)
    assert control.pauses == 1
    assert found | {"time": 0} == expected | {"time": 0}


def test_a_paused_run_can_be_stopped():
    with pytest.raises(Interrupted):
        run_seed(SPEC, 0, random_data(), CPU, control=PauseAfter(5, Control.stop))
