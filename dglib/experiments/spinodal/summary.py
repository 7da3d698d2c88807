"""The summaries of T1 and T2: thresholds, the return sweep, and the width between them with its controls."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from dglib.analysis import wording
from dglib.analysis.controls import drift, is_frozen
from dglib.analysis.curves import Curve
from dglib.analysis.differences import Difference, cells, field_row, median_row, share_row
from dglib.analysis.fields import (
    FINAL_STATES,
    Record,
    Records,
    dwell,
    entries,
    is_running,
    level_of,
    levels_of,
    number,
    parameter,
    rounded,
    seed_of,
)
from dglib.analysis.grid import TRAPPED
from dglib.analysis.intervals import (
    Bounds,
    clopper_pearson_undecided,
    median_bounds,
    median_interval,
    remaining,
    spread,
)
from dglib.analysis.summary import (
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
    differences_at,
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

    `lambda_up` or `lambda_down`: spread of the levels at which the runs that fired began, the far ends of
    their cells; `..._recorded`: of those at which they ended, as records keep them. `limit`: the event's
    error. `median` and `remaining`: over all seeds of which anything is known, censored ones too; of falling
    sweeps also `by_start`, the two states from which seeds recover or do not.
    """
    found = [threshold(direction, record) for record in records]
    seeds = [_seed(direction, record, seed) for record, seed in zip(records, found, strict=True)]
    kinds = (direction.event, "no_event", "init_failed", "diverged", "unfinished")
    levels = planned_levels(records)
    known = [(seed["start"], cell) for seed in seeds if (cell := known_cell(seed))]
    fired = [item for item in found if item.outcome == direction.event]
    states = Counter(item.final_state for item in found)
    summary = common(name, records, seeds, kinds)
    outcomes = summary["outcomes"]
    events = outcomes[direction.event]
    differences = {str(item.seed): item.difference for item in found if item.difference}
    summary |= {
        "events": events,
        "measured": len(known),
        direction.field: spread([item.level for item in fired if item.level is not None]),
        f"{direction.field}_centres": _centres(item.bounds for item in fired),
        f"{direction.field}_recorded": spread([item.recorded for item in fired if item.recorded is not None]),
        "limit": parameter(records, direction.limit, direction.default_limit),
        "median": median_of(found),
        "remaining": still(direction, found, levels),
        "levels": levels,
        "censored": [item.seed for item in found if item.outcome == "no_event"],
        "final_states": {state: states[state] for state in FINAL_STATES},
        "differences": differences,
        "limits": {direction.limit: parameter(records, direction.limit, direction.default_limit)},
        "in_every_seed": in_every_seed([cell for _, cell in known]),
        "estimates": {
            direction.field: quantity([cell for _, cell in known]),
            "event_share": _event_share(direction, found),
        },
        **_controls(records),
        "notes": [f"seed {seed}: {why}; the trajectory was taken" for seed, why in differences.items()]
        + missing(outcomes, len(known)),
    }
    summary["notes"] += control_notes(summary)
    if direction.rising:
        return summary | {"loop": _loops(records)}
    summary["start"] = {
        **{state: sum(item.start == state for item in found) for state in STARTS},
        "left_trap": sum(item.left_trap for item in found),
    }
    summary["by_start"] = {
        state: {
            "n": sum(start == state for start, _ in known),
            "events": sum(item.outcome == direction.event for item in found if item.start == state),
            "centres": _centres(item.bounds for item in fired if item.start == state),
            "median": median_of([item for item in found if item.start == state]),
            "remaining": still(direction, [item for item in found if item.start == state], levels),
            direction.field: quantity([cell for start, cell in known if start == state]),
            "event_share": _event_share(direction, [item for item in found if item.start == state]),
            **_controls([r for r, item in zip(records, found, strict=True) if item.start == state]),
        }
        for state in STARTS
    }
    return summary


def _controls(records: Records) -> dict[str, Any]:
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


def _centres(cells: Iterable[Bounds | None]) -> dict[str, Any] | None:
    """The spread of the middles of the cells that are closed."""
    return spread([rounded((c.lower + c.upper) / 2) for c in cells if c and None not in c.as_dict().values()])


