"""What records say, as plain values under fixed names: no NaN, no infinity, null where there is nothing."""

from collections.abc import Callable, Sequence

from dglib.analysis import wording
from dglib.analysis.bounds import Bounds
from dglib.analysis.dwell import dwell
from dglib.analysis.loops import return_bounds, summarise_loops
from dglib.analysis.quantities import Plain, cell_of, in_every_seed, point_of, quantity, share
from dglib.analysis.reading import Record, Records, entries, number, parameter, rounded
from dglib.analysis.states import final_state
from dglib.analysis.threshold_summary import STARTS, summarise_thresholds
from dglib.analysis.thresholds import DIRECTIONS, DOWN, UP, Direction, rule_of, threshold
from dglib.experiments.branches.gaps import gap_interval, summarise_branches
from dglib.experiments.spinodal.widths import summarise_width
from dglib.experiments.trapping.classes import CLASSES, PARTIAL_ERROR, TRAPPED_ERROR, summarise_trapping

QUANTITIES = ("lambda_up", "lambda_down", "width", "gap")
FEWEST_FOR_MEDIANS = 6  # below, no 95 % interval for a median exists; see `intervals.median_interval`


def experiment_values(experiment: str, records: Records) -> Plain:
    """One experiment's counts and quantities; `width` of T1 and T2 comes from both: `hysteresis_values`.

    Always there: `n`, `events` (null where the protocol has no event), `failed_inits`, `diverged`, `outcomes`
    (counts that add up to n), `QUANTITIES`, each as `quantities.quantity` has it or null, `measured` (seeds
    behind the quantity), `dwell`, `notes` (sentences on what is missing), `seeds`.
    T1, T2: `event_share` (of seeds that were swept), `in_every_seed`; T1 `loop`, the way back; T2 `by_start`.
    V3: `gap_lambda`, `gap_mean` with its t interval (within ±1), `by_start`. The gap itself counts only seeds
    that began the collapse branch collapsed. Td1: `shares` of the classes.
    """
    make: Callable[[Records], Plain]
    if experiment in DIRECTIONS:
        found = _sweeps(DIRECTIONS[experiment], records)
    else:
        make = {"V3": _branches, "Td1": _classes}[experiment]
        found = make(records)
    seeds = found.pop("seeds")
    notes = found.pop("notes", []) + _notes(found)
    common = {"n": len(records), "events": None, **dict.fromkeys(QUANTITIES)}
    return {**common, **found, "dwell": dwell(records), "notes": notes, "seeds": seeds}


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
        "above_zero": share(summary["above_zero"], len(pairs), _undecided(cells)),
        "by_start": {state: _group(members, "width") for state, members in groups.items()},
    }
    notes = _few(len(pairs)) if pairs else ["no seed has both thresholds: the width was not measured"]
    return {**found, "notes": notes, "left_out": summary["left_out"], "seeds": summary["seeds"]}


def _sweeps(direction: Direction, records: Records) -> Plain:
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
            {**{name: seed[name] for name in kept}, "final_state": _final_state(record)}
            for seed, record in zip(summary["seeds"], records, strict=True)
        ],
    }
    if direction.rising:
        return {**found, "loop": _loop(records)}
    groups = {state: [(c, p) for start, c, p in known if start == state] for state in STARTS}
    return {**found, "by_start": {s: _group(members, direction.field) for s, members in groups.items()}}


def _loop(records: Records) -> Plain | None:
    """The way back of seeds that collapsed: λ↓ and width there, which are not T2's; None without one."""
    summary = summarise_loops(records)
    if summary is None:
        return None
    downs, widths = [], []
    for record, seed in _by_seed(records, summary["seeds"]):
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
        "lambda_down": quantity(*_columns(downs)),
        "width": quantity(*_columns(widths)),
    }


