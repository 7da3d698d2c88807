"""Errors that are shown in one line: wrong input, and disks that fail."""

from __future__ import annotations

from pathlib import Path


class UserError(Exception):
    """Input that cannot be used. The message names it, its place, and what is allowed.

    The command line prints the message and exits with status 2; a notebook shows the message alone.
    """

    def _render_traceback_(self) -> list[str]:
        """The one line that IPython shows in place of a traceback."""
        return [f"{type(self).__name__}: {self}"]


class StorageError(UserError):
    """A disk is full, read-only or gone. What was saved before is intact and can be resumed."""

    @classmethod
    def of(cls, path: Path, error: OSError, action: str = "written") -> StorageError:
        return cls(
            f"{path}: cannot be {action}: {error.strerror or error}; what was saved before is intact:"
            " fix this and give the same command again"
        )
