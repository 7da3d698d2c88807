"""Each experiment's finding in sentences, from its summary; the last names dwell time and LR."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from dglib.analysis import wording
from dglib.analysis.thresholds import DOWN, UP, Direction
from dglib.analysis.trapping import ORDERED, PARTIAL, TRAPPED

Summary = Mapping[str, Any]

TRAPPED_MEANS = "one class predicted for everything, and for long"


def threshold_answer(direction: Direction, summary: Summary) -> str:
    """T1 or T2: events and the threshold, censoring, seeds that tell nothing; then starts or loops."""
    sentences = [_threshold_sentence(direction, summary)]
    if direction is DOWN:
        sentences.append(_start_sentence(summary))
    if direction is UP and summary["loop"]:
        sentences.append(_loop_sentence(summary["loop"]))
    return " ".join([sentence for sentence in sentences if sentence] + [wording.dwell(summary["dwell"])])


def _threshold_sentence(direction: Direction, summary: Summary) -> str:
    outcomes, symbol = summary["outcomes"], direction.symbol
    way = ("rose", "up to") if direction.rising else ("fell", "down to")
    parts = []
    if summary["events"]:
        count, where = _of(summary["events"], summary), wording.spread(summary[direction.field])
        parts.append(f"{count} {direction.event} as λ {way[0]}, at {symbol} = {where}")
    sign = ">" if direction.rising else "<"
    ends = Counter(seed["last"] for seed in summary["seeds"] if seed["outcome"] == "no_event")
    for last, without in sorted(ends.items()):
        count, end = _of(without, summary), wording.level(last)
        parts.append(f"{count} showed no {direction.noun} {way[1]} {end}, so {symbol} {sign} {end}")
    parts += _unmeasured(outcomes)
    untold = "" if summary["events"] or ends else f"; {symbol} was not measured"
    return f"{direction.experiment}: of {wording.seeds(summary['n'])}, {'; '.join(parts)}{untold}."


def _of(count: int, summary: Summary) -> str:
    return f"all {count}" if 1 < count == summary["n"] else str(count)


def _unmeasured(outcomes: Mapping[str, int]) -> list[str]:
    words = {"init_failed": "failed the init", "diverged": "diverged", "unfinished": "not finished"}
    return [f"{outcomes[kind]} {word}" for kind, word in words.items() if outcomes[kind]]


def _start_sentence(summary: Summary) -> str:
    start = summary["start"]
    collapsed, trapped = start["collapsed"], start["trapped"]
    if not collapsed + trapped:
        return ""
    words = f"State at the start of the sweep: {collapsed} collapsed, {trapped} trapped"
    words += f" ({TRAPPED_MEANS})" if trapped else ""
    if start["left_trap"]:
        words += f", of which {start['left_trap']} had left that state by the end"
    return f"{words}."


def _loop_sentence(loop: Summary) -> str:
    outcomes = loop["outcomes"]
    parts = []
    if outcomes["closed"]:
        down, width = wording.spread(loop["lambda_down"]), wording.spread(loop["width"])
        closed = f"{outcomes['closed']} closed the loop, at λ↓ = {down}"
        parts.append(f"{closed}, a width of {width}")
    ends = [seed["lower"] for seed in loop["seeds"] if seed["outcome"] == "open"]
    if ends:
        least = wording.level(min(ends))
        parts.append(f"{len(ends)} did not recover, so the width there exceeds {least}")
    if outcomes["diverged"]:
        parts.append(f"{outcomes['diverged']} diverged")
    words = f"Swept back down, of {wording.seeds(loop['n'])} {'; '.join(parts)}."
    if loop["memory"]:
        up, back = (wording.level(threshold) for threshold in loop["thresholds"])
        words += f" The two ends are read at different errors ({up} and {back}); at the same λ the error on"
        words += f" the way back less that on the way up is {wording.spread(loop['memory'])}."
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
    words += "" if shared and summary["above_zero"] else f"; above 0 for certain in {summary['above_zero']}"
    if summary["trapped"]:
        words += f". In {summary['trapped']} the way down began trapped ({TRAPPED_MEANS}), not collapsed"
    return f"{words}. {closing}"


def branches_answer(summary: Summary) -> str:
    """V3: the gap between the branches, whether it makes two, and which seeds do not count."""
    at, limit = wording.level(summary["gap_lambda"]), wording.level(summary["gap_limit"])
    others = _unmeasured(summary["outcomes"])
    tail = f"; {'; '.join(others)}" if others else ""
    gap = summary["gap"]
    if gap is None:
        complete = summary["outcomes"]["complete"]
        why = f"no level λ = {at} in {wording.seeds(complete)}" if complete else "no seed has both branches"
        return f"V3: of {wording.seeds(summary['n'])}, {why}, so the gap at λ = {at} was not measured{tail}."
    verdict = "above" if summary["two_branches"] else "not above"
    name = "two branches" if summary["two_branches"] else "no sign of two branches"
    words = (
        f"V3: the gap at λ = {at} is {wording.spread(gap)} in {gap['n']} of {wording.seeds(summary['n'])}, "
        f"{verdict} {limit}: {name}{tail}."
    )
    trapped = summary["start"]["trapped"]
    if trapped:
        rest = summary["gap_collapsed"]
        without = f"the gap without is {wording.spread(rest)}" if rest else "none began collapsed"
        words += f" {trapped} began the collapse branch trapped ({TRAPPED_MEANS}); {without}."
    return words


def trapping_answer(summary: Summary) -> str:
    """Tδ1: where the seeds ended, and whether c_sv told trapped from partial early."""
    names = {TRAPPED: "trapped", PARTIAL: "in partial collapse", ORDERED: "ordered"}
    outcomes = summary["outcomes"]
    ended = wording.listing([f"{outcomes[kind]} {name}" for kind, name in names.items()])
    others = _unmeasured({"init_failed": 0, **outcomes})
    tail = f"; {'; '.join(others)}" if others else ""
    words = f"Tδ1: of {wording.seeds(summary['n'])}, {ended} at the end{tail}."
    early = summary["early"]
    difference = early["difference"].get("c_sv")
    if difference is None:
        absent = [names[kind] for kind in (TRAPPED, PARTIAL) if not early[kind]]
        return f"{words} No early comparison: no seed with step logs ended {wording.listing(absent, 'or')}."
    verdict = "an early divergence" if early["early_divergence"] else "no early divergence"
    return (
        f"{words} Over epochs 0 to {early['last_epoch']} the mean c_sv of trapped seeds less that of partial "
        f"ones is {wording.decimal(difference, 3)} (limit {wording.level(early['limit'])}): {verdict}."
    )
