"""Records of any run directory, ours or a published one. What cannot be read is named."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from dglib.errors import UserError
from dglib.files import matching, to_json, unsealed, write_atomically
from dglib.protocol.records import Record, under
from dglib.runs.directories import (
    OWN_FILE,
    as_ours,
    directories_below,
    experiment_of_list,
    first_record,
    is_like_a_list,
    prefixes,
)
from dglib.runs.identity import READING

T = TypeVar("T")


@dataclass(frozen=True)
class Source:
    """A record and where it was read."""

    run: Path
    file: Path
    experiment: str
    seed: int
    record: Record
    group: str = ""  # of translated records, see `Translated`


@dataclass
class RecordSet:
    """Records, and what could not be read.

    Attributes:
        damaged: a line for each file or record that should be one and could not be read.
        strangers: a line for each file that is none of a run's.
        seen: run, experiment, group and seed of each record.
    """

    sources: list[Source] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    seen: set[tuple[Path, str, str, int]] = field(default_factory=set)

    @property
    def problems(self) -> list[str]:
        """A line for each file or record that was not read."""
        return [*self.damaged, *self.strangers]

    def of(self, experiment: str) -> list[Record]:
        """The records of one experiment, in the order of reading."""
        return [source.record for source in self.sources if source.experiment == experiment]

    def add_run(self, directory: Path) -> None:
        """Read one run directory, and nothing below it.

        The seeds' sealed files are read, and the results file only for experiments that have none there,
        damaged or not; `<prefix>_checkpoint.json` adds seeds that the results file lacks. Reading parameters
        of the last command replace those among each record's parameters.
        """
        known = prefixes()
        files = {name: directory / f"{prefix}_reading.json" for name, prefix in known.items()}
        there = {name: path for name, path in files.items() if path.is_file()}
        reading = {name: self._json(path, dict) or {} for name, path in there.items()}
        sealed = {name for name in known if matching(directory / "seeds", f"{known[name]}-*.json")}
        for path in matching(directory / "seeds", "*"):
            if path.suffix != ".json" or "." in path.stem:
                self.strangers.append(f"{path}: not read: no seed's file")
                continue
            try:
                why = self._add(unsealed("seed record", path), path, reading, {})
                self.damaged += [f"{path}: the file not read: {why}"] if why else []
            except UserError as error:
                self.damaged.append(str(error))
        sealed |= {source.experiment for source in self.sources if source.run == directory}
        # Results first: a checkpoint is the same list at an earlier time.
        lists = sorted(
            matching(directory, "[!.]*.json"), key=lambda p: (p.name.endswith("_checkpoint.json"), p)
        )
        for path in lists:
            experiment = experiment_of_list(path)
            if experiment is None and first_record(path) is None:
                if is_like_a_list(path):
                    self.strangers.append(f"{path}: not read: of no known experiment; {OWN_FILE}")
            elif experiment not in sealed:
                self.add_list(path, reading)

    def add_list(self, path: Path, reading: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        """Read a JSON list of records.

        Args:
            reading: by experiment, the reading parameters that replace those of its records.
        """
        content = self._json(path, list)
        if content is None:
            return
        config = self._config_of(path, next((item for item in content if isinstance(item, dict)), {}))
        reasons = [self._add(record, path, reading or {}, config) for record in content]
        if len(reasons) > 1 and reasons[0] and len(set(reasons)) == 1:
            self.damaged.append(f"{path}: none of {len(reasons)} records read: {reasons[0]}")
            return
        lines = (f"{path}: record {index} not read: {why}" for index, why in enumerate(reasons) if why)
        self.damaged.extend(lines)

    def _add(
        self,
        record: Any,
        path: Path,
        reading: Mapping[str, Mapping[str, Any]],
        config: Mapping[str, Any],
    ) -> str | None:
        """Add a record. Returns why it is not read, or None."""
        if why := _why_not(record):
            return why
        try:
            ours = as_ours(record, path, config)
        except ValueError as error:
            return str(error)
        if ours is None:
            return f"of no known experiment; {OWN_FILE}"
        run = path.parent.parent if path.parent.name == "seeds" else path.parent
        experiment, group, record = ours.experiment, ours.group, ours.record
        if why := _why_not(record):
            return why
        key = (run, experiment, group, record["seed"])
        if key in self.seen:
            repeats = path.name.endswith("_checkpoint.json")  # of seeds of the results file
            return None if repeats else f"seed {record['seed']} is there already"
        self.seen.add(key)
        if not group and reading.get(experiment):
            record = under(record, reading[experiment])
        self.sources.append(Source(run, path, experiment, record["seed"], record, group))
        return None

    def _config_of(self, path: Path, record: Record) -> dict[str, Any]:
        """The content of the `*_config.json` next to a list whose name has most in common with the list's."""
        own = [str(name) for name in (path.stem, record.get("notebook_id"), record.get("experiment_id"))]
        keys = {
            file: file.name.removesuffix("config.json").rstrip("_")
            for file in path.parent.glob("*config.json")
        }
        candidates = [file for file, key in keys.items() if any(name.startswith(key) for name in own)]
        nearest = max(candidates, key=lambda file: len(keys[file]), default=None)
        return (self._json(nearest, dict) or {}) if nearest else {}

    def _json(self, path: Path, kind: type[T]) -> T | None:
        """The content of a JSON file; None, with a line among the damaged, where it is no such thing."""
        try:
            content = json.loads(path.read_bytes())
        except OSError as error:
            why = error.strerror
        except ValueError as error:
            why = f"no JSON ({error})"
        else:
            if isinstance(content, kind):
                return content
            why = f"must be a {kind.__name__}, is a {type(content).__name__}"
        line = f"{path}: not read: {why}"
        self.damaged += [line] if line not in self.damaged else []
        return None


