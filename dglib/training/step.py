"""One training step: two gradients on one batch, normalised, mixed, and applied by SGD.

`step` and the `update` at its end are the whole of it. The rule that mixes the gradients and the labels
behind the value gradient are registered by name. Register your own so:

    @dglib.mixes.register("average")
    def average(g_s, g_v, lam):
        return [(1 - lam) * s + lam * v for s, v in zip(g_s, g_v)]

Source: HIDEKI, Dual-Gradient Learning, Paper A (doi 10.5281/zenodo.18215925), the dual-gradient step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.sgd import sgd  # not torch.optim.SGD, whose first use imports torch._dynamo for seconds

from dglib.protocol.spec import StepSpec
from dglib.training.networks import key_dropout
from dglib.training.numerics import Numerics
from dglib.training.registry import Registry
from dglib.training.state import LOST_AT_MOST, Gradient, TrainState

EPS = 1e-12  # in the norms' denominators, as published

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@dataclass(frozen=True)
class Batch:
    """Network inputs (B, C, H, W) with noisy and clean labels, int64 (B,)."""

    x: Tensor
    noisy: Tensor
    clean: Tensor


Number = float | Tensor  # a tensor is 0-dim: float64 for λ, float32 for the learning rate
MixingRule = Callable[[Sequence[Tensor], Sequence[Tensor], Number], list[Tensor]]
"""(g_s, g_v, lam) -> the direction, one float32 tensor per parameter. Leaves g_s and g_v as they are."""
ValueSource = Callable[[Batch], tuple[Tensor, Tensor]]
"""batch -> (images, labels) whose mean cross-entropy has the value gradient; labels as F.cross_entropy's."""
UpdateFunction = Callable[[TrainState, "Method", Gradient, Gradient | None, Number, Number], list[Tensor]]
LossFunction = Callable[[nn.Module, Tensor, Tensor], Tensor]

mixes: Registry[MixingRule] = Registry("mixing rule")
values: Registry[ValueSource] = Registry("value source")


def total_norm(tensors: Sequence[Tensor]) -> Tensor:
    """The Euclidean norm over all tensors together, 0-dim."""
    return tensors.norm if isinstance(tensors, Gradient) else torch.nn.utils.get_total_norm(tensors)


@mixes.register("normalised")
def mix(g_s: Sequence[Tensor], g_v: Sequence[Tensor], lam: Number) -> list[Tensor]:
    """(1 − λ)·g_s/(‖g_s‖ + 1e-12) + λ·g_v/(‖g_v‖ + 1e-12), norms over all parameters together.

    Scale-free in each gradient. This order of arithmetic is the reference: two 0-dim coefficients, then
    tensor by tensor. It agrees with the same formula on flat vectors to about 1e-5.

    Args:
        g_s, g_v: structure and value gradient, one tensor per parameter.
        lam: the mixing coefficient λ, 0 to 1.
    """
    w_s, w_v = 1 - lam, lam
    if isinstance(w_s, Tensor) and isinstance(w_v, Tensor):
        w_s, w_v = w_s.float(), w_v.float()  # as torch rounds a number
    a = (total_norm(g_s) + EPS).reciprocal() * w_s  # as torch divides a number by a tensor
    b = (total_norm(g_v) + EPS).reciprocal() * w_v
    return [(s * a).add_(v * b) for s, v in zip(g_s, g_v, strict=True)]


@values.register("clean")
def clean(batch: Batch) -> tuple[Tensor, Tensor]:
    """The same images under their clean labels."""
    return batch.x, batch.clean


@dataclass(frozen=True, eq=False)
class Method:
    """What stays the same from step to step.

    Attributes:
        spec: how BatchNorm's statistics move, momentum and weight decay.
        numerics: precision and techniques.
        mix, value: the mixing rule, and the source of the value gradient's images and labels.
        gradient: of a batch's images and labels, with the loss.
        update: the part of a step behind the gradients, `update` or that function compiled.
    """

    spec: StepSpec
    numerics: Numerics
    mix: MixingRule
    value: ValueSource
    gradient: Callable[[TrainState, Tensor, Tensor, Numerics], Gradient]
    update: UpdateFunction

    @classmethod
    def of(cls, spec: StepSpec, numerics: Numerics) -> Method:
        """The method that a specification names."""
        return cls(spec, numerics, mixes.get(spec.mix), values.get(spec.value), gradient, update)


def step(
    state: TrainState,
    batch: Batch,
    lam: Number,
    lr: Number,
    method: Method,
    refresh: bool,
    logged: bool,
) -> Tensor | None:
    """Take one step. Returns a logged step's row: c_sv, c_mc, ‖g_s‖, ‖g_v‖, ‖g‖, loss_s, loss_v.

    A step whose structure gradient, or at a refresh value gradient, is not finite is skipped: it moves no
    weight and no momentum, and is counted in the state. What its forwards did to BatchNorm's statistics
    stays: a network that overflows shows at its evaluation. A lost value gradient costs that step alone: the
    last finite one stays held until the next refresh. After more than `LOST_AT_MOST` in a row every step is
    skipped until one is finite. Nothing leaves the device.

    Args:
        lam: the mixing coefficient λ, 0 to 1.
        refresh: compute the value gradient anew; required while none is held.
        logged: return a row.
    """
    spec, numerics = method.spec, method.numerics

    # The gradients. The second forward of a refresh moves BatchNorm's statistics a second time by itself.
    once_for_two = spec.two_pass_statistics and not refresh
    with two_pass_statistics(state.model) if once_for_two else nullcontext():
        g_s = method.gradient(state, batch.x, batch.noisy, numerics)
    fresh = method.gradient(state, *method.value(batch), numerics) if refresh else None
    if fresh is not None and state.g_v is None:
        state.hold(fresh)

    # The log's value gradient is one of this batch, at the weights before the descent.
    logged_v = fresh
    if logged and fresh is None:
        with no_trace(state, state.log_dropout):
            logged_v = method.gradient(state, *method.value(batch), numerics)

    direction = method.update(state, method, g_s, fresh, lam, lr)
    if not logged or logged_v is None:
        return None
    g = Gradient(direction)
    norms = g_s.norm, logged_v.norm, g.norm
    return torch.stack([cosine(g_s, logged_v), cosine(g, logged_v), *norms, g_s.loss, logged_v.loss])


