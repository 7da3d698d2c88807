"""Any run directory, ours or a published one. What cannot be read is named."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dglib.errors import StorageError, UserError
from dglib.files import to_json, unsealed, write_atomically
from dglib.protocol.records import Record
from dglib.runs.identity import READING, manifests


@dataclass(frozen=True)
class Translated:
    """A record of another program in the form of an experiment here.

    `group`: what such a record must have in common with those it is analysed with; a group is one set of
    records, as a run directory's own are.
    """

    experiment: str
    group: str
    record: Record


# The prefix of each experiment's files, by its name; filled by `dglib.experiments.register`.
PREFIXES: dict[str, str] = {}
# Called with a record and its run's configuration; filled by experiments that read other record formats.
TRANSLATORS: list[Callable[[Record, Mapping[str, Any]], Translated | None]] = []
LISTS = ("results", "checkpoint")  # files that are lists of records; published directories hold these alone
OWN_FILE = "if it is your own, give its file as --experiment-file or in DGLIB_EXPERIMENTS"
RETIRED = "an explorer run saved by release 0.1"
_LIKE_A_LIST = re.compile(r"[^.].*(results|checkpoint).*\.json")


def prefixes() -> dict[str, str]:
    """The names of all experiments with the prefixes of their files."""
    if not PREFIXES:
        raise RuntimeError("no experiment is registered: import dglib.experiments first")
    return PREFIXES


# ── which directories are runs, and of what ──


def runs_in(directory: Path) -> list[Path]:
    """The directory itself if it is a run's, else the run directories in it that are not hidden, by name.

    Raises:
        UserError: there is no such directory, or no run there.
    """
    if not directory.is_dir():
        raise UserError(f"{directory}: no such directory")
    if is_run(directory):
        return [directory]
    found = [path for path in sorted(directory.iterdir()) if path.name[0] != "." and is_run(path)]
    if not found:
        raise UserError(f"{directory}: no run there: must be a run directory, or a directory of some")
    return found


def is_run(path: Path) -> bool:
    """Whether a directory is a run's, ours or a published one, damaged or not."""
    if not path.is_dir() or _is_retired(path):
        return False
    folders = any((path / name).is_dir() for name in ("seeds", "mirror"))
    if folders or manifests(path) or experiments_in(path):
        return True
    return any(map(holds_records, path.glob("[!.]*.json")))


def holds_records(path: Path) -> bool:
    """Whether a file, whatever its name, is a list of records that are read, by the first of them."""
    record = _first(path)
    try:
        return record is not None and _as_ours(record, path, {}) is not None
    except ValueError:
        return True


def unread_below(directory: Path, runs: Sequence[Path]) -> list[str]:
    """A line for each subdirectory with records, read or not, that is none of `runs`, as by `runs_in`."""
    lines = []
    for child in sorted(directory.iterdir()):
        if not child.is_dir() or child.name[0] == "." or child.name == "mirror" or child in runs:
            continue
        inside = list(_directories(child))
        count = sum(map(is_run, inside))
        if _is_retired(child):
            lines.append(f"{child}: not read: {RETIRED}")
        elif count:
            held = f"{count} run director{'y' if count == 1 else 'ies'}"
            lines.append(f"{child}: not read: {held} there, not in {directory} itself; give it by name")
        elif any(_like_a_list(path) for place in inside for path in place.glob("[!.]*.json")):
            lines.append(f"{child}: not read: no records of a known experiment there")
    return lines


def _is_retired(path: Path) -> bool:
    """Whether a directory is a saved explorer run of release 0.1, of no experiment: it is not read."""
    return any((path / f"Live_{kind}.json").is_file() for kind in ("manifest", *LISTS))


def experiments_in(directory: Path) -> list[str]:
    """The experiments of which a run directory seems to hold records, by the names of its files."""
    return [
        name
        for name, prefix in prefixes().items()
        if any((directory / f"{prefix}_{kind}.json").is_file() for kind in LISTS)
        or any(directory.glob(f"seeds/{prefix}-*.json"))
    ]


def experiment_of_list(path: Path) -> str | None:
    """The experiment whose list of records has this file name; None: another file."""
    names = {f"{prefix}_{kind}.json": name for name, prefix in prefixes().items() for kind in LISTS}
    return names.get(path.name)


