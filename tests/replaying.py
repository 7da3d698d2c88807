"""A substitute for CUDA graphs that runs on a CPU and has their pitfalls.

A replay does the captured work again on the memory that it was given then, whatever the caller holds by now,
and overwrites the results of the replay before. On a GPU capturing runs nothing, and a replay follows it;
here the capture does that first replay's work.
"""

import torch

from dglib.training.graphs import CapturedSteps
from dglib.training.step import step
from dglib.training.trainer import Trainer


class Replaying:
    """A recorder for `dglib.training.graphs.CapturedSteps`; `captures` counts them."""

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


def capture(trainer, recorder):
    """Have a trainer take captured steps."""
    trainer.step = CapturedSteps(step, recorder, trainer.data.clean.device)


class CapturingTrainer(Trainer):
    """A trainer whose steps are captured by a new `recorder()`."""

    recorder = Replaying

    def __init__(self, *given, **options):
        super().__init__(*given, **options)
        capture(self, self.recorder())
