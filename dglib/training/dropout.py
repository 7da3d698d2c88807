"""Dropout that draws its masks from a generator of its own, so that its stream can be saved and resumed."""

import torch
from torch import Tensor, nn


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
        keep = 1 - self.p
        return x * torch.empty_like(x).bernoulli_(keep, generator=self.generator).div_(keep)

    def extra_repr(self) -> str:
        return f"p={self.p}"


def replace_dropout(module: nn.Module) -> None:
    """Put a KeyedDropout in the place of every nn.Dropout below ``module``; subclasses are left alone."""
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
