"""Output of the commands: in any encoding, and to a reader that may leave."""

from __future__ import annotations

import argparse
import os
import select
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import wraps
from typing import IO, NoReturn

from dglib.control import unwinding
from dglib.errors import UserError

UNREAD = 141  # what a shell reports of a process that SIGPIPE ended


def never_fail(encoding: str | None = None) -> None:
    """Make stdout and stderr escape characters that they cannot encode, as λ in ASCII.

    Args:
        encoding: their new encoding; None: unchanged.
    """
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # a notebook's and a test's have none
        if reconfigure is not None:
            reconfigure(encoding=encoding, errors="backslashreplace")


def exits_when_unread(main: Callable[..., int]) -> Callable[..., int]:
    """Wrap a command's main function: it returns `UNREAD` where the reader of its output has gone.

    Other broken pipes stay errors. SIGTERM unwinds as Ctrl-C does.
    """

    @wraps(main)
    def wrapped(argv: Sequence[str] | None = None) -> int:
        never_fail()
        try:
            with unwinding():
                status = main(argv)
            sys.stdout.flush()  # an error at the interpreter's end would be lost
            return status
        except BrokenPipeError:
            unread = [stream for stream in (sys.stdout, sys.stderr) if _unread(stream)]
            if not unread:
                raise
            for stream in unread:  # the interpreter flushes them once more at its end
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            return UNREAD

    return wrapped


def _unread(stream: IO[str]) -> bool:
    """Whether a stream is a pipe whose other end was closed."""
    if sys.platform != "win32":  # which has another error for it
        with suppress(OSError, ValueError, AttributeError):  # no file, or closed
            poll = select.poll()
            poll.register(stream, 0)  # errors alone, which are always reported
            return bool(poll.poll(0))
    return False


class Parser(argparse.ArgumentParser):
    """Reports a wrong option as a UserError, in one line."""

    def error(self, message: str) -> NoReturn:
        raise UserError(message)
