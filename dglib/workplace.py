"""Where work goes on, which is not always where results end up.

A mounted Drive loses renames, locks and now and then itself. So where `base_dir` lies on one, or with
`mirror`, runs work in a local directory, and `dglib.mirror` copies it to `base_dir` in the background.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dglib.base_dir import base_directory, on_drive
from dglib.errors import StorageError
from dglib.files import write_atomically
from dglib.identity import agree, current, shared_of
from dglib.mirror import Mirror, newest, restore
from dglib.store import run_directories

if TYPE_CHECKING:
    from dglib.experiments.parameters import Parameters


@dataclass(frozen=True)
class Workplace:
    """`base`: where results end up. `work`: where runs are written; the same without a mirror."""

    base: Path
    work: Path
    bytes_per_hour: int

    @classmethod
    def of(cls, parameters: Parameters, where: str = "") -> Workplace:
        """The workplace that `base_dir`, `mirror` and `work_dir` ask for. Nothing is created.

        Raises:
            UserError: one of the directories cannot be written to; the message begins with `where`.
        """
        base = base_directory(parameters.base_dir, where)
        bytes_per_hour = round(1e9 * parameters.mirror_gb_per_hour)
        if not (parameters.mirror or on_drive(base)):
            return cls(base, base, bytes_per_hour)
        given = parameters.work_dir
        if given is None:
            name = hashlib.sha256(str(base.absolute()).encode()).hexdigest()[:12]
            given = str(Path.home() / ".cache" / "dglib" / name)
        return cls(base, base_directory(given), bytes_per_hour)

    @property
    def mirrored(self) -> bool:
        return self.work != self.base

    def bring_back(self, prefix: str, shared: Mapping[str, Any]) -> None:
        """Before any directory is made: take over from the mirror what is further there than here.

        Args:
            prefix: of the run directories that come into question.
            shared: what they must share with the run, of `identity.describe_shared`.
        """
        if not self.mirrored:
            return
        for remote in run_directories(self.base, prefix):
            manifest = newest(remote)
            if manifest is None:
                continue
            runs = [json.loads(manifest.read(p)) for p in manifest.files if p.endswith("_manifest.json")]
            identities = [run["identity"] for run in runs if "identity" in run]
            if any(agree(shared_of(current(each)), shared) for each in identities):
                restore(remote, self.work / remote.name)

    @contextmanager
    def mirroring(self, directory: Path, tell: Callable[[str], None]) -> Iterator[None]:
        """Mirror a run directory of `work` to its place below `base` meanwhile, and once more at the end."""
        if not self.mirrored:
            yield
            return
        remote = self.base / directory.name
        with Mirror(directory, remote, bytes_per_hour=self.bytes_per_hour, tell=tell):
            yield

    def lay(self, *paths: Path) -> None:
        """Copy files of `work` to the same places below `base`; one that cannot be copied is left."""
        for path in paths if self.mirrored else ():
            target = self.base / path.absolute().relative_to(self.work.absolute())
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(target, path.read_bytes())
            except (OSError, StorageError):
                continue
