"""Events folded into the record of a seed, and records into the published files' flat forms.

A record has every field of the published ones, with the same names and types, and more. Which fields an
experiment has follows from its specification.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dglib.files import to_csv, to_json
from dglib.protocol.events import (
    LOG_FIELDS,
    ArmFailed,
    EpochDone,
    Evaluated,
    Event,
    Fired,
    SeedDone,
    StepsLogged,
    SuccessTested,
)
from dglib.protocol.spec import ExperimentSpec, Phase

Record = dict[str, Any]

# Of each evaluation in a record; anything else there is a user's metric.
EVALUATION_FIELDS = frozenset(
    ("phase", "lambda", "epoch", "error", "test_loss", "predicted", "finite", "dead_channels", "lr")
)


def fold(spec: ExperimentSpec, seed: int, events: Iterable[Event], seconds: float) -> Record:
    """The record of a seed from its events; `seconds` is the time that training took."""
    phases = {(arm.name, phase.name): phase for arm in spec.arms for phase in arm.phases}
    record = _blank(spec, seed, phases.values())
    for event in events:
        phase = phases[event.arm, event.phase]
        match event:
            case StepsLogged(rows=rows):
                names = ("step", *LOG_FIELDS)
                for row in rows:
                    values = [int(row[0]), *(v if math.isfinite(v) else None for v in row[1:])]
                    record[spec.step_log_field].append(
                        {"epoch": event.epoch - 1, **dict(zip(names, values, strict=True))}
                    )
            case EpochDone():
                record["epoch_log"].append({"arm": event.arm, **_where(event), **epoch_numbers(event)})
                record["skipped_steps"] += event.skipped
            case Evaluated():
                metrics = dict(event.metrics)
                record[phase.trajectory].append(
                    {
                        **_where(event),
                        "error": event.error,
                        "test_loss": metrics.pop("test_loss", None),
                        "predicted": list(event.predicted),
                        "finite": event.finite,
                        "dead_channels": metrics.pop("dead_channels", None),
                        "lr": event.lr,
                        **metrics,
                    }
                )
                if phase.final is not None:
                    record[f"{phase.final}final_lambda"] = event.lam
                    record[f"{phase.final}final_error"] = event.error
            case SuccessTested(success=success, error=error) if phase.success is not None:
                record[phase.success.field] = error
                record[phase.success.flag] = success
            case Fired() if phase.event is not None:
                record[phase.event.field] = event.lam
                record[phase.event.flag] = True
            case ArmFailed(outcome=outcome, reason=reason):
                record["failed_arms"][event.arm] = {"outcome": outcome, "reason": reason}
            case SeedDone(outcome=outcome, reason=reason):
                record["outcome"] = outcome
                if reason is not None:
                    record["reason"] = reason
                if spec.final_classes:
                    record["category"] = outcome
    if "init_success" not in record:
        flags = [record[p.success.flag] for p in phases.values() if p.success is not None]
        record["init_success"] = all(flags)
    record["time"] = seconds
    return record


def _blank(spec: ExperimentSpec, seed: int, phases: Iterable[Phase]) -> Record:
    record: Record = {
        "seed": seed,
        "experiment": spec.name,
        "experiment_id": spec.experiment_id.format(seed=seed),
        "eta": spec.data.noise_rate,
        "outcome": None,
        **spec.constants,
        "skipped_steps": 0,
    }
    if spec.independent_arms:
        record["failed_arms"] = {}
    phases = list(phases)
    for phase in phases:
        if phase.success is not None:
            record[phase.success.field] = None
            record[phase.success.flag] = False
        if phase.event is not None:
            record[phase.event.field] = None
            record[phase.event.flag] = False
        if phase.only_after_event and phase.final is not None:
            record[f"{phase.final}final_lambda"] = None
            record[f"{phase.final}final_error"] = None
    for phase in phases:
        record[phase.trajectory] = []
    if spec.step.log_every:
        record[spec.step_log_field] = []
    record["epoch_log"] = []
    record["parameters"] = dict(spec.parameters)
    return record


def epoch_numbers(event: EpochDone) -> dict[str, float | None]:
    """An epoch's numbers by their names in the record."""
    names = ("lr", "loss_s", "loss_v", "weight_norm", "update_norm", "steps")
    numbers = {name: getattr(event, name) for name in names}
    return {**numbers, "skipped_steps": event.skipped, "c_sv": event.c_sv}


def _where(event: Event) -> dict[str, Any]:
    return {"phase": event.phase, "lambda": event.lam, "epoch": event.epoch}


def under(record: Mapping[str, Any], parameters: Mapping[str, Any]) -> Record:
    """The record as if it stated these parameters: for another reading of what was trained."""
    return {**record, "parameters": {**(record.get("parameters") or {}), **parameters}}


def views(spec: ExperimentSpec, records: Sequence[Record]) -> dict[str, bytes]:
    """The results' JSON and CSV of an experiment, by name."""
    lines = b",\n".join(to_json(record).rstrip(b"\n") for record in records)
    flat = {name: text.encode() for name, text in csv_views(spec, records).items()}
    return {f"{spec.prefix}_results.json": b"[\n" + lines + b"\n]\n", **flat}


def csv_views(spec: ExperimentSpec, records: Sequence[Record]) -> dict[str, str]:
    """The flat files of an experiment, by name: a row per seed, or of several arms one per λ and arm."""
    if len(spec.arms) > 1:
        rows = [
            {"seed": r["seed"], "branch": arm.name, "lambda": point["lambda"], "error": point["error"]}
            for r in records
            for arm in spec.arms
            for point in r[arm.phases[-1].trajectory]  # which arms at other levels may share
            if point["lambda"] in arm.phases[-1].levels
        ]
        return {f"{spec.prefix}_results.csv": to_csv(rows, ["seed", "branch", "lambda", "error"])}
    flat = [{k: v for k, v in r.items() if not isinstance(v, list | dict)} for r in records]
    views = {f"{spec.prefix}_results.csv": to_csv(flat, dict.fromkeys(k for r in flat for k in r))}
    if spec.step.log_every:
        names = ["seed", "category", "epoch", "step", *LOG_FIELDS]
        rows = [
            {"seed": r["seed"], "category": r.get("category", r["outcome"]), **row}
            for r in records
            for row in r[spec.step_log_field]
        ]
        views[f"{spec.prefix}_step_logs.csv"] = to_csv(rows, names)
    return views
