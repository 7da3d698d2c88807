"""What a campaign would do and how long that may take: `run_all.py --dry-run`."""

from __future__ import annotations

import json
from collections.abc import Sequence

from dglib import estimate
from dglib.api import check
from dglib.heartbeats import duration
from dglib.jobs import Plan


def print_plan(plans: Sequence[Plan], at_once: int, *, as_json: bool = False) -> None:
    """Print each plan and its jobs: for people, or a JSON line per job that trains a seed.

    Raises:
        UserError: something cannot be used here.
    """
    known: dict[object, float] = {}
    each: list[float] = []
    for plan in sorted(plans, key=lambda plan: plan.planned, reverse=True):
        p, spec = plan.parameters, plan.spec
        spec, numerics = check(p)
        seconds = estimate.estimate_seconds(spec, numerics, known)
        each += [seconds] * len(p.seeds)
        if as_json:
            cell = {"cell": plan.cell} if plan.cell else {}
            for seed in p.seeds:
                given = p.model_dump() | {"seeds": [seed]}
                line = {"experiment": p.experiment, "seed": seed, **cell, "parameters": given}
                print(json.dumps(line | {"estimate_s": round(seconds, 1)}, ensure_ascii=False))
            continue
        name = plan.cell if plan.cell else plan.notebook.name
        print(f"{p.experiment}: {name}, {len(p.seeds)} seeds, {plan.planned * len(p.seeds)} epochs", end="")
        print(f" at most, about {duration(seconds * len(p.seeds))} on {numerics.device}")
        print("  " + ", ".join(f"{name}={value}" for name, value in p.model_dump().items()))
        for seed in p.seeds:
            print(f"  {plan.name} seed {seed}: about {duration(seconds)}")
    if not as_json:
        total = sum(each)
        print(f"{len(each)} jobs: {duration(total)} one after the other", end="")
        print(f", about {duration(max(total / at_once, max(each)))} with {at_once} at a time")