def reading_of(parameters: Any) -> dict[str, Any]:
    """Those of an experiment's parameters that decide how records are read."""
    names = sorted(READING[parameters.experiment])
    return {name: getattr(parameters, name) for name in names if hasattr(parameters, name)}


def read_under(parameters: Any, records: Sequence[Record]) -> list[Record]:
    """The records with the reading parameters as they are now: none was trained under them."""
    now = reading_of(parameters)
    return [{**record, "parameters": {**record["parameters"], **now}} for record in records]


def save_reading(directory: Path, parameters: Any) -> None:
    """Save the parameters under which an experiment's records are to be read, where they changed.

    They are no part of a run's identity, so neither the manifest nor the records contain them.
    """
    reading = reading_of(parameters)
    path = directory / f"{prefixes()[parameters.experiment]}_reading.json"
    content = to_json(reading, indent=1)
    if reading and not (path.is_file() and path.read_bytes() == content):
        write_atomically(path, content)


# ── records ──


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
class RecordsFound:
    """All records below a path.

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


def find_records(path: str | Path) -> RecordsFound:
    """Read a list of records, a run directory as by `read_run`, or a folder of several, to any depth.

    Raises:
        UserError: there is nothing at the path.
    """
    root, found = Path(path), RecordsFound()
    if root.is_file():
        _read_list(root, found)
    elif root.is_dir():
        for directory in _directories(root):
            if _is_retired(directory):
                found.strangers.append(f"{directory}: not read: {RETIRED}")
            else:
                read_run(directory, found)
        if not found.sources and not found.problems:
            found.damaged.append(f"{root}: no records there")
    else:
        raise UserError(f"{root}: no such file or directory")
    return found


def read_run(directory: Path, found: RecordsFound | None = None) -> RecordsFound:
    """Read one run directory, and nothing below it; add to `found`.

    The seeds' sealed files are read, and the results file only for experiments that have none there, damaged
    or not; `<prefix>_checkpoint.json` adds seeds that the results file lacks. Reading parameters of the last
    command replace those among each record's parameters.
    """
    found = RecordsFound() if found is None else found
    known = prefixes()
    reading = {name: _reading_of(name, directory, found) for name in experiments_in(directory)}
    sealed = {name for name in known if any(directory.glob(f"seeds/{known[name]}-*.json"))}
    for path in sorted((directory / "seeds").glob("*")):
        if path.suffix != ".json" or "." in path.stem:
            found.strangers.append(f"{path}: not read: no seed's file")
            continue
        try:
            why = _take(unsealed("seed record", path), path, found, reading, {})
            found.damaged += [f"{path}: the file not read: {why}"] if why else []
        except UserError as error:
            found.damaged.append(str(error))
    sealed |= {source.experiment for source in found.sources if source.run == directory}
    # Results first: a checkpoint is the same list at an earlier time.
    for path in sorted(directory.glob("[!.]*.json"), key=lambda p: (p.name.endswith("_checkpoint.json"), p)):
        experiment = experiment_of_list(path)
        if experiment is None and _first(path) is None:
            if _like_a_list(path):
                found.strangers.append(f"{path}: not read: of no known experiment; {OWN_FILE}")
        elif experiment not in sealed:
            _read_list(path, found, reading)
    return found


def _directories(root: Path) -> Iterator[Path]:
    """A directory and those in it to any depth; nothing in a retired, hidden or mirrored one."""
    yield root
    if _is_retired(root):
        return
    for child in sorted(root.iterdir()):
        if child.is_dir() and child.name != "mirror" and not child.name.startswith("."):
            yield from _directories(child)


def _reading_of(experiment: str, directory: Path, found: RecordsFound) -> dict[str, Any]:
    """The parameters that `save_reading` saved; empty where there are none."""
    path = directory / f"{prefixes()[experiment]}_reading.json"
    try:
        return dict(json.loads(path.read_bytes())) if path.is_file() else {}
    except OSError as error:
        found.damaged.append(str(StorageError.of(path, error, "read")))
    except (ValueError, TypeError) as error:
        found.damaged.append(f"{path}: not read: no JSON mapping ({error})")
    return {}


def _like_a_list(path: Path) -> bool:
    return _LIKE_A_LIST.fullmatch(path.name) is not None or _first(path) is not None


def _first(path: Path) -> Record | None:
    """The first record of a file that is a list of records, by its looks; damage behind it is no matter."""
    try:
        text = path.read_text("utf-8").lstrip()
        record = json.JSONDecoder().raw_decode(text[1:].lstrip())[0] if text.startswith("[") else None
    except (OSError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and "seed" in record else None


def _config_of(path: Path, record: Record, found: RecordsFound) -> Mapping[str, Any]:
    """What a `*_config.json` next to a list of records states, by the longest name that is the list's too."""
    own = [str(name) for name in (path.stem, record.get("notebook_id"), record.get("experiment_id"))]
    keys = {
        file: file.name.removesuffix("config.json").rstrip("_") for file in path.parent.glob("*config.json")
    }
    mine = [file for file, key in keys.items() if any(name.startswith(key) for name in own)]
    if not mine:
        return {}
    file = max(mine, key=lambda file: len(keys[file]))
    try:
        return dict(json.loads(file.read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        line = f"{file}: not read: no JSON mapping ({error})"
        found.damaged += [line] if line not in found.damaged else []
        return {}


def _read_list(
    path: Path, found: RecordsFound, reading: Mapping[str, Mapping[str, Any]] | None = None
) -> None:
    """Take the records of a JSON list."""
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        found.damaged.append(f"{path}: not read: {error.strerror}")
    except ValueError as error:
        found.damaged.append(f"{path}: not read: no JSON ({error})")
    else:
        if not isinstance(content, list):
            kind = type(content).__name__
            found.damaged.append(f"{path}: not read: must be a list of records, is a {kind}")
            return
        config = _config_of(path, next(filter(_is_mapping, content), {}), found)
        reasons = [_take(record, path, found, reading or {}, config) for record in content]
        if len(reasons) > 1 and reasons[0] and len(set(reasons)) == 1:
            found.damaged.append(f"{path}: none of {len(reasons)} records read: {reasons[0]}")
            return
        lines = (f"{path}: record {index} not read: {why}" for index, why in enumerate(reasons) if why)
        found.damaged.extend(lines)


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict)


def _take(
    record: Any,
    path: Path,
    found: RecordsFound,
    reading: Mapping[str, Mapping[str, Any]],
    config: Mapping[str, Any],
) -> str | None:
    """Add a record. Returns why it is not read, or None."""
    why = _why_not(record)
    if why is not None:
        return why
    try:
        ours = _as_ours(record, path, config)
    except ValueError as error:
        return str(error)
    if ours is None:
        return f"of no known experiment; {OWN_FILE}"
    run = path.parent.parent if path.parent.name == "seeds" else path.parent
    experiment, group, record = ours.experiment, ours.group, ours.record
    if why := _why_not(record):
        return why
    key = (run, experiment, group, record["seed"])
    if key in found.seen:
        repeats = path.name.endswith("_checkpoint.json")  # of seeds of the results file
        return None if repeats else f"seed {record['seed']} is there already"
    found.seen.add(key)
    if not group and reading.get(experiment):
        record = {**record, "parameters": {**(record.get("parameters") or {}), **reading[experiment]}}
    found.sources.append(Source(run, path, experiment, record["seed"], record, group))
    return None


def _as_ours(record: Record, path: Path, config: Mapping[str, Any]) -> Translated | None:
    """A record with its experiment, translated where it is another program's; None if of no known one.

    Raises:
        ValueError: it is of a known form and cannot be read.
    """
    if experiment := _experiment_of(record, path):
        return Translated(experiment, "", record)
    return next((ours for translate in TRANSLATORS if (ours := translate(record, config))), None)


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
        if name.endswith(("trajectory", "step_logs")) and value is not None and not _is_table(value):
            return f"its {name} is no list of mappings"
    return None


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(row, dict) for row in value)


def _experiment_of(record: Any, path: Path) -> str | None:
    """The experiment that a record names, else that of its file's name."""
    given = [record.get(name) for name in ("experiment", "experiment_id")] if isinstance(record, dict) else []
    texts = [text for text in given if isinstance(text, str)]
    if not texts:
        return experiment_of_list(path)
    return next(
        (name for name, p in prefixes().items() if texts[-1] == name or texts[-1].startswith(f"{p}-")), None
    )
