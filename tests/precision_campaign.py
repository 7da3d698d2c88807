"""Does half precision change what the experiments find? T1, T2, Tδ1 of the quick profile, many seeds a side.

    python tests/precision_campaign.py --seeds 30 --precisions fp32 bf16 --json result.json

The first precision is the reference. The same command resumes after an interruption and runs no finished seed
again. λ↑ is tested for equivalence within one level of the sweep; outcomes are counted, with intervals. Exits
with status 1 where equivalence is not shown.

No difference found is not the same as equal: equality within a margin is shown only where both one-sided
tests reject, of a difference of the margin or more upwards and downwards (TOST; Schuirmann, J. Pharmacokinet.
Biopharm. 15 (1987) 657). At 5 % each, the 90 % interval of the difference then lies within the margin.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

sys.path.insert(0, str(Path(__file__).parent.parent))

from dglib.analysis.answer import Row
from dglib.analysis.summary import share

ALPHA = 0.05
CENSORED_AT_MOST = 0.2  # as a share; with more, the level at which they are counted would decide
SHORT = {  # for trying the script out
    "T1": [
        "init_epochs=2",
        "init_error_max=1.0",
        "epochs_per_level=1",
        "sweep_lambdas=[0.5, 0.55, 0.6]",
        "return_sweep=false",
    ],
    "T2": ["init_epochs=2", "init_error_min=0.0", "epochs_per_level=1", "sweep_lambdas=[0.5, 0.45, 0.4]"],
    "Td1": ["init_epochs=2", "milestones=[1]"],
}


def paired_tost(first: Sequence[float], second: Sequence[float], margin: float) -> dict[str, Any]:
    """Student's tests on the differences of pairs, second less first. Exact for normal differences."""
    d = np.subtract(second, first)
    if np.ptp(d) < 1e-12:  # no spread, no t
        low = high = float(d[0])
        p = float(abs(low) >= margin - 1e-12)
    else:
        low, high = map(float, stats.ttest_1samp(d, 0).confidence_interval(1 - 2 * ALPHA))
        above = stats.ttest_1samp(d, -margin, alternative="greater").pvalue
        p = float(max(above, stats.ttest_1samp(d, margin, alternative="less").pvalue))
    return {
        "difference": round(float(d.mean()), 6),
        "interval_90": [round(low, 6), round(high, 6)],
        "p": float(f"{p:.3g}"),
        "within_margin": p < ALPHA,
    }


def lambda_up(records: list[dict]) -> tuple[list[float | None], int]:
    """Each T1 seed's λ↑, and how many are censored.

    A seed without an event counts as one level beyond the sweep; a failed or diverged one is None.
    """
    found: list[float | None] = []
    for record in records:
        sweep = record["parameters"]["sweep_lambdas"]
        beyond = round(2 * sweep[-1] - sweep[-2], 9)
        found.append({"collapsed": record["lambda_up"], "no_event": beyond}.get(record["outcome"]))
    return found, sum(record["outcome"] == "no_event" for record in records)


def compare_thresholds(first: list[dict], second: list[dict]) -> dict[str, Any]:
    """The test of equivalence within one level; pairs without a threshold on a side are left out."""
    sweep = first[0]["parameters"]["sweep_lambdas"]
    margin = round(abs(sweep[1] - sweep[0]), 9)
    (a, censored_a), (b, censored_b) = lambda_up(first), lambda_up(second)
    pairs = [(x, y) for x, y in zip(a, b, strict=True) if x is not None and y is not None]
    counts = {"censored": [censored_a, censored_b], "pairs": len(pairs)}
    found = {"margin": margin, "thresholds": [a, b], **counts}
    if len(pairs) < 3 or max(censored_a, censored_b) > CENSORED_AT_MOST * len(pairs):
        return {**found, "equivalent": False}
    test = paired_tost(*zip(*pairs, strict=True), margin)
    return {**found, "tests": {"paired_t": test}, "equivalent": test["within_margin"]}


def compare_outcomes(first: list[dict], second: list[dict]) -> dict[str, Any]:
    """For each outcome its counts and the 95 % interval of the shares' difference."""
    a, b = ([record["outcome"] for record in side] for side in (first, second))
    found = {}
    for name in sorted({*a, *b}):
        shares = [Row.of_share(name, share(side.count(name), len(side))) for side in (b, a)]
        ends = [round(end, 4) for end in shares[0].minus(shares[1]).ci95 or ()]
        found[name] = {"counts": [a.count(name), b.count(name)], "difference_interval_95": ends}
    return found


def run_side(experiment: str, precision: str, options: argparse.Namespace) -> list[dict]:
    """The records of all seeds, after running those that are not finished."""
    import dglib
    from dglib.runs.store import read_records

    seeds = list(range(options.seeds))
    own = [f"seeds={seeds}", f"precision={precision}", f"device={options.device}"]
    own += SHORT[experiment] if options.short else []
    parameters = dglib.load_profile(experiment, "quick", [*own, f"base_dir={options.base / precision}"])
    records = read_records(dglib.run(parameters).directory, experiment)
    return [record for record in records if record["seed"] in seeds]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=30, help="0 to this less one")
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"], help="the reference first")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--base", type=Path, default=Path("runs/precision"), help="of the run directories")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    parser.add_argument("--short", action="store_true", help="a minute of training, to try the script out")
    options = parser.parse_args()
    sides = {p: {name: run_side(name, p, options) for name in SHORT} for p in options.precisions}
    reference, *others = options.precisions
    compared = {
        p: {
            "T1": compare_thresholds(sides[reference]["T1"], sides[p]["T1"]),
            "outcomes": {name: compare_outcomes(sides[reference][name], sides[p][name]) for name in SHORT},
        }
        for p in others
    }
    numerics = {p: side["T1"][0]["numerics"] for p, side in sides.items()}
    result = {"seeds": options.seeds, "reference": reference, "numerics": numerics, "compared": compared}
    text = json.dumps(result, indent=1, ensure_ascii=False)
    if options.json is not None:
        options.json.write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0 if all(part["T1"]["equivalent"] for part in compared.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
