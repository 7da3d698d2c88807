"""A stand-in for CUDA graphs that runs on a CPU and has their pitfalls.

Capturing runs nothing that lasts; a replay does the captured work again on the places that it was given then,
whatever the caller holds by now, and overwrites the results of the replay before.
"""

import torch

from dglib.step import no_trace


class Replaying:
    """A recorder for `dglib.pieces.Captured`; `captures` counts them."""

    def __init__(self):
        self.captures = 0
        self.state = None

    def prepare(self, state):
        self.state = state

    def warm_up(self, function):
        return function()

    def capture(self, function, state):
        assert state is self.state
        self.captures += 1
        with no_trace(state), _weights_kept(state):
            places = function()

        def replay():
            values = function()
            with torch.no_grad():
                for place, value in zip(_tensors(places), _tensors(values), strict=True):
                    place.copy_(value)

        return replay, places


class _weights_kept:  # noqa: N801
    def __init__(self, state):
        self.tensors = [*state.params, *state.momentum()]

    def __enter__(self):
        self.before = [tensor.detach().clone() for tensor in self.tensors]

    def __exit__(self, *_):
        with torch.no_grad():
            for tensor, value in zip(self.tensors, self.before, strict=True):
                tensor.copy_(value)


def _tensors(found):
    if isinstance(found, torch.Tensor):
        return [found]
    return [] if found is None else [tensor for part in found for tensor in _tensors(part)]
