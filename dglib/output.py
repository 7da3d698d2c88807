"""Text output that never fails, whatever the encoding of stdout and stderr.

A stream that cannot encode λ (`PYTHONIOENCODING=ascii`, cp1252, a C locale) gets "lambda", an arrow becomes
"->" and a minus sign "-", so that numbers and units stay readable.
"""

from __future__ import annotations

import codecs
import sys
import unicodedata

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
