"""The summaries of T1 and T2: thresholds, the return sweep, and the width between them with its controls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from dglib.analysis import wording
from dglib.analysis.curves import Curve, drift, is_frozen
from dglib.analysis.differences import (
    Difference,
    cells,
    field_row,
    final_error_row,
    median_row,
    only,
    share_row,
)
from dglib.analysis.fields import (
    FINAL_STATES,
    Record,
    Records,
    entries,
    is_running,
    level_of,
    levels_of,
    parameter,
    rounded,
)
from dglib.analysis.fits import logistic
from dglib.analysis.grid import TRAPPED
from dglib.analysis.intervals import (
    Bounds,
    centre,
    median_bounds,
    median_interval,
    remaining,
    spread,
)
from dglib.analysis.summary import (
    FEWEST_FOR_MEDIANS,
    Summary,
    common,
    in_every_seed,
    known_cell,
    missing,
    paired,
    quantity,
    share,
)
from dglib.analysis.thresholds import (
    DOWN,
    UP,
    Direction,
    Threshold,
    end_state,
    limits,
    loop,
    retraced,
    return_bounds,
    return_event,
    threshold,
)

STARTS = ("collapsed", "trapped")


def summarise_sweep(name: str, direction: Direction, records: Records) -> dict[str, Any]:
    """Thresholds over seeds, and of the rising sweep also its return.

    `lambda_up_recorded` or `lambda_down_recorded`: spread of the levels at which the sweeps that fired
    ended, as records keep them; `..._centres`: of the middles of the cells. `limit`: the event's error.
    `median` and `remaining`: over all seeds of which anything is known, censored ones too; of falling sweeps
    also `by_start`, the two states from which seeds recover or do not.
    """
    found = [threshold(direction, record) for record in records]
    seeds = [_seed(direction, record, seed) for record, seed in zip(records, found, strict=True)]
    kinds = (direction.event, "no_event", "init_failed", "diverged", "unfinished")
    levels = planned_levels(records)
    fired = [item for item in found if item.outcome == direction.event]
    states = Counter(item.final_state for item in found)
    differences = {str(item.seed): item.difference for item in found if item.difference}
    limit = rounded(parameter(records, direction.limit, direction.default_limit))
    whole = _group(direction, found, levels)
    summary = common(name, records, seeds, kinds)
    summary |= {
        **{name: whole[name] for name in ("events", "median", "remaining", "fit")},
        "measured": whole["n"],
        f"{direction.field}_centres": whole["centres"],
        f"{direction.field}_recorded": spread([item.recorded for item in fired if item.recorded is not None]),
        "limit": limit,
        "limits": {direction.limit: limit},
        "levels": levels,
        "censored": [item.seed for item in found if item.outcome == "no_event"],
        "final_states": {state: states[state] for state in FINAL_STATES},
        "differences": differences,
        "in_every_seed": in_every_seed(_cells(found)),
        "estimates": {name: whole[name] for name in (direction.field, "event_share")},
        **controls(records),
        "notes": [f"seed {seed}: {why}; the trajectory was taken" for seed, why in differences.items()]
        + missing(summary["outcomes"], whole["n"]),
    }
    summary["notes"] += control_notes(summary)
    if direction.rising:
        return summary | {"loop": _loops(records)}
    groups = {state: [item for item in found if item.start == state] for state in _starts(found)}
    start = {state: len(members) for state, members in groups.items()}
    left = sum(item.left_trap for item in found)
    if left:
        summary["notes"].append(
            f"{left} of {wording.seeds(start['trapped'])} that began trapped left that state"
        )
    return summary | {
        "start": start | {"left_trap": left},
        "by_start": {
            state: _group(direction, members, levels)
            | controls([r for r, item in zip(records, found, strict=True) if item.start == state])
            for state, members in groups.items()
        },
    }


def _starts(found: Sequence[Threshold]) -> dict[str, None]:
    return dict.fromkeys([*STARTS, *(item.start for item in found if item.start)])


def controls(records: Records) -> dict[str, Any]:
    """How far the error moves within a level of the sweep, by seed, and how many sweeps are frozen."""
    sweeps = [(record, entries(record, "trajectory", "sweep")) for record in records]
    moved = [found for _, sweep in sweeps if (found := drift(sweep)) is not None]
    return {"drift": paired(moved), "frozen": sum(is_frozen(record, sweep) for record, sweep in sweeps)}


def control_notes(summary: Summary) -> list[str]:
    """Flags: frozen sweeps, and levels at which the network had not settled."""
    notes = []
    if summary["frozen"]:
        notes.append(f"frozen: in {wording.seeds(summary['frozen'])} the error did not move at a small LR")
    found = summary["drift"]
    if found and found["ci95"] and not found["ci95"][0] <= 0 <= found["ci95"][1]:
        moved = wording.decimal(found["mean"], 3)
        notes.append(f"drifting: within a level the error still moves by {moved}, so the dwell decides too")
    return notes


def _group(direction: Direction, found: Sequence[Threshold], levels: Sequence[float]) -> dict[str, Any]:
    """Of seeds from one state: how many are known, events, threshold, and the share that had the event.


    `centres`: the spread of the middles of the cells of those that did.
    """
    cells, counts = _cells(found), Counter(item.outcome for item in found)
    events, unfinished = counts[direction.event], counts["unfinished"]
    closed = [item.bounds for item in found if item.outcome == direction.event]
    return {
        "n": len(cells),
        "events": events,
        "centres": spread([middle for cell in closed if (middle := centre(cell)) is not None]),
        "median": median_of(found),
        "fit": logistic(cells) if len(cells) >= FEWEST_FOR_MEDIANS else None,
        "remaining": still(direction, found, levels),
        direction.field: quantity(cells),
        "event_share": share(events, events + counts["no_event"] + unfinished, unfinished),
    }


def _cells(found: Sequence[Threshold]) -> list[Bounds]:
    """The cells of which an end is known."""
    return [cell for item in found if (cell := known_cell(item.as_dict()))]


def _seed(direction: Direction, record: Record, seed: Threshold) -> dict[str, Any]:
    stayed = seed.outcome == "no_event" and not direction.rising
    end = TRAPPED if stayed and end_state(direction, seed) == "trapped" else seed.outcome
    return seed.as_dict() | {"end": "unfinished" if is_running(record) else end}


def median_of(found: Sequence[Threshold]) -> dict[str, Any]:
    """`{"n", "lower", "upper", "interval"}`: bounds of the sample's median, interval for the population's.

    The interval is None below six seeds: no 95 % interval from order statistics exists there.
    """
    known = [item.bounds for item in found if item.bounds]
    return {"n": len(known), **median(known)}


def median(known: Sequence[Bounds]) -> dict[str, Any]:
    interval = median_interval(known)
    return {**median_bounds(known).as_dict(), "interval": interval and interval.as_dict()}


def still(direction: Direction, found: Sequence[Threshold], levels: Sequence[float]) -> dict[str, Any]:
    """The share of seeds that the sweep has not yet moved, at each level: still ordered, or not recovered."""
    return remaining([item.bounds for item in found if item.bounds], levels, direction.rising)


def planned_levels(records: Records) -> list[float]:
    """Every level that a sweep was to visit, or did; ascending."""
    planned = {
        round(float(x), 6) for r in records for x in (r.get("parameters") or {}).get("sweep_lambdas") or ()
    }
    visited = {level for r in records for level in levels_of(entries(r, "trajectory", "sweep"))}
    final = {level for r in records if (level := level_of(r, "final_lambda")) is not None}
    return sorted(planned | visited | final)


def _loops(records: Records) -> dict[str, Any] | None:
    """The return sweeps of all seeds that collapsed: λ↓ and width there (not T2's); None without one."""
    loops = [found for record in records if (found := loop(record)) is not None]
    if not loops:
        return None
    outcomes = Counter(item["outcome"] for item in loops)
    measured = [item for item in loops if item["outcome"] != "diverged"]
    backs = [Bounds.of({"lower": e["return_lower"], "upper": e["return_upper"]}) for e in measured]
    widths = [Bounds.of(item) for item in measured]
    closed = [item for item in loops if item["outcome"] == "closed"]
    limit = common_limit(records)
    at_limit = [found for record in read_at(records, limit) if (found := loop(record)) is not None]
    middle = median(widths)
    return {
        "n": len(loops),
        "measured": len(measured),
        "outcomes": {kind: outcomes[kind] for kind in ("closed", "open", "diverged")},
        "trapped": sum(item["trapped"] for item in loops),
        "width": spread([item["width"] for item in closed]),
        "median": {end: middle[end] for end in ("lower", "upper")},
        "interval": middle["interval"],
        "thresholds": [parameter(records, item.limit, item.default_limit) for item in (UP, DOWN)],
        "memory": paired([item["memory"] for item in loops if item["memory"] is not None]),
        "area": paired([item["area"] for item in loops if item["area"] is not None]),
        "estimates": {
            "lambda_down": quantity(backs),
            "width": quantity(widths),
            "null_width": quantity([null for record in records if (null := retraced(record))]),
            "width_at_common_limit": quantity([Bounds.of(e) for e in at_limit if e["outcome"] != "diverged"]),
        },
        "common_limit": limit,
        "seeds": loops,
    }


def common_limit(records: Records) -> float:
    """The error half way between those of recovery and collapse."""
    return round(fmean(limits(records)), 6)


def read_at(records: Records, limit: float) -> list[Record]:
    """The records with collapse and recovery both read at one error."""
    both = {"collapse_error": limit, "recovery_error": limit}
    return [{**record, "parameters": {**(record.get("parameters") or {}), **both}} for record in records]


@dataclass(frozen=True)
class SeedSweep:
    """One sweep of one seed: the key of the experiment's sweep, the curve and the bounds of its threshold."""

    key: str
    seed: int
    curve: Curve
    bounds: Bounds | None


def sweeps_of(name: str, record: Record) -> list[SeedSweep]:
    """The sweeps that a seed made, none without one to read; T2's is another where it began trapped."""
    found = threshold(UP if name == "T1" else DOWN, record)
    sweep = entries(record, "trajectory", "sweep")
    if not sweep or found.bounds is None:
        return []
    curve = Curve.of([*entries(record, "trajectory", "init")[-1:], *sweep], found.level is not None)
    key = "T1-up" if name == "T1" else "T2-trapped" if found.start == "trapped" else "T2-down"
    sweeps = [SeedSweep(key, found.seed, curve, found.bounds)]
    back = entries(record, "return_trajectory")
    if name == "T1" and back and found.last is not None and found.fired is not None:
        # From where it collapsed, so that a seed's loop is one line.
        errors = dict(list(curve.errors.items())[-1:]) | Curve.of(back).errors
        returned = Curve(errors, fired=return_event(record).first is not None)
        sweeps.append(SeedSweep("T1-back", found.seed, returned, return_bounds(record, found.last)))
    return sweeps


def compare(direction: Direction, a: Summary, b: Summary) -> list[Difference]:
    """The event's share, the threshold, the errors and the loop, on two sides; of a falling sweep by start.

    Trapped and collapsed networks are two states: a mean over both depends on how many there are of each.
    """
    rows = []
    if not direction.rising:
        counts = [(s["start"]["trapped"], sum(s["start"][state] for state in STARTS)) for s in (a, b)]
        rows.append(share_row("trapped at the start", *counts))
    for state in (None,) if direction.rising else dict.fromkeys([*a["by_start"], *b["by_start"]]):
        one, other = (a, b) if state is None else (only(side, start=state) for side in (a, b))
        start = "" if state is None else f", start {state}"
        if one["seeds"] or other["seeds"]:
            rows += [
                _fired_row(direction, one, other, start),
                median_row(f"median {direction.symbol}{start}", cells(one), cells(other)),
            ]
            if state == "trapped":  # their errors are those of chance until they leave
                left = [(sum(s["left_trap"] for s in x["seeds"]), len(x["seeds"])) for x in (one, other)]
                rows.append(share_row("left the trapped state", *left))
            else:
                rows.append(field_row(f"init error{start}", "init_error", one, other))
                rows.append(final_error_row("last", one, other, start))
    if a.get("loop") and b.get("loop"):
        rows.append(
            field_row("error on the return less that of the rising sweep", "memory", a["loop"], b["loop"])
        )
    return rows


def _fired_row(direction: Direction, a: Summary, b: Summary, start: str) -> Difference:
    """The share that had its event by the last λ of both sweeps: shares by different λ do not compare.

    Seeds of which it is not known are left out: failed inits, diverged ones, and those cut short before.
    """
    both = set(a["levels"]) & set(b["levels"])
    if not both:
        none = wording.NONE
        return Difference(
            f"{direction.event} by the same λ{start}", none, none, "no difference: no λ in both sweeps"
        )
    limit = max(both) if direction.rising else min(both)
    counts = []
    for summary in (a, b):
        known = cells(summary)
        fired = sum(c.upper <= limit if direction.rising else c.lower >= limit for c in known)
        stayed = sum(c.lower >= limit if direction.rising else c.upper <= limit for c in known)
        counts.append((fired, fired + stayed))
    return share_row(f"{direction.event} by λ = {wording.level(limit)}{start}", *counts)
