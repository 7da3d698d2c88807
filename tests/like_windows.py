"""A simulation of Windows, as far as it concerns code of dglib's: `install()`, before dglib is imported.

The modules that dglib imports lack what Windows lacks, `os.open` without O_BINARY opens a text file (LF is
written as CRLF), a directory cannot be opened, and `os.kill` ends a process whatever the signal. Other
packages see the system as it is. It is no Windows: paths, locks and process creation are the system's own.
"""

import builtins
import importlib
import os
import sys
import types
from pathlib import Path

MISSING = {
    "os": """
        O_CLOEXEC O_DIRECTORY O_NOFOLLOW O_NONBLOCK O_SYNC WNOHANG chown fchmod fdatasync fork getegid geteuid
        getloadavg getpgid getpriority getuid killpg mkfifo nice pipe2 posix_spawn pread sched_getaffinity
        sched_setaffinity setpgid setpriority setsid statvfs sync sysconf uname wait wait4 waitid
    """,
    "signal": """
        ITIMER_REAL SIGALRM SIGCHLD SIGCONT SIGHUP SIGKILL SIGPIPE SIGQUIT SIGSTOP SIGUSR1 SIGUSR2 alarm
        pause pthread_kill pthread_sigmask setitimer sigtimedwait sigwait
    """,
    "select": "epoll poll",
    "socket": "AF_UNIX socketpair",
}
ABSENT = {"fcntl", "grp", "posix", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty"}
O_BINARY = 1 << 30  # no flag of this system's


class _Like(types.ModuleType):
    """A module without what Windows lacks."""

    def __init__(self, module, missing, replaced):
        super().__init__(module.__name__)
        self.__dict__.update(_module=module, _missing=set(missing.split()), **replaced)

    def __getattr__(self, name):
        if name in self._missing:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}: not on Windows")
        return getattr(self._module, name)


class _Files:
    """os.open and its kin, in text mode without O_BINARY."""

    def __init__(self):
        self.text = set()

    def open(self, path, flags, *rest, **options):
        if Path(path).is_dir():
            raise PermissionError(13, "Permission denied", str(path))
        handle = os.open(path, flags & ~O_BINARY, *rest, **options)
        (self.text.discard if flags & O_BINARY else self.text.add)(handle)
        return handle

    def write(self, handle, content):
        if handle in self.text:
            os.write(handle, bytes(content).replace(b"\n", b"\r\n"))
            return len(content)
        return os.write(handle, content)


def _no_kill(pid, number):
    raise AssertionError(f"os.kill ends process {pid} on Windows, whatever the signal {number}")


def install():
    """From now on modules of dglib import this system's modules as Windows has them."""
    files = _Files()
    replaced = {"os": {"open": files.open, "write": files.write, "O_BINARY": O_BINARY, "kill": _no_kill}}
    like = {
        name: _Like(importlib.import_module(name), missing, replaced.get(name, {}))
        for name, missing in MISSING.items()
    }
    original = builtins.__import__

    def imported(name, asking_globals=None, asking_locals=None, fromlist=(), level=0):
        asking = (asking_globals or {}).get("__name__", "")
        if level == 0 and (asking == "dglib" or asking.startswith("dglib.")):
            if name in ABSENT:
                raise ModuleNotFoundError(f"No module named {name!r}: not on Windows", name=name)
            if name in like:
                return like[name]
        return original(name, asking_globals, asking_locals, fromlist, level)

    assert not any(name.split(".")[0] == "dglib" for name in sys.modules)
    builtins.__import__ = imported
