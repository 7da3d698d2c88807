"""Everything that lies in a directory: runs with their records and manifests, and files that are damaged."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dglib.errors import UserError
from dglib.experiments import get, names
from dglib.protocol.records import Record
from dglib.runs.manifest import manifests, read_manifest
from dglib.runs.reading import read_run, runs_in


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
        prefix = get(self.experiment).prefix
        paths = (self.directory / f"{prefix}_results.{kind}" for kind in ("json", "csv"))
        return [path for path in paths if path.is_file()]


@dataclass
class Collection:
    """All of a directory: `found` by experiment, the oldest run first; `damaged`: a line per file."""

    base: Path
    found: list[Found] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)

    def of(self, experiment: str) -> list[Found]:
        """The runs of one experiment."""
        return [each for each in self.found if each.experiment == experiment]


def collect(base: Path) -> Collection:
    """Read a run directory, or all of those in a base directory; changes nothing.

    Raises:
        UserError: there is no such directory, or no run in it of which anything could be read.
    """
    collection = collect_whatever(base)
    if not collection.found:
        told, more = collection.damaged[:1], len(collection.damaged) - 1
        why = f"; {told[0]}" + (f" (and {more} more like it)" if more > 0 else "") if told else ""
        raise UserError(f"{base}: no records there{why}")
    return collection


def collect_whatever(base: Path) -> Collection:
    """The same, be it that nothing could be read of any run there."""
    collection = Collection(base)
    for directory in runs_in(base):
        _collect_run(collection, directory)
    collection.found.sort(key=lambda each: (names().index(each.experiment), each.directory.name))
    return collection


def _collect_run(collection: Collection, directory: Path) -> None:
    known: dict[str, Mapping[str, Any]] = {}
    for path in manifests(directory):
        try:
            made_under = read_manifest(path)
            known[made_under["experiment"]] = made_under
        except UserError as error:
            collection.damaged.append(str(error))
    run = read_run(directory)
    collection.damaged += run.damaged
    records: dict[str, list[Record]] = {}
    for source in sorted(run.sources, key=lambda source: source.seed):
        records.setdefault(source.experiment, []).append(dict(source.record))
    for name in names():
        mine, manifest = records.get(name, []), known.get(name)
        beats = _heartbeats(directory, name, {record.get("seed") for record in mine})
        if mine or manifest is not None:
            collection.found.append(Found(name, directory, tuple(mine), manifest, tuple(beats)))


def _heartbeats(directory: Path, experiment: str, finished: Iterable[Any]) -> list[Mapping[str, Any]]:
    beats = [_json(path) for path in sorted((directory / "heartbeats").glob("*.json"))]
    return [b for b in beats if b.get("experiment") == experiment and b.get("seed") not in set(finished)]


def _json(path: Path) -> dict[str, Any]:
    """A JSON object that is a hint only; empty where it is missing or torn."""
    try:
        return dict(json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return {}
