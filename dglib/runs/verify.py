"""Whether run directories are whole and their files belong together: seals, manifests, views, mirrors.

Reads, and changes nothing. Records on a mirror are checked like those of a run directory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

from dglib.errors import StorageError, UserError
from dglib.files import files_below, unsealed
from dglib.protocol.records import Record, views
from dglib.runs import checkpoint
from dglib.runs.checkpoint import UNREADABLE
from dglib.runs.directories import OWN_FILE, holds_records, prefixes, runs_in
from dglib.runs.identity import (
    FILES,
    agree,
    changed_hashes,
    current,
    differences,
    is_file,
    read_manifest,
    shared_of,
)
from dglib.runs.mirror import CLAIM, MirrorFolder, kind_of
from dglib.runs.provenance import different_code
from dglib.runs.reading import find_records


@dataclass(frozen=True)
class Finding:
    """Something about a file: "wrong", or a "note" of what is unusual but harms no result."""

    path: Path
    problem: str
    severity: Literal["wrong", "note"] = "wrong"

    def __str__(self) -> str:
        problem = self.problem.removeprefix(f"{self.path}: ")
        return " ".join(f"{self.severity}: {self.path}: {problem}".split())


def verify(directory: Path) -> list[Finding]:
    """What is wrong or unusual in a run directory, or in those of a base directory; [] if nothing is.

    While a run trains, its files need not belong together for the moment.

    Raises:
        UserError: there is no such directory, or no run there, or it cannot be read.
    """
    runs = runs_in(directory)
    try:
        return [
            finding for run in runs for finding in sorted(_findings(run), key=lambda finding: finding.path)
        ]
    except OSError as error:
        raise StorageError.of(directory, error, "read") from error


def _findings(run: Path) -> Iterator[Finding]:
    mirror = MirrorFolder(run)
    damaged = list(_mirror(mirror))
    yield from damaged
    files = {path.relative_to(run).as_posix(): path for path in files_below(run)}
    files |= {name: mirror.path / entry.stored for name, entry in mirror.files().items()}
    skipped = {finding.path for finding in damaged}
    files = {name: path for name, path in files.items() if path not in skipped}

    known: dict[str, dict[str, Any]] = {}
    records: dict[str, list[Record]] = {}
    named = {name: path for name, path in files.items() if kind_of(name) == "manifest"}
    for name, path in named.items():
        try:
            manifest = read_manifest(path, name)
        except UserError as error:
            yield Finding(path, str(error))
            continue
        if (experiment := manifest["experiment"]) not in prefixes():
            problem = f"{experiment} is no known experiment, so its records are not read; {OWN_FILE}"
            yield Finding(path, problem, "note")
        for first in list(known.values())[:1]:
            if not agree(*(shared_of(current(item["identity"])) for item in (first, manifest))):
                problem = (
                    f"its network, data or step are not those of {first['experiment']} in this directory"
                )
                yield Finding(path, problem)
        known[experiment], records[experiment] = manifest, []

    unread = {finding.path.name for finding in damaged}
    for name, path in files.items():
        folder, _, base = name.rpartition("/")
        stem, _, suffix = base.partition(".")
        problems: list[str] = []
        try:
            match folder, suffix:
                case "seeds", "json":
                    record = unsealed("seed record", path)
                    problems = _record(record, stem, known, len(known) == len(named))
                    records.get(record["experiment"], []).append(record)
                case "checkpoints" | "states", _ if suffix.endswith(("ckpt", "old")):
                    checkpoint.read(path)
                case "", "json" if stem.endswith("_reading"):
                    dict(json.loads(path.read_bytes()))
                case "", "json" if not known and holds_records(path):
                    problems = find_records(path).damaged
                    if not problems and not named:
                        yield Finding(path, "records without a manifest or checksums", "note")
        except (UserError, *UNREADABLE) as error:
            problems = [str(error)]
            unread |= {base} if folder == "seeds" else set()
        yield from (Finding(path, problem) for problem in problems)
    for experiment, members in records.items():
        spec = known[experiment]["identity"]["spec"]
        if different := different_code(members):
            yield Finding(run / f"{spec['prefix']}_manifest.json", different, "note")
        if not mirror.torn and not any(name.startswith(f"{experiment}-") for name in unread):
            yield from _views(run, spec, members, mirrored=bool(mirror.sizes))


def _record(record: Any, stem: str, known: Mapping[str, Mapping[str, Any]], complete: bool) -> list[str]:
    """What in a record does not agree with its name and the run's manifests, `complete` if all are read."""
    try:
        made, name, manifest = (
            dict(record["parameters"]),
            record["experiment_id"],
            known.get(record["experiment"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"not a seed's record: {error!r}") from None
    if manifest is None:
        return ["a seed's record, but there is no manifest of its experiment"] if complete else []
    problems = [] if name == stem else [f"is the record of {name}"]
    # A later version may have more parameters, and a file may have been moved.
    asked = manifest["parameters"]
    names = [key for key in asked if not (key in FILES and is_file(asked[key]) and is_file(made.get(key)))]
    one, other = ({key: side.get(key) for key in names} for side in (asked, made))
    if changed := differences(one, other, "parameters"):
        problems.append(f"made under other parameters than the manifest's: {'; '.join(changed)}")
    hashes = changed_hashes(manifest["identity"], record)
    return problems + [f"made with another {key} than the manifest's" for key in hashes]


def _views(run: Path, plain: Mapping[str, Any], records: list[Record], mirrored: bool) -> Iterator[Finding]:
    """Compare the views with what the seeds' files give. A mirror gets its views at a run's end."""
    # An `ExperimentSpec` as far as views need it, also one of another version of dglib.
    spec: Any = json.loads(json.dumps(plain), object_hook=lambda fields: SimpleNamespace(**fields))
    try:
        expected = views(spec, sorted(records, key=lambda record: record["seed"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        path = run / f"{spec.prefix}_results.json"
        yield Finding(path, f"the seeds' files do not give it: {error!r}")
        return
    for name, content in expected.items():
        there = (run / name).exists()
        if there and (run / name).read_bytes() != content:
            problem = "not what the seeds' files give; the same command makes it anew"
            yield Finding(run / name, problem, "note" if mirrored else "wrong")
        elif records and not there and not mirrored:
            yield Finding(run / name, "missing; the same command makes it anew")


def _mirror(mirror: MirrorFolder) -> Iterator[Finding]:
    """Every file of a mirror that is not as its manifests have it."""
    for name in mirror.torn:
        yield Finding(mirror.path / name, "not a readable manifest of a mirror")
    named = {*mirror.torn, *mirror.generations}
    for manifest, files in mirror.generations.items():
        for path, entry in files.items():
            if entry.stored not in named and mirror.content(entry) is None:
                what = "damaged" if entry.stored in mirror.sizes else "missing"
                yield Finding(mirror.path / entry.stored, f"{what}; {manifest} names it as {path}")
            named.add(entry.stored)
    for name in mirror.sizes.keys() - named:
        if not CLAIM.fullmatch(name):
            yield Finding(mirror.path / name, "no manifest names it; left by an interrupted pass", "note")
