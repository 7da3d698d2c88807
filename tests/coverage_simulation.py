"""Simulate how often each interval of the analysis contains a known truth, and how long it is.

    python tests/coverage_simulation.py

Writes the rows of tests/results/interval_coverage.md; the generators have fixed seeds.
"""

import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from scipy import stats

from dglib.analysis.fits import logistic, width_at_rate
from dglib.analysis.intervals import Bounds, clopper_pearson, clopper_pearson_undecided, t_interval
from dglib.analysis.summary import difference_interval, median_interval
from dglib.analysis.thresholds import Rule, cell, detect

TABLE = Path(__file__).parent / "results" / "interval_coverage.md"
REPLICATES = 3000
NOT_BELOW = 3.0  # Monte-Carlo errors by which a coverage may lie below nominal and still hold
GRID = np.round(np.arange(0.40, 0.701, 0.05), 2)  # levels of the simulated sweeps
SIZES = (6, 10, 20, 30)  # seeds
Outcome = tuple[bool, float]  # whether the interval holds, and its length, infinite where it is open
Cells = list[str]  # of a row of the table
Replicate = Callable[[np.random.Generator, int, str], Outcome]  # of n seeds of a case


def row(
    interval: str,
    case: str,
    n: int,
    nominal: float,
    held: float,
    error: float | None,
    length: float,
    open_: float = 0,
) -> Cells:
    """`held`: the coverage; error None: it is exact; length NaN: all are open."""
    verdict = "holds" if held >= nominal - NOT_BELOW * (error or 0) - 1e-9 else "**below nominal**"
    shown = "–" if math.isnan(length) else f"{length:.3f}"
    numbers = [f"{held:.4f}", "exact" if error is None else f"{error:.4f}", shown, f"{open_:.2f}"]
    return [interval, case, str(n), f"{nominal:g}", *numbers, verdict]


def simulated(interval: str, case: str, n: int, one: Replicate, count: int) -> Cells:
    """Repeat `one` `count` times."""
    rng = np.random.default_rng(zlib.crc32(f"{interval}/{case}/{n}".encode()))
    held, lengths = zip(*(one(rng, n, case) for _ in range(count)), strict=True)
    closed = [length for length in lengths if math.isfinite(length)]
    nominal = 1.0 if interval.startswith("cell") else 0.95
    error = math.sqrt(nominal * (1 - nominal) / count)  # the observed coverage may be 1 by chance
    length = float(np.mean(closed)) if closed else math.nan
    return row(interval, case, n, nominal, sum(held) / count, error, length, 1 - len(closed) / count)


def checked(interval: Bounds | None, truth: float) -> Outcome:
    assert interval is not None
    return interval.lower <= truth <= interval.upper, interval.upper - interval.lower


def of_cells(cells: Sequence[Bounds], truth: float) -> Outcome:
    return checked(median_interval(cells), truth)


def differences() -> Iterator[Cells]:
    """Enumerated over all pairs of counts, for a grid of pairs of shares."""
    shares = np.linspace(0.01, 0.99, 15)
    for n in (5, 10, 20, 30):
        shown = [Bounds(k / n, k / n) for k in range(n + 1)]
        exact = [clopper_pearson(k, n) for k in range(n + 1)]
        found = [
            [difference_interval(shown[i], shown[j], exact[i], exact[j]) for j in range(n + 1)]
            for i in range(n + 1)
        ]
        low, high = (
            np.array([[getattr(i, end) for i in line] for line in found]) for end in ("lower", "upper")
        )
        chances = {p: stats.binom.pmf(np.arange(n + 1), n, p) for p in shares}
        both = [(np.outer(chances[p], chances[q]), p - q) for p in shares for q in shares]
        covered = [(chance * ((low <= truth) & (truth <= high))).sum() for chance, truth in both]
        lengths = [float((chance * (high - low)).sum()) for chance, _ in both]
        name, worst = "difference of two shares", int(np.argmin(covered))
        mean = float(np.mean(covered)), float(np.mean(lengths))
        yield row(name, "mean over shares", n, 0.95, mean[0], None, mean[1])
        yield row(name, "worst shares", n, 0.95, float(covered[worst]), None, lengths[worst])


