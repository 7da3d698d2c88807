"""One training step: two gradients on one batch, normalised, mixed, and handed to SGD.

Source: HIDEKI, Dual-Gradient Learning, Paper A (doi 10.5281/zenodo.18215925), the dual-gradient step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dglib.numerics import Numerics
from dglib.state import TrainState

EPS = 1e-12  # in the norms' denominators, as published

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)

Weight = float | Tensor
LossFunction = Callable[[nn.Module, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Batch:
    """Network inputs (B, C, H, W) with noisy and clean labels, int64 (B,)."""

    x: Tensor
    noisy: Tensor
    clean: Tensor


class StepKernel(Protocol):
    """Runs one step. The only seam for speed: λ, LR and t may change between calls without rebuilding."""

    @property
    def fallback(self) -> str:
        """Why it is slower than it was asked to be, or ""."""

    def __call__(self, state: TrainState, batch: Batch, lam: float, lr: float) -> None: ...


def total_norm(tensors: Sequence[Tensor]) -> Tensor:
    """The Euclidean norm over all tensors together, 0-dim."""
    return torch.nn.utils.get_total_norm(tensors)


def mix(g_s: Sequence[Tensor], g_v: Sequence[Tensor], lam: float) -> list[Tensor]:
    """(1 − λ)·g_s/(‖g_s‖ + 1e-12) + λ·g_v/(‖g_v‖ + 1e-12), norms over all parameters together.

    Scale-free in each gradient. This order of arithmetic is the reference: two 0-dim coefficients, then
    tensor by tensor. It agrees with the same formula on flat vectors to about 1e-5.

    Args:
        g_s, g_v: structure and value gradient, one tensor per parameter.
        lam: the mixing coefficient λ, 0 to 1.
    """
    return weighted(g_s, g_v, 1 - lam, lam, total_norm(g_s), total_norm(g_v))


def weighted(
    g_s: Sequence[Tensor], g_v: Sequence[Tensor], w_s: Weight, w_v: Weight, n_s: Tensor, n_v: Tensor
) -> list[Tensor]:
    """The mix, given its weights (numbers or 0-dim float32 tensors, the same bits) and both norms."""
    a = (n_s + EPS).reciprocal() * w_s  # as torch divides a number by a tensor
    b = (n_v + EPS).reciprocal() * w_v
    mixed = torch._foreach_mul(tuple(g_s), a)
    torch._foreach_add_(mixed, torch._foreach_mul(tuple(g_v), b))
    return list(mixed)


def cosine(a: Sequence[Tensor], b: Sequence[Tensor], norm_a: Tensor, norm_b: Tensor) -> Tensor:
    """cos(a, b) over all parameters together, 0-dim, given both norms."""
    dot = torch.stack([product.sum() for product in torch._foreach_mul(tuple(a), tuple(b))]).sum()
    return dot / ((norm_a + EPS) * (norm_b + EPS))


def batch_loss(model: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
    """The mean cross-entropy of a batch, 0-dim float32, from float32 logits in every precision."""
    return F.cross_entropy(model(x).float(), labels)


def gradient(
    state: TrainState, x: Tensor, labels: Tensor, numerics: Numerics, loss_of: LossFunction = batch_loss
) -> tuple[list[Tensor], Tensor]:
    """A forward in train mode and the gradient of the mean cross-entropy, with the loss (0-dim).

    The gradient is `numerics.loss_scale` times too large; the mix does not feel it. Each tensor lies in
    memory as its parameter does, which fused kernels ask for.
    """
    with numerics.autocast():
        loss = loss_of(state.model, x, labels)
    scaled = loss if numerics.loss_scale == 1 else loss * numerics.loss_scale
    found = torch.autograd.grad(scaled, state.params)
    pairs = zip(found, state.params, strict=True)
    return [g if g.stride() == p.stride() else torch.empty_like(p).copy_(g) for g, p in pairs], loss.detach()


@contextmanager
def two_pass_statistics(model: nn.Module) -> Iterator[None]:
    """BatchNorm's momentum m becomes 1 − (1 − m)²: one pass then moves the statistics as two would."""
    layers = [layer for layer in model.modules() if isinstance(layer, BATCH_NORMS)]
    before = [layer.momentum for layer in layers]
    for layer, momentum in zip(layers, before, strict=True):
        assert momentum is not None, "a cumulative average (momentum None) has no two-pass form"
        layer.momentum = 1 - (1 - momentum) ** 2
    try:
        yield
    finally:
        for layer, momentum in zip(layers, before, strict=True):
            layer.momentum = momentum


def way_back(state: TrainState) -> Callable[[], None]:
    """What puts buffers and dropout generator back to where they are now."""
    buffers = list(state.model.buffers())
    before = [buffer.clone() for buffer in buffers]
    dropout = state.dropout.get_state()

    def put_back() -> None:
        for buffer, value in zip(buffers, before, strict=True):
            buffer.copy_(value)
        state.dropout.set_state(dropout)

    return put_back


@contextmanager
def no_trace(state: TrainState) -> Iterator[None]:
    """Put back buffers and dropout generator afterwards, as for a logging pass, which must not be felt."""
    put_back = way_back(state)
    try:
        yield
    finally:
        put_back()
