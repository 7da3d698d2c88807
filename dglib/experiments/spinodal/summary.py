"""The summaries of T1 and T2: thresholds, the return sweep, the width between them, and its lag."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dglib.analysis import wording
from dglib.analysis.curves import Curve
from dglib.analysis.differences import Row, cells, field_row, median_row, share_row
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
    as_json,
    clopper_pearson_undecided,
    median_bounds,
    median_interval,
    remaining,
    spread,
)
from dglib.analysis.summary import (
    Summary,
    cell_and_point,
    common,
    few,
    in_every_seed,
    missing,
    quantity,
    share,
)
from dglib.analysis.thresholds import (
    DOWN,
    UP,
    Direction,
    Threshold,
    end_state,
    init_level,
    loop,
    return_bounds,
    return_event,
    threshold,
)

STARTS = ("collapsed", "trapped")
DROPPING, UNKNOWN_RATE = "dropping", "not recorded"
# Parameters that may differ between runs of several dwell times, and those that do not concern training.
_VARIED = {"epochs_per_level", "sweep_lr", "milestones", "seeds"}


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
    known = [(seed["start"], pair) for seed in seeds if (pair := cell_and_point(seed))]
    fired = [item for item in found if item.outcome == direction.event]
    states = Counter(item.final_state for item in found)
    summary = common(name, records, seeds, kinds)
    outcomes = summary["outcomes"]
    events, unfinished = outcomes[direction.event], outcomes["unfinished"]
    differences = {str(item.seed): item.difference for item in found if item.difference}
    summary |= {
        "events": events,
        "measured": len(known),
        direction.field: spread([item.level for item in fired if item.level is not None]),
        f"{direction.field}_recorded": spread([item.recorded for item in fired if item.recorded is not None]),
        "limit": parameter(records, direction.limit, direction.default_limit),
        "median": median_of(found),
        "remaining": still(direction, found, levels),
        "levels": levels,
        "censored": [item.seed for item in found if item.outcome == "no_event"],
        "final_states": {state: states[state] for state in FINAL_STATES},
        "differences": differences,
        "in_every_seed": in_every_seed([cell for _, (cell, _) in known]),
        "estimates": {
            direction.field: quantity([pair for _, pair in known]),
            "event_share": share(events, events + outcomes["no_event"] + unfinished, unfinished),
        },
        "notes": [f"seed {seed}: {why}; the trajectory was taken" for seed, why in differences.items()]
        + missing(outcomes, len(known)),
    }
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
            "median": median_of([item for item in found if item.start == state]),
            "remaining": still(direction, [item for item in found if item.start == state], levels),
            direction.field: quantity([pair for start, pair in known if start == state]),
        }
        for state in STARTS
    }
    return summary


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
    interval = median_interval([b.lower for b in known], [b.upper for b in known])
    return {**median_bounds(known).as_dict(), "interval": as_json(interval)}


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
    downs = []
    for item in measured:
        back = Bounds.of({"lower": item["return_lower"], "upper": item["return_upper"]})
        downs.append((back, back if item["lambda_down"] is None else Bounds(*[item["lambda_down"]] * 2)))
    ups = [Bounds(*[item["lambda_up"]] * 2) for item in measured]
    widths = [
        (Bounds.of(item), up - point) for item, up, (_, point) in zip(measured, ups, downs, strict=True)
    ]
    closed = [item for item in loops if item["outcome"] == "closed"]
    median = _median([Bounds.of(item) for item in measured])
    return {
        "n": len(loops),
        "outcomes": {kind: outcomes[kind] for kind in ("closed", "open", "diverged")},
        "trapped": sum(item["trapped"] for item in loops),
        "lambda_down": spread([item["lambda_down"] for item in closed]),
        "width": spread([item["width"] for item in closed]),
        "median": {end: median[end] for end in ("lower", "upper")},
        "interval": median["interval"],
        "thresholds": [parameter(records, item.limit, item.default_limit) for item in (UP, DOWN)],
        "memory": spread([item["memory"] for item in loops if item["memory"] is not None]),
        "area": spread([item["area"] for item in loops if item["area"] is not None]),
        "estimates": {"lambda_down": quantity(downs), "width": quantity(widths)},
        "seeds": loops,
    }


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
    if name == "T1" and back and found.fired is not None:
        # From where it collapsed, so that a seed's loop is one line.
        errors = dict(list(curve.errors.items())[-1:]) | Curve.of(back).errors
        returned = Curve(errors, fired=return_event(record).first is not None)
        sweeps.append(SeedSweep("T1-back", found.seed, returned, return_bounds(record, found.fired)))
    return sweeps


def summarise_width(t1_records: Records, t2_records: Records) -> dict[str, Any]:
    """λ↑ − λ↓ between T1 and T2, paired by seed: bounds, which an absent event leaves open on one side.

    `lower` and `upper` bound the median over seeds, `interval` encloses the population's (None below six).
    `share_above_zero` is the exact interval for the share of widths above 0, whatever the undecided are.
    `by_start`: of seeds whose falling sweep began collapsed, or trapped: two states. `mean_difference` (mean
    λ↑ less mean λ↓) is given only if every seed of both sweeps had its event. No survival curve of widths:
    how a width is censored depends on λ↑ and λ↓ themselves, which biases one.
    """
    ups = {item.seed: item for item in (threshold(UP, record) for record in t1_records)}
    downs = {item.seed: item for item in (threshold(DOWN, record) for record in t2_records)}
    both = [
        (ups[s], downs[s]) for s in sorted(ups.keys() & downs.keys()) if ups[s].bounds and downs[s].bounds
    ]
    seeds, pairs = [], []
    for up, down in both:
        one, other = cell_and_point(up.as_dict()), cell_and_point(down.as_dict())
        if one and other:
            pairs.append((down.start, (one[0] - other[0], one[1] - other[1])))
            seeds.append({"seed": up.seed, "start": down.start, **pairs[-1][1][0].as_dict()})
    every = [pair for _, pair in pairs]
    undecided = sum(width.lower < 0 < width.upper for width, _ in every)
    over = _over([width for width, _ in every])
    groups = {state: [pair for start, pair in pairs if start == state] for state in STARTS}
    return {
        **over,
        "measured": len(seeds),
        "trapped": sum(seed["start"] == "trapped" for seed in seeds),
        "in_every_seed": in_every_seed([width for width, _ in every]),
        "by_start": {
            state: _over([width for width, _ in mine]) | {"width": quantity(mine)}
            for state, mine in groups.items()
        },
        "mean_difference": _mean_difference(list(ups.values()), list(downs.values())),
        "estimates": {
            "width": quantity(every),
            "above_zero": share(over["above_zero"], len(every), undecided),
        },
        "notes": few(len(seeds)) if seeds else ["no seed has both thresholds: the width was not measured"],
        "seeds": seeds,
        "left_out": sorted((ups.keys() | downs.keys()) - {seed["seed"] for seed in seeds}),
        "dwell": {"T1": dwell(t1_records), "T2": dwell(t2_records)},
    }


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


def compare(direction: Direction, a: Summary, b: Summary) -> list[Row]:
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


def _fired_row(direction: Direction, a: Summary, b: Summary) -> Row:
    """The share that had its event by the last λ of both sweeps: shares by different λ do not compare.

    Seeds of which it is not known are left out: failed inits, diverged ones, and those cut short before.
    """
    both = set(a["levels"]) & set(b["levels"])
    if not both:
        none = wording.NONE
        return Row(f"{direction.event} by the same λ", none, none, "no difference: no λ in both sweeps")
    limit = max(both) if direction.rising else min(both)
    counts = []
    for summary in (a, b):
        known = cells(summary)
        fired = sum(c.upper <= limit if direction.rising else c.lower >= limit for c in known)
        stayed = sum(c.lower >= limit if direction.rising else c.upper <= limit for c in known)
        counts.append((fired, fired + stayed))
    return share_row(f"{direction.event} by λ = {wording.level(limit)}", *counts)


def compare_widths(a: Summary, b: Summary) -> list[Row]:
    above = [(side["above_zero"], side["n"]) for side in (a, b)]
    return [
        median_row("median width λ↑ − λ↓", *([Bounds.of(seed) for seed in side["seeds"]] for side in (a, b))),
        share_row("width above 0 for certain", *above),
    ]


def setting_of(record: Record) -> tuple[str, int]:
    """The LR rule (a constant LR, `DROPPING` or `UNKNOWN_RATE`) and the epochs per level (0: unknown)."""
    epochs = dwell([record])["epochs_per_level"]
    parameters = record.get("parameters") or {}
    constant = number(record, "sweep_lr")
    if constant is None and parameters.get("milestones") == []:
        constant = number(parameters, "lr")
    known = DROPPING if "milestones" in parameters else UNKNOWN_RATE
    return known if constant is None else f"{constant:g}", epochs[0] if epochs else 0


def by_setting(records: Records) -> dict[tuple[str, int], list[Record]]:
    """The records grouped by LR rule and dwell time, in that order; a seed run twice counts once."""
    groups: defaultdict[tuple[str, int], dict[int, Record]] = defaultdict(dict)
    for record in records:
        groups[setting_of(record)].setdefault(seed_of(record), record)
    return {setting: list(groups[setting].values()) for setting in sorted(groups)}


def lag(t1_records: Records, t2_records: Records, others: Records = ()) -> dict[str, Any]:
    """The bounds of each seed's width at each dwell time and LR rule, and errors from scratch at each λ.

    `settings`: of each, `loop` (T1's return), `collapsed` and `trapped` (between T1 and T2, by the start of
    T2). `differing`: parameters in which the runs of T1 or of T2 differ besides dwell time and LR.

    Args:
        others: more records with an error from scratch at one λ, Tδ1's for instance.
    """
    ups, downs = by_setting(t1_records), by_setting(t2_records)
    settings = []
    for setting in sorted(ups.keys() | downs.keys()):
        t1, t2 = ups.get(setting, []), downs.get(setting, [])
        loops = (_loops(t1) or {"seeds": []})["seeds"]
        widths = summarise_width(t1, t2)["seeds"]
        found = {"rule": setting[0], "epochs": setting[1]}
        found |= {"loop": [_ends(item) for item in loops if item["outcome"] != "diverged"]}
        groups = {state: [_ends(item) for item in widths if item["start"] == state] for state in STARTS}
        settings.append(found | groups)
    scratch: defaultdict[float, list[float]] = defaultdict(list)
    for level, error in sorted(_from_scratch([*t1_records, *t2_records, *others])):
        scratch[level].append(error)
    differing = sorted({*_differing(t1_records), *_differing(t2_records)})
    return {"settings": settings, "scratch": dict(scratch), "differing": differing}


def _ends(seed: Summary) -> dict[str, float | None]:
    return {"lower": seed["lower"], "upper": seed["upper"]}


def _from_scratch(records: Records) -> list[tuple[float, float]]:
    """λ and error of each training from scratch at one λ, failed inits too.

    Each (experiment, λ, seed, error) once: an init is the same in every run that began with it.
    """
    found = {}
    for record in records:
        level = level_of(record) if number(record, "lambda") is not None else init_level(record)
        error = number(record, "init_error")
        error = number(record, "final_error") if error is None and "error_trajectory" in record else error
        if level is not None and error is not None:
            found[record.get("experiment"), level, record.get("seed"), error] = (level, error)
    return list(found.values())


def _differing(records: Records) -> list[str]:
    stated = [record.get("parameters") or {} for record in records]
    names = {name for parameters in stated for name in parameters} - _VARIED
    # A parameter that a record does not state came later than it.
    values = {name: {repr(item[name]) for item in stated if name in item} for name in names}
    return [name for name in names if len(values[name]) > 1]
