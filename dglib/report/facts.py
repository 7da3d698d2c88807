"""How runs were made (profile, data, machine, versions, time), and what they do not show."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from statistics import median
from typing import TYPE_CHECKING, Any

from dglib.analysis import wording
from dglib.analysis.fields import number
from dglib.errors import UserError
from dglib.experiments import get, joints
from dglib.experiments.profiles import load_profile, profile_layer, profiles_of
from dglib.protocol.records import Record
from dglib.runs.identity import differing
from dglib.runs.progress import duration
from dglib.runs.provenance import different_code, line

if TYPE_CHECKING:
    from dglib.report.grids import Grid
    from dglib.report.runs import ExperimentRun

UNRECORDED = "not on record"
_KERNELS = ("ipykernel", "ipykernel_launcher", "colab_kernel_launcher")
_SHOWN = ("from_step", "device", "device_name", "threads", "precision")
# `Dataset.fingerprint` of copies that are easily mistaken; one for each normalisation in use.
_JPEG = "CIFAR-10 (JPEG-75 copy)"
_COPIES = {
    "13e678bb620a2e74ca0a31b7f381da2b223fb452a99edef555214867408e9c92": _JPEG,  # its own mean and std
    "9177ddb1a84d0f8c4e1c9c9b5ff4fae1944fc60b3f11dfb5973e8964ee3c511c": _JPEG,  # the published ones
}
_NAMES = {"digits": "scikit-learn's 8×8 digits", "cifar10": "CIFAR-10"}


def facts(run: ExperimentRun) -> list[tuple[str, str]]:
    """(name, value) pairs on how a run was made; also on what is not on record."""
    manifest = run.manifest
    rows = [
        ("Data", data(run)),
        ("Parameters", parameters(run)),
        ("Schedule", run.about.dwell_text(run.summary) if run.records else UNRECORDED),
        ("Time", training_time(run.records)),
        ("Computed on", computed_on(run.records)),
    ]
    if manifest:
        begun = str(manifest.get("created", UNRECORDED))[:16].replace("T", " ")
        begun += f" UTC on {manifest.get('host', 'an unknown machine')}"
        rows += [("Versions", versions(manifest)), ("Begun", begun)]
        if words := [str(word) for word in manifest.get("command") or ()]:
            in_notebook = any(PurePath(word).stem in _KERNELS for word in words)
            rows.append(("Command", "run as a notebook" if in_notebook else shlex.join(words)))
    if different := different_code(run.records, manifest, "at the start"):
        rows.append(("Seeds by other code", different.partition(": ")[2]))
    if lineage := manifest.get("lineage"):
        rows.append(("Forked from", ", ".join(f"{name}: {value}" for name, value in lineage.items())))
    return rows


def same_in_all(grid: Grid) -> list[tuple[str, str]]:
    """(name, value) pairs of the runs of a grid; all values where cells do differ in one of these."""
    runs = grid.runs
    records = [record for run in runs for record in run.records]
    rows = {"Seeds": [wording.listing([str(seed) for seed in cell.asked]) for cell in grid.cells]}
    if runs:
        rows["Data"] = list(map(data_name, runs))
        for name in grid.experiments:
            if texts := [parameters(run, grid.axes) for run in runs if run.experiment == name]:
                rows[f"Parameters of {get(name).symbol}"] = texts
        rows |= {"Time": [training_time(records)], "Computed on": [computed_on(records)]}
        rows["Versions"] = [versions(run.manifest) for run in runs]
    return [(name, " | ".join(dict.fromkeys(values))) for name, values in rows.items()]


def data(run: ExperimentRun) -> str:
    """The data set and its label noise, with the share that came out where it is not the one asked for."""
    name, p = data_name(run), run.parameters
    rates = {rate for record in run.records if (rate := number(record, "eta")) is not None}
    if not rates:
        return name
    noise = wording.listing([f"{rate:g}" for rate in sorted(rates)])
    kind = f", {p['noise']}" if "noise" in p else ""
    off = [
        rate
        for record in run.records  # those of earlier releases do not state the share
        if (rate := number(record.get("noise") or {}, "rate")) is not None
        and abs(rate - (number(record, "eta") or 0.0)) > 0.01
    ]
    came = f", but came out as {' to '.join(sorted({f'{min(off):.4f}', f'{max(off):.4f}'}))}" if off else ""
    return f"{name}; share of wrong training labels η = {noise}{kind}{came}"


def data_name(run: ExperimentRun) -> str:
    """The data set by its fingerprint where that is known, as a file name can mislead; and the subset."""
    dataset, size = run.parameters.get("dataset"), run.parameters.get("train_size")
    digest = str(run.manifest.get("identity", {}).get("data") or "")
    name = UNRECORDED
    if isinstance(dataset, str):
        name = _NAMES.get(dataset, f"{dataset} (fingerprint {digest[:12]})" if digest else dataset)
    return _COPIES.get(digest, name) + (f", {size:,} training images" if isinstance(size, int) else "")


def parameters(run: ExperimentRun, crossed: Iterable[str] = ()) -> str:
    """The nearest profile, and each value that differs from it but for the `crossed` parameters of a grid."""
    if run.group:
        stated = {**run.parameters, "lr": run.records[0].get("lr")}
        # A limit to be exceeded is stored as the next larger number.
        texts = (f"{k} = {round(v, 12) if isinstance(v, float) else v}" for k, v in stated.items())
        return f"of another program: {'; '.join(texts)}"
    if not run.parameters:
        return f"none on record; those of the published protocol are in params/paper/{run.experiment}.yaml"
    profile, changed = nearest_profile(run)
    shown = [
        f"{name} = {json.dumps(run.parameters[name], ensure_ascii=False)}"
        for name in changed
        if name not in crossed
    ]
    return f"{profile or 'no'} profile" + (f", except {'; '.join(shown)}" if shown else "")


def nearest_profile(run: ExperimentRun) -> tuple[str | None, list[str]]:
    """The profile that most parameters come from, and the names of those that differ from it."""
    changed = {}
    for profile in profiles_of(run.experiment):
        try:
            values = load_profile(run.experiment, profile).model_dump()
        except UserError:  # a profile of the user's that is not whole
            values = dict(profile_layer(run.experiment, profile).values)
        differs = differing(values, run.parameters)
        changed[profile] = [name for name in run.parameters if name in differs]
    return min(changed.items(), key=lambda item: len(item[1]), default=(None, []))


def computed_on(records: Iterable[Record]) -> str:
    """Every machine and arithmetic on which some stretch of some seed was computed."""
    machines = [describe(stretch) for record in records for stretch in record.get("numerics") or ()]
    return "; ".join(dict.fromkeys(machines)) or UNRECORDED


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


def training_time(records: Sequence[Record]) -> str:
    times = [time for record in records if (time := number(record, "time")) is not None]
    if not times:
        return UNRECORDED
    if len(times) == 1:
        return f"{duration(times[0])} of training"
    return f"{duration(sum(times))} of training in all, {duration(median(times))} a seed (median)"


def versions(manifest: Mapping[str, Any]) -> str:
    torch = (manifest.get("numerics") or {}).get("torch")
    made = {name: manifest.get(name) for name in ("commit", "dirty", "python", "numpy")}
    made |= {"dglib": manifest.get("dglib", "of a version not on record"), "torch": torch}
    return line(made).removeprefix("made by ") if manifest else UNRECORDED


def caveats(runs: Sequence[ExperimentRun], damaged: Sequence[str], unit: str = "experiment") -> list[str]:
    """What runs do not show: a sentence or two per limit that applies; `unit`: experiment or cell."""
    read = [run for run in runs if run.records]
    if not read:
        return []
    least, most = (pick(len(run.records) for run in read) for pick in (min, max))
    sets = sorted({data_name(run) for run in read})
    swept = [run for run in read if run.about.sweeps]
    times = sorted({time for run in swept for time in run.summary["dwell"]["epochs_per_level"]})
    dropping = sorted({run.experiment for run in swept if not run.summary["dwell"]["constant_lr"]})
    trapped = sum((run.summary.get("start") or {}).get("trapped", 0) for run in read)
    about = {run.experiment: run.about for run in read}
    moved = sum(record.get("bitwise") is False for run in read for record in run.records)
    under_way = sum(len(run.heartbeats) for run in read)
    count = wording.seeds(most) if least == most else f"{least} to {most} seeds"
    here = f" (here {wording.per_level(*times)})" if times else ""
    files = "1 file was" if len(damaged) == 1 else f"{len(damaged)} files were"
    lines: list[tuple[Any, str]] = [
        (True, f"Each {unit} has {count}. The intervals show how far these determine the numbers. Few seeds"
         " show an effect only if it is large, and one that is not found with them may still be there."),
        (any("digits" in name for name in sets), "Small networks on 8×8 digits were trained here. They show"
         " the phenomenon in minutes, and prove nothing about CIFAR-10 or larger networks."),
        (_JPEG in sets, "The images are a copy of CIFAR-10 that went through JPEG at quality 75, so errors"
         " are not those of CIFAR-10 itself."),
        (len(sets) > 1, f"Not all runs used the same data ({wording.listing(sets)}); numbers across them do"
         " not compare."),
        (swept, "Part of what a sweep shows as hysteresis is lag: the network has a limited time at each"
         f" λ{here}. Only a hold, where λ waits, tells lag from memory."),
        (dropping, f"In {wording.listing(dropping)} the learning rate of the sweep follows the schedule, or"
         " is not on record: published sweeps begin where it drops. A state that stays at a low rate may be"
         " frozen and not stable."),
        *((about.keys() >= set(joint.experiments), joint.limitation) for joint in joints()),
        (trapped, f"{wording.seeds(trapped)} began the falling sweep trapped, with one class predicted for"
         " everything. That is another state than the collapsed one, and its λ↓ or gap answers another"
         " question."),
        # A grid asks for ends alone.
        *((unit == "experiment", item.limitation) for item in about.values()),
        (moved, f"{wording.seeds(moved)} resumed under other numerics (machine, torch version or thread"
         " count) than before: as trustworthy as the others, but not reproducible bit for bit."),
        (damaged, f"{files} damaged and left out; the numbers here are without them."),
        (under_way, f"{wording.seeds(under_way)} had not finished, and the numbers are without them."),
    ]  # fmt: skip
    return [line for applies, line in lines if applies and line]
