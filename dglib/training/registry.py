"""Registries: what a user may replace by their own (networks, data sets, noises, rules, metrics), by name."""

from __future__ import annotations

import ast
import contextlib
import difflib
import functools
import hashlib
import importlib
import inspect
import linecache
import os
import sys
import sysconfig
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

from dglib.errors import UserError

PACKAGE = str(Path(__file__).parents[1]) + os.sep
STDLIB = sysconfig.get_path("stdlib") + os.sep

T = TypeVar("T", bound=Callable[..., object])


class Registry(Generic[T]):
    """Callables of one kind by name; ``module:attribute`` is imported without being registered.

    Args:
        kind: the word for an entry in messages ("network").
        also: what else a user may give, for messages.
    """

    def __init__(self, kind: str, also: str = "module:attribute for your own") -> None:
        self.kind = kind
        self._also = also
        self._entries: dict[str, T] = {}
        self._sources: dict[str, tuple[T, str | None]] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that registers a callable under ``name`` and returns it unchanged.

        Raises UserError where the name is taken. Defining the same function again (a notebook's cell run
        twice, a reloaded module) replaces it.
        """

        def decorate(entry: T) -> T:
            before = self._entries.get(name)
            if before is not None and _definition(before) != _definition(entry):
                raise UserError(f"{self.kind} {name!r} is registered already")
            self._entries[name] = entry
            self._sources[name] = entry, source_hash(entry)
            return entry

        return decorate

    def source(self, name: str) -> str | None:
        """`source_hash` of a user's entry as it was when it was registered or first imported.

        A file that is edited later is not what this process runs. None: dglib's own, or no source.
        Raises as `get`.
        """
        entry = self.get(name)
        if name not in self._sources or self._sources[name][0] is not entry:
            self._sources[name] = entry, source_hash(entry)
        return self._sources[name][1]

    def get(self, name: str) -> T:
        """The entry registered as ``name``, or the callable that ``module:attribute`` names.

        Raises UserError with the kind, the value and what is allowed. An error inside the imported
        module that is no ImportError passes through: its traceback is what its author needs.
        """
        if name in self._entries:
            return self._entries[name]
        if ":" in name:
            return self._imported(name)
        near = difflib.get_close_matches(name, self._entries, n=1)
        module, _, attribute = name.rpartition(".")
        if not near and module and all(map(str.isidentifier, name.split("."))):
            near = [f"{module}:{attribute}"]
        hint = f"did you mean {near[0]!r}? " if near else ""
        allowed = f"allowed are {', '.join(self.names())}, or" if self._entries else "allowed is"
        raise UserError(f"{self.kind} {name!r} is unknown: {hint}{allowed} {self._also}")

    def is_own(self, name: str) -> bool:
        """Whether an entry is the user's, and not one of dglib's. Raises as `get`."""
        return str(getattr(self.get(name), "__module__", "")).partition(".")[0] != "dglib"

    def names(self) -> list[str]:
        """The registered names, sorted."""
        return sorted(self._entries)

    def _imported(self, name: str) -> T:
        module_name, _, attribute = name.partition(":")
        try:
            entry: T = getattr(importlib.import_module(module_name), attribute)
        except (ImportError, AttributeError, TypeError, ValueError) as error:
            where = ""
            if isinstance(error, ModuleNotFoundError) and error.name == module_name.partition(".")[0]:
                here = any(Path(path).absolute() == Path.cwd() for path in sys.path)
                first = "the current directory" if here else Path(sys.path[0]).absolute()
                where = f" in PYTHONPATH or {first}"
            raise UserError(f"{self.kind} {name!r} cannot be imported: {error}{where}") from error
        if not callable(entry):
            raise UserError(f"{self.kind} {name!r} is no function or class, but {entry!r}")
        return entry


def _definition(entry: object) -> object:
    """Where ``entry`` was defined, the same for two runs of one definition; the object itself if unknown."""
    name = getattr(entry, "__qualname__", None)
    return entry if name is None else (getattr(entry, "__module__", None), name)


def call(what: str, function: Callable[..., Any], *arguments: object) -> Any:
    """Call what a user gave. An error in it becomes a UserError in one line: `what`, and where it was raised.

    What is a UserError already passes through.
    """
    try:
        return function(*arguments)
    except UserError:
        raise
    except Exception as error:
        raise failed(what, error) from error


def failed(what: str, error: Exception) -> UserError:
    """An error in what a user gave, in one line: `what`, and where in the user's code it was raised."""
    frames = traceback.extract_tb(error.__traceback__)[1:]
    not_own = (PACKAGE, STDLIB, "<string>")  # the last: a dataclass's __init__
    own = [f for f in frames if "site-packages" not in f.filename and not f.filename.startswith(not_own)]
    where = f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""
    return UserError(f"{what}: {type(error).__name__}: {error}{where}")


def module_path() -> str:
    """Where this process finds a user's modules, as a child's PYTHONPATH: it finds `module:attribute` too."""
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    paths = dict.fromkeys([sys.path[0], str(Path.cwd()), *filter(None, given)])
    return os.pathsep.join(str(Path(path).absolute()) for path in paths)


def source_hash(entry: Callable[..., object]) -> str | None:
    """SHA-256 of the syntax tree of the file or notebook cell that defines `entry`.

    Comments, layout and docstrings do not count, and imports are not followed. None where there is no
    source, and for what dglib itself defines.
    """
    entry = definition(entry)
    if str(getattr(entry, "__module__", "")).partition(".")[0] == "dglib":
        return None
    text = _source(entry)
    if not text.strip():
        return None
    with contextlib.suppress(SyntaxError, ValueError):  # a cell with magics is hashed as it is
        text = _tree(ast.parse(text))
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def definition(entry: Callable[..., object]) -> Callable[..., object]:
    """The function that an entry is or wraps; of an object that can be called, its class."""
    while isinstance(entry, functools.partial):
        entry = entry.func
    entry = inspect.unwrap(entry)
    return entry if inspect.isroutine(entry) or inspect.isclass(entry) else type(entry)


def _source(entry: Callable[..., object]) -> str:
    """The whole file or cell, as it is now; "" where there is none."""
    functions = [entry, *vars(entry).values()] if inspect.isclass(entry) else [entry]
    codes = (getattr(function, "__code__", None) for function in functions)
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
        return f"[{','.join(_tree(item) for item in node if not _is_text(item))}]"
    return repr(node)


def _is_text(node: object) -> bool:
    value = node.value if isinstance(node, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)
