"""The result of one evaluation, as plain numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Evaluation:
    """One pass over the test set in eval mode.

    Attributes:
        error: 1 − correct/total, 0 to 1.
        predicted: how often each class was predicted.
        finite: whether every logit was finite. If not, the argmax is no prediction and the error no error.
        metrics: every other number, by name; NaN where it is not known. A name that is added in
            `dglib.evaluate`, or registered there by a user, appears in records and tables by itself.
    """

    error: float
    predicted: tuple[int, ...]
    finite: bool
    metrics: Mapping[str, float] = field(default_factory=dict)
