"""A stand-in for CUDA graphs that runs on a CPU and has their pitfalls.

A replay does the captured work again on the memory that it was given then, whatever the caller holds by now,
and overwrites the results of the replay before. On a GPU capturing runs nothing, and a replay follows it;
here the capture does that first replay's work.
"""

import torch


class Replaying:
    """A recorder for `dglib.training.graphs.StepRunner`; `captures` counts them."""

    def __init__(self):
        self.captures = 0

    def warm_up(self, function, *, last):
        return function()

    def capture(self, function, state, generators):
        self.captures += 1
        row, done = function(), [True]

        def replay():
            if done:
                done.clear()
                return
            value = function()
            if row is not None:
                with torch.no_grad():
                    row.copy_(value)

        return replay, row
