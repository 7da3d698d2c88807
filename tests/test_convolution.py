"""Convolutions as matrix products, against torch's own in double."""

import pytest
import torch
import torch.nn.functional as F

from dglib.training.convolution import ConvolutionsAsProducts, SameConvolution

generator = torch.Generator().manual_seed(0)


def drawn(*shape):
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("kernel", [(3, 3), (1, 1), (5, 3)])
@pytest.mark.parametrize("bias", [True, False])
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
