"""What needs a POSIX system: the worker processes of a campaign. One seed at a time runs anywhere."""

import os
import signal

from dglib.errors import UserError


def require(given: str, instead: str) -> None:
    """Refuse what needs POSIX signals where there are none, as on Windows.

    Args:
        given: what was asked for.
        instead: what works there.
    """
    if os.name != "posix" or not hasattr(signal, "pthread_kill") or not hasattr(signal, "SIGKILL"):
        raise UserError(f"{given}: needs a POSIX system (Linux, macOS, WSL); here {instead}")
