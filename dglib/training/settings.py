"""torch's process-wide settings, shared by every run of a process.

A run holds those that its numbers depend on. The first holder of a setting writes it, a holder that needs
another value is refused, and the last holder restores what was there before, in any order of leaving.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from dglib.errors import UserError

_PER_THREAD = {"threads", "dynamo.recompile_limit", "dynamo.fail_on_recompile_limit_hit"}


@dataclass
class _Held:
    """A held setting; `holders`: name and thread by token."""

    value: Any
    before: Any
    holders: dict[object, tuple[str, int]] = field(default_factory=dict)


_HELD: dict[str, _Held] = {}
_LOCK = threading.Lock()


@contextmanager
def hold(wanted: Mapping[str, Any], holder: str) -> Iterator[None]:
    """Hold settings of torch at these values.

    Args:
        wanted: by name: "threads", "deterministic algorithms" (off, warn, on), or an attribute below
            torch.backends or, with "dynamo.", of torch._dynamo.config.
        holder: for the message to another run.

    Raises:
        UserError: another run in this process holds one of them at another value; nothing is changed.
    """
    token, here = object(), threading.get_ident()
    try:
        with _LOCK:
            for name, value in wanted.items():
                held = _HELD.get(name)
                if held is not None and held.holders and held.value != value:
                    who = next(iter(held.holders.values()))[0]
                    raise UserError(
                        f"{holder}: needs {name} = {value} of torch, and {who} holds {held.value} in this"
                        f" process; pause {who}, wait until it has ended, or use another process"
                    )
            for name, value in wanted.items():
                held = _HELD.get(name)
                if held is None or not held.holders:
                    held = _HELD[name] = _Held(value, _read(name))
                held.holders[token] = holder, here
                _write(name, value)
        yield
    finally:
        with _LOCK:
            for name in wanted:
                _release(name, token, here)


def _release(name: str, token: object, here: int) -> None:
    held = _HELD.get(name)
    if held is None or held.holders.pop(token, None) is None:
        return  # refused, or interrupted before this setting
    if not held.holders:
        del _HELD[name]
        _write(name, held.before)
    elif name in _PER_THREAD and here not in {thread for _, thread in held.holders.values()}:
        # Not needed in this thread, but in others: another thread writes what is common to all again.
        _write(name, held.before)
        again = threading.Thread(target=_write, args=(name, held.value))
        again.start()
        again.join()


def unheld(name: str) -> Any:
    """The value of a setting, or the value before anyone held it."""
    held = _HELD.get(name)
    return _read(name) if held is None else held.before


def _read(name: str) -> Any:
    if name == "threads":
        return torch.get_num_threads()
    if name == "deterministic algorithms":
        if not torch.are_deterministic_algorithms_enabled():
            return "off"
        return "warn" if torch.is_deterministic_algorithms_warn_only_enabled() else "on"
    return getattr(*_attribute(name))


def _write(name: str, value: Any) -> None:
    if _read(name) == value:
        return
    if name == "threads":
        torch.set_num_threads(value)
    elif name == "deterministic algorithms":
        torch.use_deterministic_algorithms(value != "off", warn_only=value == "warn")
    else:
        setattr(*_attribute(name), value)


def _attribute(name: str) -> tuple[Any, str]:
    """Owner and name of an attribute."""
    group, *path, attribute = name.split(".")
    if group == "dynamo":
        from torch import _dynamo  # takes seconds

        return _dynamo.config, attribute
    owner: Any = getattr(torch.backends, group)
    for part in path:
        owner = getattr(owner, part)
    return owner, attribute
