"""torch's process-wide switches, shared by every run of a process.

A run holds the switches that its numbers depend on. The first holder of a switch sets it, a holder that needs
another value is refused, and the last one that leaves restores what was there before, whatever the order.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from dglib.errors import UserError


@dataclass(frozen=True)
class Switch:
    """Reads and writes one setting. `per_thread`: threads may have values of their own."""

    read: Callable[[], Any]
    write: Callable[[Any], None]
    per_thread: bool = False


def _attribute(owner: Callable[[], Any], name: str, *, per_thread: bool = False) -> Switch:
    return Switch(lambda: getattr(owner(), name), lambda value: setattr(owner(), name, value), per_thread)


def _dynamo_config() -> Any:
    import torch._dynamo  # takes seconds

    return torch._dynamo.config


def _deterministic() -> str:
    if not torch.are_deterministic_algorithms_enabled():
        return "off"
    return "warn" if torch.is_deterministic_algorithms_warn_only_enabled() else "on"


_backends: Any = torch.backends  # whose submodules have no types
SWITCHES = {
    # OpenMP holds the number of threads by thread, torch and MKL by process: each holder sets all of them.
    "threads": Switch(torch.get_num_threads, torch.set_num_threads, per_thread=True),
    "deterministic algorithms": Switch(
        _deterministic,
        lambda value: torch.use_deterministic_algorithms(value != "off", warn_only=value == "warn"),
    ),
    "cudnn.deterministic": _attribute(lambda: _backends.cudnn, "deterministic"),
    "cudnn.benchmark": _attribute(lambda: _backends.cudnn, "benchmark"),
    "cudnn.conv.fp32_precision": _attribute(lambda: _backends.cudnn.conv, "fp32_precision"),
    "cuda.matmul.fp32_precision": _attribute(lambda: _backends.cuda.matmul, "fp32_precision"),
    "mkldnn.conv.fp32_precision": _attribute(lambda: _backends.mkldnn.conv, "fp32_precision"),
    "mkldnn.matmul.fp32_precision": _attribute(lambda: _backends.mkldnn.matmul, "fp32_precision"),
    "dynamo.recompile_limit": _attribute(_dynamo_config, "recompile_limit", per_thread=True),
    "dynamo.fail_on_recompile_limit_hit": _attribute(
        _dynamo_config, "fail_on_recompile_limit_hit", per_thread=True
    ),
}


@dataclass
class _Held:
    """A switch that is held. `holders`: who by token, each with its thread."""

    value: Any
    before: Any
    holders: dict[object, tuple[str, int]] = field(default_factory=dict)


_HELD: dict[str, _Held] = {}
_LOCK = threading.Lock()


def unheld(name: str) -> Any:
    """The value that a switch has, or had before anyone held it."""
    held = _HELD.get(name)
    return SWITCHES[name].read() if held is None else held.before


@contextmanager
def hold(wanted: Mapping[str, Any], holder: str) -> Iterator[None]:
    """Hold switches at these values meanwhile.

    Args:
        wanted: by the names of `SWITCHES`.
        holder: who, for the message to another run.

    Raises:
        UserError: another run in this process holds one of them at another value; nothing is changed then.
    """
    token = object()
    try:
        with _LOCK:
            _check(wanted, holder)
            for name, value in wanted.items():
                _take(name, value, token, holder)
        yield
    finally:
        with _LOCK:
            for name in wanted:
                _leave(name, token)


def _check(wanted: Mapping[str, Any], holder: str) -> None:
    for name, value in wanted.items():
        held = _HELD.get(name)
        if held is not None and held.value != value:
            who = next(iter(held.holders.values()))[0]
            raise UserError(
                f"{holder}: needs {name} = {value} of torch, and {who} holds {held.value} in this process;"
                f" pause {who}, wait until it has ended, or use another process"
            )


def _take(name: str, value: Any, token: object, holder: str) -> None:
    switch = SWITCHES[name]
    held = _HELD.get(name)
    if held is None:
        held = _HELD[name] = _Held(value, switch.read())
    held.holders[token] = holder, threading.get_ident()
    if switch.read() != value:
        switch.write(value)


def _leave(name: str, token: object) -> None:
    held, switch, here = _HELD.get(name), SWITCHES[name], threading.get_ident()
    if held is None or held.holders.pop(token, None) is None:
        return  # refused, or interrupted before this switch
    if not held.holders:
        del _HELD[name]
        if switch.read() != held.before:
            switch.write(held.before)
        return
    needed = any(thread == here for _, thread in held.holders.values())
    if switch.per_thread and not needed and switch.read() != held.before:
        # This thread has no use for it, the process has: another thread sets what is common to all again.
        switch.write(held.before)
        again = threading.Thread(target=switch.write, args=(held.value,))
        again.start()
        again.join()
