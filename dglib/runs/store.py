"""Run directories: layout, which one is resumed, one file per seed as the truth, views rebuilt from them.

<base>/<prefix>_<YYYYmmdd_HHMMSS>/
    T1-spinodal_manifest.json     parameters, fingerprint, versions
    seeds/T1-spinodal-000.json    the record of a finished seed, sealed with its checksum
    checkpoints/                  unfinished seeds, and states at phase ends that their next arms start from
    states/                       states at phase ends that were asked for (keep_states)
    heartbeats/                   where each seed stands
    T1-spinodal_results.json, .csv, figures/        views
"""

from __future__ import annotations

import json
import os
import platform
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from dglib.errors import StorageError
from dglib.files import (
    is_draft,
    locked,
    make_directory,
    older,
    phase_end_path,
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
    FILES,
    agree,
    changes,
    completed,
    current,
    fingerprint,
    is_file,
    job_of,
    shared_of,
)
from dglib.runs.progress import Attempt

FOLDERS = ("attempts", "checkpoints", "figures", "heartbeats", "locks", "seeds", "states")
_STAMP = r"_\d{8}_\d{6}"


def run_directories(base: Path, prefix: str) -> list[Path]:
    """The run directories of a prefix followed by a timestamp, the newest first."""
    if not base.is_dir():
        return []
    found = [p for p in base.iterdir() if p.is_dir() and re.fullmatch(re.escape(prefix) + _STAMP, p.name)]
    return sorted(found, reverse=True)


