"""Substitutes for CUDA graphs on a CPU, as recorders for `dglib.training.graphs.Captured`.

On a GPU capturing runs nothing, and a replay follows it; here the capture does that first replay's work.
"""

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dglib.training.trainer import Trainer


class Replaying:
    """Calls the captured function again, and overwrites the results of the call before; `captures` counts."""

    def __init__(self):
        self.captures = 0

    def warm_up(self, function, *, last):
        return function()

    def capture(self, function, state):
        self.captures += 1
        again, result = self.recorded(function)
        done = [True]

        def replay():
            done.clear() if done else again()

        return replay, result

    def recorded(self, function):
        result = function()

        def again():
            value = function()
            if result is not None:
                with torch.no_grad():
                    result.copy_(value)

        return again, result


class Recording(Replaying):
    """Does the captured operations again on the tensors of the capture, as a CUDA graph does.

    So whatever Python decided, read or looked up in the capture stays as it was then: numbers, branches, and
    which memory is read and written. A number that is read from a tensor fails the capture.
    """

    def recorded(self, function):
        with Operations() as operations:
            result = function()
        return operations.repeat, result


class Operations(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.recorded = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        if operation is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("a number is read from a tensor inside a capture")
        kwargs = kwargs or {}
        result = operation(*args, **kwargs)
        given = {t.untyped_storage()._cdata for t in tensors((args, kwargs))}
        new = [t.untyped_storage()._cdata not in given for t in tensors(result)]
        views = new and not any(new) and not operation._schema.is_mutable
        if not views:  # a view shows what its memory holds by then
            self.recorded.append((operation, args, kwargs, tensors(result), new))
        return result

    @torch.no_grad()
    def repeat(self):
        for operation, args, kwargs, results, new in self.recorded:
            again = tensors(operation(*args, **kwargs))
            for one, other, is_new in zip(results, again, new, strict=True):
                if is_new:
                    one.copy_(other)


def tensors(tree):
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


class CapturingTrainer(Trainer):
    """A trainer whose steps and evaluations are captured by a new `recorder()`."""

    recorder = Recording

    def __init__(self, *given, **options):
        super().__init__(*given, **options)
        self.capture(self.recorder())
