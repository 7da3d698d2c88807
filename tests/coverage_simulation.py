"""Simulate how often each interval of the analysis holds a known truth, and how long it is.

    python tests/coverage_simulation.py

Writes tests/results/interval_coverage.md; the generators' seeds are fixed, so the table comes out the same.
Rows without a Monte-Carlo error are enumerated exactly.
"""

import argparse
import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from dglib.analysis.intervals import (
    Bounds,
    Interval,
    clopper_pearson_undecided,
    median_interval,
    newcombe_difference,
)
from dglib.analysis.thresholds import Rule, cell, detect
from dglib.experiments.branches.summary import gap_interval

TABLE = Path(__file__).parent / "results" / "interval_coverage.md"
REPLICATES = 3000
SHARES = np.linspace(0.01, 0.99, 99)
GRID = np.round(np.arange(0.40, 0.701, 0.05), 2)  # levels of the simulated sweeps
Outcome = tuple[bool, Sequence[float]]  # whether all held, and the lengths, infinite where open


NOT_BELOW = 3.0  # Monte-Carlo errors by which a coverage may lie below nominal and still be said to hold
READING = """
What lies below nominal, and what follows from it:

- The t interval is exact for normal gaps. Of skewed ones it covers less, and of two states mixed much
  less: that is why seeds that began the collapse branch trapped are apart from those that began it
  collapsed.
- Newcombe's interval is near nominal on average over shares, and below it for single ones.

What lies above nominal, and why it stays so:

- The interval of a median threshold is never narrower than a cell, which is a step of the sweep
  wide (0.05 here), so it covers more than nominal, with 30 seeds too. Levels that lie closer would
  shorten it; so would an assumption on where in its cell a threshold lies, which is not made.
- With undecided seeds the interval of a share holds whatever their outcome. The price is its length;
  a shorter one would need the reason why they were cut short.
"""


@dataclass(frozen=True)
class Row:
    """A line of the table: see `text`. `error`: None where the coverage is exact."""

    interval: str
    case: str
    n: int
    nominal: float
    coverage: float
    error: float | None
    length: float | None
    open: float = 0.0

    @property
    def cells(self) -> list[str]:
        """The columns after `nominal`."""
        error = "exact" if self.error is None else f"{self.error:.4f}"
        length = "–" if self.length is None else f"{self.length:.3f}"
        excess = f"{self.coverage - self.nominal:+.4f}"
        return [f"{self.coverage:.4f}", excess, error, length, f"{self.open:.2f}", self.verdict]

    @property
    def verdict(self) -> str:
        return (
            "holds"
            if self.coverage >= self.nominal - NOT_BELOW * (self.error or 0) - 1e-9
            else "**below nominal**"
        )


