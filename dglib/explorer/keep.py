"""Keeping a live run: a record like any other, which can be retraced step by step."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dglib import identity, provenance
from dglib.data import Dataset
from dglib.errors import UserError
from dglib.events import SeedDone
from dglib.explorer.live_run import LiveRun
from dglib.explorer.live_settings import Settings
from dglib.numerics import Numerics
from dglib.records import Record, fold
from dglib.run_location import RunLocation
from dglib.spec import ExperimentSpec
from dglib.store import Store


def record_of(run: LiveRun) -> tuple[ExperimentSpec, Record]:
    """The run so far as an experiment of its own, whose sweep holds each epoch's λ, and its record.

    Besides the fields of every record it has `script` (the settings in the order in which they came into
    force, each with its first step), `steps`, and the `digest` of the state at the end.

    Raises:
        UserError: no epoch has been completed.
    """
    status, cursor = run.status(), run.cursor
    if not status.points:
        raise UserError("nothing to keep yet: no epoch has been completed")
    spec = run.spec([point.lam for point in status.points if not point.prepared])
    events = run.events
    if not cursor.done:
        phase = spec.arms[0].phases[min(cursor.phase, len(spec.arms[0].phases) - 1)].name
        lam = status.settings.lam
        events += (SeedDone(cursor.next_event, "main", phase, lam, cursor.arm_epochs, outcome="kept"),)
    record = fold(spec, run.seed, events, status.seconds)
    return spec, record | {
        "script": [dict(row) for row in run.script],
        "steps": status.steps,
        "digest": run.digest(),
        "numerics": [{"from_step": 0, **run.numerics.describe()}],
        "bitwise": not run.numerics.autotune,
        "provenance": [{"from_step": 0, **provenance.made_by(run.numerics, run.data)}],
    }


def keep(run: LiveRun, base: Path) -> tuple[Path, bool]:
    """Save the run so far in a directory of its own below `base`, made where it is missing.

    Returns:
        The run directory, and whether it is new: the same run kept twice is kept once.

    Raises:
        UserError: no epoch has been completed, or the disk fails.
    """
    spec, record = record_of(run)
    fingerprint = run.data.fingerprint
    asked = {"device": run.numerics.device, "threads": run.numerics.threads, "exact": run.numerics.exact}
    # Two runs by hand may visit the same λ and differ in when, so the script is part of what they are.
    by_hand = {"seed": run.seed, "script": record["script"], "steps": record["steps"]}
    described = identity.describe(spec, fingerprint, **asked) | by_hand
    shared = identity.describe_shared(spec, fingerprint)
    place = RunLocation.at(str(base))
    code = {name: record["provenance"][0][name] for name in ("dglib", "commit", "dirty", "numpy")}
    made = {"numerics": run.numerics.describe(), "data_name": run.data.name, **code}
    store, _ = Store.open(place.work, spec, described, shared, made)
    with place.mirroring(store.directory, lambda line: None), store.exclusive(run.seed) as mine:
        if not mine:
            raise UserError(f"{store.directory}: another process is writing this run")
        new = not store.finished(run.seed)
        if new:
            store.save(record)
        store.rebuild_views()
    return place.base / store.directory.name, new


def replay(record: Mapping[str, Any], data: Dataset, numerics: Numerics) -> LiveRun:
    """Train a kept run again from its script. With the same numerics on the same machine: the same bits.

    Args:
        record: of a live run.
        data, numerics: as it was trained with.

    Raises:
        UserError: it is no record of a live run.
    """
    script, steps = record.get("script"), record.get("steps")
    if record.get("experiment") != "Live" or not script or not isinstance(steps, int):
        raise UserError(f"record of {record.get('experiment_id')!r}: no live run, it has no script")
    run = LiveRun(data, numerics, seed=record["seed"])
    first = Settings.of_row(script[0])
    run.change(**{name: value for name, value in vars(first).items() if name != "lam"})
    run.begin(record["start"])
    ends = [row["step"] for row in script[1:]] + [steps]
    for row, end in zip(script, ends, strict=True):
        run.follow(row, end)
    return run
