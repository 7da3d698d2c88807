"""What a command does when whoever reads its output has gone, as `head` does: it ends, and says nothing."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from typing import IO

from dglib import output
from dglib.control import unwinding

UNREAD = 141  # what a shell reports of a process that SIGPIPE ended


def ends_with_its_reader(main: Callable[..., int]) -> Callable[..., int]:
    """The function of a command's words, which returns `UNREAD` where nobody reads what it prints any more.

    A pipe of another kind that breaks stays an error. SIGTERM unwinds as Ctrl-C does. Where the output cannot
    encode a character, plain ASCII is printed.
    """

    @wraps(main)
    def ended(argv: Sequence[str] | None = None) -> int:
        output.never_fail()
        try:
            with unwinding():
                status = main(argv)
            sys.stdout.flush()  # at the interpreter's end nobody could tell of it
            return status
        except BrokenPipeError:
            left = [stream for stream in (sys.stdout, sys.stderr) if _unread(stream)]
            if not left:
                raise
            for stream in left:  # whose last words the interpreter would try to get rid of once more
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            return UNREAD

    return ended


def _unread(stream: IO[str]) -> bool:
    """Whether a stream is a pipe at whose other end nobody is."""
    if not hasattr(select, "poll"):  # Windows: a pipe that broke is taken for this one
        return not stream.closed and stream.fileno() >= 0
    try:
        poll = select.poll()
        poll.register(stream, 0)  # asks for nothing but errors, which are always told
        return bool(poll.poll(0))
    except (OSError, ValueError, AttributeError):  # no file, or closed
        return False
