"""Text output that never fails, whatever the encoding of stdout and stderr.

A stream that cannot encode λ (`PYTHONIOENCODING=ascii`, cp1252, a C locale) gets "lambda", "->" for an arrow
and "-" for a minus sign, so that numbers and units stay readable.
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
        encoding: their new encoding; None: unchanged.
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
    text = error.object[error.start : error.end]
    if all("\udc80" <= character <= "\udcff" for character in text):  # undecodable bytes of a file name
        return text.encode("ascii", "surrogateescape"), error.end
    return plain(text), error.end


codecs.register_error(_ERRORS, _replace)


WRONG, BAD_INPUT, INTERRUPTED = 1, 2, 130  # exit statuses of the commands
UNREAD = 141  # what a shell reports of a process that SIGPIPE ended


def exits_when_unread(main: Callable[..., int]) -> Callable[..., int]:
    """Wrap a command's main function: it returns `UNREAD` where the reader of its output has gone.

    Other broken pipes stay errors. SIGTERM unwinds as Ctrl-C does. Where the output cannot encode a
    character, plain ASCII is printed.
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
    if not hasattr(select, "poll"):  # Windows: assume that this pipe broke
        return not stream.closed and stream.fileno() >= 0
    try:
        poll = select.poll()
        poll.register(stream, 0)  # errors alone, which are always reported
        return bool(poll.poll(0))
    except (OSError, ValueError, AttributeError):  # no file, or closed
        return False


class Parser(argparse.ArgumentParser):
    """Reports a wrong option as a UserError, in one line."""

    def error(self, message: str) -> NoReturn:
        raise UserError(message)