def find_records(path: str | Path, grids: bool = True) -> RecordSet:
    """Read a list of records, a run directory as by `read_run`, or a folder of several, to any depth.

    Args:
        grids: whether also those of grids below the path.

    Raises:
        UserError: there is nothing at the path.
    """
    root, records = Path(path), RecordSet()
    if root.is_file():
        records.add_list(root)
    elif root.is_dir():
        for directory in directories_below(root, grids):
            records.add_run(directory)
        if not records.sources and not records.problems:
            records.damaged.append(f"{root}: no records there")
    else:
        raise UserError(f"{root}: no such file or directory")
    return records


def read_run(directory: Path) -> RecordSet:
    """The records of one run directory, see `RecordSet.add_run`."""
    records = RecordSet()
    records.add_run(directory)
    return records


def _why_not(record: Any) -> str | None:
    """Why something is no record that can be read; None if it is one. Fields may be missing or null."""
    if not isinstance(record, dict):
        return f"must be a mapping, is a {type(record).__name__}"
    seed = record.get("seed")
    if not isinstance(seed, int) or isinstance(seed, bool):
        return f"seed = {seed!r}: must be a whole number"
    if not isinstance(record.get("parameters") or {}, Mapping):
        return "its parameters are no mapping"
    for name, value in record.items():
        if value is None or not name.endswith(("trajectory", "step_logs")):
            continue
        if not (isinstance(value, list) and all(isinstance(row, dict) for row in value)):
            return f"its {name} is no list of mappings"
    return None


# ── reading parameters ──


def reading_of(parameters: Any) -> dict[str, Any]:
    """Those of an experiment's parameters that decide how records are read."""
    names = sorted(READING[parameters.experiment])
    return {name: getattr(parameters, name) for name in names if hasattr(parameters, name)}


def read_under(parameters: Any, records: Sequence[Record]) -> list[Record]:
    """The records with the reading parameters as they are now: none was trained under them."""
    return [under(record, reading_of(parameters)) for record in records]


def save_reading(directory: Path, parameters: Any) -> None:
    """Save the parameters under which an experiment's records are to be read, where they changed.

    They are no part of a run's identity, so neither the manifest nor the records contain them.
    """
    reading = reading_of(parameters)
    path = directory / f"{prefixes()[parameters.experiment]}_reading.json"
    content = to_json(reading, indent=1)
    if reading and not (path.is_file() and path.read_bytes() == content):
        write_atomically(path, content)
