"""One mixed gradient in each precision against the same in double: same weights, batch and dropout masks.

Measured: relative error of the mix (root mean square of three batches of 64) and 1 - cosine (the largest), on
a CPU with AVX2, fp16 with the constant loss scale 2^10:

    state (norms of its gradients)           fp32      bf16                fp16
    small_cnn ordered (0.5 to 0.7)           6.1e-7    2.5e-2   3.9e-4     1.1e-2   9.3e-5
    small_cnn trapped (0.5)                  2.7e-7    4.2e-2   2.1e-3     5.6e-3   4.5e-5
    vgg11_bn ordered (0.8 to 1.2)            1.0e-6    1.0e-1   8.2e-3     2.0e-2   2.6e-4

ReLUs and max-pools that decide otherwise in half precision make up most of it. From 2^8 to 2^12 the loss
scale changes fp16's mix by 1e-4; 2^16 overflows where gradients are large.
"""

import copy
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from small import digits, small_spec

from dglib.training import numerics
from dglib.training.batches import DeviceData
from dglib.training.networks import key_dropout
from dglib.training.numerics import Numerics
from dglib.training.randomness import Streams
from dglib.training.state import TrainState
from dglib.training.step import gradient, mix, no_trace
from dglib.training.trainer import Trainer

FP32, BF16, FP16 = (Numerics.resolve("cpu", 1, precision=name) for name in ("fp32", "bf16", "fp16"))


@dataclass(frozen=True)
class Recipe:
    """How a network comes into its state, from scratch: epochs at a learning rate, stretch by stretch."""

    network: str
    width: float
    lam: float
    seed: int  # the first of those that are tried
    stretches: tuple[tuple[int, float], ...]


RECIPES = {
    "small_cnn ordered": Recipe("small_cnn", 0.5, 0.35, 0, ((8, 0.1),)),
    "small_cnn trapped": Recipe("small_cnn", 0.5, 1.0, 0, ((5, 0.2),)),
    "vgg11_bn ordered": Recipe("vgg11_bn", 0.0625, 0.35, 0, ((12, 0.05),)),
}


@cache
def trained(name):
    """State, trainer and evaluation of a recipe, from the first seed that ends in the state named."""
    for seed in range(RECIPES[name].seed, RECIPES[name].seed + 8):
        state, trainer, found = trained_with(RECIPES[name], seed)
        classes = sum(count > 0 for count in found.predicted)
        if found.error < 0.6 if "ordered" in name else classes == 1:
            return state, trainer, found
    raise AssertionError(f"no seed of 8 gives a network that is {name}")


def trained_with(r, seed):
    spec = small_spec("Td1", network=r.network, network_width=r.width, refresh_period=32)
    data = DeviceData(digits(), spec.data, seed, torch.device("cpu"))
    state = TrainState.create(spec.network, spec.step, (1, 8, 8), 10, FP32, seed=seed)
    trainer = Trainer(spec.step, data, Streams(seed, "main/init"), FP32)
    with FP32.applied():
        for epochs, lr in r.stretches:
            trainer.advance(state, r.lam, lr, epochs * trainer.steps_per_epoch)
        return state, trainer, trainer.evaluate(state)


def mixed(name, batch, numerics):
    """One mixed gradient, flat, in double, and the norms of its two; the state stays as it was."""
    state, trainer, _ = trained(name)
    b = trainer.batch(100, batch)
    with numerics.applied(), no_trace(state):
        state.dropout.manual_seed(batch)
        g_s = gradient(state, b.x, b.noisy, numerics)
        g_v = gradient(state, b.x, b.clean, numerics)
    return flat(mix(g_s, g_v, RECIPES[name].lam))


@cache
def reference(name, batch):
    """The same in double throughout, written out."""
    state, trainer, _ = trained(name)
    b = trainer.batch(100, batch)
    key_dropout(state.model, None)
    model = copy.deepcopy(state.model).double()
    key_dropout(state.model, state.dropout)
    key_dropout(model, torch.Generator().manual_seed(batch))
    g_s, g_v = (
        flat(torch.autograd.grad(F.cross_entropy(model(b.x.double()), labels), list(model.parameters())))
        for labels in (b.noisy, b.clean)
    )
    lam = RECIPES[name].lam
    return (1 - lam) * g_s / g_s.norm() + lam * g_v / g_v.norm(), g_s.norm().item(), g_v.norm().item()


def flat(tensors):
    return torch.cat([tensor.double().flatten() for tensor in tensors])


@cache
def error(name, precision, batches=3):
    """Root mean square over batches of the mixed gradient's relative error, and the least cosine."""
    numerics = {"fp32": FP32, "bf16": BF16, "fp16": FP16}[precision]
    squares, cosines = [], []
    for batch in range(batches):
        g, (r, _, _) = mixed(name, batch, numerics), reference(name, batch)
        squares.append(((g - r).norm() / r.norm()).item() ** 2)
        cosines.append((g @ r / (g.norm() * r.norm())).item())
    return (sum(squares) / batches) ** 0.5, min(cosines)


STATES = ("small_cnn ordered", "small_cnn trapped", "vgg11_bn ordered")
ROUNDOFF = {"fp32": 2.0**-24, "bf16": 2.0**-8, "fp16": 2.0**-11}
CONVOLUTIONS = {"small_cnn": 3, "vgg11_bn": 8}


def bound(name, precision):
    """How far a precision's mix may lie from that in double, derived from its unit roundoff u.

    A layer rounds its input, weights, output and normalised output, so before the l-th ReLU sqrt(4l) u of a
    value is rounding. The values are about normal with variance 1 (BatchNorm), so 0.4 * 0.8 of that is the
    share of ReLUs that decide otherwise, and of max-pools as many. Half of the units are active, so these two
    shares, each doubled, are the squared error of the gradient, and the layers' add up. The backward pass
    rounds four values a layer more, each once for the input and once for the weights.
    """
    u, layers = ROUNDOFF[precision], CONVOLUTIONS[RECIPES[name].network]
    decided_otherwise = sum(2 * 2 * 0.4 * 0.8 * (4 * layer) ** 0.5 * u for layer in range(1, layers + 1))
    return (decided_otherwise + 8 * (layers + 2) * u**2) ** 0.5


@pytest.mark.parametrize("name", STATES)
def test_the_mix_is_nearer_to_double_in_fp16_than_in_bf16_and_nearest_in_fp32(name):
    found = {precision: error(name, precision)[0] for precision in ROUNDOFF}
    assert found["fp32"] < found["fp16"] < found["bf16"]
    for precision, relative in found.items():
        assert relative < bound(name, precision), precision


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_is_half_precision(precision):
    assert error("small_cnn ordered", precision)[0] > ROUNDOFF[precision] / 2  # one rounding of one operand


@contextmanager
def loss_scale(power):
    before = numerics.LOSS_SCALE["fp16"]
    numerics.LOSS_SCALE["fp16"] = 2.0**power
    try:
        yield
    finally:
        numerics.LOSS_SCALE["fp16"] = before


def mixed_at(name, power):
    trained(name)  # before anything is changed
    with loss_scale(power):
        return mixed(name, 0, FP16)


@pytest.mark.parametrize("name", STATES)
def test_loss_scales_from_2_to_the_8_to_2_to_the_12_change_the_mix_by_less_than_fp16_does(name):
    """A power of two changes only what lies below fp16's normal range."""
    assert numerics.LOSS_SCALE == {"fp16": 2.0**10}
    g, r = mixed_at(name, 10), reference(name, 0)[0]
    for power in (8, 12):
        assert (mixed_at(name, power) - g).norm() < (g - r).norm() / 4
