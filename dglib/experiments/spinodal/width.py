"""The hysteresis width λ↑ − λ↓ between T1 and T2, paired by seed: its controls, and how much of it is lag."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dglib.analysis import wording
from dglib.analysis.answer import Answer, Row, ends_of, settings
from dglib.analysis.differences import Difference, cells, median_row, only, share_row
from dglib.analysis.fields import Record, Records, dwell, entries, level_of, number, rounded, seed_of
from dglib.analysis.fits import width_at_rate
from dglib.analysis.intervals import Bounds, centre, clopper_pearson_undecided, spread
from dglib.analysis.summary import Summary, in_every_seed, known_cell, paired, quantity, share
from dglib.analysis.thresholds import (
    DOWN,
    UP,
    Direction,
    Threshold,
    differences_at,
    init_level,
    limits,
    loop,
    retraced,
    threshold,
)
from dglib.experiments.base import Joint
from dglib.experiments.spinodal.summary import STARTS, common_limit, control_notes, controls, median, read_at
from dglib.runs.identity import ABSENT, differing

if TYPE_CHECKING:
    from matplotlib.figure import Figure


DROPPING, UNKNOWN_RATE = "dropping", "not recorded"
# Parameters that may differ between runs of several dwell times, and those that do not concern training.
_VARIED = {"epochs_per_level", "sweep_lr", "milestones", "seeds"}


class Width(Joint):
    """The hysteresis width λ↑ − λ↓ of T1 and T2."""

    key = "hysteresis"
    quantity = "width"
    title = "Hysteresis width"
    symbol = "width λ↑ − λ↓"
    experiments = ("T1", "T2")
    caption = "Error against λ in the rising and falling sweeps, and where each seed's thresholds lie"
    limitation = (
        "λ↑ is read where the error rises past one limit and λ↓ where it falls below a lower one, so even"
        " a path retraced exactly would have a width. A different error at the same λ shows that the network"
        " has not forgotten its path at this dwell time: whether it ever does, only a held λ decides."
    )
    nothing = ("width", "in_every_seed", "above_zero", "by_start")

    def summarise(self, *records: Records) -> dict[str, Any]:
        return summarise_width(*records)

    def answer_of(self, summary: Summary) -> Answer:
        notes = tuple(summary["notes"])
        if not summary.get("n"):
            return Answer(f"{self.title}: not measured", flags=notes)
        one, other = (wording.dwell(summary["dwell"][name]) for name in self.experiments)
        dwell = one if one == other else f"T1: {one}; T2: {other}"
        both = sum(group["both_events"] for group in summary["by_start"].values())
        title = f"{self.title}: {wording.seeds(summary['n'])} swept up and down, {both} with both thresholds"
        return Answer(title, settings(dwell, summary), tuple(self._rows(summary)), notes)

    def _rows(self, summary: Summary) -> list[Row]:
        rows, limit = [], wording.level(summary["common_limit"])
        for state, group in summary["by_start"].items():
            null = {"null (no lag)": ends_of(group["null_width"])}
            n, events = group["n"], group["both_events"]
            if n:
                at, read_at = f"width, both read at error {limit}", group["width_at_common_limit"]
                rows += [
                    Row.of_median(self.symbol, n, group["width"], start=state, events=events, more=null),
                    Row.of_median(at, n, read_at, start=state),
                ]
            if group["gap"]:
                at = wording.level(summary["gap_lambda"])
                rows.append(Row.of_mean(f"T2 − T1 error at λ = {at}", group["gap"], start=state))
        return rows

    def compare(self, a: Summary, b: Summary) -> list[Difference]:
        return compare_widths(a, b)

    def draw(self, *records: Records) -> Figure:
        from dglib.experiments.spinodal.figures import draw_loop

        return draw_loop(*records)

    def lag(self, *records: Records, others: Records = ()) -> Summary | None:
        t1, t2 = records
        found = lag_of(t1, t2, others)
        return found if len(found["settings"]) > 1 else None

    def lag_answer(self, lag: Summary) -> Answer:
        return lag_answer(lag)

    def draw_lag(self, *records: Records, others: Records = ()) -> Figure:
        from dglib.experiments.spinodal.figures import draw_lag

        t1, t2 = records
        return draw_lag(t1, t2, others)


def summarise_width(t1_records: Records, t2_records: Records) -> dict[str, Any]:
    """λ↑ − λ↓ between T1 and T2, paired by seed: bounds, which an absent event leaves open on one side.

    `lower` and `upper` bound the median over seeds, `interval` encloses the population's (None below six).
    `share_above_zero` is the exact interval for the share of widths above 0, whatever the undecided are.
    `by_start`: of seeds whose falling sweep began collapsed, or trapped: two states; with the controls: the
    width that T1's path would have were it retraced exactly (`null_width`), the width with both events read
    at `common_limit`, and the error of T2 less that of T1 at `gap_lambda`, the middle of the levels that most
    pairs of seeds visited. `mean_difference` (mean λ↑ less mean λ↓, at the centres of their cells) is given
    only if every seed of both sweeps had its event. No survival curve of widths: how a width is censored
    depends on λ↑ and λ↓ themselves, which biases one.
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
                "both_events": sum(width.is_closed for width in of(state, widths)),
                "width": quantity(of(state, widths)),
                "null_width": quantity([nulls[s] for s in widths if s in nulls and starts[s] == state]),
                "width_at_common_limit": quantity(of(state, at_limit)),
                "gap": paired(of(state, gaps)),
            }
            for state in dict.fromkeys([*STARTS, *(starts[seed] for seed in widths)])
        },
        "mean_difference": _mean_difference(list(ups.values()), list(downs.values())),
        "estimates": {
            "width": quantity(every),
            "above_zero": share(over["above_zero"], len(every), undecided),
        },
        "notes": [
            *([] if widths else ["no seed has both thresholds: the width was not measured"]),
            *(
                f"{name} {note}"
                for name, records in (("T1", t1_records), ("T2", t2_records))
                for note in control_notes(controls(records))
            ),
        ],
        "seeds": [{"seed": s, "start": starts[s], **width.as_dict()} for s, width in widths.items()],
        "left_out": sorted((ups.keys() | downs.keys()) - widths.keys()),
        "dwell": {"T1": dwell(t1_records), "T2": dwell(t2_records)},
        "eta": sorted({eta for r in (*t1_records, *t2_records) if (eta := number(r, "eta")) is not None}),
        "limits": {
            item.limit: rounded(limit)
            for item, limit in zip((DOWN, UP), limits([*t1_records, *t2_records]), strict=True)
        },
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
        **median(widths),
        "above_zero": above,
        "share_above_zero": clopper_pearson_undecided(above, undecided, len(widths)).as_dict(),
    }


