import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import models

from dglib.errors import UserError
from dglib.training.networks import KeyedDropout, build_network, networks

CIFAR = (3, 32, 32)
DIGITS = (1, 8, 8)


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def images(shape: tuple[int, int, int], n: int = 3) -> Tensor:
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(1))


def plain_resnet18() -> nn.Module:
    model = models.resnet18(weights=None, num_classes=10)
    model.conv1 = nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=1, bias=False)
    model.maxpool = nn.Identity()
    return model


def plain_vgg11_bn() -> nn.Module:
    def block(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]

    return nn.Sequential(
        *block(3, 64),
        nn.MaxPool2d(2),
        *block(64, 128),
        nn.MaxPool2d(2),
        *block(128, 256),
        *block(256, 256),
        nn.MaxPool2d(2),
        *block(256, 512),
        *block(512, 512),
        nn.MaxPool2d(2),
        *block(512, 512),
        *block(512, 512),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(512, 512),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(512, 10),
    )


@pytest.mark.parametrize(
    ("name", "shape", "parameters"),
    [
        ("resnet34", CIFAR, 21_282_122),
        ("small_cnn", DIGITS, 24_170),
    ],
)
def test_parameter_counts(name, shape, parameters):
    assert count(build_network(name, input_shape=shape, classes=10)) == parameters


@pytest.mark.parametrize(("name", "plain"), [("resnet18", plain_resnet18), ("vgg11_bn", plain_vgg11_bn)])
def test_a_seed_gives_the_weights_and_logits_of_the_network_written_out(name, plain):
    torch.manual_seed(3)
    ours = build_network(name, input_shape=CIFAR, classes=10)
    torch.manual_seed(3)
    theirs = plain()
    assert same_weights(ours, theirs)
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
    assert all(
        layer.num_batches_tracked == 0 for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)
    )


# One's own network: a factory in a module, here this one.


class Functional(nn.Module):
    """Logits from a linear layer, after what ``middle`` does to the flat image."""

    def __init__(self, input_shape, classes, middle):
        super().__init__()
        channels, height, width = input_shape
        self.linear = nn.Linear(channels * height * width, classes)
        self.middle = middle

    def forward(self, x):
        return self.linear(self.middle(x.flatten(1)))


def nested_dropout(input_shape, classes, width):
    inner = nn.Sequential(nn.Dropout(0.2), nn.Sequential(nn.Dropout(0.3, inplace=True)))
    return Functional(input_shape, classes, inner)


def functional_dropout(input_shape, classes, width):
    return Functional(input_shape, classes, lambda x: F.dropout(x, 0.5))


def build_own(factory) -> nn.Module:
    return build_network(f"{__name__}:{factory.__name__}", input_shape=DIGITS, classes=10)


def test_every_dropout_of_a_users_network_is_keyed_with_its_probability():
    model = build_own(nested_dropout)
    assert not any(isinstance(layer, nn.Dropout) for layer in model.modules())
    assert [layer.p for layer in model.modules() if isinstance(layer, KeyedDropout)] == [0.2, 0.3]


def test_a_network_that_draws_from_the_global_generator_is_refused():
    with pytest.raises(UserError, match="draws from torch's global generator"):
        build_own(functional_dropout)


# Dropout


@pytest.mark.parametrize(("p", "shape"), [(0.5, (64, 33)), (0.1, (4, 3, 5, 5))])
def test_keyed_dropout_has_the_bits_of_nn_dropout_forward_and_backward(p, shape):
    ours, theirs = KeyedDropout(p), nn.Dropout(p)
    ours.generator = torch.Generator().manual_seed(11)
    torch.manual_seed(11)
    for _ in range(3):
        x = torch.randn(shape, generator=torch.Generator().manual_seed(2), requires_grad=True)
        y = x.detach().clone().requires_grad_()
        kept, expected = ours(x), theirs(y)
        assert torch.equal(kept, expected)
        kept.square().sum().backward()
        expected.square().sum().backward()
        assert torch.equal(x.grad, y.grad)
    assert torch.equal(ours.generator.get_state(), torch.get_rng_state())
