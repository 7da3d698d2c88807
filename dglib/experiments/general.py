"""What every experiment has unless it says otherwise: outcomes, the last error, and errors at each λ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dglib.analysis import cells, wording
from dglib.analysis.bounds import Bounds, spread
from dglib.analysis.curves import Curve
from dglib.analysis.diagnostics import End, end_of
from dglib.analysis.differences import Row, ended, mean_row, share_row, time_row
from dglib.analysis.dwell import dwell
from dglib.analysis.fields import Entry, Record, Records, entries, is_finite, level_of, number, seed_of
from dglib.analysis.phase_diagram import DIVERGED_WORD, Measure
from dglib.analysis.states import has_diverged, is_running, mostly_constant

if TYPE_CHECKING:
    from dglib.experiments.base import Experiment, Sweep

UNMEASURED = ("init_failed", "diverged", "unfinished")
Summary = Mapping[str, Any]


def outcome(experiment: Experiment, record: Record) -> str:
    """What became of a seed: its own word, or one of `UNMEASURED`."""
    if has_diverged(record, *experiment.trajectories()):
        return "diverged"
    if is_running(record) or "outcome" not in record:
        return "unfinished"
    return "init_failed" if record.get("init_success") is False else str(record["outcome"])


def last(experiment: Experiment, record: Record) -> Mapping[str, Any]:
    """The last evaluation of a seed; empty without any."""
    found = [entry for arm in experiment.arms(record) for entry in arm[-1:]]
    return found[-1] if found else {}


def swept(sweep: Sweep, record: Record) -> list[Mapping[str, Any]]:
    """The evaluations of a sweep."""
    return entries(record, sweep.trajectory, sweep.phase)


def summarise(experiment: Experiment, records: Records) -> dict[str, Any]:
    """Outcomes, and of each seed its own and its final error."""
    seeds = [
        {
            "seed": seed_of(record),
            "outcome": outcome(experiment, record),
            "init_error": number(record, "init_error"),
            "final_lambda": level_of(last(experiment, record)),
            "final_error": number(last(experiment, record), "error"),
        }
        for record in records
    ]
    counts = Counter(str(seed["outcome"]) for seed in seeds)
    own = sorted(counts.keys() - set(UNMEASURED))
    return {
        "experiment": experiment.name,
        "n": len(seeds),
        "failed_inits": counts["init_failed"],
        "diverged": counts["diverged"],
        "outcomes": {kind: counts[kind] for kind in (*own, *UNMEASURED)},
        "final_error": spread([e for seed in _measured(seeds) if (e := seed["final_error"]) is not None]),
        "seeds": seeds,
        "dwell": dwell(records),
    }


def answer(experiment: Experiment, summary: Summary) -> str:
    """Outcomes and the final error, then dwell time and LR."""
    own = {kind: count for kind, count in summary["outcomes"].items() if count and kind not in UNMEASURED}
    parts = [f"{count} {kind}" for kind, count in own.items()] + wording.unmeasured(summary["outcomes"])
    words = f"{experiment.symbol}: of {wording.seeds(summary['n'])}, {'; '.join(parts)}"
    if summary["final_error"]:
        words += f"; final error {wording.spread(summary['final_error'])}"
    return f"{words}. {wording.dwell(summary['dwell'])}"


def seed_table(
    experiment: Experiment, records: Records, summary: Summary
) -> tuple[list[str], list[list[str]]]:
    """What became of each seed, and where it ended."""
    head = ["Seed", "Outcome", "Final λ", "Final error"]
    rows = [
        [
            cells.seed(seed),
            cells.outcome(seed["outcome"]),
            cells.NONE if seed["final_lambda"] is None else wording.level(seed["final_lambda"]),
            cells.error(seed["final_error"]),
        ]
        for seed in summary["seeds"]
    ]
    return head, rows


def columns(experiment: Experiment, record: Record) -> dict[str, Any]:
    """The outcome, and where the seed ended."""
    entry = last(experiment, record)
    return {
        "outcome": outcome(experiment, record),
        "final_lambda": level_of(entry),
        "final_error": number(entry, "error"),
    }


def values(experiment: Experiment, records: Records) -> dict[str, Any]:
    """The counts of a summary; no quantity, unless the experiment has one under its name there."""
    summary = experiment.summarise(records)
    kept = ("failed_inits", "diverged", "outcomes", *experiment.quantities)
    return {
        **{name: summary[name] for name in kept if name in summary},
        "measured": len(_measured(summary["seeds"])),
        "seeds": summary["seeds"],
    }


def compare(experiment: Experiment, a: Records, b: Records) -> list[Row]:
    """Outcomes and the numbers of each seed, on two sides."""
    one, other = experiment.summarise(a), experiment.summarise(b)
    kinds = dict.fromkeys((*one["outcomes"], *other["outcomes"]))
    found = [
        share_row(cells.outcome(kind), *((s["outcomes"].get(kind, 0), ended(s)) for s in (one, other)))
        for kind in kinds
        if kind != "unfinished"
    ]
    seeds = [*one["seeds"], *other["seeds"]]
    for name in dict.fromkeys(name for seed in seeds for name in seed):
        numbers = [seed.get(name) for seed in seeds]
        if name != "seed" and any(map(_is_number, numbers)):
            mine, others = (
                [v for seed in s["seeds"] if _is_number(v := seed.get(name))] for s in (one, other)
            )
            found.append(mean_row(name.replace("_", " "), mine, others))
    return [*found, time_row(a, b)]


def measure(experiment: Experiment) -> Measure:
    """Cells of a grid by the final error."""

    def end(record: Record) -> tuple[str, Bounds | None]:
        kind, error = outcome(experiment, record), number(last(experiment, record), "error")
        known = kind not in UNMEASURED
        return "complete" if known else kind, Bounds(error, error) if known and error is not None else None

    return Measure("final error", {"complete": "complete", **DIVERGED_WORD}, end, in_unit_interval=True)


def traces(experiment: Experiment, record: Record) -> list[tuple[str, Curve, Sequence[Entry]]]:
    """Each sweep with a finite evaluation."""
    found = [(sweep.key, swept(sweep, record)) for sweep in experiment.sweeps]
    return [(key, curve, each) for key, each in found if (curve := Curve.of(each)).errors]


def ends(experiment: Experiment, record: Record) -> list[End]:
    """The end of the last trajectory: trapped, or the outcome."""
    field = next((f for f in reversed(list(experiment.trajectories())) if entries(record, f)), None)
    if field is None:
        return []
    found = entries(record, field)
    level = level_of(found[-1])
    trapped = level is not None and is_finite(found[-1]) and mostly_constant(found, level)
    kind = cells.outcome(outcome(experiment, record))
    arm = next((str(row["arm"]) for row in entries(record, "epoch_log")[-1:] if "arm" in row), "main")
    return end_of(record, field, arm, "trapped" if trapped else kind)


def _measured(seeds: Sequence[Summary]) -> list[Summary]:
    return [seed for seed in seeds if seed["outcome"] not in UNMEASURED]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