def text(rows: list[Row], count: int) -> str:
    lines = [
        "# Coverage of the intervals",
        "",
        f"Made by `python tests/coverage_simulation.py`: {count} replicates a row with a Monte-Carlo error",
        "(at the nominal coverage), the others enumerated exactly. Nominal 1: bounds that must always hold.",
        f"A row holds if its coverage is not below nominal by more than {NOT_BELOW:g} Monte-Carlo errors.",
        "Excess: coverage less nominal. Length: mean of the intervals that are closed, in units of the",
        "quantity (λ, a share or an error). Open: share of intervals that censoring leaves open on a side.",
        "",
        "| interval | case | n | nominal | coverage | excess | error | length | open | |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [f"| {' | '.join([r.interval, r.case, str(r.n), f'{r.nominal:g}', *r.cells])} |" for r in rows]
    return "\n".join([*lines, READING])


def simulated(
    interval: str, case: str, n: int, nominal: float, one: Callable[..., Outcome], count: int
) -> Row:
    """Repeat `one(generator)` `count` times."""
    rng = np.random.default_rng(zlib.crc32(f"{interval}/{case}/{n}".encode()))
    outcomes = [one(rng) for _ in range(count)]
    share = sum(held for held, _ in outcomes) / count
    lengths = [length for _, each in outcomes for length in each]
    closed = [length for length in lengths if math.isfinite(length)]
    # At the nominal coverage: the observed one may be 1 by luck.
    error = math.sqrt(nominal * (1 - nominal) / count)
    length = float(np.mean(closed)) if closed else None
    return Row(interval, case, n, nominal, share, error, length, 1 - len(closed) / max(len(lengths), 1))


def holds(interval: Interval | Bounds, truth: float) -> bool:
    return interval.lower <= truth <= interval.upper


def checked(interval: Interval | Bounds, truth: float) -> Outcome:
    return holds(interval, truth), [interval.upper - interval.lower]


def differences() -> Iterator[Row]:
    for n in (5, 10, 20, 30):
        ends = [[newcombe_difference(i, n, j, n) for j in range(n + 1)] for i in range(n + 1)]
        low = np.array([[each.lower for each in row] for row in ends])
        high = np.array([[each.upper for each in row] for row in ends])
        chances = [stats.binom.pmf(np.arange(n + 1), n, p) for p in SHARES[::7]]
        both = [
            (np.outer(a, b), p - q)
            for p, a in zip(SHARES[::7], chances, strict=True)
            for q, b in zip(SHARES[::7], chances, strict=True)
        ]
        covered = [(chance * ((low <= truth) & (truth <= high))).sum() for chance, truth in both]
        lengths = [float((chance * (high - low)).sum()) for chance, _ in both]
        name, worst = "Newcombe, difference of two shares", int(np.argmin(covered))
        mean = float(np.mean(covered)), float(np.mean(lengths))
        yield Row(name, "mean over shares", n, 0.95, mean[0], None, mean[1])
        yield Row(name, "worst shares", n, 0.95, float(covered[worst]), None, lengths[worst])


# Thresholds λ of a seed: distributions whose medians are known.
POPULATIONS = {
    "normal": (lambda rng, n: rng.normal(0.55, 0.06, n), 0.55),
    "skewed": (lambda rng, n: 0.42 + rng.exponential(0.15, n), 0.42 + 0.15 * math.log(2)),
    "two states": (lambda rng, n: np.where(rng.random(n) < 0.4, 0.46, 0.62) + rng.normal(0, 0.01, n), None),
    "mostly censored": (lambda rng, n: rng.normal(0.75, 0.1, n), 0.75),
}


def median_of_population(name: str) -> float:
    known = POPULATIONS[name][1]
    if known is not None:
        return known
    # The mixture's median solves 0.4 Φ(a) + 0.6 Φ(b) = 0.5; within the upper component.
    return 0.62 + 0.01 * float(stats.norm.ppf((0.5 - 0.4) / 0.6))


def cell_of(threshold: float, levels: np.ndarray, start: float = 0.35) -> Bounds:
    """The cell of a sweep upwards; open above the last level, and below the init's."""
    above = levels[levels >= threshold]
    below = levels[levels < threshold]
    low = float(below[-1]) if len(below) else start if threshold > start else -math.inf
    return Bounds(low, float(above[0]) if len(above) else math.inf)


def medians(count: int) -> Iterator[Row]:
    for name, (draw, _) in POPULATIONS.items():
        truth = median_of_population(name)
        for n in (6, 10, 20, 30):

            def one(rng: np.random.Generator, n: int = n, draw=draw, truth: float = truth) -> Outcome:
                cells = [cell_of(x, GRID) for x in draw(rng, n)]
                found = median_interval([c.lower for c in cells], [c.upper for c in cells])
                return checked(found, truth)

            yield simulated("order statistics, median threshold", name, n, 0.95, one, count)


def survival(count: int) -> Iterator[Row]:
    """The share still ordered at 0.55, where seeds are cut short at random or just before they fire."""
    level = 0.55

    def at_random(rng: np.random.Generator, x: float) -> float:
        return rng.choice(GRID[1:])

    def about_to_go(rng: np.random.Generator, x: float) -> float:
        return x - 0.02 if rng.random() < 0.5 else math.inf

    for case, cut in {"cut short at random": at_random, "cut short before it fires": about_to_go}.items():
        for n in (6, 10, 20, 30):

            def one(rng: np.random.Generator, n: int = n, cut=cut) -> Outcome:
                stayed = undecided = 0
                for x in POPULATIONS["normal"][0](rng, n):
                    end = cut(rng, x)
                    full = cell_of(x, GRID)
                    stop = cell_of(end, GRID).lower if math.isfinite(end) else math.inf
                    found = full if full.upper <= stop else Bounds(min(full.lower, stop), math.inf)
                    stayed += found.lower >= level
                    undecided += found.lower < level < found.upper
                return checked(clopper_pearson_undecided(stayed, undecided, n), 0.5)

            yield simulated("Clopper–Pearson with undecided seeds", case, n, 0.95, one, count)


def pair(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """λ↑ and λ↓ of seeds, correlated; the width is normal with median 0.12, and censored on either side."""
    up = rng.normal(0.62, 0.08, n)
    return up, up - rng.normal(0.12, 0.07, n)


def width_cells(up: np.ndarray, down: np.ndarray) -> list[Bounds]:
    falling = -GRID[::-1]
    cells = []
    for high, low in zip(up, down, strict=True):
        turned = cell_of(-low, falling, start=-0.75)
        cells.append(cell_of(high, GRID) - Bounds(-turned.upper, -turned.lower))
    return cells


def widths(count: int) -> Iterator[Row]:
    for n in (6, 10, 20, 30):

        def population(rng: np.random.Generator, n: int = n) -> Outcome:
            cells = width_cells(*pair(rng, n))
            return checked(median_interval([c.lower for c in cells], [c.upper for c in cells]), 0.12)

        def share(rng: np.random.Generator, n: int = n) -> Outcome:
            cells = width_cells(*pair(rng, n))
            above, below = sum(c.lower >= 0 for c in cells), sum(c.upper <= 0 for c in cells)
            truth = float(stats.norm.cdf(0.12 / 0.07))
            return checked(clopper_pearson_undecided(above, n - above - below, n), truth)

        case = "censored on both sides"
        yield simulated("order statistics, median width", case, n, 0.95, population, count)
        yield simulated("Clopper–Pearson, share of widths above 0", case, n, 0.95, share, count)


def detections(count: int) -> Iterator[Row]:
    """A seed's cell against the threshold that the same seed has in a sweep that goes on beyond all ends."""
    far = [round(0.40 + 0.05 * i, 2) for i in range(20)]

    def sweep(rng: np.random.Generator) -> list[dict[str, float]]:
        at, slope = rng.normal(0.6, 0.1), rng.uniform(0.02, 0.15)
        return [
            {"lambda": x, "error": float(np.clip(0.1 + 0.7 / (1 + math.exp((at - x) / slope)), 0, 1))
             + rng.normal(0, 0.08)} for x in far for _ in range(4)
        ]  # fmt: skip

    def within(found: Bounds | None, entries: list[dict[str, float]], rule: Rule) -> Outcome:
        truth = detect(entries, rule).first
        assert truth is not None
        if found is None:
            return True, []
        return found.lower < truth <= found.upper, [found.upper - found.lower]

    def whole(rng: np.random.Generator) -> Outcome:
        entries, rule = sweep(rng), Rule(0.40, True)
        seen = [entry for entry in entries if entry["lambda"] <= 0.70]
        return within(cell(detect(seen, rule), 0.35, True), entries, rule)

    def interrupted(rng: np.random.Generator) -> Outcome:
        entries, rule = sweep(rng), Rule(0.40, True)
        seen = entries[: rng.integers(1, 28)]
        return within(cell(detect(seen, rule), 0.35, True, finished=False), entries, rule)

    def stricter(rng: np.random.Generator) -> Outcome:
        entries, run, rule = sweep(rng), Rule(0.40, True), Rule(0.55, True)
        beyond = [run.holds(entry) for entry in entries]
        stop = next(i for i in range(3, len(entries) + 1) if all(beyond[i - 3 : i]))
        seen = entries[:stop]
        return within(cell(detect(seen, rule), 0.35, True, finished=False), entries, rule)

    cases = {
        "to the last level": whole,
        "interrupted": interrupted,
        "read above the limit it ran under": stricter,
    }
    for case, one in cases.items():
        yield simulated("cell, each seed's threshold", case, 1, 1.0, one, count)


GAPS = {
    "normal gaps": (lambda rng, n: rng.normal(0.2, 0.1, n), 0.2),
    "skewed gaps (lognormal)": (lambda rng, n: 0.1 * rng.lognormal(0, 0.8, n), 0.1 * math.exp(0.32)),
    "gaps of two states, 1 : 4": (lambda rng, n: np.where(rng.random(n) < 0.2, 0.5, 0.05), 0.14),
}


def gaps(count: int) -> Iterator[Row]:
    for case, (draw, truth) in GAPS.items():
        for n in (3, 5, 10, 20, 30):

            def one(rng: np.random.Generator, n: int = n, draw=draw, truth: float = truth) -> Outcome:
                return checked(gap_interval([float(x) for x in draw(rng, n)]), truth)

            yield simulated("paired t, mean gap at a level", case, n, 0.95, one, count)


def table(count: int) -> list[Row]:
    found = [*survival(count), *detections(count), *medians(count)]
    return [*found, *widths(count), *gaps(count), *differences()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicates", type=int, default=REPLICATES)
    count = parser.parse_args().replicates
    TABLE.write_text(text(table(count), count))


if __name__ == "__main__":
    main()
