"""Executes one notebook headless: `python -m dglib.execute JOB.json`, one process per execution.

The job file holds `notebook`, `output` and `parameters`. papermill's own metadata is no proof of success, so
the exit status is: 0 done, 2 bad input, 130 stopped on request, 1 anything else, with the reason on stderr.
With `--leash` the end of stdin asks for a stop, too: whoever holds the other end and is killed, closes it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import papermill
import psutil
from papermill.exceptions import PapermillExecutionError

STOP_SECONDS = 120.0  # for a kernel to save its state where nobody is left to wait for it


def main(job_path: str) -> int:
    job, stop = json.loads(Path(job_path).read_text(encoding="utf-8")), _Stop()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    try:
        papermill.execute_notebook(
            job["notebook"],
            job["output"],
            job["parameters"],
            kernel_name="python3",
            progress_bar=False,
            cwd=str(Path(job["output"]).parent),
            on_cell_execute=stop.before_cell,
            # By then all that lasts is on the disk, and an interpreter with torch takes a second to end.
            shutdown_kernel="immediate",
        )
    except PapermillExecutionError as error:
        _tell(error.ename, error.evalue)
        return {"UserError": 2, "Interrupted": 130, "KeyboardInterrupt": 130}.get(error.ename, 1)
    except KeyboardInterrupt:
        for kernel in stop.kernels():  # one that was just being started
            kernel.kill()
        return 130
    except Exception as error:
        _tell(type(error).__name__, str(error))
        return 1
    return 0


def _tell(name: str, reason: str) -> None:
    """The reason on one line, the last of the log."""
    print(f"{name}: {' '.join(reason.split())}", file=sys.stderr)


class _Stop:
    """Passes a stop on: the kernel lives in a session of its own and hears nothing of our signals."""

    def __init__(self) -> None:
        self._asked = False
        self._executing = False
        self._not_ours = set(_children())

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self._asked = True
        if not self._executing:
            raise KeyboardInterrupt  # a kernel that runs no cell yet may lose the signal, or break on it
        for kernel in self.kernels():
            with suppress(psutil.NoSuchProcess):
                kernel.send_signal(signal.SIGINT)

    def before_cell(self, **_: Any) -> None:
        """Begin no cell after a stop: the signal was lost if none was running just then."""
        self._executing = True
        if self._asked:
            raise KeyboardInterrupt

    def kernels(self) -> list[psutil.Process]:
        """What the execution has started, and nothing that its caller had."""
        return [process for process in _children() if process not in self._not_ours]


def _children() -> list[psutil.Process]:
    return list(psutil.Process().children(recursive=True))


def _stop_at_the_end_of_stdin() -> None:
    """The system closes the other end when its holder is killed, too: no signal tells of that."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
    time.sleep(STOP_SECONDS)
    for process in (*_children(), psutil.Process()):
        process.kill()


if __name__ == "__main__":
    if "--leash" in sys.argv[2:]:
        threading.Thread(target=_stop_at_the_end_of_stdin, daemon=True).start()
    sys.exit(main(sys.argv[1]))
