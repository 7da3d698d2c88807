"""Generations of a run directory on a mirror, where neither rename nor locks nor rewriting can be trusted.

    <remote>/mirror/
        manifest-00000042-9f86d081.json               a generation: each file's name, size and checksum
        seeds/T1-spinodal-000.json.60303ae22b998861   a file, its content's hash in the name
        checkpoints/, attempts/, figures/
    <remote>/T1-spinodal_results.json, figures/       views under their own names, for people

A file is never rewritten, and a manifest is written after all that it names: a fault at any instant leaves
the generations before it as they were.
"""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dglib.errors import StorageError, UserError
from dglib.files import sealed, unsealed
from dglib.mirror.entries import FOLDER, Entry, Progress, is_below, kind, measure, preferred, unfinished_only

MANIFEST = re.compile(r"manifest-(\d{8,})-[0-9a-f]{8}\.json")
SEALED_AS = "mirror manifest"


@dataclass(frozen=True)
class Manifest:
    """A generation.

    Attributes:
        remote: the mirrored run directory.
        name, number: of the manifest's file; the highest is the newest.
        files: by path in the run directory.
        written: (Unix time in s, bytes) of what was written to the mirror in the hour before.
    """

    remote: Path
    name: str
    number: int
    files: Mapping[str, Entry]
    written: tuple[tuple[float, int], ...] = ()

    @property
    def progress(self) -> Progress:
        steps = {p: e.steps for p, e in self.files.items() if kind(p) == "checkpoint"}
        return measure(self.files, steps)

    def read(self, path: str) -> bytes:
        """A file's content.

        Raises:
            StorageError: it cannot be read, or is damaged.
        """
        entry = self.files[path]
        source = self.remote / FOLDER / entry.stored
        try:
            content = source.read_bytes()
            if hashlib.sha256(content).hexdigest() != entry.sha256:
                raise OSError("its checksum does not match")
        except OSError as error:
            raise StorageError.of(source, error, "read") from error
        return content


def compose(number: int, files: Mapping[str, Entry], **more: Any) -> tuple[str, bytes]:
    """Name and content of a manifest."""
    plain = {path: asdict(files[path]) for path in sorted(files)}
    content = sealed(SEALED_AS, {"number": number, **more, "files": plain})
    return f"manifest-{number:08d}-{hashlib.sha256(content).hexdigest()[:8]}.json", content


def listing(remote: Path) -> set[str]:
    """The names of all files in the mirror's folder and the folders in it.

    Raises:
        OSError: it is there and cannot be listed.
    """
    names: set[str] = set()
    folders = [""]
    for folder in folders:
        try:
            entries = list(os.scandir(remote / FOLDER / folder))
        except FileNotFoundError:
            continue
        for entry in entries:
            name = f"{folder}/{entry.name}" if folder else entry.name
            if not entry.is_dir():
                names.add(name)
            elif not folder:
                folders.append(name)
    return names


def manifests(remote: Path, names: Iterable[str]) -> list[Manifest]:
    """The readable ones among some names, the newest first; torn and foreign ones are passed over."""
    found = []
    for name in names:
        if MANIFEST.fullmatch(name) is None:
            continue
        try:
            found.append(_parse(remote, name, unsealed(SEALED_AS, remote / FOLDER / name)))
        except StorageError:
            raise
        except (UserError, ValueError, KeyError, TypeError):
            continue
    return sorted(found, key=lambda manifest: (manifest.number, manifest.name), reverse=True)


def union(found: Iterable[Manifest], is_whole: Callable[[Entry], bool]) -> dict[str, Entry]:
    """The best whole copy of every file of some manifests, the newest of these given first."""
    files: dict[str, Entry] = {}
    for manifest in found:
        for path, entry in manifest.files.items():
            if is_whole(entry):
                files[path] = preferred(path, files[path], entry) if path in files else entry
    return unfinished_only(files)


def newest(remote: Path) -> Manifest | None:
    """The newest generation whose files are all there and undamaged; None where nothing is mirrored.

    Passing over a damaged one, it warns. If none is whole it gives, with a warning that names what is
    damaged, all that is whole in any: each seed's files stand for themselves.

    Raises:
        StorageError: the mirror is there and cannot be read.
    """
    try:
        names = listing(remote)
        found = manifests(remote, names)
        readable = {manifest.name for manifest in found}
        torn = {name for name in names if MANIFEST.fullmatch(name)} - readable
        damaged: list[str] = []
        for manifest in found:
            broken = [p for p, entry in manifest.files.items() if not entry.is_whole(remote, thorough=True)]
            if not broken:
                damaged += [name for name in torn if name > manifest.name]
                if damaged:
                    passed_over = ", ".join(sorted(damaged))
                    warnings.warn(
                        f"{remote}: going on from {manifest.name}; damaged: {passed_over}", stacklevel=2
                    )
                return manifest
            damaged += [f"{path} of {manifest.name}" for path in broken]
        damaged += torn
        if not damaged:
            return None
        lost = f"{remote}: no generation is whole; damaged: {', '.join(sorted(damaged))}"
        warnings.warn(lost, stacklevel=2)
        files = union(found, lambda entry: entry.is_whole(remote, thorough=True))
        return Manifest(remote, found[0].name, found[0].number, files) if files else None
    except StorageError:
        raise
    except OSError as error:
        raise StorageError.of(remote, error, "read") from error


def _parse(remote: Path, name: str, content: Any) -> Manifest:
    files = {path: Entry(**entry) for path, entry in content["files"].items()}
    for path, entry in files.items():
        if kind(path) is None or not is_below(entry.stored):
            raise ValueError(f"{path}: not a file of a run directory")
    written = tuple((float(time), int(size)) for time, size in content["written"])
    return Manifest(remote, name, int(content["number"]), files, written)
