"""The hysteresis width λ↑ - λ↓ between T1 and T2, seed by seed, as bounds: censoring leaves them open.

No survival curve of widths: how a width is censored depends on λ↑ and λ↓ themselves, which biases one.
"""

from collections.abc import Sequence
from typing import Any

from dglib.analysis.bounds import Bounds, median_bounds, spread
from dglib.analysis.fields import Records, rounded
from dglib.analysis.intervals import as_json, clopper_pearson_undecided, median_interval
from dglib.analysis.threshold_summary import STARTS
from dglib.analysis.thresholds import DOWN, UP, Threshold, threshold


def summarise_width(t1_records: Records, t2_records: Records) -> dict[str, Any]:
    """λ↑ - λ↓ between T1 and T2, by seed: bounds, which an absent event leaves open on one side.

    `lower` and `upper` bound the median over seeds, `interval` encloses the population's (None below six).
    `share_above_zero` is the exact interval for the share of widths above 0, which holds however the seeds
    that prove nothing lie. `by_start` has the same for seeds whose way down began collapsed, or trapped: two
    states. `mean_difference` (mean λ↑ less mean λ↓) is given only if every seed of both sweeps had its event.
    """
    ups = {each.seed: each for each in (threshold(UP, record) for record in t1_records)}
    downs = {each.seed: each for each in (threshold(DOWN, record) for record in t2_records)}
    pairs = [(up, downs[seed]) for seed, up in sorted(ups.items()) if seed in downs]
    seeds: list[dict[str, Any]] = []
    for up, down in pairs:
        if up.bounds and down.bounds:
            width = up.bounds - down.bounds
            seeds.append({"seed": up.seed, "start": down.start, **width.as_dict()})
    return {
        **_over(seeds),
        "trapped": sum(each["start"] == "trapped" for each in seeds),
        "by_start": {state: _over([each for each in seeds if each["start"] == state]) for state in STARTS},
        "mean_difference": _mean_difference(list(ups.values()), list(downs.values())),
        "seeds": seeds,
        "left_out": sorted((ups.keys() | downs.keys()) - {each["seed"] for each in seeds}),
    }


def _over(seeds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    widths = [Bounds.of(seed) for seed in seeds]
    # The cells are open at these ends, so a lower bound of 0 is proof as well.
    above, not_above = sum(w.lower >= 0 for w in widths), sum(w.upper <= 0 for w in widths)
    undecided = len(widths) - above - not_above
    return {
        "n": len(seeds),
        **median_bounds(widths).as_dict(),
        "interval": as_json(median_interval([w.lower for w in widths], [w.upper for w in widths])),
        "above_zero": above,
        "share_above_zero": clopper_pearson_undecided(above, undecided, len(widths)).as_dict(),
    }


def _mean_difference(ups: list[Threshold], downs: list[Threshold]) -> float | None:
    up, down = (spread([each.level for each in side if each.level is not None]) for side in (ups, downs))
    if not up or not down or up["n"] < len(ups) or down["n"] < len(downs):
        return None
    return rounded(up["mean"] - down["mean"])
