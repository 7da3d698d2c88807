"""Runs that are there, and their manifests, read with distrust."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dglib.errors import StorageError, UserError
from dglib.identity import fingerprint, shared_of


def manifests(directory: Path) -> list[Path]:
    """The manifests in a run directory, one per experiment, by name."""
    return sorted(directory.glob("*_manifest.json"))


def runs_in(directory: Path) -> list[Path]:
    """The directory itself if it is a run's, else the run directories in it, by name.

    Raises:
        UserError: there is no such directory, or no run there.
    """
    if not directory.is_dir():
        raise UserError(f"{directory}: no such directory")
    found = [path for path in (directory, *sorted(directory.iterdir())) if _is_run(path)]
    if not found:
        raise UserError(f"{directory}: no run there: must be a run directory, or one that holds some")
    return found[:1] if found[0] == directory else found


def read_manifest(path: Path) -> dict[str, Any]:
    """A manifest whose fingerprints are those of the identity in it.

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
    if path.name != named:
        raise UserError(f"{path}: belongs in a file called {named}")
    return dict(manifest)


def _is_run(path: Path) -> bool:
    return path.is_dir() and (bool(manifests(path)) or (path / "seeds").is_dir())
