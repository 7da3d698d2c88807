"""Convolutions as matrix products, for a CPU with bf16 matrix units (AMX).

oneDNN sums the gradient of a convolution's weights image by image. Where the weights outnumber the input, as
in the last layers of VGG11 and ResNet-18, that traffic takes several times as long as the arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode


class ConvolutionsAsProducts(TorchFunctionMode):
    """Within this context and autocast on the CPU, the convolutions that gain by it are matrix products."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        function = _conv2d if func is F.conv2d else func
        return function(*args, **(kwargs or {}))


def _conv2d(x: Tensor, weight: Tensor, bias: Tensor | None = None, *given: Any, **named: Any) -> Tensor:
    """As `F.conv2d`. A product where stride 1 and padding leave the images' size as it is, and the weights
    outnumber the input."""
    height, width = weight.shape[2:]
    plain = ((1, 1), (height // 2, width // 2), (1, 1), 1)  # stride, padding, dilation, groups
    odd = height % 2 == width % 2 == 1
    if named or given != plain or not odd or weight.numel() <= x.numel() or x.dim() != 4:
        return F.conv2d(x, weight, bias, *given, **named)
    dtype = torch.get_autocast_dtype("cpu")
    result: Tensor = SameConvolution.apply(
        x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
    )
    return result


class SameConvolution(torch.autograd.Function):
    """(x (B, C, H, W), weight (O, C, kh, kw) of odd kh and kw, bias (O,) or None) -> (B, O, H, W)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        batch, _, height, width = x.shape
        columns, kernel = _columns(x, weight), weight.permute(0, 2, 3, 1).flatten(1).t()
        y = columns @ kernel if bias is None else torch.addmm(bias, columns, kernel)
        return y.view(batch, height, width, -1).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        x, weight = ctx.saved_tensors
        outputs, inputs, kh, kw = weight.shape
        g_x = g_w = g_b = None
        if ctx.needs_input_grad[0]:
            kernel = weight.flip(2, 3).permute(2, 3, 0, 1).reshape(-1, inputs)
            g_x = (_columns(grad, weight) @ kernel).view(len(x), *x.shape[2:], inputs).permute(0, 3, 1, 2)
        rows = grad.permute(0, 2, 3, 1).reshape(-1, outputs)
        if ctx.needs_input_grad[1]:
            g_w = (rows.t() @ _columns(x, weight)).view(outputs, kh, kw, inputs).permute(0, 3, 1, 2)
        if ctx.needs_input_grad[2]:
            g_b = rows.sum(dim=0)
        return g_x, g_w, g_b


def _columns(images: Tensor, weight: Tensor) -> Tensor:
    """For each pixel the values under the kernel: (B, C, H, W) to (B·H·W, kh·kw·C), padded with zeros."""
    height, width = images.shape[2:]
    kh, kw = weight.shape[2:]
    padded = F.pad(images.permute(0, 2, 3, 1), (0, 0, kw // 2, kw // 2, kh // 2, kh // 2))
    shifted = [padded[:, i : i + height, j : j + width] for i in range(kh) for j in range(kw)]
    return torch.cat(shifted, dim=-1).view(-1, kh * kw * images.shape[1])
