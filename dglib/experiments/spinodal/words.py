"""The findings of T1 and T2 in sentences and table cells, from their summaries."""

from collections import Counter
from typing import Any

from dglib.analysis import wording
from dglib.analysis.intervals import Bounds, median_bounds
from dglib.analysis.summary import Summary
from dglib.analysis.thresholds import Direction
from dglib.analysis.wording import Words
from dglib.experiments.base import Column


def threshold_words(direction: Direction, summary: Summary) -> Words:
    """Events and the threshold, censoring, seeds without a finding; then starts or loops."""
    finding, loop = _threshold_sentence(direction, summary), summary.get("loop")
    start = "" if direction.rising else _start_sentence(summary)
    return Words(
        " ".join(part for part in (finding, start) if part),
        wording.dwell(summary["dwell"]),
        asides=(_loop_sentence(loop),) if loop else (),
    )


def seed_columns(direction: Direction, summary: Summary) -> dict[str, Column]:
    """The outcome of each seed, and where its threshold lies."""
    loops = {loop["seed"]: loop for loop in (summary.get("loop") or {}).get("seeds", ())}
    none = f"no {direction.noun}"
    return {
        "Seed": wording.seed,
        "Init error": lambda seed: wording.error(seed["init_error"]),
        **({} if direction.rising else {"State at the start": lambda seed: seed["start"] or wording.NONE}),
        "Outcome": lambda seed: wording.outcome(seed["outcome"], {"no_event": none}),
        f"{direction.symbol} lies": lambda seed: wording.cell(seed["lower"], seed["upper"]),
        **({"λ↓ of the return": lambda seed: _returned(loops.get(seed["seed"]))} if loops else {}),
        "State at the end": lambda seed: seed["final_state"] or wording.NONE,
        "Final error": lambda seed: wording.error(seed["final_error"]),
    }


def _returned(loop: Summary | None) -> str:
    if loop is None:
        return wording.NONE
    if loop["outcome"] == "open":
        return wording.cell(None, loop["below"])
    return loop["outcome"] if loop["lambda_down"] is None else wording.level(loop["lambda_down"])


def _threshold_sentence(direction: Direction, summary: Summary) -> str:
    outcomes, symbol = summary["outcomes"], direction.symbol
    moved, limit = ("rose", "up to") if direction.rising else ("fell", "down to")
    parts = []
    if summary["events"]:
        count, where = _of(summary["events"], summary), wording.spread(summary[direction.field])
        parts.append(f"{count} {direction.event} as λ {moved}, first at λ = {where}")
        fired = [seed for seed in summary["seeds"] if seed["outcome"] == direction.event]
        if all(None not in (seed["lower"], seed["upper"]) for seed in fired):
            parts[-1] += f", so that {symbol} lies between there and the level before"
    sign, passed = (">", "lower") if direction.rising else ("<", "upper")
    ends = Counter(
        (seed[passed], seed["last"], seed["begun"])  # the last level that is certain to be short of it
        for seed in summary["seeds"]
        if seed["outcome"] == "no_event"
    )
    for (certain, last, begun), without in sorted(ends.items(), key=lambda item: item[0][0]):
        count, end = _of(without, summary), wording.level(certain)
        if begun is None:
            found = f"showed no {direction.noun} {limit} {end}, so"
        else:
            far = f"{'was' if without == 1 else 'were'} swept {limit} {wording.level(last)}"
            where = "where" if begun == last else f"and at {wording.level(begun)}"
            beyond = f"at or {'above' if direction.rising else 'below'} {wording.level(summary['limit'])}"
            found = f"{far}, {where} a run of evaluations {beyond} had begun that the end cut short, so only"
        parts.append(f"{count} {found} {symbol} {sign} {end}")
    parts += wording.unmeasured(outcomes)
    parts += _share_left(direction, summary) if ends else []
    if direction.rising and summary["median"]["n"] > 1:
        parts.append(f"median {symbol} {wording.median(summary['median'])}")
    if summary["differences"]:
        seeds = wording.listing(list(summary["differences"]))
        parts.append(f"record and trajectory differ in seed {seeds}, and the trajectory was taken")
    unmeasured = "" if summary["events"] or ends else f"; {symbol} was not measured"
    return f"{summary['experiment']}: of {wording.seeds(summary['n'])}, {'; '.join(parts)}{unmeasured}."


def _share_left(direction: Direction, summary: Summary) -> list[str]:
    """The share of networks that the whole sweep does not move.

    An estimate for seeds that are undecided at the last level is named by its method, which assumes that
    the reason is unrelated. Where their event had begun there, it is not: then the range is given.
    """
    if not summary["remaining"]["steps"]:  # too few evaluations at a level to be certain that it was passed
        return []
    last, method = summary["remaining"]["steps"][-1], summary["remaining"]["method"]
    interval = wording.confidence_interval({end: last[end] for end in ("lower", "upper")}, 2)
    state = "still ordered" if direction.rising else "not recovered"
    share, stayed, open_ = f"{last['share']:.2f}", last["stayed"], last["undecided"]
    if open_ and any(seed["begun"] is not None for seed in summary["seeds"]):
        least, most = (count / summary["remaining"]["n"] for count in (stayed, stayed + open_))
        undecided = f"{wording.seeds(open_)} {wording.is_are(open_)} undecided there"
        share = f"{least:.2f} to {most:.2f}, as {undecided}"
    elif method != "binomial":
        interval = f"{method}; {interval}"
    return [f"share {state} at {wording.level(last['level'])}: {share} ({interval})"]


