"""Whether run directories are whole and their files belong together. Reads, and changes nothing."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from dglib import checkpoint
from dglib.analysis.sources import find_records
from dglib.attempts import read_attempts
from dglib.checkpoint import UNREADABLE
from dglib.errors import UserError
from dglib.files import unsealed
from dglib.hashes import PROBE_SEED
from dglib.identity import (
    FILES,
    agree,
    changed_hashes,
    current,
    differences,
    is_file,
    job_of,
    shared_of,
)
from dglib.manifest import (
    LISTS,
    PREFIXES,
    experiment_of_list,
    manifests,
    read_manifest,
    read_reading,
    runs_in,
)
from dglib.records import Record, views
from dglib.spec import DataSpec, ExperimentSpec, NetworkSpec, StepSpec

_DRAFT = re.compile(r"\..+\.\d+\.[0-9a-f]{8}")  # as `dglib.files` names what it is writing
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
        UserError: there is no such directory, or no run there.
    """
    return [finding for run in runs_in(directory) for finding in _Run(run).check()]


@dataclass
class _Experiment:
    """An experiment of a run directory, as its manifest has it, and its seeds' records (None: damaged)."""

    manifest: dict[str, Any]
    spec: ExperimentSpec
    records: dict[int, Record | None] = field(default_factory=dict)

    def seed_of(self, stem: str) -> int | None:
        """The seed whose files are called so; None: a name of something else."""
        number = re.search(r"\d+$", stem)
        if number is None or self.spec.experiment_id.format(seed=int(number[0])) != stem:
            return None
        return int(number[0])


