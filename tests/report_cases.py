"""Run directories made of synthetic records, without training, for the tests of report and comparison."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dglib.experiments import build_spec, get
from dglib.experiments.profiles import load_profile
from dglib.runs import identity
from dglib.runs.store import Store

NUMERICS = {"device": "cpu", "device_name": "Test CPU", "threads": 1, "precision": "fp32", "torch": "2.99"}
Record = dict[str, Any]


def run_of(
    base: Path,
    experiment: str,
    records: Sequence[Record],
    *settings: str,
    data: str = "d1" * 32,
    numerics: Record = NUMERICS,
) -> Path:
    """The run directory of an experiment under the quick profile with `settings`, holding these records."""
    base.mkdir(parents=True, exist_ok=True)
    spec = build_spec(experiment, load_profile(experiment, "quick", settings))
    described = identity.describe(spec, data, device="cpu", threads=1)
    return open_with(base, spec, described, records, numerics).directory


def open_with(
    base: Path, spec: Any, described: Record, records: Sequence[Record], numerics: Record = NUMERICS
) -> Store:
    """The run of a specification, holding these records."""
    provenance = {"numerics": numerics, "command": ["dglib", "run"], "commit": "c0ffee" * 6, "dirty": False}
    store, _ = Store.open(base, spec, described, provenance)
    for record in records:
        made = {"numerics": [{"from_step": 0, **numerics}], "bitwise": True}
        parameters = {**record.get("parameters", {}), **spec.parameters}
        store.save({**_strict(record), **made, "experiment": spec.name, "parameters": parameters})
    store.rebuild_views()
    return store


def _strict(value: Any) -> Any:
    """With null for NaN, as the records of real runs have it."""
    if isinstance(value, dict):
        return {name: _strict(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_strict(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def published_in(directory: Path, experiment: str, records: Sequence[Record]) -> Path:
    """A folder with a results' file alone, as the published ones are."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{get(experiment).prefix}_results.json").write_text(json.dumps(records))
    return directory