def _mean_difference(ups: list[Threshold], downs: list[Threshold]) -> float | None:
    up, down = (
        spread([m for item in side if (m := centre(item.bounds)) is not None]) for side in (ups, downs)
    )
    if not up or not down or up["n"] < len(ups) or down["n"] < len(downs):
        return None
    return rounded(up["mean"] - down["mean"])


def compare_widths(a: Summary, b: Summary) -> list[Difference]:
    """By the state in which the falling sweep began."""
    rows = []
    for state in dict.fromkeys([*a["by_start"], *b["by_start"]]):
        sides = [only(side, start=state) for side in (a, b)]
        if any(side["seeds"] for side in sides):
            above = [(sum(cell.lower >= 0 for cell in cells(side)), len(side["seeds"])) for side in sides]
            rows += [
                median_row(f"median width λ↑ − λ↓, start {state}", *map(cells, sides)),
                share_row(f"width above 0 for certain, start {state}", *above),
            ]
    return rows


# ── widths against dwell time ──


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


def lag_of(t1_records: Records, t2_records: Records, others: Records = ()) -> dict[str, Any]:
    """The bounds of each seed's width at each dwell time and LR rule, and errors from scratch at each λ.

    `still`: width = still + factor · (1 / epochs per level)^exponent over the closed widths of each LR rule.
    `settings`: of each, `loop` (T1's return), `collapsed` and `trapped` (between T1 and T2, by the start of
    T2). `differing`: parameters in which the runs of T1 or of T2 differ besides dwell time and LR.

    Args:
        others: more records with an error from scratch at one λ, Tδ1's for instance.
    """
    ups, downs = by_setting(t1_records), by_setting(t2_records)
    settings = []
    for setting in sorted(ups.keys() | downs.keys()):
        t1, t2 = ups.get(setting, []), downs.get(setting, [])
        loops = [found for record in t1 if (found := loop(record)) is not None]
        widths = summarise_width(t1, t2)["seeds"]
        found = {"rule": setting[0], "epochs": setting[1]}
        found |= {"loop": [_ends(item) for item in loops if item["outcome"] != "diverged"]}
        groups = {state: [_ends(item) for item in widths if item["start"] == state] for state in STARTS}
        settings.append(found | groups)
    scratch: defaultdict[float, list[float]] = defaultdict(list)
    for level, error in sorted(_from_scratch([*t1_records, *t2_records, *others])):
        scratch[level].append(error)
    fits = {}
    for rule in {setting["rule"] for setting in settings}:
        for kind in ("loop", *STARTS):
            points = [
                (1 / setting["epochs"], (width["lower"] + width["upper"]) / 2)
                for setting in settings
                for width in setting[kind]
                if setting["rule"] == rule and setting["epochs"] and None not in width.values()
            ]
            fits[rule, kind] = points and width_at_rate(*zip(*points, strict=True))
    apart = sorted(_differing(t1_records) | _differing(t2_records))
    still = [{"rule": rule, "kind": kind, **fit} for (rule, kind), fit in sorted(fits.items()) if fit]
    return {"settings": settings, "still": still, "scratch": dict(scratch), "differing": apart}


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


def _differing(records: Records) -> set[str]:
    values = differing(*(record.get("parameters") or {} for record in records))
    # A parameter that a record does not state came later than it.
    known = {name: {repr(v) for v in values[name] if v is not ABSENT} for name in values.keys() - _VARIED}
    return {name for name, different in known.items() if len(different) > 1}


def lag_answer(found: Summary) -> Answer:
    """The median width at each dwell time and LR rule, and what else differs between the runs."""
    names = {"loop": ("T1's loop", "ordered"), **{state: ("T1 to T2", state) for state in STARTS}}
    rows = [
        Row.of_median(
            f"width, {names[kind][0]}, {wording.per_level(setting['epochs'])}, LR {setting['rule']}",
            len(setting[kind]),
            quantity([Bounds.of(width) for width in setting[kind]]),
            start=names[kind][1],
        )
        for kind in names
        for setting in sorted(found["settings"], key=lambda setting: (setting["rule"], setting["epochs"]))
        if setting[kind]
    ]
    rows += [
        Row.of_fit(
            f"width at infinite dwell, {names[fit['kind']][0]}, LR {fit['rule']}",
            fit["n"],
            fit["still"],
            start=names[fit["kind"]][1],
        )
        for fit in found["still"]
    ]
    apart = wording.listing(found["differing"])
    flags = (f"The runs also differ in {apart}",) if apart else ()
    return Answer("Hysteresis width λ↑ − λ↓ against dwell time", "", tuple(rows), flags)
