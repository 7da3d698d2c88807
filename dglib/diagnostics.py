"""What explains a trapped network: channels that have died, seen in passing while it is evaluated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def activity(model: nn.Module) -> Iterator[list[Tensor]]:
    """A list that each ReLU's forward adds to: per channel, bool (C,), whether any image activated it."""
    alive: list[Tensor] = []

    def look(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        alive.append((output > 0).transpose(0, 1).flatten(1).any(dim=1))  # (B, C, …) to (C,)

    handles = [m.register_forward_hook(look) for m in model.modules() if isinstance(m, nn.ReLU)]
    try:
        yield alive
    finally:
        for handle in handles:
            handle.remove()


def dead_share(alive: Sequence[Tensor], device: torch.device) -> Tensor:
    """Dead channels over all, 0-dim float64 on `device`; NaN for a network without ReLU modules."""
    if not alive:
        return torch.full((), float("nan"), dtype=torch.float64, device=device)
    return 1 - torch.cat(list(alive)).double().mean()
