"""How much of the hysteresis is lag: widths at each dwell time and LR, and errors from scratch at each λ."""

from collections import defaultdict
from dataclasses import dataclass
from statistics import median
from typing import Any

from dglib.analysis.dwell import dwell
from dglib.analysis.fields import Record, Records, level_of, number, seed_of
from dglib.analysis.loops import summarise_loops
from dglib.analysis.threshold_summary import median_of
from dglib.analysis.thresholds import DOWN, UP, init_level, threshold
from dglib.experiments.spinodal.widths import summarise_width

DROPPING, UNKNOWN_RATE = "dropping", "not recorded"
# What may differ between the runs that are compared, and what says nothing of how a seed was trained.
_VARIED = {"epochs_per_level", "sweep_lr", "milestones", "seeds"}


@dataclass(frozen=True, order=True)
class Setting:
    """A dwell time and an LR rule.

    Attributes:
        rule: a constant LR in figures, "dropping" as published, or "not recorded".
        epochs: per level; 0 where it is not known.
    """

    rule: str
    epochs: int


@dataclass(frozen=True)
class Scratch:
    """Errors of networks trained from scratch at one λ, by seed in the order found."""

    level: float
    errors: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.errors)


def setting_of(record: Record) -> Setting:
    """The dwell time and the LR rule of a T1 or T2 seed."""
    epochs = dwell([record])["epochs_per_level"]
    parameters = record.get("parameters") or {}
    constant = number(record, "sweep_lr")
    if constant is None and parameters.get("milestones") == []:
        constant = number(parameters, "lr")
    known = constant is None and "milestones" in parameters
    rule = f"{constant:g}" if constant is not None else DROPPING if known else UNKNOWN_RATE
    return Setting(rule, epochs[0] if epochs else 0)


def by_setting(records: Records) -> dict[Setting, list[Record]]:
    """The records grouped by dwell time and LR rule, in that order; a seed run twice counts once."""
    groups: defaultdict[Setting, dict[int, Record]] = defaultdict(dict)
    for record in records:
        groups[setting_of(record)].setdefault(seed_of(record), record)
    return {setting: list(groups[setting].values()) for setting in sorted(groups)}


def summarise_lag(t1_records: Records, t2_records: Records, others: Records = ()) -> dict[str, Any]:
    """λ↑, λ↓, their width and the loop's at each setting; `scratch`: errors from scratch at each λ.

    Args:
        others: more records with an error from scratch at one λ, Tδ1's for instance.

    `differing`: parameters in which the runs of T1 or of T2 differ besides dwell time and LR, which should be
    none.
    """
    ups, downs = by_setting(t1_records), by_setting(t2_records)
    settings = []
    for each in sorted(ups.keys() | downs.keys()):
        t1, t2 = ups.get(each, []), downs.get(each, [])
        settings.append(
            {
                "epochs_per_level": each.epochs or None,
                "lr": each.rule,
                "lambda_up": median_of([threshold(UP, record) for record in t1]),
                "lambda_down": median_of([threshold(DOWN, record) for record in t2]),
                "width": summarise_width(t1, t2),
                "loop": summarise_loops(t1),
            }
        )
    scratch = from_scratch([*t1_records, *t2_records, *others])
    return {
        "settings": settings,
        "scratch": [{"lambda": s.level, "errors": list(s.errors)} for s in scratch],
        "differing": sorted(set(_differing(t1_records)) | set(_differing(t2_records))),
    }


def from_scratch(records: Records) -> list[Scratch]:
    """The error that training from scratch at one λ ended with, at each λ, ascending; failed inits too.

    Each (experiment, λ, seed, error) once: an init is the same in every run that began with it.
    """
    found: dict[tuple[Any, ...], tuple[float, float]] = {}
    for record in records:
        level = level_of(record) if number(record, "lambda") is not None else init_level(record)
        error = number(record, "init_error")
        error = number(record, "final_error") if error is None and "error_trajectory" in record else error
        if level is not None and error is not None:
            found[record.get("experiment"), level, record.get("seed"), error] = (level, error)
    levels = sorted({level for level, _ in found.values()})
    return [Scratch(x, tuple(e for level, e in found.values() if level == x)) for x in levels]


def _differing(records: Records) -> list[str]:
    stated = [record.get("parameters") or {} for record in records]
    names = {name for parameters in stated for name in parameters} - _VARIED
    # A parameter that a record does not state came later than it.
    values = {name: {repr(each[name]) for each in stated if name in each} for name in names}
    return [name for name in names if len(values[name]) > 1]
