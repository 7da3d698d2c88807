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
from dglib.experiments import get
from dglib.experiments.profiles import profile_layer, profiles_of
from dglib.protocol.records import Record
from dglib.report.collect import Found
from dglib.report.data_names import data_name
from dglib.runs.identity import differences
from dglib.runs.progress import duration
from dglib.runs.provenance import made_otherwise

KERNELS = ("ipykernel", "ipykernel_launcher", "colab_kernel_launcher")
_SHOWN = ("from_step", "device", "device_name", "threads", "precision")


def facts(found: Found) -> list[tuple[str, str]]:
    """(name, value) pairs for a reader who was not there; what is not on record is said not to be."""
    manifest = found.manifest or {}
    rows = [
        ("Data", data(found)),
        ("Parameters", parameters(found)),
        ("Dwell time", _dwell(found)),
        ("Time", _time(found.records)),
        ("Computed on", computed_on(found.records) or "not on record"),
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
    """What was typed, as a manifest has it, or what is known in place of it."""
    if any(PurePath(word).stem in KERNELS for word in words):
        return "run as a notebook"
    if len(words) == 1 and words[0].endswith(("dglib/worker.py", "dglib/campaign/worker.py")):
        return "by a worker of run_all.py; what was typed is not on record"
    return shlex.join(words)


def _other_code(found: Found) -> str:
    """Which seeds were made by what, where another commit than the manifest's made any, or part of one."""
    begun = (found.manifest or {}).get("commit")
    made = [each for record in found.records for each in record.get("provenance") or ()]
    if all(each.get("commit") == begun for each in made):
        return ""
    return "; ".join(made_otherwise(found.records, {}))


def data(found: Found) -> str:
    """The data set in words, with the noise on its labels."""
    p = found.parameters
    fingerprint = (found.manifest or {}).get("identity", {}).get("data")
    name = data_name(p.get("dataset"), fingerprint)
    rates = {rate for record in found.records if (rate := number(record, "eta")) is not None}
    noise = wording.listing([f"{rate:g}" for rate in sorted(rates)])
    if not rates:
        return name
    kind = f", {p['noise']}" if "noise" in p else ""
    return f"{name}; share of wrong training labels η = {noise}{kind}{_realised(found.records)}"


def _realised(records: Sequence[Record]) -> str:
    """The share that came out, where it is not the one asked for; earlier records do not have it."""
    off = [
        rate
        for record in records
        if (rate := number(record.get("noise") or {}, "rate")) is not None
        and abs(rate - (number(record, "eta") or 0.0)) > 0.01
    ]
    return f", but came out as {' to '.join(sorted({f'{min(off):.4f}', f'{max(off):.4f}'}))}" if off else ""


def parameters(found: Found) -> str:
    """The nearest profile, and each value that differs from it; of published files, what they lack."""
    if not found.parameters:
        return f"none on record; those of the published protocol are in params/paper/{found.experiment}.yaml"
    profile, changes = nearest_profile(found)
    return f"{profile} profile" + (f", except {'; '.join(changes)}" if changes else "")


def nearest_profile(found: Found) -> tuple[str, list[str]]:
    """The profile with the fewest differences, and these as "name = value"."""
    own = found.parameters

    def changed(profile: str) -> list[str]:
        values = profile_layer(found.experiment, profile).values
        return [
            f"{name} = {json.dumps(value, ensure_ascii=False)}"
            for name, value in own.items()
            if name not in values or differences({name: values[name]}, {name: value})
        ]

    compared = ((profile, changed(profile)) for profile in profiles_of(found.experiment))
    return min(compared, key=lambda each: len(each[1]), default=("no", []))


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


def _dwell(found: Found) -> str:
    return get(found.experiment).dwell_text(found.records) or "not on record"


def _when(manifest: Mapping[str, Any]) -> str:
    try:
        return datetime.fromisoformat(manifest["created"]).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (KeyError, TypeError, ValueError):
        return "at a time not on record"


def _time(records: Sequence[Record]) -> str:
    times = [time for record in records if (time := number(record, "time")) is not None]
    if not times:
        return "not on record"
    if len(times) == 1:
        return f"{duration(times[0])} of training"
    return f"{duration(sum(times))} of training in all, {duration(median(times))} a seed (median)"


def versions(manifest: Mapping[str, Any]) -> str:
    """Of Python, torch and the project, as a manifest has them."""
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