# Thresholds λ of seeds: distributions whose medians are known. The mixture: 0.4 Φ(a) + 0.6 Φ(b) = 0.5.
POPULATIONS = {
    "normal": (lambda rng, n: rng.normal(0.55, 0.06, n), 0.55),
    "skewed": (lambda rng, n: 0.42 + rng.exponential(0.15, n), 0.42 + 0.15 * math.log(2)),
    "two states": (
        lambda rng, n: np.where(rng.random(n) < 0.4, 0.46, 0.62) + rng.normal(0, 0.01, n),
        0.62 + 0.01 * float(stats.norm.ppf((0.5 - 0.4) / 0.6)),
    ),
    "mostly censored": (lambda rng, n: rng.normal(0.75, 0.1, n), 0.75),
}


def cell_of(threshold: float, levels: np.ndarray, start: float = 0.35) -> Bounds:
    """The cell of a sweep upwards; open above the last level, and below the init's."""
    above, below = levels[levels >= threshold], levels[levels < threshold]
    low = float(below[-1]) if len(below) else start if threshold > start else -math.inf
    return Bounds(low, float(above[0]) if len(above) else math.inf)


def median_threshold(rng: np.random.Generator, n: int, case: str) -> Outcome:
    draw, truth = POPULATIONS[case]
    return of_cells([cell_of(x, GRID) for x in draw(rng, n)], truth)


def still_ordered(rng: np.random.Generator, n: int, case: str) -> Outcome:
    """The share still ordered at 0.55, where seeds are cut short at random or just before they fire."""
    level, stayed, undecided = 0.55, 0, 0
    for x in POPULATIONS["normal"][0](rng, n):
        end = (
            rng.choice(GRID[1:]) if case.endswith("random") else x - 0.02 if rng.random() < 0.5 else math.inf
        )
        full, stop = cell_of(x, GRID), cell_of(end, GRID).lower if math.isfinite(end) else math.inf
        found = full if full.upper <= stop else Bounds(min(full.lower, stop), math.inf)
        stayed += found.lower >= level
        undecided += found.lower < level < found.upper
    return checked(clopper_pearson_undecided(stayed, undecided, n), 0.5)


def width_cells(rng: np.random.Generator, n: int) -> list[Bounds]:
    """λ↑ − λ↓ of seeds, correlated and censored on either side; the width is normal with median 0.12."""
    up = rng.normal(0.62, 0.08, n)
    turned = (cell_of(-low, -GRID[::-1], start=-0.75) for low in up - rng.normal(0.12, 0.07, n))
    return [cell_of(x, GRID) - Bounds(-t.upper, -t.lower) for x, t in zip(up, turned, strict=True)]


def median_width(rng: np.random.Generator, n: int, case: str) -> Outcome:
    return of_cells(width_cells(rng, n), 0.12)


def share_of_widths(rng: np.random.Generator, n: int, case: str) -> Outcome:
    cells = width_cells(rng, n)
    above, below = sum(c.lower >= 0 for c in cells), sum(c.upper <= 0 for c in cells)
    interval = clopper_pearson_undecided(above, n - above - below, n)
    return checked(interval, float(stats.norm.cdf(0.12 / 0.07)))


def one_threshold(rng: np.random.Generator, n: int, case: str) -> Outcome:
    """A seed's cell against the threshold that it has in a sweep that continues beyond all ends."""
    at, slope, rule = rng.normal(0.6, 0.1), rng.uniform(0.02, 0.15), Rule(0.40, True)
    levels = [round(0.40 + 0.05 * i, 2) for i in range(20) for _ in range(4)]
    errors = [0.1 + 0.7 / (1 + math.exp((at - x) / slope)) + rng.normal(0, 0.08) for x in levels]
    sweep = [{"lambda": x, "error": error} for x, error in zip(levels, errors, strict=True)]
    end = sum(x <= 0.70 for x in levels)
    if case == "interrupted":
        end = int(rng.integers(1, 28))
    elif case != "to the last level":
        beyond, rule = [rule.holds(entry) for entry in sweep], Rule(0.55, True)
        end = next(i for i in range(3, len(sweep) + 1) if all(beyond[i - 3 : i]))
    truth = detect(sweep, rule).first
    assert truth is not None
    found = cell(detect(sweep[:end], rule), 0.35, True, finished=case == "to the last level")
    return (
        (True, math.inf) if found is None else (found.lower < truth <= found.upper, found.upper - found.lower)
    )