def _event_share(direction: Direction, found: Sequence[Threshold]) -> dict[str, Any] | None:
    """Of the seeds that entered the sweep, those that had their event."""
    counts = Counter(item.outcome for item in found)
    events, unfinished = counts[direction.event], counts["unfinished"]
    return share(events, events + counts["no_event"] + unfinished, unfinished)


def _seed(direction: Direction, record: Record, seed: Threshold) -> dict[str, Any]:
    stayed = seed.outcome == "no_event" and not direction.rising
    end = TRAPPED if stayed and end_state(direction, seed) == "trapped" else seed.outcome
    return seed.as_dict() | {"end": "unfinished" if is_running(record) else end}


def median_of(found: Sequence[Threshold]) -> dict[str, Any]:
    """`{"n", "lower", "upper", "interval"}`: bounds of the sample's median, interval for the population's.

    The interval is None below six seeds: no 95 % interval from order statistics exists there.
    """
    known = [item.bounds for item in found if item.bounds]
    return {"n": len(known), **_median(known)}


def _median(known: Sequence[Bounds]) -> dict[str, Any]:
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
    median = _median(widths)
    return {
        "n": len(loops),
        "measured": len(measured),
        "outcomes": {kind: outcomes[kind] for kind in ("closed", "open", "diverged")},
        "trapped": sum(item["trapped"] for item in loops),
        "lambda_down": spread([item["lambda_down"] for item in closed]),
        "width": spread([item["width"] for item in closed]),
        "median": {end: median[end] for end in ("lower", "upper")},
        "interval": median["interval"],
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


def summarise_width(t1_records: Records, t2_records: Records) -> dict[str, Any]:
    """λ↑ − λ↓ between T1 and T2, paired by seed: bounds, which an absent event leaves open on one side.

    `lower` and `upper` bound the median over seeds, `interval` encloses the population's (None below six).
    `share_above_zero` is the exact interval for the share of widths above 0, whatever the undecided are.
    `by_start`: of seeds whose falling sweep began collapsed, or trapped: two states; with the controls: the
    width that T1's path would have were it retraced exactly (`null_width`), the width with both events read
    at `common_limit`, and the error of T2 less that of T1 at `gap_lambda`, the middle of the levels that most
    pairs of seeds visited. `mean_difference` (mean λ↑ less mean λ↓) is given only if every seed of both
    sweeps had its event. No survival curve of widths: how a width is censored depends on λ↑ and λ↓
    themselves, which biases one.
    """
    ups, downs = _by_seed(UP, t1_records), _by_seed(DOWN, t2_records)
    limit = common_limit([*t1_records, *t2_records])
    widths, starts = _widths(ups, downs), {seed: down.start for seed, down in downs.items()}
    at_limit = _widths(_by_seed(UP, read_at(t1_records, limit)), _by_seed(DOWN, read_at(t2_records, limit)))
    nulls = {seed_of(record): null for record in t1_records if (null := retraced(record))}
    level, gaps = _gaps(t1_records, t2_records)

    def of(state: str | None, found: dict[int, Any]) -> list[Any]:
        return [value for seed, value in found.items() if state in (None, starts.get(seed))]

    every = list(widths.values())
    over, undecided = _over(every), sum(width.lower < 0 < width.upper for width in every)
    return {
        **over,
        "measured": len(widths),
        "trapped": len(of("trapped", widths)),
        "in_every_seed": in_every_seed(every),
        "common_limit": limit,
        "gap_lambda": level,
        "by_start": {
            state: _over(of(state, widths))
            | {
                "both_events": sum(abs(w.lower) + abs(w.upper) < math.inf for w in of(state, widths)),
                "width": quantity(of(state, widths)),
                "null_width": quantity([nulls[s] for s in widths if s in nulls and starts[s] == state]),
                "width_at_common_limit": quantity(of(state, at_limit)),
                "gap": paired(of(state, gaps)),
            }
            for state in STARTS
        },
        "mean_difference": _mean_difference(list(ups.values()), list(downs.values())),
        "estimates": {
            "width": quantity(every),
            "above_zero": share(over["above_zero"], len(every), undecided),
        },
        "notes": [] if widths else ["no seed has both thresholds: the width was not measured"],
        "seeds": [{"seed": s, "start": starts[s], **width.as_dict()} for s, width in widths.items()],
        "left_out": sorted((ups.keys() | downs.keys()) - widths.keys()),
        "dwell": {"T1": dwell(t1_records), "T2": dwell(t2_records)},
        "eta": sorted({eta for r in (*t1_records, *t2_records) if (eta := number(r, "eta")) is not None}),
        "limits": dict(
            zip((DOWN.limit, UP.limit), limits([*t1_records, *t2_records]), strict=True),
        ),
    }


def _by_seed(direction: Direction, records: Records) -> dict[int, Threshold]:
    return {item.seed: item for item in (threshold(direction, record) for record in records)}


def _widths(ups: dict[int, Threshold], downs: dict[int, Threshold]) -> dict[int, Bounds]:
    """The cell of each seed's width, where both thresholds are known."""
    cells = {
        seed: (known_cell(ups[seed].as_dict()), known_cell(downs[seed].as_dict()))
        for seed in sorted(ups.keys() & downs.keys())
    }
    return {seed: up - down for seed, (up, down) in cells.items() if up and down}


def _gaps(t1_records: Records, t2_records: Records) -> tuple[float | None, dict[int, float]]:
    """A λ, and the error of T2 less that of T1 there by seed."""
    ups, downs = (
        {seed_of(r): entries(r, "trajectory", "sweep") for r in side} for side in (t1_records, t2_records)
    )
    apart = {seed: differences_at(ups[seed], downs[seed]) for seed in sorted(ups.keys() & downs.keys())}
    counts = Counter(level for found in apart.values() for level in found)
    most = sorted(level for level, count in counts.items() if count == max(counts.values()))
    if not most:
        return None, {}
    level = most[(len(most) - 1) // 2]
    return level, {seed: rounded(found[level]) for seed, found in apart.items() if level in found}


def _over(widths: Sequence[Bounds]) -> dict[str, Any]:
    # The cells are open at these ends, so a lower bound of 0 is proof as well.
    above, not_above = sum(w.lower >= 0 for w in widths), sum(w.upper <= 0 for w in widths)
    undecided = len(widths) - above - not_above
    return {
        "n": len(widths),
        **_median(widths),
        "above_zero": above,
        "share_above_zero": clopper_pearson_undecided(above, undecided, len(widths)).as_dict(),
    }


def _mean_difference(ups: list[Threshold], downs: list[Threshold]) -> float | None:
    up, down = (spread([item.level for item in side if item.level is not None]) for side in (ups, downs))
    if not up or not down or up["n"] < len(ups) or down["n"] < len(downs):
        return None
    return rounded(up["mean"] - down["mean"])


def compare(direction: Direction, a: Summary, b: Summary) -> list[Difference]:
    """The event's share, the threshold, the state at the start and the loop, on two sides."""
    rows = [_fired_row(direction, a, b), median_row(f"median {direction.symbol}", cells(a), cells(b))]
    if not direction.rising:
        counts = [(s["start"]["trapped"], sum(s["start"][state] for state in STARTS)) for s in (a, b)]
        rows.append(share_row("trapped at the start", *counts))
    if a.get("loop") and b.get("loop"):
        rows.append(
            field_row("error on the return less that of the rising sweep", "memory", a["loop"], b["loop"])
        )
    return rows


def _fired_row(direction: Direction, a: Summary, b: Summary) -> Difference:
    """The share that had its event by the last λ of both sweeps: shares by different λ do not compare.

    Seeds of which it is not known are left out: failed inits, diverged ones, and those cut short before.
    """
    both = set(a["levels"]) & set(b["levels"])
    if not both:
        none = wording.NONE
        return Difference(
            f"{direction.event} by the same λ", none, none, "no difference: no λ in both sweeps"
        )
    limit = max(both) if direction.rising else min(both)
    counts = []
    for summary in (a, b):
        known = cells(summary)
        fired = sum(c.upper <= limit if direction.rising else c.lower >= limit for c in known)
        stayed = sum(c.lower >= limit if direction.rising else c.upper <= limit for c in known)
        counts.append((fired, fired + stayed))
    return share_row(f"{direction.event} by λ = {wording.level(limit)}", *counts)


def compare_widths(a: Summary, b: Summary) -> list[Difference]:
    above = [(side["above_zero"], side["n"]) for side in (a, b)]
    return [
        median_row("median width λ↑ − λ↓", *([Bounds.of(seed) for seed in side["seeds"]] for side in (a, b))),
        share_row("width above 0 for certain", *above),
    ]