def _branches(records: Records) -> Plain:
    summary = summarise_branches(records)
    groups = {
        state: [_exact(s["gap"]) for s in summary["seeds"] if s["start"] == state and s["gap"] is not None]
        for state in STARTS
    }
    apart = groups["collapsed"]
    interval = gap_interval([cell.lower for cell, _ in apart])
    mean = summary["gap_collapsed"]
    left_out = len(groups["trapped"])
    notes = [f"{wording.seeds(left_out)} began the collapse branch trapped, and not in the gap"] * bool(
        left_out
    )
    return {
        **{name: summary[name] for name in ("failed_inits", "diverged", "outcomes")},
        "gap": quantity(*_columns(apart)),
        "measured": len(apart),
        "gap_lambda": summary["gap_lambda"],
        "gap_mean": mean
        and {
            "estimate": mean["mean"],
            "ci95": interval and [rounded(interval.lower), rounded(interval.upper)],
        },
        "two_branches": summary["two_branches"],
        "by_start": {state: _group(members, "gap") for state, members in groups.items()},
        "notes": notes,
        "seeds": summary["seeds"],
    }


def _classes(records: Records) -> Plain:
    limits = {
        "trapped_error": parameter(records, "trapped_error", TRAPPED_ERROR),
        "partial_error": parameter(records, "partial_error", PARTIAL_ERROR),
    }
    # By the final error, whatever a published label says.
    summary = summarise_trapping([_last_error(record) for record in records])
    ended = sum(summary["outcomes"][name] for name in CLASSES)
    return {
        **{name: summary[name] for name in ("failed_inits", "diverged", "outcomes")},
        "measured": ended,
        "limits": limits,
        "shares": {name: share(summary["outcomes"][name], ended) for name in CLASSES},
        "seeds": [
            {
                "seed": seed["seed"],
                "outcome": seed["category"],
                "recorded": written if isinstance(written := seed["recorded_category"], str) else None,
                "final_error": seed["final_error"],
            }
            for seed in summary["seeds"]
        ],
    }


def _last_error(record: Record) -> Record:
    errors = entries(record, "error_trajectory")
    final = number(errors[-1], "error") if errors else number(record, "final_error")
    return {**record, "final_error": final}


def _final_state(record: Record) -> str | None:
    return final_state(record, *(rule_of(each, record).limit for each in (DOWN, UP)))


def _notes(found: Plain) -> list[str]:
    outcomes, measured = found["outcomes"], found["measured"]
    n = sum(outcomes.values())
    if n and not measured:
        words = {"init_failed": "failed the init", "diverged": "diverged", "unfinished": "not finished"}
        counts = [f"{outcomes[kind]} {word}" for kind, word in words.items() if outcomes.get(kind)]
        if outcomes.get("init_failed") == n:
            return [f"all seeds failed ({n} of {n} the init): nothing was measured"]
        return [f"no seed was measured{': ' if counts else ''}{', '.join(counts)}"]
    return _few(measured) if "shares" not in found else ["n = 1"] * (measured == 1)


def _few(n: int) -> list[str]:
    """Why there is no interval, where there is none."""
    if n >= FEWEST_FOR_MEDIANS or not n:
        return []
    why = "from one seed" if n == 1 else f"below {FEWEST_FOR_MEDIANS} seeds"
    return [f"n = {n}: no 95 % interval for a median {why}"]


def _undecided(widths: Sequence[Bounds]) -> int:
    return sum(width.lower < 0 < width.upper for width in widths)


def _by_seed(records: Records, found: Sequence[Plain]) -> list[tuple[Record, Plain]]:
    seeds = {each["seed"]: each for each in found}
    return [(record, seeds[record["seed"]]) for record in records if record["seed"] in seeds]


def _exact(value: float) -> tuple[Bounds, Bounds]:
    return Bounds(value, value), Bounds(value, value)


def _group(members: Sequence[tuple[Bounds, Bounds]], name: str) -> Plain:
    return {"n": len(members), name: quantity(*_columns(members))}


def _columns(pairs: Sequence[tuple[Bounds, Bounds]]) -> tuple[list[Bounds], list[Bounds]]:
    return [cell for cell, _ in pairs], [point for _, point in pairs]
