"""Whether run directories are whole and their files belong together: seals, manifests, views, mirrors.

Reads, and changes nothing. A mirror's files are held against its manifests, and checked like those of a run.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from dglib.errors import StorageError, UserError
from dglib.files import unsealed
from dglib.protocol.records import Record, views
from dglib.protocol.spec import Arm, DataSpec, ExperimentSpec, LearningRate, NetworkSpec, Phase, StepSpec
from dglib.runs import checkpoint
from dglib.runs.checkpoint import UNREADABLE
from dglib.runs.hashes import PROBE_SEED
from dglib.runs.identity import FILES, agree, changed_hashes, current, differences, is_file, job_of, shared_of
from dglib.runs.mirror_store import CLAIM, Remote
from dglib.runs.reading import experiment_of_list, find_records, read_manifest, runs_in

_OF_THE_ATTEMPT = ("time", "numerics", "bitwise", "provenance")  # what two records of a seed may differ in


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

    Of a run under way, files may be found that do not belong together for the moment.

    Raises:
        UserError: there is no such directory, or no run there, or it cannot be read.
    """
    runs = runs_in(directory)
    try:
        return [each for run in runs for each in sorted(_findings(run), key=lambda finding: finding.path)]
    except OSError as error:
        raise StorageError.of(directory, error, "read") from error


@dataclass
class _Experiment:
    """An experiment of a run directory: its manifest, and its records by the stem of their names."""

    manifest: dict[str, Any]
    spec: ExperimentSpec
    records: dict[str, Record] = field(default_factory=dict)
    damaged: bool = False  # a record is

    def seed(self, stem: str) -> int | None:
        """The seed whose files have this stem; None: no seed's of this experiment."""
        number = int((re.search(r"\d+$", stem) or ["-1"])[0])
        return number if self.spec.experiment_id.format(seed=number) == stem else None

    def jobs(self, stem: str) -> list[str]:
        """The jobs of a seed's checkpoints, also of those from before the manifest was completed."""
        identities = [self.manifest["identity"], *self.manifest.get("formerly", [])]
        return [job_of(each, self.seed(stem) or 0) for each in identities]


def _findings(run: Path) -> Iterator[Finding]:
    files = {path.relative_to(run).as_posix(): path for path in sorted(run.rglob("*")) if path.is_file()}
    found = Remote(run)
    mirrored = bool(found.sizes)
    findings = list(_mirror(run, found))
    yield from findings
    damaged = {finding.path for finding in findings}
    for name, entry in found.files(found.has).items():  # whose own names on the mirror are others
        if found.folder / entry.stored not in damaged:
            files[name] = found.folder / entry.stored
    manifests = [name for name in files if re.fullmatch(r"[^/]+_manifest\.json", name)]
    experiments: list[_Experiment] = []
    for name in manifests:
        try:
            experiments.append(_experiment(name, files[name]))
        except UserError as error:
            yield Finding(files[name], str(error))
            continue
        first, last = (shared_of(current(experiments[n].manifest["identity"])) for n in (0, -1))
        if not agree(first, last):
            other = experiments[0].spec.name
            problem = f"its network, data or step are not those of {other} in this directory"
            yield Finding(files[name], problem)
    for name, path in sorted(files.items(), key=lambda item: not item[0].startswith("seeds/")):
        folder, _, base = name.rpartition("/")
        stem, _, suffix = base.partition(".")
        owner = next((each for each in experiments if each.seed(stem) is not None), None)
        try:
            match folder, suffix:
                case "seeds", "json":
                    record = unsealed("seed record", path)
                    if owner is not None:
                        yield from (Finding(path, problem) for problem in _record(record, stem, owner))
                    elif len(experiments) == len(manifests):
                        yield Finding(path, "a seed's record, but no manifest here says how it was made")
                case "seeds", _ if suffix.startswith("other-") and owner is not None:
                    same = _results(unsealed("seed record", path)) == _results(owner.records.get(stem, {}))
                    verdict = "equal to" if same else "different from"
                    yield Finding(
                        path, f"a second record of this seed, {verdict} the one that stands", "note"
                    )
                case "checkpoints" | "states", _ if suffix.endswith(("ckpt", "old")):
                    saved = checkpoint.read(path)
                    if owner is not None and saved.job not in owner.jobs(stem):
                        yield Finding(path, "the state of another run or seed")
                case "", "json" if stem.endswith("_reading"):
                    dict(json.loads(path.read_bytes()))
                case "", "json" if experiment_of_list(path) and not experiments:
                    lines = find_records(path).damaged
                    yield from (Finding(path, line) for line in lines)
                    if not lines and not manifests:
                        yield Finding(path, "records without a manifest or checksums", "note")
        except (UserError, *UNREADABLE) as error:
            yield Finding(path, str(error))
            if owner is not None and (folder, suffix) == ("seeds", "json"):
                owner.damaged = True
    for experiment in experiments if not mirrored else ():  # a mirror's are held against its manifest
        yield from _views(run, experiment)


