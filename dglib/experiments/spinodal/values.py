"""T1's and T2's findings for machines: thresholds, loop, width, and the measure of a grid's cells."""

from __future__ import annotations

from dglib.analysis.bounds import Bounds
from dglib.analysis.fields import Record, Records
from dglib.analysis.loops import return_bounds, summarise_loops
from dglib.analysis.phase_diagram import DIVERGED_WORD, TRAPPED_WORD, Measure
from dglib.analysis.quantities import (
    Plain,
    by_seed,
    cell_of,
    columns,
    few,
    group,
    in_every_seed,
    point_of,
    quantity,
    share,
    undecided,
)
from dglib.analysis.states import final_state
from dglib.analysis.threshold_summary import STARTS, summarise_thresholds
from dglib.analysis.thresholds import DOWN, UP, Direction, end_state, limits, threshold
from dglib.experiments.spinodal.widths import summarise_width


def sweep_values(direction: Direction, records: Records) -> Plain:
    """The threshold; T1 also `loop`, the way back, T2 also `by_start`."""
    summary = summarise_thresholds(direction, records)
    known = [(seed["start"], cell, point_of(seed)) for seed in summary["seeds"] if (cell := cell_of(seed))]
    cells, points = [cell for _, cell, _ in known], [point for *_, point in known]
    outcomes, events = summary["outcomes"], summary["events"]
    unfinished = outcomes["unfinished"]
    kept = ("seed", "outcome", "level", "lower", "upper", "start", "left_trap", "final_error")
    differences = summary["differences"]
    found: Plain = {
        **{name: summary[name] for name in ("n", "events", "failed_inits", "diverged", "outcomes")},
        direction.field: quantity(cells, points),
        "measured": len(known),
        "event_share": share(events, events + outcomes["no_event"] + unfinished, unfinished),
        "in_every_seed": in_every_seed(cells),
        "notes": [f"seed {seed}: {why}; the trajectory was taken" for seed, why in differences.items()],
        "seeds": [
            {**{name: seed[name] for name in kept}, "final_state": final_state(record, *limits([record]))}
            for seed, record in zip(summary["seeds"], records, strict=True)
        ],
    }
    if direction.rising:
        return {**found, "loop": _loop(records)}
    groups = {state: [(c, p) for start, c, p in known if start == state] for state in STARTS}
    return {**found, "by_start": {s: group(members, direction.field) for s, members in groups.items()}}


def _loop(records: Records) -> Plain | None:
    """The way back of seeds that collapsed: λ↓ and width there, which are not T2's; None without one."""
    summary = summarise_loops(records)
    if summary is None:
        return None
    downs, widths = [], []
    for record, seed in by_seed(records, summary["seeds"]):
        up = threshold(UP, record)
        cell = return_bounds(record, up.fired) if up.fired is not None else None
        if cell is None or up.bounds is None or up.level is None:
            continue
        fired = seed["lambda_down"]
        point = cell if fired is None else Bounds(fired, fired)
        downs.append((cell, point))
        widths.append((up.bounds - cell, Bounds(up.level, up.level) - point))
    return {
        "n": summary["n"],
        "outcomes": summary["outcomes"],
        "lambda_down": quantity(*columns(downs)),
        "width": quantity(*columns(widths)),
    }


def hysteresis_values(t1_records: Records, t2_records: Records) -> Plain:
    """λ↑ of T1 less λ↓ of T2, paired by seed: `width`, and what holds in every seed.

    `by_start` has the width of seeds whose way down began collapsed, and trapped: two states.
    """
    summary = summarise_width(t1_records, t2_records)
    ups, downs = (
        {each.seed: each.as_dict() for each in (threshold(direction, record) for record in records)}
        for direction, records in ((UP, t1_records), (DOWN, t2_records))
    )
    pairs = [
        (seed["start"], Bounds.of(seed), point_of(ups[seed["seed"]]) - point_of(downs[seed["seed"]]))
        for seed in summary["seeds"]
    ]
    cells = [cell for _, cell, _ in pairs]
    groups = {state: [(cell, point) for start, cell, point in pairs if start == state] for state in STARTS}
    found: Plain = {
        "measured": len(pairs),
        "width": quantity(cells, [point for _, _, point in pairs]),
        "in_every_seed": in_every_seed(cells),
        "above_zero": share(summary["above_zero"], len(pairs), undecided(cells)),
        "by_start": {state: group(members, "width") for state, members in groups.items()},
    }
    notes = few(len(pairs)) if pairs else ["no seed has both thresholds: the width was not measured"]
    return {**found, "notes": notes, "left_out": summary["left_out"], "seeds": summary["seeds"]}


def measure(direction: Direction) -> Measure:
    """What a grid's cells are told by: the threshold, and what became of the seeds."""
    kinds = (
        {"no_event": "no collapse", "collapsed": "collapsed", **DIVERGED_WORD}
        if direction.rising
        else {"recovered": "recovered", "no_event": "not recovered", **TRAPPED_WORD, **DIVERGED_WORD}
    )

    def end(record: Record) -> tuple[str, Bounds | None]:
        seed = threshold(direction, record)
        stayed = seed.outcome == "no_event" and not direction.rising
        trapped = stayed and end_state(direction, seed) == "trapped"
        return next(iter(TRAPPED_WORD)) if trapped else seed.outcome, seed.bounds

    return Measure(direction.symbol, kinds, end, bounded=True)
