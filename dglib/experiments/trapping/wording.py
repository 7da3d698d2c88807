"""The finding of Tδ1 in sentences."""

from collections.abc import Mapping
from typing import Any

from dglib.analysis import wording
from dglib.analysis.fields import Record, Records, entries, number
from dglib.experiments.trapping import signs_wording
from dglib.experiments.trapping.classes import ORDERED, PARTIAL, TRAPPED

Summary = Mapping[str, Any]


def trapping_answer(summary: Summary) -> str:
    """Tδ1: where the seeds ended, and whether c_sv told trapped from partial early."""
    names = {TRAPPED: "trapped", PARTIAL: "in partial collapse", ORDERED: "ordered"}
    outcomes = summary["outcomes"]
    ended = wording.listing([f"{outcomes[kind]} {name}" for kind, name in names.items()])
    others = wording.unmeasured({"init_failed": 0, **outcomes})
    tail = f"; {'; '.join(others)}" if others else ""
    words = f"Tδ1: of {wording.seeds(summary['n'])}, {ended} at the end{tail}."
    early, signs = summary["early"], signs_wording.sentence(summary["signs"])
    difference = early["difference"].get("c_sv")
    if difference is None:
        absent = [names[kind] for kind in (TRAPPED, PARTIAL) if not early[kind]]
        without = f"no seed with step logs ended {wording.listing(absent, 'or')}"
        return f"{words} No early comparison: {without}. {signs}"
    verdict = "an early divergence" if early["early_divergence"] else "no early divergence"
    return (
        f"{words} Over epochs 0 to {early['last_epoch']} the mean c_sv of trapped seeds less that of partial "
        f"ones is {wording.decimal(difference, 3)} (limit {wording.level(early['limit'])}): {verdict}."
        f" {signs}"
    )


def dwell_sentence(records: Records, found: Mapping[str, Any]) -> str:
    """There is one level: the dwell time is the whole training. `found`: of `dwell`."""
    lasts = {_epochs(record) for record in records}
    levels = {level for record in records if (level := number(record, "lambda")) is not None}
    where = f" at λ = {wording.listing([wording.level(level) for level in sorted(levels)])}" if levels else ""
    time = wording.listing([str(epoch) for epoch in sorted(lasts) if epoch], "or")
    duration = f"{time} epochs{where}" if time else "not recorded"
    return f"Dwell time: {duration}; LR: {wording.rates(found['lr'])}."


def _epochs(record: Record) -> int:
    stated = number(record.get("parameters") or {}, "init_epochs")
    seen = (number(entry, "epoch") for entry in entries(record, "error_trajectory"))
    return int(stated or max((epoch for epoch in seen if epoch), default=0))
