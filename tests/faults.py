"""Faults at the operations that write: one of them ends the process, or fails as on a bad disk."""

import errno
import fcntl
import os
from pathlib import Path

KILLED = 77  # the exit status of a process that was ended here

# How it goes wrong: the process ends before the operation, or in the middle of a write; or the operation
# fails, once or from then on.
KILLS = ("killed", "killed in mid-write")
FAILURES = {
    "no space left": (errno.ENOSPC, True),
    "read-only": (errno.EROFS, True),
    "input/output error": (errno.EIO, True),
    "input/output error for once": (errno.EIO, False),
}
_TAKES_SPACE = ("open", "write", "fsync", "close", "mkdir", "link")


class Faults:
    """Watches the operations on what lies below a directory, within a `with`.

    Args:
        at: number of the operation that goes wrong; None lets all pass.
        how: of KILLS or FAILURES.

    Attributes:
        seen: (operation, file name) of each.
    """

    def __init__(self, below, at=None, how=None):
        self.below, self.at, self.how = os.fspath(below), at, how
        self.seen = []
        self._files = {}
        self._before = {}

    def __enter__(self):
        for name in ("open", "write", "fsync", "close", "replace", "link", "mkdir", "unlink"):
            self._before[os, name] = getattr(os, name)
        self._before[fcntl, "flock"] = fcntl.flock
        for module, name in self._before:
            setattr(module, name, self._watched(name, self._before[module, name]))
        return self

    def __exit__(self, *_):
        for (module, name), original in self._before.items():
            setattr(module, name, original)

    def _watched(self, name, original):
        def operation(target, *arguments, **options):
            path = self._files.get(target) if isinstance(target, int) else os.fspath(target)
            if path is None or not str(path).startswith(self.below):
                return original(target, *arguments, **options)
            number = len(self.seen)
            self.seen.append((name, Path(path).name))
            if self.at is not None and number >= self.at:
                self._go_wrong(number, name, original, target, *arguments)
            result = original(target, *arguments, **options)
            if name == "open":
                self._files[result] = path
            elif name == "close":
                self._files.pop(target, None)
            return result

        return operation

    def _go_wrong(self, number, name, original, target, *arguments):
        first = number == self.at
        if name == "write" and first and self.how != "killed":
            original(target, bytes(arguments[0])[: len(arguments[0]) // 2])
        if self.how in KILLS:
            os._exit(KILLED)
        number, lasting = FAILURES[self.how]
        if not (first or lasting) or (number == errno.ENOSPC and name not in _TAKES_SPACE):
            return
        if name == "flock" and arguments[0] == fcntl.LOCK_UN:
            return  # never touches the disk
        if name == "close":
            original(target)
            self._files.pop(target, None)
        raise OSError(number, os.strerror(number), os.fspath(target) if not isinstance(target, int) else None)
