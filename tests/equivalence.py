"""Are two sides equal enough? Two one-sided tests on means, and counts of outcomes.

No difference found is not the same as equal: equal within a margin is shown only where the tests reject both
a difference of the margin or more upwards and one downwards (TOST; Schuirmann, J. Pharmacokinet. Biopharm. 15
(1987) 657). At 5 % each, that is the same as the 90 % interval of the difference lying within the margin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from dglib.analysis.intervals import clopper_pearson, newcombe_difference

ALPHA = 0.05


@dataclass(frozen=True)
class Equivalence:
    """A location's difference, second less first, against a margin.

    Attributes:
        interval: of the difference, at 1 - 2 · ALPHA.
        p: the larger p-value of the two one-sided tests.
    """

    difference: float
    interval: tuple[float, float]
    p: float
    margin: float

    @property
    def shown(self) -> bool:
        """Whether the difference is smaller than the margin, at a risk of ALPHA to be wrong."""
        return self.p < ALPHA

    def as_dict(self) -> dict[str, Any]:
        return {
            "difference": round(self.difference, 6),
            "interval_90": [round(end, 6) for end in self.interval],
            "p": float(f"{self.p:.3g}"),
            "within_margin": self.shown,
        }


def paired_tost(first: Sequence[float], second: Sequence[float], margin: float) -> Equivalence:
    """Student's tests on the differences of pairs. Exact for normal differences."""
    d = np.subtract(second, first)
    if np.ptp(d) < 1e-12:  # no spread, no t
        return _certain(float(d[0]), margin)
    interval = stats.ttest_1samp(d, 0).confidence_interval(1 - 2 * ALPHA)
    above = stats.ttest_1samp(d, -margin, alternative="greater").pvalue
    below = stats.ttest_1samp(d, margin, alternative="less").pvalue
    return Equivalence(float(d.mean()), _ends(interval), float(max(above, below)), margin)


def welch_tost(first: Sequence[float], second: Sequence[float], margin: float) -> Equivalence:
    """Welch's tests on two independent samples of unequal spread."""
    a, b = np.asarray(first, float), np.asarray(second, float)
    difference = float(b.mean() - a.mean())
    if np.ptp(a) < 1e-12 and np.ptp(b) < 1e-12:
        return _certain(difference, margin)
    interval = stats.ttest_ind(b, a, equal_var=False).confidence_interval(1 - 2 * ALPHA)
    above = stats.ttest_ind(b + margin, a, equal_var=False, alternative="greater").pvalue
    below = stats.ttest_ind(b - margin, a, equal_var=False, alternative="less").pvalue
    return Equivalence(difference, _ends(interval), float(max(above, below)), margin)


def compare_counts(first: int, n_first: int, second: int, n_second: int) -> dict[str, Any]:
    """How often an outcome came on each side: exact intervals of the shares, Newcombe's of their difference
    (second less first), at 95 %, and Fisher's exact p-value (two-sided) of no difference."""
    table = [[first, n_first - first], [second, n_second - second]]
    difference = newcombe_difference(second, n_second, first, n_first)
    return {
        "counts": [first, second],
        "of": [n_first, n_second],
        "intervals_95": [_plain(clopper_pearson(k, n)) for k, n in ((first, n_first), (second, n_second))],
        "difference": round(second / n_second - first / n_first, 4) if n_first and n_second else None,
        "difference_interval_95": _plain(difference),
        "fisher_p": float(f"{stats.fisher_exact(table).pvalue:.3g}"),
    }


def _certain(difference: float, margin: float) -> Equivalence:
    return Equivalence(difference, (difference, difference), float(abs(difference) >= margin - 1e-12), margin)


def _ends(interval: Any) -> tuple[float, float]:
    return float(interval.low), float(interval.high)


def _plain(interval: Any) -> list[float]:
    return [round(interval.lower, 4), round(interval.upper, 4)]