def _of(count: int, summary: Summary) -> str:
    return f"all {count}" if 1 < count == summary["n"] else str(count)


def _start_sentence(summary: Summary) -> str:
    """The states in which the sweep began, and λ↓ from each."""
    start = summary["start"]
    collapsed, trapped = start["collapsed"], start["trapped"]
    if not collapsed + trapped:
        return ""
    words = f"State at the start of the sweep: {collapsed} collapsed, {trapped} trapped"
    words += f" ({wording.TRAPPED_MEANS})" if trapped else ""
    if start["left_trap"]:
        words += f", of which {start['left_trap']} had left that state by the end"
    medians = [
        f"median λ↓ of the {state} {wording.median(group['median'])}"
        for state, group in summary["by_start"].items()
        if group["n"] > 1
    ]
    return "; ".join([words, *medians]) + "."


def _loop_sentence(loop: Summary) -> str:
    outcomes = loop["outcomes"]
    parts = []
    if outcomes["closed"]:
        down, width = wording.spread(loop["lambda_down"]), wording.spread(loop["width"])
        closed = f"{outcomes['closed']} closed the loop, recovered first at λ = {down}"
        parts.append(f"{closed}, {width} below the level of the collapse")
    ends = [seed["lower"] for seed in loop["seeds"] if seed["outcome"] == "open"]
    if ends:
        least = wording.level(min(ends))
        parts.append(f"{len(ends)} did not recover, so the width there exceeds {least}")
    if outcomes["diverged"]:
        parts.append(f"{outcomes['diverged']} diverged")
    if len(loop["seeds"]) - outcomes["diverged"] > 1:
        known = wording.median({**loop["median"], "interval": loop["interval"]})
        parts.append(f"median width λ↑ − λ↓, by the levels on both sides of each, {known}")
    words = f"Swept back down, of {wording.seeds(loop['n'])} {'; '.join(parts)}."
    if loop["memory"]:
        up, back = (wording.level(threshold) for threshold in loop["thresholds"])
        words += f" The two ends are read at different errors ({up} and {back}); at the same λ the error of"
        words += f" the return less that of the rising sweep is {wording.spread(loop['memory'])}"
        words += f", the loop's area {wording.spread(loop['area'])}." if loop["area"] else "."
    return words


def width_sentences(summary: Summary) -> str:
    """The hysteresis width between T1 and T2 by its bounds, and how much of it rests on trapped seeds."""
    dwells = {name: f"{wording.dwell(found)}." for name, found in summary["dwell"].items()}
    closing = dwells["T1"]
    if dwells["T1"] != dwells["T2"]:
        closing = " ".join(f"{name}: {text}" for name, text in dwells.items())
    n = summary["n"]
    if not n:
        return f"Hysteresis width: no seed has both thresholds, so nothing is known of it. {closing}"
    bounds = wording.interval(summary["lower"], summary["upper"])
    if len({(seed["lower"], seed["upper"]) for seed in summary["seeds"]}) == 1:
        among = f"in {'each of ' if n > 1 else ''}{wording.seeds(n)}"
    else:
        among = f"(medians of the bounds of {wording.seeds(n)})"
    words = f"Hysteresis width λ↑ − λ↓: {bounds} {among}"
    if n > 1:
        words += f"; for the median, {wording.confidence_interval(summary['interval'])}"
    share = wording.confidence_interval(summary["share_above_zero"], 2)
    words += f"; above 0 for certain in {summary['above_zero']} of {n} (share's {share})"
    if summary["trapped"]:
        words += f". In {summary['trapped']} the falling sweep began trapped"
        words += f" ({wording.TRAPPED_MEANS}), not collapsed"
        rest = summary["by_start"]["collapsed"]
        if rest["n"]:
            limits = wording.interval(rest["lower"], rest["upper"])
            words += f"; in the {rest['n']} that began collapsed the width is {limits}"
    return f"{words}. {closing}"


def lag_sentences(lag: Summary) -> str:
    """Median widths at each dwell time, the loop's and between T1 and T2, a sentence for each LR rule."""
    names = {"loop": "loop", "collapsed": "T1 to T2", "trapped": "T1 to T2 from trapped"}
    rules: dict[str, list[str]] = {}
    for setting in lag["settings"]:
        found = [_median_width(name, setting[kind]) for kind, name in names.items() if setting[kind]]
        if found:
            words = f"{wording.per_level(setting['epochs'])}, {', '.join(found)}"
            rules.setdefault(setting["rule"], []).append(words)
    if not rules:
        return "Width against dwell time: no sweep with a width on record."
    sentences = [f"LR {rule}: {'; '.join(widths)}." for rule, widths in rules.items()]
    words = f"Median width λ↑ − λ↓ against dwell time. {' '.join(sentences)}"
    if lag["differing"]:
        words += f" The runs also differ in {wording.listing(lag['differing'])}."
    return words


def _median_width(name: str, widths: list[Any]) -> str:
    ends = median_bounds([Bounds.of(width) for width in widths]).as_dict()
    return f"{name} {wording.interval(ends['lower'], ends['upper'])} ({wording.seeds(len(widths))})"
