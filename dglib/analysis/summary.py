"""The numbers of a summary: plain values under fixed names, no NaN, no infinity, null where there is nothing.

An experiment's `summarise(records)` gives one `Summary`; answers, tables, pages, comparisons, `summary.json`
and `analyse --json` show numbers from it. Always there:

    experiment, n, measured (seeds behind its quantities), failed_inits, diverged,
    outcomes (they add up to n), estimates (name -> `quantity` or `share`), seeds, dwell, eta,
    limits (name -> value), flags (of records of other programs), notes (sentences on what is missing)
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from statistics import fmean, median, median_low, pstdev
from typing import Any

from dglib.analysis import wording
from dglib.analysis.fields import Entry, Record, Records, entries, level_of, number
from dglib.analysis.intervals import (
    CONFIDENCE,
    UNKNOWN,
    Bounds,
    centre,
    clopper_pearson_undecided,
    rounded,
    sign_flip_p,
    t_interval,
)

SCHEMA = 3  # of the JSON

Summary = Mapping[str, Any]

UNMEASURED = {"init_failed": "failed the init", "diverged": "diverged", "unfinished": "not finished"}
FEWEST_FOR_MEDIANS = 6  # below, no 95 % interval for a median exists; see `intervals.median_interval`


def common(
    experiment: str, records: Records, seeds: Sequence[Summary], kinds: Sequence[str]
) -> dict[str, Any]:
    """What every summary has, from its seeds' outcomes, which are `kinds` and those of `UNMEASURED`."""
    counts = Counter(seed["outcome"] for seed in seeds)
    flags = Counter(flag for record in records for flag in record.get("flags") or ())
    return {
        "experiment": experiment,
        "n": len(seeds),
        "failed_inits": counts["init_failed"],
        "diverged": counts["diverged"],
        "outcomes": {kind: counts[kind] for kind in kinds},
        "dwell": dwell(records),
        "eta": sorted({eta for record in records if (eta := number(record, "eta")) is not None}),
        "limits": {},
        "estimates": {},
        "flags": [
            *(f"{count} of {len(seeds)} records: {flag}" for flag, count in flags.items()),
            *_reasons(records, seeds),
        ],
        "notes": [],
        "seeds": list(seeds),
    }


def _reasons(records: Records, seeds: Sequence[Summary]) -> list[str]:
    """For each outcome that has a reason, its seeds and the reason of the first."""
    by_outcome: dict[str, dict[str, str]] = {}  # outcome -> seed -> reason
    for record, seed in zip(records, seeds, strict=True):
        for item in (record, *(record.get("failed_arms") or {}).values()):
            if item.get("reason"):
                by_outcome.setdefault(str(item["outcome"]), {}).setdefault(str(seed["seed"]), item["reason"])
    lines = []
    for outcome, reasons in by_outcome.items():
        first = next(iter(reasons))
        of = f" (seed {first})" if len(set(reasons.values())) > 1 else ""
        named = f"seed{'s'[: len(reasons) - 1]} {', '.join(reasons)}"
        lines.append(f"{named} {wording.outcome(outcome)}: {reasons[first]}{of}")
    return lines


def missing(outcomes: Mapping[str, int], measured: int) -> list[str]:
    """Why there is no quantity."""
    n = sum(outcomes.values())
    if measured or not n:
        return []
    if outcomes.get("init_failed") == n:
        return [f"all seeds failed ({n} of {n} the init): nothing was measured"]
    counts = [f"{outcomes[kind]} {words}" for kind, words in UNMEASURED.items() if outcomes.get(kind)]
    return [f"no seed was measured{': ' if counts else ''}{', '.join(counts)}"]


# ── quantities that are known by bounds ──


