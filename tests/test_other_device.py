"""A seed goes from one kind of device to another. A simulation: nothing here runs on CUDA.

What is simulated is the state of the dropout generator, of which a CPU's has 5,056 bytes and a CUDA device's
16 (seed and offset), so that neither can be restored on the other.
"""

import pytest
import torch
from small import CPU, StopAfter, random_data, small_spec

from dglib.control import Interrupted
from dglib.protocol.spec import StepSpec
from dglib.runs.checkpoint import Saving
from dglib.runs.seed import run_seed
from dglib.training.numerics import Numerics
from dglib.training.state import TrainState

SPEC = small_spec("V3", batch_size=8, ordered_epochs=1, network="vgg11_bn", network_width=0.0625)
DATA = random_data()
STEPS = 2  # in the middle of the first epoch, which has three


class Generator(torch.Generator):
    """Its states have 16 bytes, as a CUDA device's."""

    def get_state(self):
        return states_of_16_bytes(self.initial_seed())

    def set_state(self, state):
        if state.numel() != 16:
            raise RuntimeError("RNG state is wrong size")
        self.manual_seed(int.from_bytes(bytes(state[:8].tolist()), "little"))
        return self


def states_of_16_bytes(seed):
    return torch.tensor([*seed.to_bytes(8, "little"), *bytes(8)], dtype=torch.uint8)


def stopped_on(kind, path, monkeypatch):
    """A seed that was stopped on the other kind of device; from then on this one is `kind`."""
    with monkeypatch.context() as patch:
        if kind == "cpu":
            as_on_cuda(patch)
        with pytest.raises(Interrupted):
            run_seed(SPEC, 0, DATA, CPU, saving=Saving(path), control=StopAfter(STEPS))
    if kind == "cuda":
        as_on_cuda(monkeypatch)


def as_on_cuda(monkeypatch):
    monkeypatch.setattr(torch, "Generator", Generator)
    here = CPU.describe()
    monkeypatch.setattr(Numerics, "describe", lambda self: {**here, "device": "cuda"})


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_a_seed_resumes_on_another_kind_of_device_and_claims_no_bits(kind, tmp_path, monkeypatch):
    path = tmp_path / "seed.ckpt"
    stopped_on(kind, path, monkeypatch)
    record = run_seed(SPEC, 0, DATA, CPU, saving=Saving(path))
    assert record["bitwise"] is False
    assert [(stretch["from_step"], stretch["device"]) for stretch in record["numerics"]] == [
        (0, {"cpu": "cuda", "cuda": "cpu"}[kind]),
        (STEPS, kind),
    ]


def new_state(seed, t=0):
    step = StepSpec(8, 16)
    state = TrainState.create(SPEC.network, step, DATA.input_shape, DATA.classes, CPU, seed=0)
    state.dropout.manual_seed(seed)
    state.t = t
    return state


def masks(saved):
    """What the dropout of a state that loads `saved` draws next."""
    state = new_state(seed=99)
    state.load_state_dict(saved)
    return torch.rand(20, generator=state.dropout)


def test_dropout_is_keyed_anew_by_key_and_step_and_repeats_nothing():
    def saved(seed, t):
        return {**new_state(seed, t).state_dict(), "dropout": states_of_16_bytes(seed)}

    assert torch.equal(masks(saved(5, 7)), masks(saved(5, 7)))
    begun = torch.rand(20, generator=torch.Generator().manual_seed(5))
    others = [masks(saved(5, 8)), masks(saved(6, 7)), begun]
    assert not any(torch.equal(masks(saved(5, 7)), other) for other in others)