class _Run:
    """One run directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._findings: list[Finding] = []
        self._experiments: list[_Experiment] = []
        self._all_known = True

    def check(self) -> list[Finding]:
        for path in manifests(self._directory):
            self._manifest(path)
        files = sorted(path for path in self._directory.rglob("*") if not path.is_dir())
        locks = ["mirror", *(f"{experiment.spec.prefix}.views" for experiment in self._experiments)]
        expected = {self._directory / f"locks/{name}.lock" for name in locks}
        # Records first: what the other files should be follows from them.
        for path in sorted(files, key=lambda path: path.parent.name != "seeds"):
            if path not in expected:
                self._file(path)
        for experiment in self._experiments:
            self._views(experiment)
        return sorted(self._findings, key=lambda finding: finding.path)

    def _add(self, path: Path, problem: object, severity: Literal["wrong", "note"] = "wrong") -> None:
        self._findings.append(Finding(path, str(problem), severity))

    def _manifest(self, path: Path) -> None:
        try:
            manifest = read_manifest(path)
            experiment = _Experiment(manifest, _without_arms(manifest["identity"]["spec"]))
        except UserError as error:
            self._add(path, error)
            self._all_known = False
            return
        except (TypeError, ValueError) as error:
            self._add(path, f"of another version of dglib: {error}")
            self._all_known = False
            return
        first = next(iter(self._experiments), experiment)
        ours, theirs = (shared_of(current(each.manifest["identity"])) for each in (experiment, first))
        if not agree(ours, theirs):
            self._add(path, f"its network, data or step are not those of {first.spec.name} in this directory")
        self._experiments.append(experiment)

    def _file(self, path: Path) -> None:
        """Check one file by its place and name."""
        stem, _, kind = path.name.partition(".")
        owners = [(each, each.seed_of(stem)) for each in self._experiments]
        experiment, seed = next((found for found in owners if found[1] is not None), (None, None))
        match path.relative_to(self._directory).parts[:-1], kind:
            case _ if _DRAFT.fullmatch(path.name):
                self._add(path, "left by a write that was cut off; it may be removed", "note")
            case ((), _) if path in manifests(self._directory) or self._is_view(path):
                pass
            case ((), "json") if stem.endswith("_reading"):
                self._reading(path)
            case (("seeds",), "json") if experiment is not None and seed is not None:
                self._record(path, experiment, seed)
            case (("seeds",), _) if re.fullmatch(r"other-.+\.json", kind) and experiment and seed is not None:
                self._other(path, experiment.records.get(seed))
            case (("seeds",), "json"):
                self._homeless(path)
            case (("checkpoints",), "ckpt" | "old") if experiment is not None and seed is not None:
                self._checkpoint(path, experiment, seed)
            case (("checkpoints",), "damaged"):
                self._add(path, "a checkpoint that was found damaged and passed over", "note")
            case (("attempts",), "jsonl") if experiment is not None:
                self._attempts(path)
            case (("heartbeats",), "json") | (("locks",), "lock" | "holder") if experiment is not None:
                pass
            case (("figures",), "png" | "pdf"):
                pass
            case ((), "json" | "csv") if self._is_published(path):
                self._published(path)
            case _ if self._all_known:
                self._add(path, "unknown: dglib has no such file", "note")

    def _reading(self, path: Path) -> None:
        try:
            for name in PREFIXES:
                read_reading(self._directory, name)
        except UserError as error:
            self._add(path, error)

    def _is_view(self, path: Path) -> bool:
        return any(path.name in views(each.spec, []) for each in self._experiments)

    def _is_published(self, path: Path) -> bool:
        """Whether a file is one that published folders hold, of an experiment without a manifest here."""
        named = (name for name, prefix in PREFIXES.items() if path.name.startswith(f"{prefix}_"))
        known = {experiment.spec.name for experiment in self._experiments}
        name = next(named, None)
        kinds = (*LISTS, "step_logs")
        return name not in (None, *known) and path.stem.removeprefix(f"{PREFIXES[str(name)]}_") in kinds

    def _published(self, path: Path) -> None:
        """A list of records is read for its form, for want of anything to hold it against."""
        if experiment_of_list(path) is None:  # the same as a table
            return
        damaged = find_records(path).damaged
        for line in damaged:
            self._add(path, line)
        if not damaged and self._all_known:
            only = "records without a manifest or checksums: that they can be read is all that is sure"
            self._add(path, only, "note")

    def _record(self, path: Path, experiment: _Experiment, seed: int) -> None:
        experiment.records[seed] = None
        try:
            record = unsealed("seed record", path)
            made = {"parameters": record["parameters"], "lineage": record.get("lineage")}
            of = record["experiment_id"]
        except UserError as error:
            return self._add(path, error)
        except (KeyError, TypeError, AttributeError) as error:
            return self._add(path, f"not a seed's record: {type(error).__name__}: {error}")
        experiment.records[seed] = record
        if of != path.stem or record.get("seed") != seed:
            self._add(path, f"is the record of {of}")
        lineage, parameters = experiment.manifest.get("lineage"), experiment.manifest["parameters"]
        # A later version may have more parameters, and a file may have been moved.
        made["parameters"] = {name: value for name, value in made["parameters"].items() if name in parameters}
        for name in FILES:
            if is_file(parameters.get(name)) and is_file(made["parameters"].get(name)):
                made["parameters"][name] = parameters[name]
        changed = differences({"parameters": parameters, "lineage": lineage}, made)
        if changed:
            self._add(path, f"made under other parameters than the manifest's: {'; '.join(changed)}")
        for name in changed_hashes(experiment.manifest["identity"], {"hashes": _hashes_of(record)}):
            what = {"network": "another network", "noise": "another noise", "labels": "other noisy labels"}
            self._add(path, f"made with {what[name]} than the manifest's")

    def _homeless(self, path: Path) -> None:
        try:
            unsealed("seed record", path)
        except UserError as error:
            return self._add(path, error)
        if self._all_known:
            self._add(path, "a seed's record, but no manifest here tells what it was made under")

    def _other(self, path: Path, stands: Record | None) -> None:
        try:
            same = stands is not None and _results(unsealed("seed record", path)) == _results(stands)
        except (UserError, AttributeError) as error:
            return self._add(path, error)
        verdict = "equal to" if same else "different from"
        self._add(path, f"a second record of this seed, {verdict} the one that stands", "note")

    def _checkpoint(self, path: Path, experiment: _Experiment, seed: int) -> None:
        try:
            saved = checkpoint.read(path)
        except (UserError, *UNREADABLE) as error:
            return self._add(path, error)
        jobs = [experiment.manifest["identity"], *experiment.manifest.get("formerly", [])]
        if saved.job not in [job_of(each, seed) for each in jobs]:
            self._add(path, "the state of another run or seed")
        if seed in experiment.records:
            self._add(path, "left behind: the seed has its record", "note")

    def _attempts(self, path: Path) -> None:
        try:
            attempts = sorted(read_attempts(path), key=lambda attempt: float(attempt["began"]))
            for number, later in enumerate(attempts):
                for earlier in attempts[:number]:
                    if earlier.get("ended", 0.0) > later["began"]:
                        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(later["began"]))
                        who = " and ".join(f"{each['pid']} on {each['host']}" for each in (earlier, later))
                        self._add(path, f"two attempts overlap in time, from {since} on: processes {who}")
        except (OSError, ValueError, KeyError, TypeError) as error:
            self._add(path, f"not a readable log of attempts: {type(error).__name__}: {error}")

    def _views(self, experiment: _Experiment) -> None:
        """Compare the views with what the seeds' files give, if these are all intact."""
        records = [record for _, record in sorted(experiment.records.items()) if record is not None]
        if len(records) < len(experiment.records):
            return
        try:
            expected = views(experiment.spec, records)
        except (KeyError, TypeError, ValueError) as error:
            problem = f"the seeds' files do not give it: {type(error).__name__}: {error}"
            return self._add(self._directory / f"{experiment.spec.prefix}_results.json", problem)
        for name, content in expected.items():
            path = self._directory / name
            try:
                if path.read_bytes() != content:
                    self._add(path, "not what the seeds' files give; the same command makes it anew")
            except FileNotFoundError:
                if records:
                    self._add(path, "missing; the same command makes it anew")
            except OSError as error:
                self._add(path, f"cannot be read: {error.strerror}")


def _without_arms(plain: dict[str, Any]) -> ExperimentSpec:
    """As much of a manifest's specification as names and views need."""
    parts = {
        "network": NetworkSpec(**plain["network"]),
        "data": DataSpec(**plain["data"]),
        "step": StepSpec(**plain["step"]),
    }
    return ExperimentSpec(**{**plain, "arms": (), **parts})


def _hashes_of(record: Record) -> dict[str, str]:
    """As a manifest has them; of the labels where the seed is the one by which that knows the noise."""
    noise = record.get("noise") or {}
    labels = {"labels": noise["labels"]} if record["seed"] == PROBE_SEED and "labels" in noise else {}
    return {**record.get("hashes", {}), **labels}


def _results(record: Record) -> Record:
    return {name: value for name, value in record.items() if name not in _OF_THE_ATTEMPT}