@dataclass(frozen=True)
class SeedFiles:
    """The files of one seed."""

    record: Path
    checkpoint: Path
    state: Path  # with an (arm, phase) in its name, see `checkpoint.phase_end_path`
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
        shared: dict[str, Any],
        provenance: dict[str, Any],
    ) -> tuple[Store, str]:
        """Resume the newest directory with this identity, join one that shares data and step, or make one.

        Args:
            identity: from `identity.describe`; must agree with the manifest's for a resume.
            shared: from `identity.describe_shared`; where it agrees, T2 joins T1's directory.
            provenance: versions and the like, for the manifest.

        Returns:
            The store, and a line saying which directory was taken and why.
        """
        try:
            base.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError.of(base, error) from error
        with locked(base / ".dglib.lock"):
            directory, why = cls._choose(base, spec, identity, shared)
            store = cls(directory, spec)
            make_directory(directory)
            for name in FOLDERS:
                make_directory(directory / name)
            remove_drafts(store.manifest_path)
            held = store.manifest()
            if held is not None:
                store._complete(held, identity)
            elif not store.manifest_path.exists():
                manifest = {
                    "experiment": spec.name,
                    "fingerprint": fingerprint(identity),
                    "shared_fingerprint": fingerprint(shared),
                    "identity": identity,
                    "parameters": dict(spec.parameters),
                    "created": datetime.now(UTC).isoformat(timespec="seconds"),
                    "host": socket.gethostname(),
                    "python": platform.python_version(),
                    **provenance,
                }
                write_atomically(store.manifest_path, to_json(manifest, indent=1))
        return store, why

    @classmethod
    def _choose(
        cls, base: Path, spec: ExperimentSpec, identity: dict[str, Any], shared: dict[str, Any]
    ) -> tuple[Path, str]:
        candidates = run_directories(base, spec.directory_prefix)
        manifests = {path: cls(path, spec).manifest() for path in candidates}
        found = [(path, manifest["identity"]) for path, manifest in manifests.items() if manifest is not None]
        same = [path for path, stored in found if fingerprint(stored) == fingerprint(identity)]
        same += [path for path, stored in found if agree(current(stored), identity)]
        if same:
            return same[0], f"resuming {same[0].name}"
        for path in candidates:
            known = cls(path, spec).manifest_path.exists() or read_records(path, spec.name)
            if not known and any(agree(theirs, shared) for theirs in cls._neighbours(path)):
                return path, f"joining {path.name}"
            if cls(path, spec)._abandoned():
                return path, f"new directory {path.name}"
        unread = [path for path in candidates if manifests[path] is None]
        damaged = [path.name for path in unread if cls(path, spec).manifest_path.exists()]
        name = datetime.now()
        while (path := base / f"{spec.directory_prefix}_{name:%Y%m%d_%H%M%S}").exists():
            name += timedelta(seconds=1)
        why = f"new directory {path.name}"
        newest = next((m for m in manifests.values() if m is not None), None)
        if newest is not None:
            changed = changes(newest, identity, spec.parameters)
            why += f"; the newest with records of {spec.name} differs in " + "; ".join(changed[:6])
            why += f" and {len(changed) - 6} more" if len(changed) > 6 else ""
        if damaged:
            why += f"; passed over {', '.join(damaged)}, whose manifest is damaged"
        return path, why

    def _abandoned(self) -> bool:
        """A directory that was made for this experiment by a process that was killed before the manifest."""
        found = self.directory.rglob("*")
        return not any(path.is_file() and not is_draft(path, self.manifest_path) for path in found)

    def _complete(self, manifest: dict[str, Any], identity: dict[str, Any]) -> None:
        """Bring the manifest of a run that goes on to today's form: its hashes, and where its files lie now.

        The identity that it had stays under `formerly`: checkpoints from then go by it.
        """
        now = completed(manifest["identity"], identity)
        parameters = dict(manifest["parameters"])
        for name in FILES:
            if is_file(parameters.get(name)) and is_file(self.spec.parameters.get(name)):
                parameters[name] = self.spec.parameters[name]
        written = manifest | {
            "fingerprint": fingerprint(now),
            "shared_fingerprint": fingerprint(shared_of(now)),
            "identity": now,
            "parameters": parameters,
        }
        if written["fingerprint"] != manifest["fingerprint"]:
            written["formerly"] = [*manifest.get("formerly", []), manifest["identity"]]
        if written != manifest:
            write_atomically(self.manifest_path, to_json(written, indent=1))

    def former_jobs(self, seed: int) -> list[str]:
        """The jobs that a checkpoint of this seed may have from before the manifest was completed."""
        return [job_of(each, seed) for each in (self.manifest() or {}).get("formerly", [])]

    @staticmethod
    def _neighbours(directory: Path) -> list[dict[str, Any]]:
        """What all experiments that have records in a directory share, as `identity.describe_shared`."""
        found = []
        for path in directory.glob("*_manifest.json"):
            try:
                found.append(shared_of(current(json.loads(path.read_bytes())["identity"])))
            except (OSError, ValueError, KeyError, TypeError):
                continue
        return found

    @property
    def manifest_path(self) -> Path:
        return self.directory / f"{self.spec.prefix}_manifest.json"

    def manifest(self) -> dict[str, Any] | None:
        """The manifest, or None where this experiment has none here (or a damaged one)."""
        try:
            manifest: dict[str, Any] = json.loads(self.manifest_path.read_bytes())
            intact = manifest["fingerprint"] == fingerprint(manifest["identity"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return manifest if intact else None

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

    def save(self, record: Record) -> bool:
        """Make a finished seed last; its checkpoint is not needed after that.

        Where another machine has finished the seed in the meantime, that record stands, and this one is kept
        beside it as `<seed>.other-<host>-<process>.json`; False then.
        """
        files, content = self.files(record["seed"]), sealed("seed record", record)
        first = write_once(files.record, content)
        if not first:
            name = f"{files.record.stem}.other-{socket.gethostname()}-{os.getpid()}.json"
            write_atomically(files.record.with_name(name), content)
        self.clear(record["seed"])
        return first

    def clear(self, seed: int) -> None:
        """Remove what a finished seed does not need any more. For the process that holds it.

        Raises:
            StorageError: it cannot be removed; the record is safe.
        """
        files = self.files(seed)
        for path in (files.checkpoint, older(files.checkpoint), *phase_end_paths(files.checkpoint)):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise StorageError.of(path, error, "removed") from error

    def begin_attempt(self, seed: int) -> Attempt:
        """A new entry in the seed's log of attempts."""
        return Attempt(self.files(seed).attempts, self.files(seed).heartbeat)

    def records(self) -> list[Record]:
        """The records of all finished seeds here, by seed."""
        return read_records(self.directory, self.spec.name)

    def rebuild_views(self) -> list[Record]:
        """Write the results' JSON and CSV anew from the seeds' files, and return the records."""
        self._check_there()
        with locked(self.directory / "locks" / f"{self.spec.prefix}.views.lock"):
            records = self.records()
            for name, content in views(self.spec, records).items():
                remove_drafts(self.directory / name)
                write_atomically(self.directory / name, content)
        return records

    @contextmanager
    def exclusive(self, seed: int) -> Iterator[bool]:
        """Hold a seed for this process while it trains; False where another process holds it.

        The lock is the operating system's: it goes when the process does.
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
            ends = [(arm.name, phase.name) for arm in self.spec.arms for phase in arm.phases]
            states = [phase_end_path(path, end) for end in ends for path in (files.checkpoint, files.state)]
            for written in (holder, files.checkpoint, files.heartbeat, files.record, *states):
                remove_drafts(written)
            write_atomically(holder, to_json({"pid": os.getpid(), "host": socket.gethostname()}))
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
        """Who trains a seed, in words."""
        try:
            who = json.loads(self.files(seed).lock.with_suffix(".holder").read_bytes())
            return f"process {who['pid']} on {who['host']}"
        except (OSError, ValueError, KeyError):
            return "another process"


def read_records(directory: Path, experiment: str) -> list[Record]:
    """The records of an experiment ("T1") in a run directory, from its seeds' files, by seed."""
    paths = [path for path in (directory / "seeds").glob(f"{experiment}-*.json") if "." not in path.stem]
    return sorted((unsealed("seed record", path) for path in paths), key=lambda record: record["seed"])


def unfinished(store: Store, seeds: Sequence[int]) -> list[int]:
    """The seeds of a list that have no record yet, in its order."""
    return [seed for seed in seeds if not store.finished(seed)]
