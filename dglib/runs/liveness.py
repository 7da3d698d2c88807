"""Whether a process lives. Records of processes hold `pid`, `host` and the time of their last update.

On this host the process table answers; a process id that was given to a later process does not count. Of
other hosts only the age of the last update is known.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from typing import Any

STALE_SECONDS = 60.0  # heartbeats and owner files are updated far more often
CLOCK_SECONDS = 5.0  # by which a process may seem to begin after an update of its own


def this_process() -> dict[str, Any]:
    return {"pid": os.getpid(), "host": socket.gethostname()}


def is_alive(process: Mapping[str, Any], updated: float, within: float = STALE_SECONDS) -> bool:
    """Whether a process is not known to have ended and gave its last update within so many seconds.

    Args:
        process: `pid` and `host`; where one is missing only the age counts.
        updated: Unix time of the last update.
    """
    age = abs(time.time() - updated)  # a clock that was set back must not block anybody
    return age < within and not has_ended(process, updated)


def has_ended(process: Mapping[str, Any], updated: float) -> bool:
    """Whether a process is known to have ended; always false for processes of other hosts."""
    import psutil  # here: machines that only train need not have it

    if process.get("host") != socket.gethostname() or "pid" not in process:
        return False
    try:
        found = psutil.Process(process["pid"])
        ended = found.status() == psutil.STATUS_ZOMBIE
        return bool(ended or found.create_time() > updated + CLOCK_SECONDS)
    except psutil.NoSuchProcess:
        return True
    except (psutil.Error, TypeError, ValueError):  # another user's, or no process id
        return False
