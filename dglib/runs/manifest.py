"""Manifests: what a run directory is for, and by what it was made. One file per experiment."""

from __future__ import annotations

import json
import platform
import socket
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dglib.errors import StorageError, UserError
from dglib.protocol.spec import ExperimentSpec
from dglib.runs.identity import FILES, current, fingerprint, is_file, shared_of


def new_manifest(spec: ExperimentSpec, identity: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest of a new run; `identity` is from `identity.describe`."""
    return {
        "experiment": spec.name,
        "fingerprint": fingerprint(identity),
        "shared_fingerprint": fingerprint(shared_of(identity)),
        "identity": identity,
        "parameters": dict(spec.parameters),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": socket.gethostname(),
        "python": platform.python_version(),
    }


def completed_manifest(
    manifest: Mapping[str, Any], identity: Mapping[str, Any], spec: ExperimentSpec
) -> dict[str, Any]:
    """The manifest of a resumed run in today's form: with its hashes, and with the current paths of files.

    Its former identity is added to `formerly`: checkpoints from before refer to it.
    """
    stored = manifest["identity"]
    hashes = {**stored.get("hashes", {}), **identity.get("hashes", {})}
    now = {**identity, **({"hashes": hashes} if hashes else {})}
    parameters = dict(manifest["parameters"])
    for name in FILES:
        if is_file(parameters.get(name)) and is_file(spec.parameters.get(name)):
            parameters[name] = spec.parameters[name]
    found = {
        **manifest,
        "fingerprint": fingerprint(now),
        "shared_fingerprint": fingerprint(shared_of(now)),
        "identity": now,
        "parameters": parameters,
    }
    if found["fingerprint"] != manifest["fingerprint"]:
        found["formerly"] = [*manifest.get("formerly", []), stored]
    return found


def shared_in(directory: Path) -> list[dict[str, Any]]:
    """What the experiments of a run directory share, as `identity.shared_of`, one by one."""
    found = []
    for path in manifests(directory):
        with suppress(UserError):
            found.append(shared_of(current(read_manifest(path)["identity"])))
    return found


def manifests(directory: Path) -> list[Path]:
    """The manifests in a run directory, one per experiment, by name."""
    return sorted(directory.glob("*_manifest.json"))


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
        expected_name = f"{spec['prefix']}_manifest.json"
        if not isinstance(manifest["parameters"], dict):
            raise TypeError("parameters are no mapping")
    except OSError as error:
        raise StorageError.of(path, error, "read") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a readable manifest ({type(error).__name__}: {error})") from None
    wrong = [name for name, value in expected.items() if manifest.get(name) != value]
    if wrong:
        raise UserError(f"{path}: {' and '.join(wrong)} not that of its identity: the file was edited")
    if (name or path.name) != expected_name:
        raise UserError(f"{path}: belongs in a file called {expected_name}")
    return dict(manifest)
