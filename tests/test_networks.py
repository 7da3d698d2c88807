import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import models

from dglib.training.convolution import ConvolutionsAsProducts, SameConvolution
from dglib.training.networks import KeyedDropout, build_network, networks

CIFAR = (3, 32, 32)
DIGITS = (1, 8, 8)


def images(shape: tuple[int, int, int], n: int = 3) -> Tensor:
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(1))


def plain_resnet18() -> nn.Module:
    model = models.resnet18(weights=None, num_classes=10)
    model.conv1 = nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=1, bias=False)
    model.maxpool = nn.Identity()
    return model


def plain_vgg11_bn() -> nn.Module:
    layers, inputs = [], 3
    for outputs in (64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0):
        if outputs:
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
            inputs = outputs
        else:
            layers.append(nn.MaxPool2d(2))
    head = nn.Linear(512, 512), nn.ReLU(), nn.Dropout(0.5), nn.Linear(512, 10)
    return nn.Sequential(*layers, nn.Flatten(), *head)


@pytest.mark.parametrize(
    ("name", "shape", "parameters"), [("resnet34", CIFAR, 21_282_122), ("small_cnn", DIGITS, 24_170)]
)
def test_parameter_counts(name, shape, parameters):
    model = build_network(name, input_shape=shape, classes=10)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


@pytest.mark.parametrize(("name", "plain"), [("resnet18", plain_resnet18), ("vgg11_bn", plain_vgg11_bn)])
def test_a_seed_gives_the_weights_and_logits_of_the_network_written_out(name, plain):
    torch.manual_seed(3)
    ours = build_network(name, input_shape=CIFAR, classes=10)
    torch.manual_seed(3)
    theirs = plain()
    assert all(map(torch.equal, ours.parameters(), theirs.parameters()))
    assert ours.training
    with torch.no_grad():
        assert torch.equal(ours.eval()(images(CIFAR)), theirs.eval()(images(CIFAR)))


@pytest.mark.parametrize("name", ["resnet18", "small_cnn", "vgg11_bn"])
def test_channels_size_and_classes_come_from_the_data(name):
    shape, width = (4, 13, 9), 1.0 if name == "resnet18" else 0.25
    model = build_network(name, input_shape=shape, classes=7, width=width).eval()
    assert model(images(shape)).shape == (3, 7)


@pytest.mark.parametrize("name", ["small_cnn", "vgg11_bn"])
def test_building_draws_the_initial_weights_and_nothing_else(name):
    torch.manual_seed(0)
    networks.get(name)(DIGITS, 10, 0.25)
    expected = torch.get_rng_state()
    torch.manual_seed(0)
    model = build_network(name, input_shape=DIGITS, classes=10, width=0.25)
    assert torch.equal(torch.get_rng_state(), expected)
    assert all(m.num_batches_tracked == 0 for m in model.modules() if isinstance(m, nn.BatchNorm2d))


def nested_dropout(input_shape, classes, width):
    inner = nn.Sequential(nn.Dropout(0.2), nn.Sequential(nn.Dropout(0.3, inplace=True)))
    return nn.Sequential(nn.Flatten(), inner, nn.Linear(math.prod(input_shape), classes))


def test_every_dropout_of_a_users_network_is_keyed_with_its_probability():
    model = build_network(f"{__name__}:nested_dropout", input_shape=DIGITS, classes=10)
    assert not any(isinstance(layer, nn.Dropout) for layer in model.modules())
    assert [layer.p for layer in model.modules() if isinstance(layer, KeyedDropout)] == [0.2, 0.3]


def test_keyed_dropout_has_the_bits_of_nn_dropout_forward_and_backward():
    ours, theirs = KeyedDropout(0.1), nn.Dropout(0.1)
    ours.generator = torch.Generator().manual_seed(11)
    torch.manual_seed(11)
    for _ in range(3):
        x = torch.randn((4, 3, 5, 5), generator=torch.Generator().manual_seed(2), requires_grad=True)
        y = x.detach().clone().requires_grad_()
        kept, expected = ours(x), theirs(y)
        assert torch.equal(kept, expected)
        kept.square().sum().backward()
        expected.square().sum().backward()
        assert torch.equal(x.grad, y.grad)
    assert torch.equal(ours.generator.get_state(), torch.get_rng_state())


generator = torch.Generator().manual_seed(0)


def drawn(*shape):
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(("kernel", "bias"), [((3, 3), True), ((1, 1), False), ((5, 3), True)])
def test_result_and_gradients_are_those_of_conv2d(kernel, bias):
    x, weight = drawn(4, 3, 5, 2).requires_grad_(), drawn(6, 3, *kernel).requires_grad_()
    given = [x, weight, drawn(6).requires_grad_() if bias else None]
    ours = SameConvolution.apply(*given)
    expected = F.conv2d(*given, padding=(kernel[0] // 2, kernel[1] // 2))
    torch.testing.assert_close(ours, expected)
    leaves, direction = [t for t in given if t is not None], drawn(*expected.shape)
    for a, b in zip(*(torch.autograd.grad(y, leaves, direction) for y in (ours, expected)), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(
    ("images", "options", "replaced"),
    [
        ((2, 8, 2, 2), {"padding": 1}, True),
        ((64, 8, 2, 2), {"padding": 1}, False),  # more values than weights
        ((2, 8, 4, 4), {"padding": 1, "stride": 2}, False),
        ((2, 8, 4, 4), {"padding": 2, "dilation": 2}, False),
        ((2, 8, 4, 4), {}, False),
        ((2, 8, 2, 2), {"padding": 1, "groups": 2}, False),
    ],
)
def test_convolutions_of_few_values_alone_are_replaced(images, options, replaced, monkeypatch):
    calls, real = [], SameConvolution.apply
    monkeypatch.setattr(SameConvolution, "apply", lambda *given: (calls.append(1), real(*given))[1])
    layer = torch.nn.Conv2d(8, 8, 3, **options)
    x = drawn(*images).float()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16), ConvolutionsAsProducts():
        ours = layer(x)
    assert ours.dtype == torch.bfloat16
    assert bool(calls) == replaced
    exact = layer.double()(x.double())
    assert (ours - exact).norm() < 2.0**-6 * exact.norm()  # a few roundings of 2^-9 in quadrature
