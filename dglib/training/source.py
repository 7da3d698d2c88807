"""The hash of the source that defines a user's function or class."""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import inspect
import linecache
from collections.abc import Callable


def source_hash(entry: Callable[..., object]) -> str | None:
    """SHA-256 of the syntax tree of the file or notebook cell that defines `entry`.

    Comments, layout and docstrings do not count, and imports are not followed. None where there is no
    source, and for what dglib itself defines.
    """
    while isinstance(entry, functools.partial):
        entry = entry.func
    entry = inspect.unwrap(entry)
    if not (inspect.isroutine(entry) or inspect.isclass(entry)):
        entry = type(entry)  # an object that can be called
    if str(getattr(entry, "__module__", "")).partition(".")[0] == "dglib":
        return None
    text = _source(entry)
    if not text.strip():
        return None
    with contextlib.suppress(SyntaxError, ValueError):  # a cell with magics is hashed as it is
        text = _tree(ast.parse(text))
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def _source(entry: Callable[..., object]) -> str:
    """The whole file or cell, as it is now; "" where there is none."""
    functions = [entry, *vars(entry).values()] if inspect.isclass(entry) else [entry]
    codes = (getattr(each, "__code__", None) for each in functions)
    names = [code.co_filename for code in codes if code is not None]
    if not names:
        try:
            names = [inspect.getfile(entry)]
        except (TypeError, OSError):
            return ""
    linecache.checkcache(names[0])
    return "".join(linecache.getlines(names[0], getattr(entry, "__globals__", None)))


def _tree(node: object) -> str:
    """The tree as text. Not `ast.dump`, whose text depends on the version of Python."""
    if isinstance(node, ast.AST):
        fields = ((name, value) for name, value in ast.iter_fields(node) if value is not None and value != [])
        return f"{type(node).__name__}({','.join(f'{name}={_tree(value)}' for name, value in fields)})"
    if isinstance(node, list):
        return f"[{','.join(_tree(each) for each in node if not _is_docstring(each))}]"
    return repr(node)


def _is_docstring(node: object) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
