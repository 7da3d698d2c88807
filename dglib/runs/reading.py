"""The records below a path, ours and the published ones; what cannot be read is named, not guessed at."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from dglib.errors import UserError
from dglib.files import unsealed
from dglib.protocol.records import Record
from dglib.runs.manifest import experiment_of_list, is_retired, prefixes, read_reading

# What lies beside records and holds none of its own.
_FOLDERS = {
    "attempts", "checkpoints", "executed", "figures", "heartbeats", "jobs", "live_paths", "locks", "mirror",
    "seeds",
}  # fmt: skip
_KNOWN = (
    "*_manifest.json",
    "*_reading.json",
    "*_results.csv",
    "*_step_logs.csv",
    "summary.json",
    "grid.json",
    "report.html",
    "*.md",
    "*.png",
    "*.pdf",
    ".*",
)


@dataclass(frozen=True)
class Source:
    """A record and where it was read."""

    run: Path
    file: Path
    experiment: str
    seed: int
    record: Record


@dataclass
class Found:
    """All records below a path.

    Attributes:
        damaged: a line for each file or record that should be one and could not be read.
        strangers: a line for each file that is none of a run's.
    """

    sources: list[Source] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)

    @property
    def problems(self) -> list[str]:
        """A line for each file or record that was not read."""
        return [*self.damaged, *self.strangers]

    def of(self, experiment: str) -> list[Record]:
        """The records of one experiment, in the order found."""
        return [source.record for source in self.sources if source.experiment == experiment]


def find_records(path: str | Path) -> Found:
    """Read a results file, a run directory or a folder that holds several, to any depth.

    Each run directory as by `read_run`.

    Raises:
        UserError: there is nothing at the path.
    """
    root, found = Path(path), Found()
    if root.is_file():
        _read_list(root, found, set())
    elif root.is_dir():
        for directory in _directories(root):
            _read_directory(directory, found)
        if not found.sources and not found.problems:
            found.damaged.append(f"{root}: no records there")
    else:
        raise UserError(f"{root}: no such file or directory")
    return found


def read_run(directory: Path) -> Found:
    """Read one run directory, and nothing below it.

    The seeds' sealed files are read, and the results file only for experiments that have none there, be they
    damaged; `<prefix>_checkpoint.json` adds the seeds that it has beside them. Reading parameters of the
    last command stand among each record's parameters.
    """
    found = Found()
    _read_directory(directory, found)
    return found


def _directories(root: Path) -> Iterator[Path]:
    if is_retired(root):
        return
    yield root
    for child in sorted(root.iterdir()):
        if child.is_dir() and child.name not in _FOLDERS and not child.name.startswith("."):
            yield from _directories(child)


def _read_directory(directory: Path, found: Found) -> None:
    seen: set[tuple[str, int]] = set()
    for path in sorted((directory / "seeds").glob("*")):
        if path.suffix != ".json" or "." in path.stem:
            found.strangers.append(f"{path}: not read: no seed's file")
            continue
        try:
            _take(unsealed("seed record", path), "the file", directory, path, found, seen)
        except UserError as error:
            found.damaged.append(str(error))
    sealed = {name for name in prefixes() if _has_seeds(directory, name)} | {name for name, _ in seen}
    files = sorted(path for path in directory.iterdir() if path.is_file())
    # Results first: a checkpoint is the same list from before.
    for path in sorted(files, key=lambda path: path.name.endswith("_checkpoint.json")):
        experiment = experiment_of_list(path)
        if experiment is not None:
            if experiment not in sealed:
                _read_list(path, found, seen, again=path.name.endswith("_checkpoint.json"))
        elif not any(fnmatch(path.name, pattern) for pattern in _KNOWN):
            found.strangers.append(f"{path}: not read: unknown file")
    _read_under(directory, found)


def _read_under(directory: Path, found: Found) -> None:
    reading: dict[str, dict[str, Any]] = {}
    for index, source in enumerate(found.sources):
        if source.run != directory:
            continue
        if source.experiment not in reading:
            try:
                reading[source.experiment] = read_reading(directory, source.experiment)
            except UserError as error:
                found.damaged.append(str(error))
                reading[source.experiment] = {}
        if mine := reading[source.experiment]:
            parameters = {**(source.record.get("parameters") or {}), **mine}
            found.sources[index] = replace(source, record={**source.record, "parameters": parameters})


def _read_list(path: Path, found: Found, seen: set[tuple[str, int]], again: bool = False) -> None:
    """Take the records of a JSON list; `again`: those that are known already are expected there."""
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        found.damaged.append(f"{path}: not read: {error.strerror}")
        return
    except ValueError as error:
        found.damaged.append(f"{path}: not read: no JSON ({error})")
        return
    if not isinstance(content, list):
        found.damaged.append(f"{path}: not read: must be a list of records, is a {type(content).__name__}")
        return
    for index, record in enumerate(content):
        _take(record, f"record {index}", path.parent, path, found, seen, again)


def _take(
    record: Any,
    name: str,
    run: Path,
    path: Path,
    found: Found,
    seen: set[tuple[str, int]],
    again: bool = False,
) -> None:
    why, experiment = _why_not(record), _experiment_of(record, path)
    if why is None and experiment is None:
        why = "of no known experiment"
    if why is None and (experiment, record["seed"]) in seen:
        if again:
            return
        why = f"seed {record['seed']} is there already"
    if why is not None or experiment is None:
        found.damaged.append(f"{path}: {name} not read: {why}")
        return
    seen.add((experiment, record["seed"]))
    found.sources.append(Source(run, path, experiment, record["seed"], record))


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
        if name.endswith(("trajectory", "step_logs")) and not _is_table(value):
            return f"its {name} is no list of mappings"
    return None


def _is_table(value: Any) -> bool:
    return value is None or (isinstance(value, list) and all(isinstance(row, dict) for row in value))


def _experiment_of(record: Any, path: Path) -> str | None:
    """By what the record says of itself; a record that says nothing, by its file's name."""
    said = [record.get(name) for name in ("experiment", "experiment_id")] if isinstance(record, dict) else []
    texts = [text for text in said if isinstance(text, str)]
    if not texts:
        return experiment_of_list(path)
    return next((name for name, prefix in prefixes().items() if _says(texts[-1], name, prefix)), None)


def _says(text: str, name: str, prefix: str) -> bool:
    return text == name or text.startswith(f"{prefix}-")


def _has_seeds(directory: Path, experiment: str) -> bool:
    return any(directory.glob(f"seeds/{prefixes()[experiment]}-*.json"))
