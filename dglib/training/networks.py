"""The networks by name. Register your own so:

    @networks.register("mine")
    def mine(input_shape, classes, width):
        return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(input_shape), classes))

It must give logits (B, classes) for images (B, C, H, W), leave the images as they are, train all of its
parameters, and may use nn.Dropout but no other random layer. Each call must build a new module.
"""

import copy
import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from dglib.errors import UserError
from dglib.protocol.spec import InputShape
from dglib.training.registry import Registry, call


class KeyedDropout(nn.Module):
    """nn.Dropout with a generator: in the same generator state, the same mask bits on the CPU.

    p: probability that an element becomes 0, 0 <= p < 1; the others are divided by 1 - p.
    generator: set by key_dropout, on the device of the input. In eval mode, or with p = 0, the input is
    returned as it is and nothing is drawn. Raises RuntimeError in train mode without a generator.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"dropout probability = {p}: must be at least 0 and below 1")
        self.p = p
        self.generator: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        if self.generator is None:
            raise RuntimeError("KeyedDropout has no generator: call key_dropout(model, generator) to train")
        share = 1 - self.p
        return x * torch.empty_like(x).bernoulli_(share, generator=self.generator).div_(share)


def replace_dropout(module: nn.Module) -> None:
    """Replace every nn.Dropout below ``module`` by a KeyedDropout; subclasses are left alone."""
    for name, child in module.named_children():
        if type(child) is nn.Dropout:
            setattr(module, name, KeyedDropout(child.p))
        else:
            replace_dropout(child)


def key_dropout(model: nn.Module, generator: torch.Generator) -> None:
    """Let every KeyedDropout of ``model`` draw from ``generator``, which lies on the model's device."""
    for module in model.modules():
        if isinstance(module, KeyedDropout):
            module.generator = generator


NetworkFactory = Callable[[InputShape, int, float], nn.Module]
"""(input_shape, classes, width) -> module that maps (B, C, H, W) to logits (B, classes)."""

networks: Registry[NetworkFactory] = Registry("network")


def build_network(name: str, *, input_shape: InputShape, classes: int, width: float = 1.0) -> nn.Module:
    """Build the network ``name`` (registered, or ``module:attribute``) in train mode on the CPU.

    width: factor on the channel counts, > 0; the ResNets have 1 only. Initial weights come from torch's
    global generator, which the caller seeds. Every nn.Dropout is replaced by a KeyedDropout: call
    key_dropout before training.
    Raises UserError for an unknown name, a width that the network does not have, and a user's network that
    does not do what is stated above.
    """
    if not (math.isfinite(width) and width > 0):
        raise UserError(f"network_width = {width}: must be above 0")
    model = call(f"network {name!r} cannot be built", networks.get(name), input_shape, classes, width)
    if not isinstance(model, nn.Module):
        raise UserError(f"network {name!r} gives {type(model).__name__}: must be a torch.nn.Module")
    replace_dropout(model)
    if networks.is_own(name):
        _try_out(name, copy.deepcopy(model), input_shape, classes)
    return model.train()


def check_network(name: str, *, input_shape: InputShape, classes: int, width: float = 1.0) -> nn.Module:
    """Build a network and try it on two images; one of a user's is built twice.

    Raises:
        UserError: as `build_network`; or calls share parameters.
    """
    model = build_network(name, input_shape=input_shape, classes=classes, width=width)
    _try_out(name, model, input_shape, classes)
    if networks.is_own(name):
        again = build_network(name, input_shape=input_shape, classes=classes, width=width)
        if {id(p) for p in model.parameters()} & {id(p) for p in again.parameters()}:
            raise UserError(
                f"network {name!r} gives the same parameters at each call: must build a new module, or"
                " each seed would start from the weights that the one before has trained"
            )
    return model.train()


def _try_out(name: str, model: nn.Module, input_shape: InputShape, classes: int) -> None:
    """Run a network on two images, which moves BatchNorm's statistics and keys dropout."""
    key_dropout(model.train(), torch.Generator())
    parameters = dict(model.named_parameters())
    if not parameters or not all(p.requires_grad for p in parameters.values()):
        raise UserError(f"network {name!r} has parameters that are not trained: all must require a gradient")
    before = torch.get_rng_state()
    logits = _logits(name, model, input_shape, classes)
    if not torch.equal(before, torch.get_rng_state()):  # it could not be resumed bit for bit
        raise UserError(
            f"network {name!r} draws from torch's global generator in training: of the random layers only "
            "nn.Dropout can be used (no Dropout2d, F.dropout, RReLU, attention or RNN dropout)"
        )
    gradients = torch.autograd.grad(logits.square().sum(), list(parameters.values()), allow_unused=True)
    unused = [key for key, g in zip(parameters, gradients, strict=True) if g is None]
    if unused:
        raise UserError(f"network {name!r} does not use its parameters {', '.join(unused)}: must use all")
    with torch.no_grad():
        _logits(name, model.eval(), input_shape, classes)


