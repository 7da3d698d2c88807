"""Which directories are runs, ours or published ones, and of which experiments."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dglib.errors import UserError
from dglib.files import matching
from dglib.protocol.records import Record
from dglib.runs.identity import manifests


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
INDEX = "grid.json"  # in a grid's directory
OWN_FILE = "if it is your own, give its file as --experiment-file or in DGLIB_EXPERIMENTS"
_LIKE_A_LIST = re.compile(r"[^.].*(results|checkpoint).*\.json")


def prefixes() -> dict[str, str]:
    """The names of all experiments with the prefixes of their files."""
    if not PREFIXES:
        raise RuntimeError("no experiment is registered: import dglib.experiments first")
    return PREFIXES


def runs_in(directory: Path) -> list[Path]:
    """The directory itself if it is a run's, else the run directories in it that are not hidden, by name.

    Raises:
        UserError: there is no such directory, or no run there.
    """
    if not directory.is_dir():
        raise UserError(f"{directory}: no such directory")
    if is_run(directory):
        return [directory]
    runs = [path for path in sorted(directory.iterdir()) if path.name[0] != "." and is_run(path)]
    if not runs:
        raise UserError(f"{directory}: no run there: must be a run directory, or a directory of some")
    return runs


def is_run(path: Path) -> bool:
    """Whether a directory is a run's, ours or a published one, damaged or not."""
    if not path.is_dir():
        return False
    folders = any((path / name).is_dir() for name in ("seeds", "mirror"))
    return folders or bool(manifests(path)) or any(map(holds_records, matching(path, "[!.]*.json")))


def holds_records(path: Path) -> bool:
    """Whether a file is a list of an experiment's records, damaged or not, by its name or first record."""
    record = first_record(path)
    try:
        return bool(experiment_of_list(path) or (record and as_ours(record, path, {})))
    except ValueError:
        return True


def unread_below(directory: Path, runs: Sequence[Path]) -> list[str]:
    """A line for each subdirectory with records, read or not, that is none of `runs`, as by `runs_in`."""
    lines = []
    for child in sorted(directory.iterdir()):
        if not child.is_dir() or child.name[0] == "." or child.name == "mirror" or child in runs:
            continue
        inside = list(directories_below(child))
        if is_grid(child):
            lines.append(left_aside(child))
        elif any(map(is_run, inside)):
            lines.append(f"{child}: not read: its runs do not lie in {directory} itself; give it by name")
        elif any(is_like_a_list(path) for folder in inside for path in matching(folder, "[!.]*.json")):
            lines.append(f"{child}: not read: no records of a known experiment there")
    return lines


def is_grid(path: Path) -> bool:
    return (path / INDEX).is_file()


def left_aside(grid: Path) -> str:
    return f"{grid}: a grid, left aside: `python run_all.py report --base-dir {grid}` makes its page"


def experiment_of_list(path: Path) -> str | None:
    """The experiment whose list of records has this file name; None: another file."""
    kinds = ("results", "checkpoint")  # published directories hold these alone
    names = {f"{prefix}_{kind}.json": name for name, prefix in prefixes().items() for kind in kinds}
    return names.get(path.name)


def directories_below(root: Path, grids: bool = True) -> Iterator[Path]:
    """A directory and those in it to any depth; nothing in a hidden or mirrored one.

    `grids`: whether also those in grids below it.
    """
    yield root
    for child in sorted(root.iterdir()):
        if not grids and is_grid(child):
            continue
        if child.is_dir() and child.name != "mirror" and not child.name.startswith("."):
            yield from directories_below(child, grids)


def is_like_a_list(path: Path) -> bool:
    return _LIKE_A_LIST.fullmatch(path.name) is not None or first_record(path) is not None


def first_record(path: Path) -> Record | None:
    """The first record of a file that is a list of records, which need not be intact behind it."""
    try:
        text = path.read_text("utf-8").lstrip()
        record = json.JSONDecoder().raw_decode(text[1:].lstrip())[0] if text.startswith("[") else None
    except (OSError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and "seed" in record else None


def as_ours(record: Record, path: Path, config: Mapping[str, Any]) -> Translated | None:
    """A record with its experiment, translated where it is another program's; None if of no known one.

    Raises:
        ValueError: it is of a known form and cannot be read.
    """
    if experiment := _experiment_of(record, path):
        return Translated(experiment, "", record)
    return next((ours for translate in TRANSLATORS if (ours := translate(record, config))), None)


def _experiment_of(record: Record, path: Path) -> str | None:
    """The experiment that a record names, else that of its file's name."""
    given = (record.get(name) for name in ("experiment", "experiment_id"))
    texts = [text for text in given if isinstance(text, str)]
    if not texts:
        return experiment_of_list(path)
    return next(
        (name for name, p in prefixes().items() if texts[-1] == name or texts[-1].startswith(f"{p}-")), None
    )
