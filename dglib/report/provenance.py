"""How a run was made: profile and what differs from it, data, machine, versions, time."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import PurePath
from statistics import median
from typing import Any

from dglib.analysis import wording
from dglib.analysis.fields import number
from dglib.errors import UserError
from dglib.experiments import get
from dglib.experiments.profiles import load_profile, profile_layer, profiles_of
from dglib.protocol.records import Record
from dglib.report.collect import Found, GridCollection
from dglib.runs.identity import differences
from dglib.runs.progress import duration
from dglib.runs.provenance import made_otherwise

KERNELS = ("ipykernel", "ipykernel_launcher", "colab_kernel_launcher")
_SHOWN = ("from_step", "device", "device_name", "threads", "precision")
UNRECORDED = "not on record"
# `Dataset.fingerprint` of copies that are easily mistaken; one for each normalisation in use.
_JPEG = "CIFAR-10 (JPEG-75 copy)"
_COPIES = {
    "13e678bb620a2e74ca0a31b7f381da2b223fb452a99edef555214867408e9c92": _JPEG,  # its own mean and std
    "9177ddb1a84d0f8c4e1c9c9b5ff4fae1944fc60b3f11dfb5973e8964ee3c511c": _JPEG,  # the published ones
}
_NAMES = {"digits": "scikit-learn's 8×8 digits", "cifar10": "CIFAR-10"}


def facts(found: Found) -> list[tuple[str, str]]:
    """(name, value) pairs on how a run was made; also on what is not on record."""
    manifest = found.manifest or {}
    rows = [
        ("Data", data(found)),
        ("Parameters", parameters(found)),
        ("Schedule", get(found.experiment).dwell_text(found.summary) if found.records else UNRECORDED),
        ("Time", _time(found.records)),
        ("Computed on", computed_on(found.records) or UNRECORDED),
    ]
    if manifest:
        rows += [
            ("Versions", versions(manifest)),
            ("Begun", f"{_when(manifest)} on {manifest.get('host', 'an unknown machine')}"),
        ]
        if words := [str(word) for word in manifest.get("command") or ()]:
            rows.append(("Command", command(words)))
    if others := _other_code(found):
        rows.append(("Seeds by other code", others))
    if lineage := manifest.get("lineage"):
        rows.append(("Forked from", ", ".join(f"{name}: {value}" for name, value in lineage.items())))
    return rows


def command(words: Sequence[str]) -> str:
    if any(PurePath(word).stem in KERNELS for word in words):
        return "run as a notebook"
    if len(words) == 1 and words[0].endswith(("dglib/worker.py", "dglib/campaign/worker.py")):
        return "by a worker process of run_all.py; its command is not on record"
    return shlex.join(words)


def _other_code(found: Found) -> str:
    """The seeds that another commit than the manifest's made, or part of."""
    begun = (found.manifest or {}).get("commit")
    made = [item for record in found.records for item in record.get("provenance") or ()]
    if all(item.get("commit") == begun for item in made):
        return ""
    return "; ".join(made_otherwise(found.records, {}))


def data(found: Found) -> str:
    name, p = data_name(found), found.parameters
    rates = {rate for record in found.records if (rate := number(record, "eta")) is not None}
    if not rates:
        return name
    noise = wording.listing([f"{rate:g}" for rate in sorted(rates)])
    kind = f", {p['noise']}" if "noise" in p else ""
    return f"{name}; share of wrong training labels η = {noise}{kind}{_realised(found.records)}"


def data_name(found: Found) -> str:
    """The data set by its fingerprint where that is known, as a file name can mislead."""
    dataset = found.parameters.get("dataset")
    digest = (found.manifest or {}).get("identity", {}).get("data")
    digest = digest if isinstance(digest, str) else ""
    if digest in _COPIES:
        return _COPIES[digest]
    if not isinstance(dataset, str):
        return UNRECORDED
    return _NAMES.get(dataset, f"{dataset} (fingerprint {digest[:12]})" if digest else dataset)


def _realised(records: Sequence[Record]) -> str:
    """The share that came out, where it is not the one asked for; earlier records do not have it."""
    off = [
        rate
        for record in records
        if (rate := number(record.get("noise") or {}, "rate")) is not None
        and abs(rate - (number(record, "eta") or 0.0)) > 0.01
    ]
    return f", but came out as {' to '.join(sorted({f'{min(off):.4f}', f'{max(off):.4f}'}))}" if off else ""


