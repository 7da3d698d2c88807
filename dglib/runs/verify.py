"""Whether run directories are whole and their files belong together: seals, manifests, views, mirrors.

Reads, and changes nothing. Records on a mirror are checked like those of a run directory.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

from dglib.errors import StorageError, UserError
from dglib.files import unsealed
from dglib.protocol.records import Record, views
from dglib.runs import checkpoint
from dglib.runs.checkpoint import UNREADABLE
from dglib.runs.directories import OWN_FILE, experiment_of_list, holds_records, prefixes, runs_in
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
from dglib.runs.mirror import CLAIM, RUN_MANIFEST, MirrorFolder
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


class _Experiment:
    """An experiment of a run directory: its manifest, and its intact records."""

    def __init__(self, manifest: dict[str, Any]) -> None:
        self.manifest = manifest
        plain = json.dumps(manifest["identity"]["spec"])
        # An `ExperimentSpec` as far as names and views need it, also one of another version of dglib.
        self.spec: Any = json.loads(plain, object_hook=lambda fields: SimpleNamespace(**fields))
        self.shared = shared_of(current(manifest["identity"]))
        self.records: list[Record] = []
        self.damaged = False  # a record is

    def has(self, stem: str) -> bool:
        """Whether a file with this stem is a seed's of this experiment."""
        number = int((re.search(r"\d+$", stem) or ["-1"])[0])
        return bool(self.spec.experiment_id.format(seed=number) == stem)


def _findings(run: Path) -> Iterator[Finding]:
    mirror = MirrorFolder(run)
    damaged = list(_mirror(mirror))
    yield from damaged
    files = {path.relative_to(run).as_posix(): path for path in sorted(run.rglob("*")) if path.is_file()}
    files |= {name: mirror.path / entry.stored for name, entry in mirror.files().items()}
    skipped = {finding.path for finding in damaged}
    files = {name: path for name, path in files.items() if path not in skipped}

    experiments: list[_Experiment] = []
    manifests = {name: path for name, path in files.items() if RUN_MANIFEST.fullmatch(name)}
    for name, path in manifests.items():
        try:
            experiments.append(new := _Experiment(read_manifest(path, name)))
        except UserError as error:
            yield Finding(path, str(error))
            continue
        if new.spec.name not in prefixes():
            problem = f"{new.spec.name} is no known experiment, so its records are not read; {OWN_FILE}"
            yield Finding(path, problem, "note")
        if not agree(experiments[0].shared, new.shared):
            first = experiments[0].spec.name
            yield Finding(path, f"its network, data or step are not those of {first} in this directory")
    for name, path in files.items():
        folder, _, base = name.rpartition("/")
        stem, _, suffix = base.partition(".")
        owner = next((experiment for experiment in experiments if experiment.has(stem)), None)
        try:
            match folder, suffix:
                case "seeds", "json":
                    record = unsealed("seed record", path)
                    if owner is not None:
                        yield from (Finding(path, problem) for problem in _record(record, stem, owner))
                    elif len(experiments) == len(manifests):
                        yield Finding(path, "a seed's record, but there is no manifest of its experiment")
                case "seeds", _ if suffix.startswith("other-"):
                    unsealed("seed record", path)
                    yield Finding(path, "a second record of this seed; results are from the first", "note")
                case "checkpoints" | "states", _ if suffix.endswith(("ckpt", "old")):
                    checkpoint.read(path)
                case "", "json" if stem.endswith("_reading"):
                    dict(json.loads(path.read_bytes()))
                case "", "json" if not experiments and (experiment_of_list(path) or holds_records(path)):
                    lines = find_records(path).damaged
                    yield from (Finding(path, line) for line in lines)
                    if not lines and not manifests:
                        yield Finding(path, "records without a manifest or checksums", "note")
        except (UserError, *UNREADABLE) as error:
            yield Finding(path, str(error))
            if owner is not None and (folder, suffix) == ("seeds", "json"):
                owner.damaged = True
    for experiment in experiments:
        if different := different_code(experiment.records):
            yield Finding(run / f"{experiment.spec.prefix}_manifest.json", different, "note")
        if not experiment.damaged and not damaged:
            yield from _views(run, experiment, mirrored=bool(mirror.sizes))


def _record(record: Any, stem: str, owner: _Experiment) -> Iterator[str]:
    """What in a record does not agree with its name and the run's manifest."""
    try:
        made, name, seed = dict(record["parameters"]), record["experiment_id"], record["seed"]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"not a seed's record: {error!r}") from None
    owner.records.append(record)
    if name != stem or owner.spec.experiment_id.format(seed=seed) != stem:
        yield f"is the record of {name}"
    asked = owner.manifest["parameters"]
    # A later version may have more parameters, and a file may have been moved.
    moved = {key for key in FILES if is_file(asked.get(key)) and is_file(made.get(key))}
    one: dict[str, Any] = {"parameters": {key: asked[key] for key in asked.keys() - moved}}
    other: dict[str, Any] = {"parameters": {key: made.get(key) for key in asked.keys() - moved}}
    one["lineage"], other["lineage"] = owner.manifest.get("lineage"), record.get("lineage")
    if changed := differences(one, other):
        yield f"made under other parameters than the manifest's: {'; '.join(changed)}"
    for key in changed_hashes(owner.manifest["identity"], record):
        yield f"made with another {key} than the manifest's"


def _views(run: Path, experiment: _Experiment, mirrored: bool) -> Iterator[Finding]:
    """Compare the views with what the seeds' files give. A mirror gets its views at a run's end."""
    records = sorted(experiment.records, key=lambda record: record["seed"])
    try:
        expected = views(experiment.spec, records)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        path = run / f"{experiment.spec.prefix}_results.json"
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