GAPS = {
    "normal gaps": (lambda rng, n: rng.normal(0.2, 0.1, n), 0.2),
    "skewed gaps (lognormal)": (lambda rng, n: 0.1 * rng.lognormal(0, 0.8, n), 0.1 * math.exp(0.32)),
    "gaps of two states, 1 : 4": (lambda rng, n: np.where(rng.random(n) < 0.2, 0.5, 0.05), 0.14),
}


def mean_gap(rng: np.random.Generator, n: int, case: str) -> Outcome:
    draw, truth = GAPS[case]
    return checked(t_interval(list(draw(rng, n))), truth)


def profiled(found: dict | None, name: str, truth: float) -> Outcome:
    assert found is not None
    low, high = (
        math.copysign(math.inf, sign) if end is None else end
        for sign, end in zip((-1, 1), found[name]["ci95"], strict=True)
    )
    return checked(Bounds(low, high), truth)


def logistic_threshold(rng: np.random.Generator, n: int, name: str) -> Outcome:
    """Thresholds whose distribution is logistic, known by their cells."""
    truth = {"centre": 0.6, "scale": 0.04}
    cells = [cell_of(x, GRID) for x in rng.logistic(*truth.values(), n)]
    return profiled(logistic(cells), name, truth[name])


def dose_response(rng: np.random.Generator, n: int, name: str) -> Outcome:
    """n networks held at each of five doses, of which a logistic share has its event."""
    truth = {"centre": 0.48, "scale": 0.03}
    cells = [
        Bounds(-math.inf, dose) if rng.logistic(*truth.values()) <= dose else Bounds(dose, math.inf)
        for dose in (0.40, 0.45, 0.50, 0.55, 0.60)
        for _ in range(n)
    ]
    return profiled(logistic(cells), name, truth[name])


def width_by_rate(rng: np.random.Generator, n: int, name: str) -> Outcome:
    """n widths at each of five dwell times."""
    truth = {"still": 0.1, "factor": 0.5, "exponent": 0.8}
    rates = np.repeat([1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32], n)
    widths = truth["still"] + truth["factor"] * rates ** truth["exponent"] + rng.normal(0, 0.04, len(rates))
    return profiled(width_at_rate(rates.tolist(), widths.tolist()), name, truth[name])


BOTH = ("censored on both sides",)
ENDS = ("to the last level", "interrupted", "read above the limit it ran under")
CUTS = ("cut short at random", "cut short before it fires")
SIMULATED: list[tuple[str, Replicate, Iterable[str], Sequence[int]]] = [
    ("cell, each seed's threshold", one_threshold, ENDS, (1,)),
    ("Clopper–Pearson with undecided seeds", still_ordered, CUTS, SIZES),
    ("order statistics, median threshold", median_threshold, POPULATIONS, SIZES),
    ("order statistics, median width", median_width, BOTH, SIZES),
    ("Clopper–Pearson, share of widths above 0", share_of_widths, BOTH, SIZES),
    ("paired t, mean gap at a level", mean_gap, GAPS, (3, 5, *SIZES[1:])),
    ("profile, logistic of thresholds", logistic_threshold, ("centre", "scale"), SIZES),
    ("profile, logistic dose-response, n a dose", dose_response, ("centre", "scale"), (4, 8, 24)),
    ("profile, width against rate, n a rate", width_by_rate, ("still", "factor", "exponent"), (4, 8)),
]
FITTED = 10  # fits take long: so much fewer replicates


def table(count: int) -> list[Cells]:
    rows = [
        simulated(name, case, n, one, max(count // FITTED, 20) if name.startswith("profile") else count)
        for name, one, cases, sizes in SIMULATED
        for case in cases
        for n in sizes
    ]
    return [*rows, *differences()]


def rewrite(path: Path, rows: Iterable[Cells]) -> None:
    """Replace the rows of the table in a file; the words around it stay."""
    lines = path.read_text(encoding="utf-8").splitlines()
    table = [number for number, line in enumerate(lines) if line.startswith("|")]
    lines[table[2] : table[-1] + 1] = [f"| {' | '.join(cells)} |" for cells in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    rewrite(TABLE, table(REPLICATES))
