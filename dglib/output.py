"""Text output that never fails, whatever the encoding of stdout and stderr.

A stream that cannot encode λ (`PYTHONIOENCODING=ascii`, cp1252, a C locale) gets "lambda", an arrow becomes
"->" and a minus sign "-", so that numbers and units stay readable.
"""

from __future__ import annotations

import argparse
import codecs
import os
import select
import sys
import unicodedata
from collections.abc import Callable, Sequence
from functools import wraps
from typing import IO, NoReturn

from dglib.control import unwinding
from dglib.errors import UserError

_ERRORS = "dglib.plain"
_PLAIN = {
    "λ": "lambda", "η": "eta", "δ": "delta", "θ": "theta", "Σ": "Sum",
    "↓": "_down", "↑": "_up", "→": "->", "−": "-", "–": "-", "─": "-", "×": "x", "±": "+/-", "·": "*",
    "‖": "||", "≥": ">=", "≤": "<=", "²": "^2", "³": "^3", "½": "1/2",
    "‘": "'", "’": "'", "“": '"', "”": '"', "…": "...", "█": "#", "\u00a0": " ",
}  # fmt: skip


def never_fail(encoding: str | None = None) -> None:
    """Make stdout and stderr of this process write plain text for what they cannot encode.

    Args:
        encoding: theirs from now on; None leaves it.
    """
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # a notebook's and a test's have none
        if reconfigure is not None:
            reconfigure(encoding=encoding, errors=_ERRORS)


def plain(text: str) -> str:
    """ASCII for text: names of symbols, letters without accents, escapes for the rest."""
    return "".join(map(_plain, text))


def _plain(character: str) -> str:
    if character.isascii():
        return character
    if character in _PLAIN:
        return _PLAIN[character]
    letter = unicodedata.normalize("NFKD", character)[0]
    return letter if letter.isascii() else character.encode("ascii", "backslashreplace").decode()


def _replace(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    found = error.object[error.start : error.end]
    if all("\udc80" <= character <= "\udcff" for character in found):  # bytes of a file's name, as they are
        return found.encode("ascii", "surrogateescape"), error.end
    return plain(found), error.end


codecs.register_error(_ERRORS, _replace)


WRONG, BAD_INPUT, INTERRUPTED = 1, 2, 130  # exit statuses of the commands
UNREAD = 141  # what a shell reports of a process that SIGPIPE ended


def ends_with_its_reader(main: Callable[..., int]) -> Callable[..., int]:
    """The function of a command's words, which returns `UNREAD` where nobody reads what it prints any more.

    A pipe of another kind that breaks stays an error. SIGTERM unwinds as Ctrl-C does. Where the output cannot
    encode a character, plain ASCII is printed.
    """

    @wraps(main)
    def ended(argv: Sequence[str] | None = None) -> int:
        never_fail()
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


class Parser(argparse.ArgumentParser):
    """Tells a wrong option as a UserError, in one line."""

    def error(self, message: str) -> NoReturn:
        raise UserError(message)
