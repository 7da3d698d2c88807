"""Functions compiled by torch.compile, with a way back where compiling fails."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar

import torch
from torch import Tensor

from dglib.numerics import Numerics
from dglib.state import TrainState
from dglib.step import BATCH_NORMS, batch_loss, gradient, way_back

P = ParamSpec("P")
R = TypeVar("R")


class Compiled(Generic[P, R]):
    """A pure function, compiled for each set of shapes and numbers; as it is once compiling has failed.

    What changes often must come as a 0-dim tensor: every number would be compiled anew.

    Attributes:
        fallback: why it runs as it is, or "".
    """

    def __init__(self, function: Callable[P, R], compiler: Callable[..., Any] = torch.compile) -> None:
        self.fallback = ""
        self._plain = function
        self._fast: Callable[P, R] = compiler(function, dynamic=False)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        if not self.fallback:
            try:
                return self._fast(*args, **kwargs)
            except Exception as error:  # whatever a compiler may raise; the plain way shows true mistakes
                self.fallback = _reason(error)
        return self._plain(*args, **kwargs)


class CompiledGradient:
    """`gradient` with its loss compiled, for each batch size and momentum of BatchNorm.

    A failure may come after the forward (the backward is compiled too), which has then moved BatchNorm's
    statistics and drawn dropout: the first call of a kind is taken back whole before it is run as it is.
    """

    def __init__(self, compiler: Callable[..., Any] = torch.compile) -> None:
        self.fallback = ""
        self._loss = compiler(batch_loss, dynamic=False)
        self._kinds: set[tuple[int, frozenset[float | None]]] = set()

    def __call__(
        self, state: TrainState, x: Tensor, labels: Tensor, numerics: Numerics
    ) -> tuple[list[Tensor], Tensor]:
        if self.fallback:
            return gradient(state, x, labels, numerics)
        kind = len(x), frozenset(m.momentum for m in state.model.modules() if isinstance(m, BATCH_NORMS))
        if kind in self._kinds:
            return gradient(state, x, labels, numerics, self._loss)
        put_back = way_back(state)
        try:
            with warnings.catch_warnings():  # the tracer looks at what comes before keyed dropout
                warnings.filterwarnings("ignore", message=r"The \.grad attribute of a Tensor")
                found = gradient(state, x, labels, numerics, self._loss)
        except Exception as error:
            put_back()
            self.fallback = _reason(error)
            return gradient(state, x, labels, numerics)
        self._kinds.add(kind)
        return found


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"torch.compile: {type(error).__name__}: {lines[0]}"
