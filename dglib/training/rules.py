"""A user's mixing rule and value source: tried on random tensors before anything is written; their errors."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from dglib.errors import UserError
from dglib.protocol.spec import InputShape, StepSpec
from dglib.training.registry import call, definition, failed
from dglib.training.state import Gradient
from dglib.training.step import Batch, Number, mixes, values

LAMBDAS = (0.0, 0.3, 1.0)


def check_rules(
    step: StepSpec, params: Sequence[Tensor], input_shape: InputShape, classes: int, n_train: int
) -> None:
    """Try what is not dglib's own, a value source on batches of the sizes of training.

    Raises:
        UserError: it fails, or gives something that a step cannot use.
    """
    generator = torch.Generator().manual_seed(0)
    if mixes.is_own(step.mix):
        g_s, g_v = (Gradient([torch.randn(p.shape, generator=generator) for p in params]) for _ in "sv")
        for value in LAMBDAS:
            for lam in (value, torch.tensor(value, dtype=torch.float64)):  # a tensor in compiled steps
                _check_mix(step.mix, params, g_s, g_v, value, lam)
    if values.is_own(step.value):
        for size in dict.fromkeys((step.batch_size, n_train % step.batch_size or step.batch_size)):
            x = torch.rand(size, *input_shape, generator=generator)
            noisy, clean = (torch.randint(classes, (size,), generator=generator) for _ in "nc")
            _check_value(step.value, Batch(x, noisy, clean), classes)


def _check_mix(
    name: str, params: Sequence[Tensor], g_s: Gradient, g_v: Gradient, value: float, lam: Number
) -> None:
    kind = ", a 0-dim float64 tensor," if isinstance(lam, Tensor) else ""
    what = f"mix {name!r} at lam = {value:g}{kind}"
    before = [tensor.clone() for tensor in (*g_s, *g_v)]
    result = call(f"{what} fails", mixes.get(name), g_s, g_v, lam)
    if not isinstance(result, list | tuple):
        raise UserError(f"{what} gives {type(result).__name__}: must be a list of tensors, one per parameter")
    if len(result) != len(params):
        raise UserError(f"{what} gives {len(result)} tensors: must be {len(params)}, one per parameter")
    for number, (tensor, parameter) in enumerate(zip(result, params, strict=True)):
        if not isinstance(tensor, Tensor) or tensor.shape != parameter.shape or tensor.dtype != torch.float32:
            got = f"{tensor.dtype} {tuple(tensor.shape)}" if isinstance(tensor, Tensor) else repr(tensor)
            want = f"torch.float32 {tuple(parameter.shape)}"
            raise UserError(f"{what} gives {got} for parameter {number}: must be {want}")
        if not tensor.isfinite().all():
            raise UserError(f"{what} gives values that are not finite for parameter {number}, of finite ones")
    if not all(torch.equal(a, b) for a, b in zip((*g_s, *g_v), before, strict=True)):
        raise UserError(f"{what} changes the gradients that it is given: must give new tensors")
    if lam != value:
        raise UserError(f"{what} changes lam: must leave it as it is")


def _check_value(name: str, batch: Batch, classes: int) -> None:
    what = f"value {name!r}"
    before = [tensor.clone() for tensor in (batch.x, batch.noisy, batch.clean)]
    result = call(f"{what} fails", values.get(name), batch)
    if not all(map(torch.equal, (batch.x, batch.noisy, batch.clean), before)):
        raise UserError(f"{what} changes the batch that it is given: must give new tensors")
    if not (isinstance(result, tuple) and len(result) == 2 and all(isinstance(t, Tensor) for t in result)):
        raise UserError(f"{what} gives {type(result).__name__}: must be a pair of tensors, images and labels")
    x, labels = result
    if x.dtype != torch.float32 or x.shape[1:] != batch.x.shape[1:] or len(x) == 0:
        want = f"torch.float32 (n, {', '.join(map(str, batch.x.shape[1:]))}), n at least 1"
        raise UserError(f"{what} gives images {x.dtype} {tuple(x.shape)}: must be {want}")
    if not x.isfinite().all():
        raise UserError(f"{what} gives images that are not finite, of finite ones")
    indices = labels.dtype == torch.int64 and labels.shape == (len(x),)
    if not indices and not (labels.is_floating_point() and labels.shape == (len(x), classes)):
        want = f"torch.int64 ({len(x)},), or probabilities ({len(x)}, {classes})"
        raise UserError(f"{what} gives labels {labels.dtype} {tuple(labels.shape)}: must be {want}")
    if indices and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise UserError(f"{what} gives labels outside 0 to {classes - 1}")


@contextmanager
def naming(step: StepSpec) -> Iterator[None]:
    """An error in a user's rule becomes a UserError in one line that names it; others pass through.

    The step is not wrapped, so that it can be compiled and captured: the traceback has the rule.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raised_in = [frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__)]
        for kind, registry, name in (("mix", mixes, step.mix), ("value", values, step.value)):
            rule = definition(registry.get(name)) if registry.is_own(name) else None
            code = getattr(rule.__call__ if isinstance(rule, type) else rule, "__code__", None)
            if code is not None and code in raised_in:
                raise failed(f"{kind} {name!r} fails", error) from error
        raise