def parameters(found: Found, crossed: Iterable[str] = ()) -> str:
    """The nearest profile, and each value that differs from it but for the `crossed` parameters of a grid."""
    if not found.parameters:
        return f"none on record; those of the published protocol are in params/paper/{found.experiment}.yaml"
    compared = ((profile, _changed(found, profile)) for profile in profiles_of(found.experiment))
    profile, changes = min(compared, key=lambda item: len(item[1]), default=("no", {}))
    shown = [
        f"{name} = {json.dumps(value, ensure_ascii=False)}"
        for name, value in changes.items()
        if name not in crossed
    ]
    return f"{profile} profile" + (f", except {'; '.join(shown)}" if shown else "")


def _changed(found: Found, profile: str) -> dict[str, Any]:
    try:
        values = load_profile(found.experiment, profile).model_dump()
    except UserError:  # a profile of the user's that is not whole
        values = dict(profile_layer(found.experiment, profile).values)
    return {
        name: value
        for name, value in found.parameters.items()
        if name not in values or differences({name: values[name]}, {name: value})
    }


def computed_on(records: Iterable[Record]) -> str:
    """Every machine and arithmetic on which some stretch of some seed was computed."""
    found = [describe(stretch) for record in records for stretch in record.get("numerics") or ()]
    return "; ".join(dict.fromkeys(found))


def describe(stretch: Mapping[str, Any]) -> str:
    """ "AMD EPYC AVX2 (cpu, 1 thread), fp32, torch 2.15.0" from a record's `numerics`."""
    threads = stretch.get("threads")
    where = str(stretch.get("device", "unknown device"))
    if where == "cpu" and threads:
        where += f", {threads} thread" + ("" if threads == 1 else "s")
    words = f"{stretch.get('device_name', 'unknown machine')} ({where}), {stretch.get('precision', '?')}"
    for name, value in stretch.items():  # techniques that are on, or have a value
        if name not in _SHOWN and value not in (None, False):
            words += f", {name}" if value is True else f", {name} {value}"
    return words


def _when(manifest: Mapping[str, Any]) -> str:
    try:
        return datetime.fromisoformat(manifest["created"]).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (KeyError, TypeError, ValueError):
        return "at a time not on record"


def _time(records: Sequence[Record]) -> str:
    times = [time for record in records if (time := number(record, "time")) is not None]
    if not times:
        return UNRECORDED
    if len(times) == 1:
        return f"{duration(times[0])} of training"
    return f"{duration(sum(times))} of training in all, {duration(median(times))} a seed (median)"


def versions(manifest: Mapping[str, Any]) -> str:
    parts = [f"Python {manifest.get('python', 'unknown')}"]
    if torch := (manifest.get("numerics") or {}).get("torch"):
        parts.append(f"torch {torch}")
    commit = manifest.get("commit")
    if commit:
        changed = " with changes not committed" if manifest.get("dirty") else ""
        parts.append(f"dglib at commit {str(commit)[:12]}{changed}")
    else:
        parts.append("dglib outside a checkout, so its commit is not on record")
    return ", ".join(parts)


def same_in_all(collection: GridCollection) -> list[tuple[str, str]]:
    """(name, value) pairs of the runs of a grid; all values where cells do differ in one of these."""
    runs, axes = collection.found, collection.index.axes
    asked = dict.fromkeys(wording.listing([str(seed) for seed in c.asked.seeds]) for c in collection.cells)
    rows = {"Seeds": list(asked)}
    if runs:
        rows["Data"] = list(map(data_name, runs))
        for name in collection.index.experiments:
            mine = [parameters(run, axes) for run in runs if run.experiment == name]
            rows |= {f"Parameters of {get(name).symbol}": mine} if mine else {}
        rows["Time"] = [_time([record for run in runs for record in run.records])]
        rows["Computed on"] = [computed_on([r for run in runs for r in run.records]) or UNRECORDED]
        rows["Versions"] = [versions(run.manifest or {}) for run in runs]
    return [(name, " | ".join(dict.fromkeys(values))) for name, values in rows.items()]
