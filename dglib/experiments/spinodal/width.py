"""The hysteresis width λ↑ − λ↓ between T1 and T2, paired by seed, with its controls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dglib.analysis import wording
from dglib.analysis.answer import Answer, Row, ends_of, settings
from dglib.analysis.differences import Difference, cells, median_row, only, share_row
from dglib.analysis.fields import Records, dwell, entries, number, rounded, seed_of
from dglib.analysis.intervals import Bounds, centre, clopper_pearson_undecided, spread
from dglib.analysis.summary import Summary, in_every_seed, known_cell, paired, quantity, share
from dglib.analysis.thresholds import (
    DOWN,
    UP,
    Direction,
    Threshold,
    differences_at,
    limits,
    retraced,
    threshold,
)
from dglib.experiments.base import Joint
from dglib.experiments.spinodal.summary import STARTS, common_limit, median, read_at

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
        " a path retraced exactly would have a width. What counts as memory is a different error at the"
        " same λ."
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
        title = f"{self.title}: {wording.seeds(summary['n'])} with both thresholds"
        return Answer(title, settings(dwell, summary), tuple(self._rows(summary)), notes)

    def _rows(self, summary: Summary) -> list[Row]:
        rows, limit = [], wording.level(summary["common_limit"])
        for state, group in summary["by_start"].items():
            n, events, null = group["n"], group["both_events"], {"null": ends_of(group["null_width"])}
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
        from dglib.experiments.spinodal.loop_figures import draw_loop

        return draw_loop(*records)

    def lag(self, *records: Records, others: Records = ()) -> Summary | None:
        from dglib.experiments.spinodal.lag import lag

        t1, t2 = records
        found = lag(t1, t2, others)
        return found if len(found["settings"]) > 1 else None

    def lag_answer(self, lag: Summary) -> Answer:
        from dglib.experiments.spinodal.lag import lag_answer

        return lag_answer(lag)

    def draw_lag(self, *records: Records, others: Records = ()) -> Figure:
        from dglib.experiments.spinodal.loop_figures import draw_lag

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
