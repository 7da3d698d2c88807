"""Runs that are there, by the names of their files, and their manifests, read with distrust."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from dglib.errors import StorageError, UserError
from dglib.files import to_json, write_atomically
from dglib.runs.identity import fingerprint, shared_of

# Of the files of each experiment; `dglib.experiments.register` adds them.
PREFIXES: dict[str, str] = {}
LISTS = ("results", "checkpoint")  # of records; published folders hold these alone


def prefixes() -> dict[str, str]:
    """The names of all experiments with the prefixes of their files."""
    import_module("dglib.experiments")  # which fills them; it imports this module
    return PREFIXES


def manifests(directory: Path) -> list[Path]:
    """The manifests in a run directory, one per experiment, by name."""
    return sorted(directory.glob("*_manifest.json"))


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
        raise UserError(f"{directory}: no run there: must be a run directory, or one that holds some")
    return found


def is_run(path: Path) -> bool:
    """Whether a directory holds what a run leaves, one of ours or a published one; a damaged file will do."""
    holds = any((path / name).is_dir() for name in ("seeds", "mirror"))
    return (
        path.is_dir()
        and not is_retired(path)
        and (holds or bool(manifests(path)) or bool(experiments_in(path)))
    )


def is_retired(path: Path) -> bool:
    """Whether a directory is a saved explorer run of release 0.1, of no experiment: nothing reads it."""
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
    """The experiment whose results' file, or checkpoint's, is called so; None: another file."""
    names = {f"{prefix}_{kind}.json": name for name, prefix in prefixes().items() for kind in LISTS}
    return names.get(path.name)


def read_manifest(path: Path, name: str | None = None) -> dict[str, Any]:
    """A manifest whose fingerprints are those of the identity in it.

    Args:
        name: of the file in the run directory, where `path` is that of a mirrored copy.

    Raises:
        UserError: it is torn, edited or something else; the message begins with the path.
    """
    try:
        manifest = json.loads(path.read_bytes())
        described, spec = manifest["identity"], manifest["identity"]["spec"]
        expected = {
            "experiment": spec["name"],
            "fingerprint": fingerprint(described),
            "shared_fingerprint": fingerprint(shared_of(described)),
            "lineage": spec.get("lineage"),
        }
        named = f"{spec['prefix']}_manifest.json"
        if not isinstance(manifest["parameters"], dict):
            raise TypeError("parameters are no mapping")
    except OSError as error:
        raise StorageError.of(path, error, "read") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a readable manifest ({type(error).__name__}: {error})") from None
    wrong = [name for name, value in expected.items() if manifest.get(name) != value]
    if wrong:
        raise UserError(f"{path}: {' and '.join(wrong)} not that of its identity: the file was edited")
    if (name or path.name) != named:
        raise UserError(f"{path}: belongs in a file called {named}")
    return dict(manifest)


def save_reading(directory: Path, experiment: str, reading: Mapping[str, Any]) -> None:
    """Keep the parameters under which an experiment's records are to be read, where they changed.

    They are no part of a run's identity, so neither the manifest nor the records contain them.
    """
    path, content = directory / f"{prefixes()[experiment]}_reading.json", to_json(reading, indent=1)
    if reading and not (path.is_file() and path.read_bytes() == content):
        write_atomically(path, content)


def read_reading(directory: Path, experiment: str) -> dict[str, Any]:
    """The parameters that `save_reading` kept; empty where there are none.

    Raises:
        UserError: the file cannot be read; the message begins with the path.
    """
    path = directory / f"{prefixes()[experiment]}_reading.json"
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_bytes()))
    except OSError as error:
        raise StorageError.of(path, error, "read") from error
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: not read: no JSON mapping ({error})") from None
