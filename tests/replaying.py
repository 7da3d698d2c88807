"""A stand-in for CUDA graphs that runs on a CPU and has their pitfalls.

A replay does the captured work again on the places that it was given then, whatever the caller holds by now,
and overwrites the results of the replay before. On a GPU capturing runs nothing, and a replay follows it;
here the capture does that first replay's work.
"""

import torch


class Replaying:
    """A recorder for `dglib.pieces.Captured`; `captures` counts them."""

    def __init__(self):
        self.captures = 0

    def warm_up(self, function):
        return function()

    def capture(self, function, state):
        self.captures += 1
        places, done = function(), [True]

        def replay():
            if done:
                done.clear()
                return
            values = function()
            with torch.no_grad():
                for place, value in zip(_tensors(places), _tensors(values), strict=True):
                    place.copy_(value)

        return replay, places


def _tensors(found):
    if isinstance(found, torch.Tensor):
        return [found]
    return [] if found is None else [tensor for part in found for tensor in _tensors(part)]
