"""The findings of T1 and T2 in sentences; the last names dwell time and LR."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from dglib.analysis import wording
from dglib.analysis.thresholds import DOWN, UP, Direction

Summary = Mapping[str, Any]


def threshold_answer(name: str, direction: Direction, summary: Summary) -> str:
    """Events and the threshold, censoring, seeds that tell nothing; then starts or loops."""
    sentences = [_threshold_sentence(name, direction, summary)]
    if direction is DOWN:
        sentences.append(_start_sentence(summary))
    if direction is UP and summary["loop"]:
        sentences.append(_loop_sentence(summary["loop"]))
    return " ".join([sentence for sentence in sentences if sentence] + [wording.dwell(summary["dwell"])])


def _threshold_sentence(name: str, direction: Direction, summary: Summary) -> str:
    outcomes, symbol = summary["outcomes"], direction.symbol
    way = ("rose", "up to") if direction.rising else ("fell", "down to")
    parts = []
    if summary["events"]:
        count, where = _of(summary["events"], summary), wording.spread(summary[direction.field])
        parts.append(f"{count} {direction.event} as λ {way[0]}, first at λ = {where}")
        fired = [seed for seed in summary["seeds"] if seed["outcome"] == direction.event]
        if all(None not in (seed["lower"], seed["upper"]) for seed in fired):
            parts[-1] += f", so that {symbol} lies between there and the level before"
    sign = ">" if direction.rising else "<"
    passed = "lower" if direction.rising else "upper"  # the last level that is certain to be short of it
    ends = Counter(
        (seed[passed], seed["last"], seed["begun"])
        for seed in summary["seeds"]
        if seed["outcome"] == "no_event"
    )
    for (certain, last, begun), without in sorted(ends.items(), key=lambda item: item[0][0]):
        count, end = _of(without, summary), wording.level(certain)
        if begun is None:
            told = f"showed no {direction.noun} {way[1]} {end}, so"
        else:
            far = f"{'was' if without == 1 else 'were'} swept {way[1]} {wording.level(last)}"
            where = "where" if begun == last else f"and at {wording.level(begun)}"
            beyond = f"at or {'above' if direction.rising else 'below'} {wording.level(summary['limit'])}"
            told = f"{far}, {where} a run of evaluations {beyond} had begun that the end cut short, so only"
        parts.append(f"{count} {told} {symbol} {sign} {end}")
    parts += wording.unmeasured(outcomes)
    parts += _share_left(direction, summary) if ends else []
    if direction.rising and summary["median"]["n"] > 1:
        parts.append(f"median {symbol} {wording.median(summary['median'])}")
    if summary["differences"]:
        seeds = wording.listing(list(summary["differences"]))
        parts.append(f"record and trajectory differ in seed {seeds}, and the trajectory was taken")
    untold = "" if summary["events"] or ends else f"; {symbol} was not measured"
    return f"{name}: of {wording.seeds(summary['n'])}, {'; '.join(parts)}{untold}."


def _share_left(direction: Direction, summary: Summary) -> list[str]:
    """What the seeds without event say of the share of networks that the whole sweep does not move.

    An estimate for seeds that are undecided at the last level is named by its method, which takes it that
    nothing about them is why. Where their event had begun there, that is why: then the range is told.
    """
    if not summary["remaining"]["steps"]:  # too few evaluations at a level to say that it was passed
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
    """The states from which the sweep began, and λ↓ from each: they are not to be mixed."""
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
        words += f" The two ends are read at different errors ({up} and {back}); at the same λ the error on"
        words += f" the way back less that on the way up is {wording.spread(loop['memory'])}"
        words += f", the loop's area {wording.spread(loop['area'])}." if loop["area"] else "."
    return words


def width_sentences(summary: Summary) -> str:
    """The hysteresis width between T1 and T2 by its bounds, and how much of it rests on trapped seeds."""
    dwells = summary["dwell"]
    closing = (
        wording.dwell(dwells["T1"])
        if dwells["T1"] == dwells["T2"]
        else " ".join(f"{name}: {wording.dwell(each)}" for name, each in dwells.items())
    )
    if not summary["n"]:
        return f"Hysteresis width: no seed has both thresholds, so nothing is known of it. {closing}"
    bounds = wording.interval(summary["lower"], summary["upper"])
    shared = len({(seed["lower"], seed["upper"]) for seed in summary["seeds"]}) == 1
    among = f"in {'each of ' if summary['n'] > 1 else ''}{wording.seeds(summary['n'])}"
    if not shared:
        among = f"(medians of the bounds of {wording.seeds(summary['n'])})"
    words = f"Hysteresis width λ↑ − λ↓: {bounds} {among}"
    if summary["n"] > 1:
        words += f"; for the median, {wording.confidence_interval(summary['interval'])}"
    share = wording.confidence_interval(summary["share_above_zero"], 2)
    words += f"; above 0 for certain in {summary['above_zero']} of {summary['n']} (share's {share})"
    if summary["trapped"]:
        words += f". In {summary['trapped']} the way down began trapped"
        words += f" ({wording.TRAPPED_MEANS}), not collapsed"
        rest = summary["by_start"]["collapsed"]
        if rest["n"]:
            limits = wording.interval(rest["lower"], rest["upper"])
            words += f"; in the {rest['n']} that began collapsed the width is {limits}"
    return f"{words}. {closing}"


def lag_sentences(summary: Summary) -> str:
    """Widths at each dwell time, the loop's and between T1 and T2, a sentence for each LR rule."""
    rules: dict[str, list[str]] = {}
    for setting in summary["settings"]:
        found = []
        loop, width = setting["loop"], setting["width"]
        if loop:
            bounds = wording.interval(loop["median"]["lower"], loop["median"]["upper"])
            found.append(f"loop {bounds} ({wording.seeds(loop['n'])})")
        for state, group in width["by_start"].items():
            if group["n"]:
                bounds = wording.interval(group["lower"], group["upper"])
                name = "T1 to T2" if state == "collapsed" else f"T1 to T2 from {state}"
                found.append(f"{name} {bounds} ({wording.seeds(group['n'])})")
        if found:
            words = f"{setting['epochs_per_level'] or 'unknown'} epochs per level, {', '.join(found)}"
            rules.setdefault(setting["lr"], []).append(words)
    if not rules:
        return "Width against dwell time: no sweep with a width on record."
    told = [f"LR {rule}: {'; '.join(widths)}." for rule, widths in rules.items()]
    words = f"Median width λ↑ − λ↓ against dwell time. {' '.join(told)}"
    if summary["differing"]:
        words += f" The runs also differ in {wording.listing(summary['differing'])}."
    return words
