"""Widths against dwell time: how much of a hysteresis width is lag."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from dglib.analysis import wording
from dglib.analysis.answer import Answer, Row
from dglib.analysis.fields import Record, Records, dwell, level_of, number, seed_of
from dglib.analysis.fits import width_at_rate
from dglib.analysis.intervals import Bounds
from dglib.analysis.summary import Summary, quantity
from dglib.analysis.thresholds import init_level, loop
from dglib.experiments.spinodal.summary import STARTS
from dglib.experiments.spinodal.width import summarise_width

DROPPING, UNKNOWN_RATE = "dropping", "not recorded"
# Parameters that may differ between runs of several dwell times, and those that do not concern training.
_VARIED = {"epochs_per_level", "sweep_lr", "milestones", "seeds"}


def setting_of(record: Record) -> tuple[str, int]:
    """The LR rule (a constant LR, `DROPPING` or `UNKNOWN_RATE`) and the epochs per level (0: unknown)."""
    epochs = dwell([record])["epochs_per_level"]
    parameters = record.get("parameters") or {}
    constant = number(record, "sweep_lr")
    if constant is None and parameters.get("milestones") == []:
        constant = number(parameters, "lr")
    known = DROPPING if "milestones" in parameters else UNKNOWN_RATE
    return known if constant is None else f"{constant:g}", epochs[0] if epochs else 0


def by_setting(records: Records) -> dict[tuple[str, int], list[Record]]:
    """The records grouped by LR rule and dwell time, in that order; a seed run twice counts once."""
    groups: defaultdict[tuple[str, int], dict[int, Record]] = defaultdict(dict)
    for record in records:
        groups[setting_of(record)].setdefault(seed_of(record), record)
    return {setting: list(groups[setting].values()) for setting in sorted(groups)}


def lag(t1_records: Records, t2_records: Records, others: Records = ()) -> dict[str, Any]:
    """The bounds of each seed's width at each dwell time and LR rule, and errors from scratch at each λ.

    `still`: width = still + factor · (1 / epochs per level)^exponent over the closed widths of each LR rule.
    `settings`: of each, `loop` (T1's return), `collapsed` and `trapped` (between T1 and T2, by the start of
    T2). `differing`: parameters in which the runs of T1 or of T2 differ besides dwell time and LR.

    Args:
        others: more records with an error from scratch at one λ, Tδ1's for instance.
    """
    ups, downs = by_setting(t1_records), by_setting(t2_records)
    settings = []
    for setting in sorted(ups.keys() | downs.keys()):
        t1, t2 = ups.get(setting, []), downs.get(setting, [])
        loops = [found for record in t1 if (found := loop(record)) is not None]
        widths = summarise_width(t1, t2)["seeds"]
        found = {"rule": setting[0], "epochs": setting[1]}
        found |= {"loop": [_ends(item) for item in loops if item["outcome"] != "diverged"]}
        groups = {state: [_ends(item) for item in widths if item["start"] == state] for state in STARTS}
        settings.append(found | groups)
    scratch: defaultdict[float, list[float]] = defaultdict(list)
    for level, error in sorted(_from_scratch([*t1_records, *t2_records, *others])):
        scratch[level].append(error)
    fits = {}
    for rule in {setting["rule"] for setting in settings}:
        for kind in ("loop", *STARTS):
            points = [
                (1 / setting["epochs"], (width["lower"] + width["upper"]) / 2)
                for setting in settings
                for width in setting[kind]
                if setting["rule"] == rule and setting["epochs"] and None not in width.values()
            ]
            fits[rule, kind] = points and width_at_rate(*zip(*points, strict=True))
    differing = sorted({*_differing(t1_records), *_differing(t2_records)})
    still = [{"rule": rule, "kind": kind, **fit} for (rule, kind), fit in sorted(fits.items()) if fit]
    return {"settings": settings, "still": still, "scratch": dict(scratch), "differing": differing}


def _ends(seed: Summary) -> dict[str, float | None]:
    return {"lower": seed["lower"], "upper": seed["upper"]}


def _from_scratch(records: Records) -> list[tuple[float, float]]:
    """λ and error of each training from scratch at one λ, failed inits too.

    Each (experiment, λ, seed, error) once: an init is the same in every run that began with it.
    """
    found = {}
    for record in records:
        level = level_of(record) if number(record, "lambda") is not None else init_level(record)
        error = number(record, "init_error")
        error = number(record, "final_error") if error is None and "error_trajectory" in record else error
        if level is not None and error is not None:
            found[record.get("experiment"), level, record.get("seed"), error] = (level, error)
    return list(found.values())


def _differing(records: Records) -> list[str]:
    stated = [record.get("parameters") or {} for record in records]
    names = {name for parameters in stated for name in parameters} - _VARIED
    # A parameter that a record does not state came later than it.
    values = {name: {repr(item[name]) for item in stated if name in item} for name in names}
    return [name for name in names if len(values[name]) > 1]


def lag_answer(found: Summary) -> Answer:
    """The median width at each dwell time and LR rule, and what else differs between the runs."""
    names = {"loop": ("T1's loop", "ordered"), **{state: ("T1 to T2", state) for state in STARTS}}
    rows = [
        Row.of_median(
            f"width, {names[kind][0]}, {wording.per_level(setting['epochs'])}, LR {setting['rule']}",
            len(setting[kind]),
            quantity([Bounds.of(width) for width in setting[kind]]),
            start=names[kind][1],
        )
        for kind in names
        for setting in sorted(found["settings"], key=lambda setting: (setting["rule"], setting["epochs"]))
        if setting[kind]
    ]
    rows += [
        Row.of_fit(
            f"width at infinite dwell, {names[fit['kind']][0]}, LR {fit['rule']}",
            fit["n"],
            fit["still"],
            start=names[fit["kind"]][1],
        )
        for fit in found["still"]
    ]
    differing = wording.listing(found["differing"])
    flags = (f"The runs also differ in {differing}",) if differing else ()
    return Answer("Hysteresis width λ↑ − λ↓ against dwell time", "", tuple(rows), flags)
