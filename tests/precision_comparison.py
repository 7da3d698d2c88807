"""What two sides' records of T1, T2 and Tδ1 show: thresholds tested for equivalence, outcomes counted.

No difference found is not the same as equal: equal within a margin is shown only where the tests reject both
a difference of the margin or more upwards and one downwards (TOST; Schuirmann, J. Pharmacokinet. Biopharm. 15
(1987) 657). At 5 % each, that is the same as the 90 % interval of the difference lying within the margin.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import stdev
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


THRESHOLDS = {"T1": ("lambda_up", "collapsed", "λ↑"), "T2": ("lambda_down", "recovered", "λ↓")}
CLASSES = {
    "T1": ("collapsed", "no_event", "init_failed", "diverged"),
    "T2": ("recovered", "no_event", "init_failed", "diverged"),
    "Td1": ("trapped_90", "partial_collapse", "ordered", "diverged"),
}
TESTS = {"paired_t": paired_tost, "welch_t": welch_tost}
CENSORED_AT_MOST = 0.2  # as a share; with more, where the censored ones are put would decide


def levels(experiment: str, records: list[dict]) -> tuple[list[float | None], int]:
    """Each seed's threshold, and how many are censored.

    A seed that went through the sweep without an event counts as one level further (its threshold lies
    there or beyond); one that has none, having failed or diverged, is None.
    """
    field, flag, _ = THRESHOLDS[experiment]
    found: list[float | None] = []
    for record in records:
        sweep = record["parameters"]["sweep_lambdas"]
        if record["outcome"] == flag:
            found.append(record[field])
        elif record["outcome"] == "no_event":
            found.append(round(2 * sweep[-1] - sweep[-2], 9))
        else:
            found.append(None)
    return found, sum(record["outcome"] == "no_event" for record in records)


def compare_thresholds(experiment: str, first: list[dict], second: list[dict]) -> dict[str, Any]:
    """Tests of equivalence within one level; pairs where a side has no threshold are left out and counted."""
    sweep = first[0]["parameters"]["sweep_lambdas"]
    margin = round(abs(sweep[1] - sweep[0]), 9)
    (a, censored_a), (b, censored_b) = levels(experiment, first), levels(experiment, second)
    pairs = [(x, y) for x, y in zip(a, b, strict=True) if x is not None and y is not None]
    found: dict[str, Any] = {
        "margin": margin,
        "censored": [censored_a, censored_b],
        "pairs": len(pairs),
        "left_out": len(a) - len(pairs),
        "thresholds": [a, b],
        "histogram": [histogram(a), histogram(b)],
    }
    if len(pairs) < 3 or max(censored_a, censored_b) > CENSORED_AT_MOST * len(pairs):
        return {**found, "equivalent": False}
    x, y = zip(*pairs, strict=True)
    both_vary = len(set(x)) > 1 and len(set(y)) > 1
    tests = {name: test(x, y, margin) for name, test in TESTS.items()}
    return {
        **found,
        "mean": [round(sum(side) / len(pairs), 5) for side in (x, y)],
        "std": [round(stdev(side), 5) for side in (x, y)],
        "same_level": sum(p == q for p, q in pairs),
        "correlation_of_pairs": round(float(stats.pearsonr(x, y).statistic), 3) if both_vary else None,
        "tests": {name: test.as_dict() for name, test in tests.items()},
        "equivalent": all(test.shown for test in tests.values()),
    }


def histogram(values: list[float | None]) -> dict[str, int]:
    return {f"{level:g}": n for level, n in sorted(Counter(v for v in values if v is not None).items())}


def compare_outcomes(experiment: str, first: list[dict], second: list[dict]) -> dict[str, Any]:
    """For each outcome how often it came, and how many seeds ended alike on both sides."""
    a, b = [[record["outcome"] for record in side] for side in (first, second)]
    assert {*a, *b} <= set(CLASSES[experiment]), {*a, *b}
    counted = {
        name: compare_counts(a.count(name), len(a), b.count(name), len(b)) for name in CLASSES[experiment]
    }
    alike = sum(x == y for x, y in zip(a, b, strict=True))
    return {"outcomes": counted, "seeds_that_end_alike": alike}


def compare(first: dict[str, list[dict]], second: dict[str, list[dict]]) -> dict[str, Any]:
    """Everything that is compared of two sides' records by experiment."""
    found = {name: compare_thresholds(name, first[name], second[name]) for name in THRESHOLDS}
    for name in CLASSES:
        found[name] = found.get(name, {}) | compare_outcomes(name, first[name], second[name])
    return found


def verdict(name: str, reference: str, found: dict[str, Any]) -> list[str]:
    """What the numbers show, and what they do not."""
    lines = []
    for experiment, (_, _, symbol) in THRESHOLDS.items():
        part = found[experiment]
        seeds = f"{part['pairs']} pairs, {part['left_out']} left out, without an event {part['censored']}"
        if "tests" not in part:
            lines.append(f"{symbol}: not tested ({seeds}).")
            continue
        paired, shown = part["tests"]["paired_t"], [n for n, t in part["tests"].items() if t["within_margin"]]
        low, high = paired["interval_90"]
        lines.append(
            f"{symbol}: {name} less {reference} {paired['difference']:+.4f} (90 % interval {low:+.4f} to"
            f" {high:+.4f}; {seeds}): equivalence within one level ({part['margin']:g})"
            f" {'shown' if part['equivalent'] else 'not shown'} (shown by {', '.join(shown) or 'no test'})."
            + (" The interval leaves out 0: a small difference is likely." if low > 0 or high < 0 else "")
        )
    for experiment in CLASSES:
        for outcome, part in found[experiment]["outcomes"].items():
            if part["counts"] != [0, 0]:
                (k, m), (n_k, n_m) = part["counts"], part["of"]
                low, high = part["difference_interval_95"]
                lines.append(
                    f"{experiment} {outcome}: {k} of {n_k} ({reference}), {m} of {n_m} ({name}), Fisher's p ="
                    f" {part['fisher_p']:g}; the share may differ by {low:+.2f} to {high:+.2f} (95 %)."
                )
    return lines