def difference_interval(a: Bounds, b: Bounds, interval_a: Bounds, interval_b: Bounds) -> Bounds:
    """The interval for a - b of two independent quantities, from the interval of each.

    Zou and Donner, Stat. Med. 27 (2008) 1693: a margin is the root of the sum of the two squared margins. Of
    two shares with Wilson's intervals it is Newcombe's; with the exact ones of `share` it is longer.
    """
    below = (a.lower - interval_a.lower, interval_b.upper - b.upper)
    above = (interval_a.upper - a.upper, b.lower - interval_b.lower)
    known = a - b
    # The distance of two infinite ends is not defined: that side is open.
    lower = -math.inf if math.isinf(known.lower) else known.lower - math.hypot(*below)
    upper = math.inf if math.isinf(known.upper) else known.upper + math.hypot(*above)
    return Bounds(lower, upper)


def median_bounds(bounds: Sequence[Bounds]) -> Bounds:
    """[median of the lowers, median of the uppers], which contains the sample median."""
    if not bounds:
        return UNKNOWN
    return Bounds(rounded(_median([b.lower for b in bounds])), rounded(_median([b.upper for b in bounds])))


def spread(values: Sequence[float]) -> dict[str, Any] | None:
    """`{"n", "mean", "std" (ddof 0), "min", "max"}` of the values; None where there are none."""
    if not values:
        return None
    return {
        "n": len(values),
        "mean": rounded(fmean(values)),
        "std": rounded(pstdev(values)),
        "min": min(values),
        "max": max(values),
    }


def _median(values: Sequence[float]) -> float:
    middle = median(values)
    # An even count whose middle pair is -inf and +inf has no median: open on both sides.
    return middle if not math.isnan(middle) else math.inf


def median_interval(cells: Sequence[Bounds]) -> Bounds | None:
    """Distribution-free interval for a population's median from order statistics; None for too few values.

    The i-th value lies within the i-th cell, which may be open. The r-th smallest lower end and r-th largest
    upper end enclose those order statistics of the values, so censoring, for whatever reason, costs no
    coverage. `scipy.stats` has none for interval-censored values. Below six values there is none at 95 %.
    """
    n, rank, enclosed = len(cells), 0, 1.0
    while rank < n // 2 and (more := enclosed - math.comb(n, rank) / 2 ** (n - 1)) >= CONFIDENCE:
        rank, enclosed = rank + 1, more
    if not rank:
        return None
    lowers, uppers = sorted(cell.lower for cell in cells), sorted(cell.upper for cell in cells)
    return Bounds(lowers[rank - 1], uppers[-rank])


def known_cell(seed: Summary) -> Bounds | None:
    """The cell of a seed's threshold; None if not measured."""
    return None if seed["lower"] is None and seed["upper"] is None else Bounds.of(seed)


def exact(values: Sequence[float]) -> list[Bounds]:
    """The cells of values that are known."""
    return [Bounds(value, value) for value in values]


def quantity(cells: Sequence[Bounds]) -> dict[str, Any] | None:
    """`{"estimate", "lower", "upper", "ci95", "censored"}` of a quantity's median; None if nothing is known.

    Args:
        cells: of each seed the cell in which its value lies, from its neighbouring levels (open where nothing
            happened).

    `lower` and `upper` bound the sample's median, null where open; `estimate` is the middle between them,
    null unless both are known. `ci95` encloses the population's median (order statistics; an open end is
    null), null below six seeds. `censored`: "right" where only `lower` is known, "left" where only `upper`,
    "interval" where both are and differ, null where the median is known.
    """
    if not cells:
        return None
    median = median_bounds(cells)
    interval = median_interval(cells)
    ci95 = None if interval is None else list(interval.pair)
    ci95 = None if ci95 == [None, None] else ci95
    limits = median.as_dict()
    if set(limits.values()) == {None} and ci95 is None:
        return None
    return {"estimate": centre(median), **limits, "ci95": ci95, "censored": _censored(median)}


def mean_error(values: Sequence[float], lowest: float = 0.0) -> dict[str, Any] | None:
    """`spread` of errors, one per seed, with `ci95`; None of no values.

    `ci95`: Student's interval for the mean, cut at `lowest` and 1, beyond which no value lies; null below two
    seeds.
    """
    result, interval = spread(values), t_interval(values)
    ci95 = interval and [rounded(max(interval.lower, lowest)), rounded(min(interval.upper, 1.0))]
    return result and {**result, "ci95": ci95}


