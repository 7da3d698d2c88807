"""Everything that lies in a directory: runs with their records and manifests, and files that are damaged."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dglib.analysis.summary import EXPERIMENTS
from dglib.errors import UserError
from dglib.experiments import READING
from dglib.files import unsealed
from dglib.jobs import NAMES
from dglib.manifest import manifests, read_manifest
from dglib.records import Record

# Of the results' files, which the published folders hold alone.
PREFIXES = {"T1": "T1-spinodal", "T2": "T2-spinodal", "V3": "V3", "Td1": "Td1"}
ORDER = ("T1", "T2", "V3", "Td1")


@dataclass(frozen=True)
class Found:
    """One experiment's records in one run directory.

    Attributes:
        manifest: what the run was made under; None where there is none, as in published folders.
        heartbeats: of seeds that have begun and have no record.
    """

    experiment: str
    directory: Path
    records: tuple[Record, ...]
    manifest: Mapping[str, Any] | None = None
    heartbeats: tuple[Mapping[str, Any], ...] = ()

    @property
    def parameters(self) -> dict[str, Any]:
        """As the manifest has them, else the first record that states any; empty for published files."""
        if self.manifest is not None:
            return dict(self.manifest["parameters"])
        return next((dict(r["parameters"]) for r in self.records if r.get("parameters")), {})

    @property
    def results(self) -> list[Path]:
        """The results' files that are there, JSON first."""
        prefix = PREFIXES[self.experiment]
        paths = (self.directory / f"{prefix}_results.{kind}" for kind in ("json", "csv"))
        return [path for path in paths if path.is_file()]


@dataclass
class Collection:
    """All of a directory: `found` by experiment, the oldest run first; `damaged`: a line per file.

    `by_hand`: run directory and record of each run kept from the explorer, which are of no experiment.
    """

    base: Path
    found: list[Found] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    by_hand: list[tuple[Path, Record]] = field(default_factory=list)

    def of(self, experiment: str) -> list[Found]:
        """The runs of one experiment."""
        return [each for each in self.found if each.experiment == experiment]


def collect(base: Path) -> Collection:
    """Read a run directory, or all of those in a base directory; changes nothing.

    Records are read under the parameters for reading with which the notebooks beside them were last executed.

    Raises:
        UserError: there is no such directory, or nothing that a run would leave.
    """
    if not base.is_dir():
        raise UserError(f"{base}: no such directory")
    collection = Collection(base)
    for directory in [base] if _is_run(base) else sorted(path for path in base.iterdir() if _is_run(path)):
        _collect_run(collection, directory)
    if not (collection.found or collection.damaged or collection.by_hand):
        raise UserError(f"{base}: no run there: must be a run directory, or one that holds some")
    asked = {name: _asked(base, name) for name in EXPERIMENTS}
    collection.found = sorted(
        (_read_under(each, asked[each.experiment]) for each in collection.found),
        key=lambda each: (ORDER.index(each.experiment), each.directory.name),
    )
    return collection


def _is_run(path: Path) -> bool:
    if not path.is_dir():
        return False
    return bool(manifests(path)) or (path / "seeds").is_dir() or any(path.glob("*_results.json"))


def _collect_run(collection: Collection, directory: Path) -> None:
    known: dict[str, Mapping[str, Any]] = {}
    for path in manifests(directory):
        try:
            made_under = read_manifest(path)
            known[made_under["experiment"]] = made_under
        except UserError as error:
            collection.damaged.append(str(error))
    records = _sealed_records(collection, directory)
    collection.by_hand += [(directory, record) for record in records.get("Live", [])]
    for name in EXPERIMENTS:
        mine, manifest = records.get(name, []), known.get(name)
        if not mine and manifest is None:
            mine = _results(collection, directory, name)
        beats = _heartbeats(directory, name, {record.get("seed") for record in mine})
        if mine or manifest is not None:
            collection.found.append(Found(name, directory, tuple(mine), manifest, tuple(beats)))


def _sealed_records(collection: Collection, directory: Path) -> dict[str, list[Record]]:
    """Experiment -> records by seed, from the seeds' own files; a damaged one is named and passed over."""
    found: dict[str, list[Record]] = {}
    for path in sorted((directory / "seeds").glob("*.json")):
        if "." in path.stem:  # a second record of a seed, which another machine left
            continue
        try:
            record = unsealed("seed record", path)
            found.setdefault(record["experiment"], []).append(record)
        except UserError as error:
            collection.damaged.append(str(error))
        except (KeyError, TypeError) as error:
            collection.damaged.append(f"{path}: not a seed's record ({type(error).__name__}: {error})")
    return {name: sorted(records, key=lambda record: record["seed"]) for name, records in found.items()}


def _results(collection: Collection, directory: Path, experiment: str) -> list[Record]:
    """The records of a results' file without seeds' files behind it: a published one, or a copy."""
    for suffix in ("results", "checkpoint"):
        path = directory / f"{PREFIXES[experiment]}_{suffix}.json"
        if not path.is_file():
            continue
        try:
            records: list[Record] = json.loads(path.read_bytes())
            if [type(each) for each in records] != [dict] * len(records) or type(records) is not list:
                raise ValueError("must hold a list of records")
            return records
        except (OSError, TypeError, ValueError) as error:
            collection.damaged.append(f"{path}: not readable as records ({error})")
    return []


def _heartbeats(directory: Path, experiment: str, finished: Iterable[Any]) -> list[Mapping[str, Any]]:
    beats = [_json(path) for path in sorted((directory / "heartbeats").glob("*.json"))]
    return [b for b in beats if b.get("experiment") == experiment and b.get("seed") not in set(finished)]


def _asked(base: Path, experiment: str) -> dict[str, Any]:
    """The parameters for reading records that the experiment's notebook was last executed with."""
    given = _json(base / "executed" / f"{NAMES[experiment]}.job.json").get("parameters")
    return {k: v for k, v in given.items() if k in READING} if isinstance(given, dict) else {}


def _read_under(found: Found, asked: Mapping[str, Any]) -> Found:
    if not asked:
        return found
    records = tuple(
        {**record, "parameters": {**(record.get("parameters") or {}), **asked}} for record in found.records
    )
    return Found(found.experiment, found.directory, records, found.manifest, found.heartbeats)


def _json(path: Path) -> dict[str, Any]:
    """A JSON object that is a hint only; empty where it is missing or torn."""
    try:
        return dict(json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return {}
