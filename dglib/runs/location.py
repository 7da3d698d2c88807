"""Where runs are written, which is not always where their results go.

A mounted Drive loses renames, locks and now and then itself. Where `base_dir` is on one, or with `mirror`,
runs are written to a local directory, and `dglib.runs.mirror` copies them to `base_dir` in the background.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from dglib.base_dir import base_directory, on_drive
from dglib.control import unwinding
from dglib.errors import StorageError, UserError
from dglib.runs.identity import agree, current, shared_of
from dglib.runs.mirror import Mirror
from dglib.runs.mirror_folder import MirrorFolder, restore, token_of, write
from dglib.runs.store import run_directories


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class _Located(Protocol):
    """The parameters that determine where runs are."""

    base_dir: str | None
    mirror: bool
    work_dir: str | None


@dataclass(frozen=True)
class RunLocation:
    """`base`: where results go. `work`: where runs are written; the same without a mirror."""

    base: Path
    work: Path

    @classmethod
    def of(cls, parameters: _Located, where: str = "") -> RunLocation:
        """The location that `base_dir`, `mirror` and `work_dir` ask for. Nothing is created.

        Raises:
            UserError: one of the directories cannot be written to; the message begins with `where`.
        """
        base, work_dir = base_directory(parameters.base_dir, where), parameters.work_dir
        if not (parameters.mirror or on_drive(base)):
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
        report: Callable[[str], None] = _to_stderr,
    ) -> None:
        """Before a run directory is made: restore from the mirror what is newer there than here.

        Args:
            prefix: of the names of run directories to consider.
            identity: of the run, from `identity.describe`. A directory that it could only join is left while
                another machine trains there.
            report: given a line for each damaged mirror.

        Raises:
            StorageError: the mirror cannot be read, or the local directory not written to.
            UserError: another machine trains the run.
        """
        if not self.mirrored:
            return
        try:
            with suppress(FileNotFoundError):
                next(self.base.iterdir(), None)  # an unreadable directory is not an empty one
            for remote in run_directories(self.base, prefix):
                damaged = self._restore(MirrorFolder(remote), self.work / remote.name, identity)
                if damaged:
                    more = f" and {len(damaged) - 5} more" if len(damaged) > 5 else ""
                    line = f"damaged: {'; '.join(damaged[:5])}{more}; what is lost is trained again"
                    report(f"mirror: {remote}: {line}")
        except OSError as error:
            raise StorageError.of(self.base, error, "read") from error

    def _restore(self, folder: MirrorFolder, local: Path, identity: Mapping[str, Any]) -> list[str]:
        runs = folder.run_manifests()
        if folder.sizes and not runs:
            return [*folder.torn, "no manifest of a run can be read, nothing is restored"]
        described = [current(run["identity"]) for run in runs if "identity" in run]
        own = any(agree(each, identity) for each in described)
        if not own and not any(agree(shared_of(each), shared_of(identity)) for each in described):
            return []
        try:
            folder.refuse_others(token_of(local))
        except UserError:
            if own:
                raise
            return []
        return restore(folder, local)

    @contextmanager
    def mirroring(self, directory: Path, report: Callable[[str], None]) -> Iterator[None]:
        """Mirror a run directory of `work` below `base` until the context ends, and once more then."""
        if not self.mirrored:
            yield
            return
        with unwinding(), Mirror(directory, self.base / directory.name, report):
            yield

    def copy_to_base(self, *paths: Path) -> None:
        """Copy files of `work` to the same places below `base`, with a line for one that cannot be copied."""
        for path in paths if self.mirrored else ():
            target = self.base / path.absolute().relative_to(self.work.absolute())
            try:
                next(self.base.iterdir(), None)  # a Drive that vanished is not made anew on the disk below it
                write(target, path.read_bytes())
            except OSError as error:
                _to_stderr(f"mirror: not copied to {target}: {error}")
