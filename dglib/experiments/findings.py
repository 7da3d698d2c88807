"""Summaries and answers by experiment: pure functions of lists of records, ours or published."""

from typing import Any

from dglib.analysis import wording
from dglib.analysis.dwell import dwell
from dglib.analysis.loops import summarise_loops
from dglib.analysis.reading import Record, Records, entries, number
from dglib.analysis.threshold_summary import summarise_thresholds
from dglib.analysis.thresholds import DIRECTIONS, UP
from dglib.errors import UserError
from dglib.experiments import answers
from dglib.experiments.branches.gaps import summarise_branches
from dglib.experiments.spinodal.lag import summarise_lag
from dglib.experiments.spinodal.widths import summarise_width
from dglib.experiments.trapping.classes import summarise_trapping
from dglib.experiments.trapping.signs import summarise_signs

EXPERIMENTS = ("V3", "T1", "T2", "Td1")


def summarise(experiment: str, records: Records) -> dict[str, Any]:
    """What the records of one experiment say, as plain JSON-able values.

    Always there: `n`, `failed_inits`, `diverged`, `outcomes` (counts that add up to n), `seeds`, `dwell`.
    T1, T2: `events`, `lambda_up` or `lambda_down` (mean, std with ddof 0, min, max over seeds with an event),
    `median` with its interval, the share of seeds `remaining` at each level, `final_states`, `censored`
    seeds, `differences` from the record, each seed's `lower` and `upper` (null where open); T1 `loop`; T2
    `start`, `by_start`. V3: `gap`, `gap_by_level`, `two_branches`, `start`. Td1: `comparison`, `early`,
    `signs`.
    """
    check_experiment(experiment)
    if experiment in DIRECTIONS:
        summary = summarise_thresholds(DIRECTIONS[experiment], records)
        if experiment == UP.experiment:
            summary["loop"] = summarise_loops(records)
    else:
        summary = {"V3": summarise_branches, "Td1": summarise_trapping}[experiment](records)
        if experiment == "Td1":
            summary["signs"] = summarise_signs(records)
    return {**summary, "dwell": dwell(records)}


def answer(experiment: str, records: Records) -> str:
    """The finding as a paragraph that ends with the dwell time and the LR."""
    summary = summarise(experiment, records)
    if not records:
        return f"{experiment}: no records, so nothing to say."
    if experiment in DIRECTIONS:
        return answers.threshold_answer(DIRECTIONS[experiment], summary)
    if experiment == "V3":
        return f"{answers.branches_answer(summary)} {wording.dwell(summary['dwell'])}"
    return f"{answers.trapping_answer(summary)} {_one_phase(records, summary)}"


def width(t1_records: Records, t2_records: Records) -> dict[str, Any]:
    """The hysteresis width λ↑ - λ↓ by seed, from T1's and T2's records, with what censoring leaves open."""
    found = summarise_width(t1_records, t2_records)
    return {**found, "dwell": {"T1": dwell(t1_records), "T2": dwell(t2_records)}}


def width_answer(t1_records: Records, t2_records: Records) -> str:
    """The width in sentences; bounds, never "insufficient data"."""
    return answers.width_sentences(width(t1_records, t2_records))


def lag(t1_records: Records, t2_records: Records, others: Records = ()) -> dict[str, Any]:
    """Widths at each dwell time and LR rule in the records, with their controls; `lag.summarise_lag`."""
    return summarise_lag(t1_records, t2_records, others)


def lag_answer(t1_records: Records, t2_records: Records, others: Records = ()) -> str:
    """Width against dwell time in sentences: part of what looks like hysteresis is lag."""
    return answers.lag_sentences(lag(t1_records, t2_records, others))


def check_experiment(experiment: str) -> None:
    """Refuse an unknown short name with a UserError that lists the known ones."""
    if experiment not in EXPERIMENTS:
        raise UserError(f"experiment = {experiment!r}: must be one of {', '.join(EXPERIMENTS)}")


def _one_phase(records: Records, summary: dict[str, Any]) -> str:
    """Tδ1 has one level: its dwell time is the whole training."""
    lasts = {_epochs(record) for record in records}
    levels = {level for record in records if (level := number(record, "lambda")) is not None}
    where = f" at λ = {wording.listing([wording.level(level) for level in sorted(levels)])}" if levels else ""
    time = wording.listing([str(epoch) for epoch in sorted(lasts) if epoch], "or")
    duration = f"{time} epochs{where}" if time else "not recorded"
    return f"Dwell time: {duration}; LR: {wording.rates(summary['dwell']['lr'])}."


def _epochs(record: Record) -> int:
    stated = number(record.get("parameters") or {}, "init_epochs")
    seen = (number(entry, "epoch") for entry in entries(record, "error_trajectory"))
    return int(stated or max((epoch for epoch in seen if epoch), default=0))