def paired(values: Sequence[float]) -> dict[str, Any] | None:
    """As `mean_error`, of differences of errors paired by seed, -1 to 1, with `p` and `least_p`.

    `p`: of the sign-flip test that the mean is 0, two-sided; null below two seeds. `least_p`: the smallest
    that so many seeds allow.
    """
    result = mean_error(values, lowest=-1.0)
    return result and {**result, "p": sign_flip_p(values), "least_p": rounded(2.0 ** (1 - len(values)))}


def share(count: int, of: int, undecided: int = 0) -> dict[str, Any] | None:
    """`{"count", "of", "estimate", "ci95"}` with the exact interval; None of no seeds.

    With `undecided` seeds the interval holds whatever their outcome, and there is no estimate.
    """
    if not of:
        return None
    interval = clopper_pearson_undecided(count, undecided, of)
    return {
        "count": count,
        "of": of,
        "estimate": None if undecided else rounded(count / of),
        "ci95": list(interval.pair),
    }


def _censored(median: Bounds) -> str | None:
    below, above = math.isfinite(median.lower), math.isfinite(median.upper)
    if below and above:
        return None if median.lower == median.upper else "interval"
    return "right" if below else "left" if above else None


# ── dwell time and LR ──

_NO_SWEEP = ("return_", "error_")  # the return sweep, and training at one λ


def dwell(records: Records) -> dict[str, Any]:
    """`{"epochs_per_level": [...], "lr": [[...], ...], "constant_lr": bool | None}` over the records.

    Each list holds the distinct values, so one entry where all seeds ran alike. A seed's LRs are those of
    its sweep in order. Published records state neither: there the dwell time is read off the
    epochs, and the LR is unknown.
    """
    sweeps = [_sweep(record) for record in records]
    epochs = [_epochs_per_level(record, sweep) for record, sweep in zip(records, sweeps, strict=True)]
    rates = [_rates(record, sweep) for record, sweep in zip(records, sweeps, strict=True)]
    held = [_is_held(record, rate) for record, rate in zip(records, rates, strict=True)]
    known = [value for value in held if value is not None]
    return {
        "epochs_per_level": sorted({value for value in epochs if value is not None}),
        "lr": [list(rate) for rate in sorted(set(rates)) if rate],
        "constant_lr": all(known) if known else None,
    }


def _is_held(record: Record, rates: Sequence[float]) -> bool | None:
    """Whether the sweep's LR is one that was asked for, and not one to which a schedule has dropped."""
    if "sweep_lr" in record:
        return record["sweep_lr"] is not None
    asked = record.get("parameters") or {}
    if not rates or number(asked, "lr") is None:
        return None
    return len(rates) == 1 and rates[0] in (number(asked, "lr"), number(asked, "sweep_lr"))


def _sweep(record: Record) -> list[Entry]:
    fields = [
        f for f in record if f.endswith("trajectory") and "init" not in f and not f.startswith(_NO_SWEEP)
    ]
    evaluations = [e for field in fields for e in entries(record, field) if e.get("phase") != "init"]
    return evaluations or entries(record, "error_trajectory")


def _epochs_per_level(record: Record, sweep: Sequence[Entry]) -> int | None:
    stated = number(record, "epochs_per_level")
    if stated is None:
        stated = number(record.get("parameters") or {}, "epochs_per_level")
    if stated is not None:
        return int(stated)
    last_epoch: dict[float, int] = {}
    for entry in sweep:
        level, epoch = level_of(entry), number(entry, "epoch")
        if level is not None and epoch is not None:
            last_epoch[level] = int(epoch)
    last_epochs = list(last_epoch.values())
    steps = [after - before for before, after in pairwise(last_epochs)]
    return median_low(steps) if steps else None


def _rates(record: Record, sweep: Iterable[Entry]) -> tuple[float, ...]:
    constant = number(record, "sweep_lr")
    if constant is not None:
        return (constant,)
    rates = (number(entry, "lr") for entry in sweep)
    return tuple(dict.fromkeys(rate for rate in rates if rate is not None))
