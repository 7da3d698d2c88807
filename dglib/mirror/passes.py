"""One pass of a mirror: copy what is new, write a manifest, delete what nothing needs any more."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from dglib.mirror.entries import (
    FOLDER,
    Content,
    Entry,
    beside,
    check_same_run,
    kind,
    measure,
    preferred,
    read_through,
    unfinished_only,
)
from dglib.mirror.generations import MANIFEST, Manifest, compose, listing, manifests, union
from dglib.mirror.ledger import Ledger, in_words
from dglib.mirror.memory import Memory

SHARE = 0.75  # of an hour's bytes; the rest is for the state that a stopped run leaves
GENERATIONS = 2

SayOnce = Callable[[str, str | None], None]


@dataclass(frozen=True)
class SyncReport:
    """A pass: the manifest it wrote (None: nothing was new), files and bytes copied, paths put off."""

    manifest: str | None = None
    files: int = 0
    size: int = 0
    put_off: tuple[str, ...] = ()


class Pass:
    """A single pass.

    Args:
        remote: the run directory's mirror.
        memory, ledger: kept from pass to pass.
        say_once: tells a line about a subject, once until it is given None for it.
    """

    def __init__(self, remote: Path, memory: Memory, ledger: Ledger, say_once: SayOnce) -> None:
        self._remote, self._memory, self._ledger, self._say_once = remote, memory, ledger, say_once
        self._names = listing(remote)
        self._found = manifests(remote, self._names)
        self._whole: dict[tuple[str, str], bool] = {}
        self._files = union(self._found, self._is_whole)
        self._by_hash = {e.sha256: e for m in self._found for e in m.files.values() if self._is_whole(e)}
        self._copied: list[int] = []
        self._put_off: list[str] = []
        ledger.learn(note for manifest in self._found for note in manifest.written)

    def run(self, *, last: bool) -> SyncReport:
        """Do it. See `Mirror.sync`."""
        problem = self._take_all(last)
        self._files = unfinished_only(self._files)
        self._tell_lost()
        manifest = self._write_manifest()
        self._clear_away()
        self._memory.checked = True
        if last:
            self._lay_views()
        if problem is not None:
            raise problem
        return SyncReport(manifest, len(self._copied), sum(self._copied), tuple(self._put_off))

    def _is_whole(self, entry: Entry) -> bool:
        key = (entry.stored, entry.sha256)
        if key not in self._whole:
            self._whole[key] = entry.is_whole(self._remote, thorough=not self._memory.checked)
        return self._whole[key]

    def _take_all(self, last: bool) -> OSError | None:
        paths = self._memory.paths()
        for path in paths:
            if not _may_wait(path):
                self._take(path, last)
        problem = None
        try:
            for path in sorted(filter(_may_wait, paths), key=self._turn):
                self._take(path, last)
        except OSError as error:  # a Drive that is full may still have room for what is small
            problem = error
        for path in self._memory.paths():  # seeds may have finished, and their checkpoints gone, meanwhile
            if kind(path) == "record":
                self._take(path, last)
        return problem

    def _turn(self, path: str) -> tuple[bool, int]:
        """Checkpoints before views, which can be built anew; then what was brought longest ago."""
        return kind(path) == "view", self._files[path].modified if path in self._files else 0

    def _tell_lost(self) -> None:
        before = self._found[0].files if self._found else {}
        for path in unfinished_only({**before, **self._files}).keys() - self._files.keys():
            self._say_once(f"lost {path}", f"damaged on the mirror, and not here: {path}")

    def _take(self, path: str, last: bool) -> None:
        """Make a local file part of this generation, where it is news."""
        local = self._memory.read(path)
        if local is None:
            return
        content, modified = local
        entry = Entry("", content.sha256, content.size, modified, content.steps or 0)
        there = self._files.get(path)
        what = kind(path)
        if there is not None and there.sha256 == entry.sha256:
            return
        if what == "checkpoint":
            if path not in unfinished_only({**self._files, path: entry}):
                return
            if content.steps is None:
                self._say_once(f"damaged {path}", f"not mirrored, for it is damaged: {path}")
                return
        name = path
        if what == "record" and there is not None:
            self._say_once(f"other {path}", f"another record of {path} is there and stands; both are kept")
            name = beside(path, entry.sha256)
            if name in self._files:
                return
        elif there is not None and preferred(path, there, entry) is there:
            return
        if what == "manifest" and there is not None:
            theirs = (self._remote / FOLDER / there.stored).read_bytes()
            check_same_run(path, (self._memory.local / path).read_bytes(), theirs, self._remote)
        stored = self._store(name, path, content, last=last)
        if stored is not None:
            self._files[name] = replace(entry, stored=stored)
            self._whole[stored, entry.sha256] = True

    def _store(self, name: str, path: str, content: Content, *, last: bool) -> str | None:
        """Copy a local file, unless its content is there or it must wait; where it lies then."""
        if content.sha256 in self._by_hash:
            return self._by_hash[content.sha256].stored
        laid_now = last and kind(path) == "view"
        if _may_wait(path) and not laid_now and not self._ledger.fits(content.size, 1.0 if last else SHARE):
            self._put_off.append(path)
            used, limit = in_words(self._ledger.used()), in_words(self._ledger.limit)
            line = f"put off: {path} ({in_words(content.size)}); {used} of {limit} an hour are written"
            self._say_once(f"put off {path}", line)
            return None
        self._say_once(f"put off {path}", None)
        return self._copy(name, path, content)

    def _copy(self, name: str, path: str, content: Content) -> str | None:
        base = f"{name}.{content.sha256[:16]}"
        # A name that is taken belongs to a damaged or unfinished copy, which is not written over.
        names = (base if n == 1 else f"{base}-{n}" for n in count(1))
        stored = next(name for name in names if name not in self._names)
        source, target = self._memory.local / path, self._remote / FOLDER / stored
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self._writing(target, os.O_EXCL) as write:
                if read_through(source, write) != content:
                    raise _ChangedError
        except (_ChangedError, FileNotFoundError) as error:
            self._memory.contents.pop(path, None)
            if isinstance(error, _ChangedError) or not source.exists():
                return None
            raise
        self._names.add(stored)
        self._copied.append(content.size)
        return stored

    def _write_manifest(self) -> str | None:
        newest = self._found[0] if self._found else None
        if self._files == (newest.files if newest else {}):
            return None
        numbers = [int(match[1]) for name in self._names if (match := MANIFEST.fullmatch(name))]
        number = max(numbers, default=0) + 1
        steps = {path: entry.steps for path, entry in self._files.items() if kind(path) == "checkpoint"}
        written = tuple(self._ledger.recent())
        name, content = compose(
            number,
            self._files,
            made=datetime.now(UTC).isoformat(timespec="seconds"),
            host=socket.gethostname(),
            progress=measure(self._files, steps),
            written=written,
        )
        with self._writing(self._remote / FOLDER / name, os.O_EXCL) as write:
            write(content)
        self._names.add(name)
        self._found.insert(0, Manifest(self._remote, name, number, self._files, written))
        return name

    def _clear_away(self) -> None:
        """Delete what only generations before the last two whole ones named, manifests first.

        What no manifest names may be on its way from another machine: it goes when it is seen a second time.
        Records are small and hours of work, and stay whatever names them.
        """
        kept = [m for m in self._found if all(map(self._is_whole, m.files.values()))][:GENERATIONS]
        loose = {name for name in self._names - _named(kept) if not name.startswith("seeds/")}
        known = _named(self._found) | self._memory.loose
        for name in sorted(loose & known, key=lambda name: (MANIFEST.fullmatch(name) is None, name)):
            (self._remote / FOLDER / name).unlink(missing_ok=True)
        self._memory.loose = loose - known

    def _lay_views(self) -> None:
        """Lay the views under their own names, for people. A torn one is put right by the next run."""
        for path, entry in self._files.items():
            if kind(path) != "view":
                continue
            content, target = (self._remote / FOLDER / entry.stored).read_bytes(), self._remote / path
            if target.exists() and target.read_bytes() == content:
                continue
            target.parent.mkdir(exist_ok=True)
            with self._writing(target, os.O_TRUNC) as write:
                write(content)

    @contextmanager
    def _writing(self, path: Path, flag: int) -> Iterator[Callable[[bytes], None]]:
        """A file that is flushed, measured and counted at the end, and removed where that fails."""
        size = 0

        def write(chunk: bytes) -> None:
            nonlocal size
            left = memoryview(chunk)
            while left:
                taken = os.write(handle, left)
                left, size = left[taken:], size + taken

        handle = os.open(path, os.O_WRONLY | os.O_CREAT | flag, 0o644)
        try:
            try:
                yield write
                os.fsync(handle)
            finally:
                os.close(handle)
            if path.stat().st_size != size:
                raise OSError(errno.EIO, "was not written as a whole", str(path))
        except BaseException:
            with suppress(OSError):
                path.unlink()
            raise
        finally:
            self._ledger.note(size)


class _ChangedError(Exception):
    """A file changed while it was copied."""


def _may_wait(path: str) -> bool:
    return kind(path) in ("checkpoint", "view")


def _named(generations: list[Manifest]) -> set[str]:
    names = {manifest.name for manifest in generations}
    return names | {entry.stored for manifest in generations for entry in manifest.files.values()}