def _logits(name: str, model: nn.Module, input_shape: InputShape, classes: int) -> Tensor:
    """Checked logits of two images."""
    images = torch.randn(2, *input_shape, generator=torch.Generator().manual_seed(0))
    given = images.clone()
    logits = call(f"network {name!r} fails on images of shape {input_shape}", model, given)
    if getattr(logits, "shape", None) != (2, classes):
        got = getattr(logits, "shape", type(logits))
        raise UserError(f"network {name!r} maps 2 images to {got}: must be logits of shape {(2, classes)}")
    if not (isinstance(logits, Tensor) and logits.is_floating_point() and bool(logits.isfinite().all())):
        kind = getattr(logits, "dtype", type(logits))
        raise UserError(f"network {name!r} gives {kind} that is not finite: must be finite floating logits")
    if model.training and not logits.requires_grad:
        raise UserError(f"network {name!r} gives logits without a gradient: must be made from its parameters")
    if not torch.equal(images, given):
        raise UserError(f"network {name!r} changes the images that it is given: must leave them as they are")
    return logits


@networks.register("resnet18")
def resnet18(input_shape: InputShape, classes: int, width: float) -> nn.Module:
    """torchvision's ResNet-18 for small images; 11,173,962 parameters for 3 channels and 10 classes."""
    return _cifar_resnet("resnet18", input_shape, classes, width)


@networks.register("resnet34")
def resnet34(input_shape: InputShape, classes: int, width: float) -> nn.Module:
    """torchvision's ResNet-34 for small images."""
    return _cifar_resnet("resnet34", input_shape, classes, width)


def _cifar_resnet(name: str, input_shape: InputShape, classes: int, width: float) -> nn.Module:
    from torchvision import models  # seconds to import, and needed here alone

    if width != 1:
        raise UserError(f"network_width = {width}: {name} has one width, 1")
    model: nn.Module = models.get_model(name, weights=None, num_classes=classes)
    # Replaced after construction, so with nn.Conv2d's default initialisation, unlike the others.
    model.conv1 = nn.Conv2d(input_shape[0], 64, 3, stride=1, padding=1, bias=False)
    model.maxpool = nn.Identity()
    return model


VGG11: Sequence[int | Literal["M"]] = (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M")


@networks.register("vgg11_bn")
def vgg11_bn(input_shape: InputShape, classes: int, width: float) -> nn.Module:
    """VGG11 with BatchNorm and one hidden linear layer with dropout 0.5, in PyTorch's initialisation.

    9,493,770 parameters for (3, 32, 32) and 10 classes. ``width`` also scales the hidden layer; a pool of
    images with a side of 1 pixel is left out.
    """
    channels, height, side = input_shape
    layers: list[nn.Module] = []
    for entry in VGG11:
        if entry != "M":
            layers += _conv(channels, _scaled(entry, width))
            channels = _scaled(entry, width)
        elif min(height, side) > 1:
            layers.append(nn.MaxPool2d(2))
            height, side = height // 2, side // 2
    hidden = _scaled(512, width)
    return nn.Sequential(
        *layers,
        nn.Flatten(),
        nn.Linear(channels * height * side, hidden),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5),
        nn.Linear(hidden, classes),
    )


@networks.register("small_cnn")
def small_cnn(input_shape: InputShape, classes: int, width: float) -> nn.Module:
    """Three 3×3 convolutions with BatchNorm, 16, 32 and, after a 2×2 max-pool, 64 channels; global mean."""
    first, second, third = (_scaled(channels, width) for channels in (16, 32, 64))
    return nn.Sequential(
        *_conv(input_shape[0], first),
        *_conv(first, second),
        nn.MaxPool2d(2),
        *_conv(second, third),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(third, classes),
    )


def _conv(channels_in: int, channels_out: int) -> list[nn.Module]:
    return [
        nn.Conv2d(channels_in, channels_out, 3, padding=1),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    ]


def _scaled(count: int, width: float) -> int:
    return max(1, round(count * width))
