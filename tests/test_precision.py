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

FP32 = Numerics.resolve("cpu", 1, precision="fp32")


RECIPES = {  # network, width, λ, epochs and learning rate by which it comes into its state
    "small_cnn ordered": ("small_cnn", 0.5, 0.35, 8, 0.1),
    "small_cnn trapped": ("small_cnn", 0.5, 1.0, 5, 0.2),
    "vgg11_bn ordered": ("vgg11_bn", 0.0625, 0.35, 12, 0.05),
}


@cache
def trained(name):
    """State and trainer of a recipe, from the first seed that ends in the state named."""
    network, width, lam, epochs, lr = RECIPES[name]
    spec = small_spec("Td1", network=network, network_width=width, refresh_period=32)
    for seed in range(8):
        data = DeviceData(digits(), spec.data, seed, torch.device("cpu"))
        state = TrainState.create(spec.network, spec.step, (1, 8, 8), 10, FP32, seed=seed)
        trainer = Trainer(spec.step, data, Streams(seed, "main/init"), FP32)
        with FP32.applied():
            trainer.advance(state, lam, lr, epochs * trainer.steps_per_epoch)
            found = trainer.evaluate(state)
        classes = sum(count > 0 for count in found.predicted)
        if found.error < 0.6 if "ordered" in name else classes == 1:
            return state, trainer
    raise AssertionError(f"no seed of 8 gives a network that is {name}")


def mixed(name, batch, numerics):
    """One mixed gradient, flat, in double; the state stays as it was."""
    state, trainer = trained(name)
    b = trainer.batch(100, batch)
    with numerics.applied(), no_trace(state):
        state.dropout.manual_seed(batch)
        g_s = gradient(state, b.x, b.noisy, numerics)
        g_v = gradient(state, b.x, b.clean, numerics)
    return flat(mix(g_s, g_v, RECIPES[name][2]))


@cache
def reference(name, batch):
    """The same in double throughout, written out."""
    state, trainer = trained(name)
    b = trainer.batch(100, batch)
    key_dropout(state.model, None)
    model = copy.deepcopy(state.model).double()
    key_dropout(state.model, state.dropout)
    key_dropout(model, torch.Generator().manual_seed(batch))
    g_s, g_v = (
        flat(torch.autograd.grad(F.cross_entropy(model(b.x.double()), labels), list(model.parameters())))
        for labels in (b.noisy, b.clean)
    )
    lam = RECIPES[name][2]
    return (1 - lam) * g_s / g_s.norm() + lam * g_v / g_v.norm()


def flat(tensors):
    return torch.cat([tensor.double().flatten() for tensor in tensors])


def error(name, precision, batches=3):
    """Root mean square over batches of the mixed gradient's relative error."""
    squares = []
    for batch in range(batches):
        g, r = mixed(name, batch, Numerics.resolve("cpu", 1, precision=precision)), reference(name, batch)
        squares.append(((g - r).norm() / r.norm()).item() ** 2)
    return (sum(squares) / batches) ** 0.5


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
    u, layers = ROUNDOFF[precision], CONVOLUTIONS[RECIPES[name][0]]
    decided_otherwise = sum(2 * 2 * 0.4 * 0.8 * (4 * layer) ** 0.5 * u for layer in range(1, layers + 1))
    return (decided_otherwise + 8 * (layers + 2) * u**2) ** 0.5


@pytest.mark.parametrize("name", RECIPES)
def test_the_mix_is_nearer_to_double_in_fp16_than_in_bf16_and_nearest_in_fp32(name):
    found = {precision: error(name, precision) for precision in ROUNDOFF}
    assert found["fp32"] < found["fp16"] < found["bf16"]
    for precision, relative in found.items():
        assert relative < bound(name, precision), precision
    for precision in ("bf16", "fp16"):
        assert found[precision] > ROUNDOFF[precision] / 2  # one rounding of one operand


@pytest.mark.parametrize("name", RECIPES)
def test_loss_scales_from_2_to_the_8_to_2_to_the_12_change_the_mix_by_less_than_fp16_does(name, monkeypatch):
    """A power of two changes only what lies below fp16's normal range."""
    fp16 = Numerics.resolve("cpu", 1, precision="fp16")
    assert numerics.LOSS_SCALE == {"fp16": 2.0**10}
    g, r = mixed(name, 0, fp16), reference(name, 0)
    for power in (8, 12):
        monkeypatch.setitem(numerics.LOSS_SCALE, "fp16", 2.0**power)
        assert (mixed(name, 0, fp16) - g).norm() < (g - r).norm() / 4
