"""The finding of V3 in sentences."""

from collections.abc import Mapping
from typing import Any

from dglib.analysis import wording

Summary = Mapping[str, Any]


def branches_answer(summary: Summary) -> str:
    """V3: the gap between the branches, whether it makes two, and which seeds do not count."""
    at, limit = wording.level(summary["gap_lambda"]), wording.level(summary["gap_limit"])
    others = wording.unmeasured(summary["outcomes"])
    tail = f"; {'; '.join(others)}" if others else ""
    if summary["gap"] is None:
        complete = summary["outcomes"]["complete"]
        why = f"no level λ = {at} in {wording.seeds(complete)}" if complete else "no seed has both branches"
        return f"V3: of {wording.seeds(summary['n'])}, {why}, so the gap at λ = {at} was not measured{tail}."
    gap, trapped = summary["gap_collapsed"], summary["start"]["trapped"]
    everyone = wording.spread(summary["gap"])
    verdict = {
        "yes": "two branches",
        "no": "not two branches",
        "undecided": "undecided whether there are two branches",
    }[summary["two_branches"]]
    if gap is None:
        words = f"V3: no seed of {summary['n']} began the collapse branch collapsed: {verdict}{tail}."
        return f"{words} {trapped} began it trapped ({wording.TRAPPED_MEANS}), with a gap of {everyone}."
    words = f"V3: the gap at λ = {at} is {wording.spread(gap)} in {gap['n']} of {wording.seeds(summary['n'])}"
    if summary["gap_interval"]:
        interval = wording.confidence_interval(summary["gap_interval"], 3)
        words += f", {interval.replace('interval', 't interval', 1)}"
    words += f", against a limit of {limit}: {verdict}{tail}."
    if trapped:
        words += (
            f" {trapped} began the collapse branch trapped ({wording.TRAPPED_MEANS}) and"
            f" {wording.is_are(trapped)} left out;"
        )
        words += f" with {'it' if trapped == 1 else 'them'} the gap is {everyone}."
    return words
