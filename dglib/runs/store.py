"""Run directories: layout, which one is resumed, one file per seed as the truth, views rebuilt from them.

<base>/<prefix>_<YYYYmmdd_HHMMSS>/
    T1-spinodal_manifest.json     parameters, fingerprint, versions
    seeds/T1-spinodal-000.json    the record of a finished seed, sealed with its checksum
    checkpoints/                  unfinished seeds, and states at phase ends that their next arms start from
    states/                       states at phase ends that were asked for (keep_states)
    heartbeats/                   progress of seeds in training
    T1-spinodal_results.json, .csv, figures/        views
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from dglib.errors import StorageError, UserError
from dglib.files import (
    files_below,
    is_draft,
    locked,
    make_directory,
    matching,
    older,
    phase_end_paths,
    remove_drafts,
    sealed,
    to_json,
    unsealed,
    write_atomically,
    write_once,
)
from dglib.protocol.records import Record, views
from dglib.protocol.spec import ExperimentSpec
from dglib.runs.identity import (
    agree,
    changes,
    current,
    fingerprint,
    job_of,
    manifest_of,
    manifests,
    read_manifest,
    shared_of,
)
from dglib.runs.progress import this_process

FOLDERS = ("attempts", "checkpoints", "figures", "heartbeats", "locks", "seeds", "states")
_STAMP = r"_\d{8}_\d{6}"


def run_directories(base: Path, prefix: str) -> list[Path]:
    """The run directories of a prefix followed by a timestamp, the newest first."""
    if not base.is_dir():
        return []
    paths = [p for p in base.iterdir() if p.is_dir() and re.fullmatch(re.escape(prefix) + _STAMP, p.name)]
    return sorted(paths, reverse=True)


@dataclass(frozen=True)
class SeedFiles:
    """The files of one seed."""

    record: Path
    checkpoint: Path
    state: Path  # with a phase in its name, see `files.phase_end_path`
    heartbeat: Path
    lock: Path
    attempts: Path


class Store:
    """The run directory of one experiment. Make it with `Store.open`."""

    def __init__(self, directory: Path, spec: ExperimentSpec) -> None:
        self.directory = directory
        self.spec = spec

    @classmethod
    def open(
        cls,
        base: Path,
        spec: ExperimentSpec,
        identity: dict[str, Any],
        provenance: dict[str, Any],
    ) -> tuple[Store, str]:
        """Resume the newest directory with this identity, join one that shares data and step, or make one.

        Args:
            identity: from `identity.describe`; must agree with the manifest's for a resume. Where only its
                `shared_of` agrees, the directory of another experiment is joined, as T1's by T2.
            provenance: versions and the like, for the manifest.

        Returns:
            The store, and a line saying which directory was taken and why.
        """
        make_directory(base, parents=True)
        with locked(base / ".dglib.lock"):
            directory, why = cls._choose(base, spec, identity)
            store = cls(directory, spec)
            make_directory(directory)
            for name in FOLDERS:
                make_directory(directory / name)
            remove_drafts(directory, store.manifest_path.stem)
            manifest = store.manifest()
            if manifest is not None or not store.manifest_path.exists():  # a damaged one stays
                wanted = manifest_of(spec, identity, manifest) | (provenance if manifest is None else {})
                if wanted != manifest:
                    write_atomically(store.manifest_path, to_json(wanted, indent=1))
        return store, why

    @classmethod
    def find(cls, base: Path, spec: ExperimentSpec, identity: dict[str, Any]) -> Store | None:
        """The newest directory with this identity, which `open` would resume; None where there is none."""
        stores = [cls(path, spec) for path in run_directories(base, spec.directory_prefix)]
        known = [(store, m) for store in stores if (m := store.manifest()) is not None]
        same = [store for store, manifest in known if manifest["fingerprint"] == fingerprint(identity)]
        same += [store for store, manifest in known if agree(current(manifest["identity"]), identity)]
        return next(iter(same), None)

    @classmethod
    def _choose(cls, base: Path, spec: ExperimentSpec, identity: dict[str, Any]) -> tuple[Path, str]:
        if existing := cls.find(base, spec, identity):
            return existing.directory, f"resuming {existing.directory.name}"
        shared, damaged = shared_of(identity), list[str]()
        candidates = {path: cls(path, spec) for path in run_directories(base, spec.directory_prefix)}
        known = {path: m for path, store in candidates.items() if (m := store.manifest()) is not None}
        for path, store in candidates.items():
            if store.manifest_path.exists():
                damaged += [] if path in known else [path.name]
            elif not read_records(path, spec.name) and any(agree(s, shared) for s in _shared_in(path)):
                return path, f"joining {path.name}"
            elif not any(not is_draft(file) for file in files_below(path)):
                return path, f"new directory {path.name}"  # of a process that was killed before the manifest
        created = datetime.now()
        while (path := base / f"{spec.directory_prefix}_{created:%Y%m%d_%H%M%S}").exists():
            created += timedelta(seconds=1)
        why = f"new directory {path.name}"
        if known:
            changed = changes(next(iter(known.values())), identity, spec.parameters)
            why += f"; the newest with records of {spec.name} differs in " + "; ".join(changed[:6])
            why += f" and {len(changed) - 6} more" if len(changed) > 6 else ""
        if damaged:
            why += f"; passed over {', '.join(damaged)}, whose manifest is damaged"
        return path, why

    def former_jobs(self, seed: int) -> list[str]:
        """The jobs that a checkpoint of this seed may have from before the manifest was completed."""
        return [job_of(former, seed) for former in (self.manifest() or {}).get("formerly", [])]

    @property
    def manifest_path(self) -> Path:
        return self.directory / f"{self.spec.prefix}_manifest.json"

    def manifest(self) -> dict[str, Any] | None:
        """The manifest, or None where this experiment has none here (or a damaged one)."""
        try:
            return read_manifest(self.manifest_path)
        except UserError:
            return None

    def files(self, seed: int) -> SeedFiles:
        name = self.spec.experiment_id.format(seed=seed)
        return SeedFiles(
            record=self.directory / "seeds" / f"{name}.json",
            checkpoint=self.directory / "checkpoints" / f"{name}.ckpt",
            state=self.directory / "states" / f"{name}.ckpt",
            heartbeat=self.directory / "heartbeats" / f"{name}.json",
            lock=self.directory / "locks" / f"{name}.lock",
            attempts=self.directory / "attempts" / f"{name}.jsonl",
        )

    def finished(self, seed: int) -> bool:
        return self.files(seed).record.exists()

    def has_begun(self, seed: int) -> bool:
        """Whether a seed has a record or a checkpoint."""
        files = self.files(seed)
        return any(path.exists() for path in (files.record, files.checkpoint, older(files.checkpoint)))

    def save(self, record: Record) -> bool:
        """Make a finished seed last; its checkpoint is not needed after that.

        Where another machine has finished the seed in the meantime, its record stays; False then.
        """
        first = write_once(self.files(record["seed"]).record, sealed("seed record", record))
        self.clear(record["seed"])
        return first

    def clear(self, seed: int) -> None:
        """Remove the checkpoints of a finished seed. For the process that holds its lock.

        Raises:
            StorageError: it cannot be removed; the record is safe.
        """
        files = self.files(seed)
        for path in (files.checkpoint, older(files.checkpoint), *phase_end_paths(files.checkpoint)):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise StorageError.of(path, error, "removed") from error

    def records(self) -> list[Record]:
        """The records of all finished seeds here, by seed."""
        return read_records(self.directory, self.spec.name)

    def rebuild_views(self) -> list[Record]:
        """Write the results' JSON and CSV anew from the seeds' files, and return the records."""
        self._check_there()
        with locked(self.directory / "locks" / f"{self.spec.prefix}.views.lock"):
            records = self.records()
            for name, content in views(self.spec, records).items():
                remove_drafts(self.directory, name.partition(".")[0])
                write_atomically(self.directory / name, content)
        return records

    @contextmanager
    def exclusive(self, seed: int) -> Iterator[bool]:
        """Lock a seed for this process; False where another process has locked it.

        The lock is the operating system's: it is released when the process ends.
        """
        path = self.files(seed).lock
        self._check_there()
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        except OSError as error:
            raise StorageError.of(path, error) from error
        files, holder = self.files(seed), path.with_suffix(".holder")
        try:
            for folder in FOLDERS:
                remove_drafts(self.directory / folder, files.record.stem)
            write_atomically(holder, to_json(this_process()))
            yield True
        finally:
            with suppress(OSError):
                holder.unlink(missing_ok=True)
            with suppress(OSError):
                lock.release()

    def _check_there(self) -> None:
        """A run directory that has vanished must not come back empty: a lock would make it anew."""
        if not (self.directory / "locks").is_dir():
            missing = FileNotFoundError(2, "the run directory has vanished")
            raise StorageError.of(self.directory, missing)

    def holder(self, seed: int) -> str:
        """The process that trains a seed, in words."""
        try:
            who = json.loads(self.files(seed).lock.with_suffix(".holder").read_bytes())
            return f"process {who['pid']} on {who['host']}"
        except (OSError, ValueError, KeyError):
            return "another process"


def read_records(directory: Path, experiment: str) -> list[Record]:
    """The records of an experiment ("T1") in a run directory, from its seeds' files, by seed."""
    paths = [path for path in matching(directory / "seeds", f"{experiment}-*.json") if "." not in path.stem]
    return sorted((unsealed("seed record", path) for path in paths), key=lambda record: record["seed"])


def _shared_in(directory: Path) -> Iterator[dict[str, Any]]:
    """What each experiment of a run directory has in common with others, as `identity.shared_of`."""
    for path in manifests(directory):
        with suppress(UserError):
            yield shared_of(current(read_manifest(path)["identity"]))
