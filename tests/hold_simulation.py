"""Simulate sets of held branches of a known kind, and count the verdicts on them.

    python tests/hold_simulation.py

Writes the rows of tests/results/hold_verdicts.md; the generators' seeds are fixed, so they come out the same.
"""

import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from coverage_simulation import rewrite

from dglib.analysis.curves import is_frozen
from dglib.analysis.lifetimes import STARTS, Branch, Group, end_state, first_passage, verdict

TABLE = Path(__file__).parent / "results" / "hold_verdicts.md"
SETS = 1000
THRESHOLD, CONSECUTIVE, DWELL, TEST_SIZE = 0.40, 3, 4, 397
Errors = np.ndarray  # (branches, epochs)
Kind = Callable[[np.random.Generator, str, dict[str, float], int, int], Errors]


def retraced(rng, start, one, n, held):
    """The error follows from λ alone."""
    return np.full((n, held), one["error"])


def frozen(rng, start, one, n, held):
    """Nothing moves after the start but single images: a test set that stays the same adds no noise."""
    low, high = (0.05, 0.25) if start == "ordered" else (0.45, 0.85)
    return rng.uniform(low, high, (n, 1)) + rng.integers(-1, 2, (n, held)) / TEST_SIZE


def memoryless_noise(rng, start, one, n, held):
    """Independent noise around an error that follows from λ alone."""
    return one["error"] + one["spread"] * rng.standard_normal((n, held))


def memoryless_relaxation(rng, start, one, n, held):
    """Relaxation from the start to an error that follows from λ alone, in 0.5 to 5 dwells."""
    begin = rng.uniform(0.05, 0.25, (n, 1)) if start == "ordered" else rng.uniform(0.45, 0.9, (n, 1))
    decay = np.exp(-np.arange(1, held + 1) / one["time"])
    return one["error"] + (begin - one["error"]) * decay


def double_well(rng, start, one, n, held):
    """Two wells; each branch leaves its own at a rate that is known, and does not return."""
    here, there = (0.15, 0.6) if start == "ordered" else (0.6, 0.15)
    leaves = rng.exponential(1 / one[f"{start}_rate"], (n, 1))
    base = np.where(np.arange(1, held + 1) < leaves, here, there)
    return base + 0.03 * rng.standard_normal((n, held))


def null(rng, held):
    return {
        "error": rng.uniform(0.05, 0.9),
        "spread": rng.uniform(0.02, 0.15),
        "time": DWELL * rng.uniform(0.5, 5),
    }


def slow(rng, held):
    """2 to 5 dwells to an error near the threshold: the hardest case to tell from memory."""
    return {"error": rng.uniform(0.34, 0.46), "time": DWELL * rng.uniform(2, 5)}


def rates(ordered: float, collapsed: float):
    """Rates at which these shares stay for the whole hold."""
    return lambda rng, held: {
        "ordered_rate": -np.log(ordered) / held,
        "collapsed_rate": -np.log(collapsed) / held,
    }


KINDS = {
    "retraced": (retraced, null, None),
    "frozen": (frozen, null, None),
    "memoryless noise": (memoryless_noise, null, None),
    "memoryless relaxation": (memoryless_relaxation, null, None),
    "slow relaxation to the threshold": (memoryless_relaxation, slow, None),
    "bistable: 0.97 stay on both sides": (double_well, rates(0.97, 0.97), "bistable"),
    "bistable: 0.93 stay on both sides": (double_well, rates(0.93, 0.93), "bistable"),
    "double well: 0.97 stay ordered, 0.03 collapsed": (double_well, rates(0.97, 0.03), "lag"),
    "double well: 0.03 stay ordered, 0.97 collapsed": (double_well, rates(0.03, 0.97), "lag"),
    "double well: half stay on both sides": (double_well, rates(0.5, 0.5), "undecided"),
}


def one_set(rng: np.random.Generator, kind: str, n: int, held: int) -> str:
    """The verdict on one simulated set of n branches from each start."""
    make, draw, _ = KINDS[kind]
    one = draw(rng, held)
    groups = []
    for start in STARTS:
        truth = np.clip(make(rng, start, one, n, held), 0, 1)
        seen = truth if kind == "frozen" else rng.binomial(TEST_SIZE, truth) / TEST_SIZE
        branches = []
        for errors in seen.tolist():
            left = first_passage(errors, start, THRESHOLD, CONSECUTIVE)
            state = end_state(errors, False, THRESHOLD)
            lr = 0.01 if kind == "frozen" else 0.1
            entries = [{"error": e, "lr": lr, "predicted": [TEST_SIZE], "finite": True} for e in errors]
            still = is_frozen({"lr": 0.1}, entries)
            third = -(-held // 3)
            middle, last = np.mean(errors[-2 * third : -third]), np.mean(errors[-third:])
            branches.append(Branch(start, left, held, state, float(middle), float(last), still))
        groups.append(Group.of(branches))
    return verdict(*groups, held, DWELL).kind


def verdicts(kind: str, n: int, held: int, sets: int = SETS) -> Counter[str]:
    """How often each verdict, without its number of epochs, is given on simulated sets."""
    rng = np.random.default_rng(zlib.crc32(f"{kind} {n} {held}".encode()))
    return Counter(one_set(rng, kind, n, held) for _ in range(sets))


def main() -> None:
    names = ("bistable", "ordered only", "collapsed only", "lag", "undecided")
    rows = []
    for kind in KINDS:
        for n, held in ((8, 24), (8, 40), (24, 24), (24, 40), (24, 150)):
            found = verdicts(kind, n, held)
            assert set(found) <= set(names), found
            rows.append([kind, str(n), str(held), *(f"{found[name] / SETS:.3f}" for name in names)])
            print(*rows[-1], flush=True)
    rewrite(TABLE, rows)


if __name__ == "__main__":
    main()
