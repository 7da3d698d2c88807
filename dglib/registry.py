"""Names for the parts that a user may replace by their own: networks, data sets, noises."""

import difflib
import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from dglib.errors import UserError

T = TypeVar("T", bound=Callable[..., object])


class Registry(Generic[T]):
    """Callables of one kind by name; ``module:attribute`` is imported without being registered.

    ``kind`` is the word for an entry in messages ("network"); ``also`` says what else a user may give there.
    """

    def __init__(self, kind: str, also: str = "module:attribute for your own") -> None:
        self.kind = kind
        self._also = also
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that files what it decorates under ``name`` and returns it unchanged.

        Raises UserError where the name is taken. Defining the same function again (a notebook's cell run
        twice, a reloaded module) replaces it.
        """

        def keep(entry: T) -> T:
            held = self._entries.get(name)
            if held is not None and _definition(held) != _definition(entry):
                raise UserError(f"{self.kind} {name!r} is registered already")
            self._entries[name] = entry
            return entry

        return keep

    def get(self, name: str) -> T:
        """The entry registered as ``name``, or the callable that ``module:attribute`` names.

        Raises UserError that tells the kind, the value and what is allowed. An error inside the imported
        module that is no ImportError passes through: its traceback is what its author needs.
        """
        if name in self._entries:
            return self._entries[name]
        if ":" in name:
            return self._imported(name)
        near = difflib.get_close_matches(name, self._entries, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise UserError(
            f"{self.kind} {name!r} is unknown: {hint}allowed are {', '.join(self.names())}, or {self._also}"
        )

    def names(self) -> list[str]:
        """The registered names, sorted."""
        return sorted(self._entries)

    def _imported(self, name: str) -> T:
        module_name, _, attribute = name.partition(":")
        try:
            entry: T = getattr(importlib.import_module(module_name), attribute)
        except (ImportError, AttributeError, TypeError, ValueError) as error:
            raise UserError(f"{self.kind} {name!r} cannot be imported: {error}") from error
        if not callable(entry):
            raise UserError(f"{self.kind} {name!r} is no function or class, but {entry!r}")
        return entry


def _definition(entry: object) -> object:
    """Where ``entry`` was defined, the same for two runs of one definition; the object itself if unknown."""
    name = getattr(entry, "__qualname__", None)
    return entry if name is None else (getattr(entry, "__module__", None), name)


def module_path() -> str:
    """Where this process finds a user's modules, as a child's PYTHONPATH: it finds `module:attribute` too."""
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    paths = dict.fromkeys([sys.path[0], *filter(None, given)])
    return os.pathsep.join(str(Path(path).absolute()) for path in paths)