def update(
    state: TrainState,
    method: Method,
    g_s: Gradient,
    fresh: Gradient | None,
    lam: Number,
    lr: Number,
) -> list[Tensor]:
    """The part of a step behind the gradients: mix, tally, descent. Returns the direction."""
    spec, numerics = method.spec, method.numerics

    # The mix.
    if fresh is not None:
        state.renew(fresh)
    assert state.g_v is not None
    g = in_layout_of(state.params, method.mix(g_s, state.g_v, lam))

    # The tally. Of a refresh the new norm counts, which may be lost, and not the one held.
    norm_v = state.g_v.norm if fresh is None else fresh.norm
    finite = torch.isfinite(g_s.norm + norm_v) & (state.lost <= LOST_AT_MOST)
    loss_s, steps, loss_v, refreshes, skipped, c_sv = state.sums.unbind()
    skipped.add_(~finite)
    loss_s.add_(g_s.loss.masked_fill(~finite, 0.0))
    steps.add_(1)
    if fresh is not None:
        loss_v.add_(fresh.loss.masked_fill(~finite, 0.0))
        refreshes.add_(finite)
        c_sv.add_(cosine(g_s, fresh).masked_fill(~finite, 0.0))

    # The descent. A fused kernel sees by itself whether the step is finite; on a CPU asking costs nothing.
    # Unfused on a GPU, asking would wait for the device, so an undone step is put back instead; likewise in
    # compiled code, which is fused anyway.
    compiling = torch.compiler.is_compiling()
    fused = numerics.fused and not compiling
    on_host = not fused and not compiling and state.device.type == "cpu"
    if not on_host or finite:
        with torch.no_grad():
            undoable = [] if fused or on_host else [*state.params, *state.momentum()]
            before = [tensor.clone() for tensor in undoable]
            sgd(
                list(state.params),
                g,
                list(state.momentum_buffers),
                foreach=compiling,
                fused=fused,
                found_inf=(~finite).float() if fused else None,
                weight_decay=spec.weight_decay,
                momentum=spec.momentum,
                lr=lr,
                dampening=0.0,
                nesterov=False,
                maximize=False,
            )
            for tensor, old in zip(undoable, before, strict=True):
                torch.where(finite, tensor, old, out=tensor)
    return g


BatchFunction = Callable[[TrainState, Number, int, Sequence[Number], tuple[bool, ...]], Tensor | None]
"""(state, start, size, numbers, kind): on so many images from `start` on. The numbers change from call to
call; there are few kinds."""


def batch_loss(model: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
    """The mean cross-entropy of a batch, 0-dim float32, from float32 logits in every precision."""
    return F.cross_entropy(model(x).float(), labels)


def gradient(
    state: TrainState, x: Tensor, labels: Tensor, numerics: Numerics, loss_of: LossFunction = batch_loss
) -> Gradient:
    """A forward in train mode and the gradient of the mean cross-entropy, with the loss.

    The backward pass runs at `numerics.loss_scale`, which the float32 gradient is divided by: a power of two,
    so that this rounds nothing.
    """
    with numerics.autocast():
        loss = loss_of(state.model, x, labels)
    scale = numerics.loss_scale
    tensors = torch.autograd.grad(loss if scale == 1 else loss * scale, state.params)
    if scale != 1:
        tensors = torch._foreach_mul(tensors, 1 / scale)
    result = Gradient(in_layout_of(state.params, tensors))
    result.loss = loss.detach()
    return result


def in_layout_of(params: Sequence[Tensor], tensors: Sequence[Tensor]) -> list[Tensor]:
    """Each tensor with the strides of its parameter, which fused kernels require."""
    pairs = zip(tensors, params, strict=True)
    return [t if t.stride() == p.stride() else torch.empty_like(p).copy_(t) for t, p in pairs]


def cosine(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """cos(a, b) over all parameters together, 0-dim."""
    dot = torch.stack([product.sum() for product in torch._foreach_mul(tuple(a), tuple(b))]).sum()
    return dot / ((total_norm(a) + EPS) * (total_norm(b) + EPS))


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


@contextmanager
def no_trace(state: TrainState, generator: torch.Generator | None = None) -> Iterator[None]:
    """A pass that leaves buffers and the dropout generator as they are.

    Args:
        generator: draws the masks meanwhile; by default the state's own, set back afterwards.
    """
    buffers = list(state.model.buffers())
    before = [buffer.clone() for buffer in buffers]
    draws = state.dropout.get_state() if generator is None else None
    if generator is not None:
        key_dropout(state.model, generator)
    try:
        yield
    finally:
        for buffer, value in zip(buffers, before, strict=True):
            buffer.copy_(value)
        if draws is not None:
            state.dropout.set_state(draws)
        else:
            key_dropout(state.model, state.dropout)
