"""Executes one notebook headless: `python -m dglib.execute JOB.json`, one process per execution.

The job file holds `notebook`, `output` and `parameters`. papermill's own metadata is no proof of success, so
the exit status is: 0 done, 2 bad input, 130 stopped on request, 1 anything else, with the reason on stderr.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from types import FrameType

import papermill
import psutil
from papermill.exceptions import PapermillExecutionError


def main(job_path: str) -> int:
    job = json.loads(Path(job_path).read_text(encoding="utf-8"))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt_kernel)
    try:
        papermill.execute_notebook(
            job["notebook"],
            job["output"],
            job["parameters"],
            kernel_name="python3",
            progress_bar=False,
            cwd=str(Path(job["output"]).parent),
        )
    except PapermillExecutionError as error:
        _tell(error.ename, error.evalue)
        return {"UserError": 2, "Interrupted": 130, "KeyboardInterrupt": 130}.get(error.ename, 1)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        _tell(type(error).__name__, str(error))
        return 1
    return 0


def _tell(name: str, reason: str) -> None:
    """The reason on one line, the last of the log."""
    print(f"{name}: {' '.join(reason.split())}", file=sys.stderr)


def _interrupt_kernel(number: int, frame: FrameType | None) -> None:
    """Pass a stop on: the kernel lives in a session of its own and hears nothing of our signals."""
    kernels = psutil.Process().children(recursive=True)
    if not kernels:
        raise KeyboardInterrupt  # before there is one
    for kernel in kernels:
        kernel.send_signal(signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
