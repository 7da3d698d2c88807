"""What a mirror remembers from pass to pass."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from dglib.mirror.entries import Content, kind, read_through

FOLDERS = ("", "seeds", "attempts", "figures", "checkpoints")


@dataclass
class Memory:
    """Lost without harm: all of it can be found out anew.

    Attributes:
        local: the run directory.
        contents: what files held, by path, with inode, size and time of change then.
        loose: names on the mirror that no manifest named at the pass before.
        checked: whether the checksums of what lies on the mirror have been compared.
    """

    local: Path
    contents: dict[str, tuple[tuple[int, int, int], Content]] = field(default_factory=dict)
    loose: set[str] = field(default_factory=set)
    checked: bool = False

    def paths(self) -> list[str]:
        """The files to mirror."""
        found = []
        for folder in FOLDERS:
            with suppress(FileNotFoundError):
                names = sorted(path.name for path in (self.local / folder).iterdir())
                found += [f"{folder}/{name}" if folder else name for name in names]
        return [path for path in found if kind(path) is not None]

    def read(self, path: str) -> tuple[Content, int] | None:
        """Content and time of change (ns) of a file; None where it vanished, or changed while it was read."""
        file = self.local / path
        try:
            before = _signature(file)
            known = self.contents.get(path)
            if known is None or known[0] != before:
                content = read_through(file)
                if _signature(file) != before:
                    return None
                self.contents[path] = known = (before, content)
        except FileNotFoundError:
            return None
        return known[1], before[2]


def _signature(path: Path) -> tuple[int, int, int]:
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
