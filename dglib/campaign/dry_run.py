"""What a campaign would do and how long that may take: `run_all.py --dry-run`."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from dglib.campaign import estimate
from dglib.campaign.jobs import Plan
from dglib.errors import UserError
from dglib.experiments.running import check
from dglib.runs.progress import duration
from dglib.runs.store import read_records

SHARING = ", if those that share a GPU do not slow each other down"
ELSEWHERE = "times are this machine's; the cluster's workers may be faster or slower"


def print_plan(
    plans: Sequence[Plan],
    at_once: int | None,
    *,
    as_json: bool = False,
    sharing: bool = False,
    elsewhere: bool = False,
) -> None:
    """Print each plan and its jobs: for people, or a JSON line per job that trains a seed.

    Args:
        at_once: jobs at a time, from 1; None: not known.
        sharing: whether several at a time share a GPU, if they use one.
        elsewhere: whether on other machines. What this one cannot do has no estimate then.

    Raises:
        UserError: something cannot be used here, where it would be done here.
    """
    known: dict[object, float | None] = {}
    deadline = time.monotonic() + estimate.SECONDS
    each: list[Estimate] = []
    for plan in sorted(plans, key=lambda plan: plan.planned, reverse=True):
        p, found = plan.parameters, _estimate(plan, known, deadline, elsewhere)
        each += [found] * len(p.seeds)
        if as_json:
            told = {"estimate_s": found.seconds and round(found.seconds, 1), "estimate_on": found.device}
            cell = {"cell": plan.cell} if plan.cell else {}
            for seed in p.seeds:
                given = p.model_dump() | {"seeds": [seed]}
                line = {"experiment": p.experiment, "seed": seed, **cell, "parameters": given}
                print(json.dumps(line | told))
            continue
        name = plan.cell if plan.cell else plan.notebook.name
        print(f"{p.experiment}: {name}, {len(p.seeds)} seeds, {plan.planned * len(p.seeds)} epochs", end="")
        print(f" at most, {found.of(len(p.seeds))}")
        print("  " + ", ".join(f"{name}={value}" for name, value in p.model_dump().items()))
        for seed in p.seeds:
            about = "" if found.seconds is None else f": about {duration(found.seconds)}"
            print(f"  {plan.name} seed {seed}{about}")
    if not as_json:
        print(f"{len(each)} jobs{_total(each, at_once)}", end="")
        on_gpus = any("cuda" in str(found.device) for found in each)
        print(SHARING if sharing and on_gpus else "", end="")
        print(f"; {ELSEWHERE}" if elsewhere and any(found.device for found in each) else "")


class Estimate(NamedTuple):
    """The seconds of a seed and the device that they were measured on, or the reason why there are none."""

    seconds: float | None
    device: str | None
    reason: str = ""

    def of(self, seeds: int) -> str:
        """The same of so many seeds, in words."""
        if self.seconds is None:
            return f"no estimate: {self.reason}"
        return f"about {duration(self.seconds * seeds)} on {self.device}"


def _estimate(plan: Plan, known: dict[object, float | None], deadline: float, elsewhere: bool) -> Estimate:
    """From seeds of the same run that have ended, else from two training steps."""
    try:
        spec, numerics = check(plan.parameters)
    except UserError as error:
        if not elsewhere:
            raise
        return Estimate(None, None, str(error))
    directory = plan.directory()
    records = [] if directory is None else read_records(directory, plan.experiment)
    if records:
        devices = {part["device"] for record in records for part in record["numerics"]}
        return Estimate(median(record["time"] for record in records), " and ".join(sorted(devices)))
    seconds = estimate.estimate_seconds(spec, numerics, known, deadline)
    if seconds is None:
        return Estimate(None, None, f"no seed has ended, and {estimate.SECONDS:g} s allow no two steps here")
    return Estimate(seconds, numerics.device)


def _total(each: Sequence[Estimate], at_once: int | None) -> str:
    """The time of all jobs one after the other, and so many at a time."""
    known = [found.seconds for found in each if found.seconds is not None]
    if len(known) < len(each):
        return "" if at_once is None else f", {at_once} at a time"
    told = f": {duration(sum(known))} one after the other"
    if at_once is None:
        return told
    return f"{told}, about {duration(max(sum(known) / at_once, max(known)))} with {at_once} at a time"
