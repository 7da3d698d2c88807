"""Where runs are written, which is not always where their results end up.

A mounted Drive loses renames, locks and now and then itself. Where `base_dir` lies on one, or with `mirror`,
runs are written to a local directory, and `dglib.runs.mirror` copies them to `base_dir` in the background.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from dglib.base_dir import base_directory, on_drive
from dglib.control import unwinding
from dglib.errors import StorageError, UserError
from dglib.files import make_directory, write_atomically
from dglib.runs.identity import agree, current, shared_of
from dglib.runs.mirror import Mirror
from dglib.runs.mirror_store import Entry, Remote, kind, steps_in, token_of, write
from dglib.runs.store import run_directories

_ORDER = ("record", "state", "checkpoint", "attempt", "manifest")  # of restoring


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class _Located(Protocol):
    """Parameters, as far as they say where runs lie."""

    base_dir: str | None
    mirror: bool
    work_dir: str | None


@dataclass(frozen=True)
class RunLocation:
    """`base`: where results end up. `work`: where runs are written; the same without a mirror."""

    base: Path
    work: Path

    @classmethod
    def of(cls, parameters: _Located, where: str = "") -> RunLocation:
        """The location that `base_dir`, `mirror` and `work_dir` ask for. Nothing is created.

        Raises:
            UserError: one of the directories cannot be written to; the message begins with `where`.
        """
        return cls.at(parameters.base_dir, parameters.mirror, parameters.work_dir, where)

    @classmethod
    def at(
        cls, base_dir: str | None, mirror: bool = False, work_dir: str | None = None, where: str = ""
    ) -> RunLocation:
        """As `of`, of the values themselves."""
        base = base_directory(base_dir, where)
        if not (mirror or on_drive(base)):
            return cls(base, base)
        if work_dir is None:
            name = hashlib.sha256(str(base.absolute()).encode()).hexdigest()[:12]
            work_dir = f"~/.cache/dglib/{name}"
        return cls(base, base_directory(work_dir, field="work_dir"))

    @property
    def mirrored(self) -> bool:
        return self.work != self.base

    def bring_back(
        self,
        prefix: str,
        identity: Mapping[str, Any],
        shared: Mapping[str, Any],
        tell: Callable[[str], None] = _to_stderr,
    ) -> None:
        """Before a run directory is made: take over from the mirror what is further there than here.

        Args:
            prefix: of the run directories that come into question.
            identity: of the run, from `identity.describe`.
            shared: what a directory that it may join must share; one is left alone while another machine
                works on it.
            tell: given a line for each damaged mirror.

        Raises:
            StorageError: the mirror cannot be read, or the local directory not written to.
            UserError: another machine works on the run.
        """
        if not self.mirrored:
            return
        try:
            with suppress(FileNotFoundError):
                next(self.base.iterdir(), None)  # an unreadable directory is not an empty one
            for remote in run_directories(self.base, prefix):
                found = Remote(remote)
                damaged = self._take_over(found, self.work / remote.name, identity, shared)
                if damaged:
                    more = f" and {len(damaged) - 5} more" if len(damaged) > 5 else ""
                    line = f"damaged: {'; '.join(damaged[:5])}{more}; what is lost is trained again"
                    tell(f"mirror: {remote}: {line}")
        except OSError as error:
            raise StorageError.of(self.base, error, "read") from error

    def _take_over(
        self, found: Remote, local: Path, identity: Mapping[str, Any], shared: Mapping[str, Any]
    ) -> list[str]:
        runs = found.manifests_of_runs()
        if found.sizes and not runs:
            return [*found.torn, "no manifest of a run can be read, nothing is taken over"]
        described = [current(run["identity"]) for run in runs if "identity" in run]
        own = any(agree(each, identity) for each in described)
        if not own and not any(agree(shared_of(each), shared) for each in described):
            return []
        try:
            found.refuse_others(token_of(local))
        except UserError:
            if own:
                raise
            return []
        return restore(found, local)

    @contextmanager
    def mirroring(self, directory: Path, tell: Callable[[str], None]) -> Iterator[None]:
        """Mirror a run directory of `work` to its place below `base` meanwhile, and once more at the end."""
        if not self.mirrored:
            yield
            return
        with unwinding(), Mirror(directory, self.base / directory.name, tell):
            yield

    def lay(self, *paths: Path) -> None:
        """Copy files of `work` to the same places below `base`, with a line for one that cannot be copied."""
        for path in paths if self.mirrored else ():
            target = self.base / path.absolute().relative_to(self.work.absolute())
            try:
                next(self.base.iterdir(), None)  # a Drive that vanished is not made anew on the disk below it
                target.parent.mkdir(parents=True, exist_ok=True)
                write(target, path.read_bytes(), anew=False)
            except OSError as error:
                _to_stderr(f"mirror: not copied to {target}: {error}")


def restore(found: Remote, local: Path) -> list[str]:
    """Copy what is further on the mirror into a run directory that is absent, empty or behind.

    Records that are here stay, and checkpoints and logs that are further here. The run's manifest is written
    last, so that a directory restored in part is not taken for a whole one.

    Returns:
        What is damaged on the mirror; an older intact copy was used where there is one.

    Raises:
        OSError, StorageError: the mirror cannot be read, or the directory not written to.
    """
    damaged = [f"{name} (unreadable)" for name in found.torn]
    newest = found.files(lambda entry: True)
    for path, entry in sorted(newest.items(), key=lambda item: (_ORDER.index(str(kind(item[0]))), item[0])):
        if not _is_further(path, entry, local / path):
            continue
        for copy in (g.files[path] for g in found.generations if path in g.files):
            content = found.content(copy)
            if content is not None:
                break
        if content is None or copy != entry:
            damaged.append(f"{entry.stored} ({'lost' if content is None else 'an older copy is used'})")
        if content is not None and _is_further(path, copy, local / path):
            local.mkdir(parents=True, exist_ok=True)
            make_directory((local / path).parent)
            write_atomically(local / path, content)
            os.utime(local / path, ns=(copy.modified, copy.modified))
    return damaged


def _is_further(path: str, entry: Entry, here: Path) -> bool:
    if kind(path) == "checkpoint":
        finished = (here.parents[1] / "seeds" / f"{here.stem}.json").exists()
        files = [file for file in (here, here.with_suffix(".old")) if file.exists()]
        return not finished and all(entry.steps > steps_in(file.read_bytes()) for file in files)
    if kind(path) == "record" or not here.exists():
        return not here.exists()
    return entry.modified > here.stat().st_mtime_ns
