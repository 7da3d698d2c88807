"""Half-precision convolutions at float32's speed, for CPUs that have no half-precision units.

There torch computes a bf16 or fp16 convolution several times slower than a float32 one. Here are the same
numbers, but for the order of sums: operands rounded to half, products added in float32, results rounded to
half. That is what matrix units compute.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RoundedConvolution(torch.autograd.Function):
    """A 2d convolution whose operands, result and gradients are rounded to a half-precision type."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, layer: nn.Conv2d) -> Tensor:
        ctx.dtype, ctx.layer, ctx.x_dtype = torch.get_autocast_dtype("cpu"), layer, x.dtype
        x, weight = x.to(ctx.dtype), weight.to(ctx.dtype)
        ctx.save_for_backward(x, weight)
        with torch.autocast("cpu", enabled=False):
            b = None if bias is None else bias.to(ctx.dtype).float()
            y = F.conv2d(x.float(), weight.float(), b, layer.stride, layer.padding)
        return y.to(ctx.dtype)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        layer, with_bias = ctx.layer, ctx.layer.bias is not None
        wanted = [ctx.needs_input_grad[0], True, with_bias]
        sizes = [weight.shape[0]] if with_bias else None
        found = torch.ops.aten.convolution_backward(
            g.float(), x.float(), weight.float(), sizes, layer.stride, layer.padding, layer.dilation,
            False, [0, 0], 1, wanted,
        )  # fmt: skip
        rounded = [None if t is None else t.to(ctx.dtype) for t in found]
        return (
            None if rounded[0] is None else rounded[0].to(ctx.x_dtype),
            rounded[1].float(),
            None if rounded[2] is None else rounded[2].float(),
            None,
        )


@contextmanager
def rounded_convolutions() -> Iterator[None]:
    """Meanwhile every nn.Conv2d (of one group, without dilation) computes so under the CPU's autocast."""
    ordinary = nn.Conv2d._conv_forward

    def forward(layer: nn.Conv2d, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if not torch.is_autocast_enabled("cpu"):
            return ordinary(layer, x, weight, bias)
        assert (layer.groups, layer.dilation, layer.padding_mode) == (1, (1, 1), "zeros")
        return RoundedConvolution.apply(x, weight, bias, layer)

    nn.Conv2d._conv_forward = forward
    try:
        yield
    finally:
        nn.Conv2d._conv_forward = ordinary
