"""The result of one evaluation, as plain numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Evaluation:
    """One pass over the test set in eval mode.

    Attributes:
        error: 1 − correct/total, 0 to 1.
        loss: mean cross-entropy.
        predicted: how often each class was predicted.
        finite: whether every logit was finite. If not, the argmax is no prediction and the error no error.
        dead_channels: share of the channels behind ReLUs that none of the first batch's images activated,
            0 to 1; NaN for a network without ReLU modules.
    """

    error: float
    loss: float
    predicted: tuple[int, ...]
    finite: bool
    dead_channels: float = float("nan")
