"""One training step: two gradients on one batch, normalised, mixed, and handed to SGD.

Source: HIDEKI, Dual-Gradient Learning, Paper A (doi 10.5281/zenodo.18215925), the dual-gradient step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dglib.spec import StepSpec
from dglib.state import TrainState

EPS = 1e-12  # in the norms' denominators, as published

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@dataclass(frozen=True)
class Batch:
    """Network inputs (B, C, H, W) with noisy and clean labels, int64 (B,)."""

    x: Tensor
    noisy: Tensor
    clean: Tensor


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
    a = (1 - lam) / (total_norm(g_s) + EPS)
    b = lam / (total_norm(g_v) + EPS)
    return [a * s + b * v for s, v in zip(g_s, g_v, strict=True)]


def gradient(state: TrainState, x: Tensor, labels: Tensor) -> tuple[list[Tensor], Tensor]:
    """A forward in train mode and the gradient of the mean cross-entropy, with the loss (0-dim)."""
    loss = F.cross_entropy(state.model(x), labels)
    return list(torch.autograd.grad(loss, state.params)), loss.detach()


class StepKernel(Protocol):
    """Runs one step. The only seam for speed: λ, LR and t may change between calls without rebuilding."""

    def __call__(self, state: TrainState, batch: Batch, lam: float, lr: float) -> None: ...


class EagerKernel:
    """The step, operation by operation.

    Args:
        spec: refresh period, log cadence and how BatchNorm's statistics move.
        log: keep the epoch's losses and the step log in the state. Changes no weight, buffer or draw.
    """

    def __init__(self, spec: StepSpec, *, log: bool = True) -> None:
        self.spec = spec
        self.log = log

    def __call__(self, state: TrainState, batch: Batch, lam: float, lr: float) -> None:
        refresh = state.g_v is None or state.t % self.spec.refresh_period == 0

        # The second forward of a refresh moves the statistics a second time by itself.
        once_for_two = self.spec.two_pass_statistics and not refresh
        with _statistics_as_by_two_passes(state.model) if once_for_two else _as_they_are():
            g_s, loss_s = gradient(state, batch.x, batch.noisy)
        loss_v = None
        if refresh:
            state.g_v, loss_v = gradient(state, batch.x, batch.clean)
        assert state.g_v is not None
        g = mix(g_s, state.g_v, lam)

        if self.log:
            self._record(state, batch, g_s, g, loss_s, loss_v)

        for parameter, direction in zip(state.params, g, strict=True):
            parameter.grad = direction
        for group in state.optimizer.param_groups:
            group["lr"] = lr
        state.optimizer.step()
        state.t += 1

    def _record(
        self,
        state: TrainState,
        batch: Batch,
        g_s: list[Tensor],
        g: list[Tensor],
        loss_s: Tensor,
        loss_v: Tensor | None,
    ) -> None:
        """Add to the epoch's sums and, on a logging step, to the step log; nothing leaves the device."""
        state.loss_sums[0] += loss_s
        state.loss_sums[1] += 1
        if loss_v is not None:
            state.loss_sums[2] += loss_v
            state.loss_sums[3] += 1
        if self.spec.log_every == 0 or state.t % self.spec.log_every != 0:
            return
        g_v = state.g_v
        if loss_v is None:  # a stale g_v is held: the log wants one of this batch
            with _no_trace(state):
                g_v, loss_v = gradient(state, batch.x, batch.clean)
        assert g_v is not None
        norms = total_norm(g_s), total_norm(g_v), total_norm(g)
        c_sv = cosine(g_s, g_v, norms[0], norms[1])
        c_mc = cosine(g, g_v, norms[2], norms[1])
        state.step_log.append((state.t, torch.stack([c_sv, c_mc, *norms, loss_s, loss_v])))


def cosine(a: Sequence[Tensor], b: Sequence[Tensor], norm_a: Tensor, norm_b: Tensor) -> Tensor:
    """cos(a, b) over all parameters together, 0-dim, given both norms."""
    dot = torch.stack([(x * y).sum() for x, y in zip(a, b, strict=True)]).sum()
    return dot / ((norm_a + EPS) * (norm_b + EPS))


@contextmanager
def _as_they_are() -> Iterator[None]:
    yield


@contextmanager
def _statistics_as_by_two_passes(model: nn.Module) -> Iterator[None]:
    """BatchNorm's momentum m becomes 1 − (1 − m)²: one pass then moves the statistics as two would."""
    layers = [layer for layer in model.modules() if isinstance(layer, _BATCH_NORMS)]
    before = [layer.momentum for layer in layers]
    for layer, momentum in zip(layers, before, strict=True):
        assert momentum is not None, "a cumulative average (momentum None) has no two-pass form"
        layer.momentum = 1 - (1 - momentum) ** 2
    try:
        yield
    finally:
        for layer, momentum in zip(layers, before, strict=True):
            layer.momentum = momentum


@contextmanager
def _no_trace(state: TrainState) -> Iterator[None]:
    """Put back buffers and dropout generator afterwards: a logging pass must not be felt."""
    buffers = list(state.model.buffers())
    before = [buffer.clone() for buffer in buffers]
    dropout = state.dropout.get_state()
    try:
        yield
    finally:
        for buffer, value in zip(buffers, before, strict=True):
            buffer.copy_(value)
        state.dropout.set_state(dropout)
