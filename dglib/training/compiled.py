"""Parts of the step compiled by torch.compile, which run as they are where compiling fails."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar

import torch
from torch import Tensor

from dglib.training.numerics import Numerics
from dglib.training.state import TrainState
from dglib.training.step import BATCH_NORMS, Gradient, batch_loss, gradient, undo_of_forward

P = ParamSpec("P")
R = TypeVar("R")


class Compiled(Generic[P, R]):
    """A pure function, compiled for each set of shapes and numbers; as it is once compiling has failed.

    What changes often must come as a 0-dim tensor: every number would be compiled anew.

    Attributes:
        fallback: why it runs as it is, or "".
    """

    def __init__(self, function: Callable[P, R], compiler: Callable[..., Any] | None = None) -> None:
        self.fallback = ""
        self._plain = function
        self._fast: Callable[P, R] = (compiler or torch.compile)(function, dynamic=False)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        if not self.fallback:
            try:
                return self._fast(*args, **kwargs)
            except Exception as error:  # whatever a compiler may raise; a true mistake is raised again below
                self.fallback = _reason(error)
        return self._plain(*args, **kwargs)


class CompiledGradient:
    """`gradient` with its loss compiled, for each batch size and momentum of BatchNorm.

    A failure may come after the forward (the backward is compiled too), which has then moved BatchNorm's
    statistics and drawn dropout: the first call of a kind is undone before it is run as it is.
    """

    def __init__(self, compiler: Callable[..., Any] | None = None) -> None:
        self.fallback = ""
        self._loss = (compiler or torch.compile)(batch_loss, dynamic=False)
        self._kinds: set[tuple[int, frozenset[float | None]]] = set()

    def __call__(
        self, state: TrainState, x: Tensor, labels: Tensor, numerics: Numerics
    ) -> tuple[Gradient, Tensor]:
        if self.fallback:
            return gradient(state, x, labels, numerics)
        kind = len(x), frozenset(m.momentum for m in state.model.modules() if isinstance(m, BATCH_NORMS))
        if kind in self._kinds:
            return gradient(state, x, labels, numerics, self._loss)
        undo = undo_of_forward(state)
        try:
            with warnings.catch_warnings():  # the tracer looks at what comes before keyed dropout
                warnings.filterwarnings("ignore", message=r"The \.grad attribute of a Tensor")
                result = gradient(state, x, labels, numerics, self._loss)
        except Exception as error:
            undo()
            self.fallback = _reason(error)
            return gradient(state, x, labels, numerics)
        self._kinds.add(kind)
        return result


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"torch.compile: {type(error).__name__}: {lines[0]}"