def _experiment(name: str, path: Path) -> _Experiment:
    manifest = read_manifest(path, name)
    plain = manifest["identity"]["spec"]
    try:
        return _Experiment(manifest, _outlined(plain))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"of another version of dglib: {error}") from None


def _outlined(plain: dict[str, Any]) -> ExperimentSpec:
    """As much of a specification as names and views need: of a phase, where its evaluations go."""

    def outlined(phase: dict[str, Any]) -> Phase:
        rate = LearningRate(phase["learning_rate"]["base"])
        return Phase(phase["name"], tuple(phase["levels"]), 1, rate, 1, phase["trajectory"])

    parts = {
        "arms": tuple(Arm(arm["name"], tuple(map(outlined, arm["phases"]))) for arm in plain["arms"]),
        "network": NetworkSpec(**plain["network"]),
        "data": DataSpec(**plain["data"]),
        "step": StepSpec(**plain["step"]),
    }
    return ExperimentSpec(**{**plain, **parts})


def _record(record: Any, stem: str, owner: _Experiment) -> Iterator[str]:
    """What in a record is not as its name and the run's manifest have it."""
    try:
        made = {"parameters": record["parameters"], "lineage": record.get("lineage")}
        of, seed = record["experiment_id"], record["seed"]
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"not a seed's record: {error!r}") from None
    owner.records[stem] = record
    if of != stem or seed != owner.seed(stem):
        yield f"is the record of {of}"
    parameters = owner.manifest["parameters"]
    # A later version may have more parameters, and a file may have been moved.
    made["parameters"] = {name: value for name, value in made["parameters"].items() if name in parameters}
    for name in FILES:
        if is_file(parameters.get(name)) and is_file(made["parameters"].get(name)):
            made["parameters"][name] = parameters[name]
    ours = {"parameters": parameters, "lineage": owner.manifest.get("lineage")}
    if changed := differences(ours, made):
        yield f"made under other parameters than the manifest's: {'; '.join(changed)}"
    for name in changed_hashes(owner.manifest["identity"], {"hashes": _hashes_of(record)}):
        what = {"network": "another network", "noise": "another noise", "labels": "other noisy labels"}
        yield f"made with {what[name]} than the manifest's"


def _hashes_of(record: Record) -> dict[str, str]:
    """As a manifest has them; of the labels where the seed is the one by which that knows the noise."""
    noise = record.get("noise") or {}
    labels = {"labels": noise["labels"]} if record["seed"] == PROBE_SEED and "labels" in noise else {}
    return {**record.get("hashes", {}), **labels}


def _results(record: Record) -> Record:
    return {name: value for name, value in record.items() if name not in _OF_THE_ATTEMPT}


def _views(run: Path, experiment: _Experiment) -> Iterator[Finding]:
    """Compare the views with what the seeds' files give, if all of these are intact."""
    records = sorted(experiment.records.values(), key=lambda record: record["seed"])
    if experiment.damaged:
        return
    try:
        expected = views(experiment.spec, records)
    except (KeyError, TypeError, ValueError) as error:
        path = run / f"{experiment.spec.prefix}_results.json"
        yield Finding(path, f"the seeds' files do not give it: {error!r}")
        return
    for name, content in expected.items():
        there = (run / name).exists()
        if (records and not there) or (there and (run / name).read_bytes() != content):
            problem = "not what the seeds' files give" if there else "missing"
            yield Finding(run / name, f"{problem}; the same command makes it anew")


def _mirror(run: Path, found: Remote) -> Iterator[Finding]:
    """Every file of a mirror that is not as its manifests have it."""
    for name in found.torn:
        yield Finding(found.folder / name, "not a readable manifest of a mirror")
    named = {*found.torn, *(generation.name for generation in found.generations)}
    for generation in found.generations:
        for path, entry in generation.files.items():
            if entry.stored not in named and found.content(entry) is None:
                what = "damaged" if entry.stored in found.sizes else "missing"
                yield Finding(found.folder / entry.stored, f"{what}; {generation.name} names it as {path}")
            named.add(entry.stored)
    for path, digest in found.generations[0].views.items() if found.generations else ():
        there = (run / path).is_file() and hashlib.sha256((run / path).read_bytes()).hexdigest()
        if there != digest:
            yield Finding(run / path, "not what the mirror's manifest has; the same command makes it anew")
    for name in found.sizes.keys() - named:
        if not CLAIM.fullmatch(name):
            yield Finding(
                found.folder / name, "no manifest names it; left by a pass that was cut off", "note"
            )
