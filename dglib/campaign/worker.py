"""`python -m dglib.campaign.worker`: a process that does jobs one after the other and imports torch once.

Jobs come as JSON lines on stdin, answers go as JSON lines to stdout: {"done": result}, {"failed": reason} or
{"stopped": true}, with "last" where the process ends after it. What a job prints goes to its log. The end of
stdin asks for a stop after a checkpoint: it comes, too, when the process at the other end was killed.
"""

from __future__ import annotations

import faulthandler
import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dglib import output
from dglib.campaign import work
from dglib.control import Control
from dglib.errors import UserError

if TYPE_CHECKING:
    from dglib.dataset import Dataset
    from dglib.experiments.parameters import Parameters

STOP_SECONDS = 120.0  # for a job to save its state where nobody is left to wait for it


def main() -> int:
    """Do jobs until stdin ends. 130: stopped; 1: after a failure that may have left the process unusable."""
    answers = os.dup(1)
    os.dup2(2, 1)  # what a job prints must not be taken for an answer
    output.never_fail("utf-8")  # as the logs
    faulthandler.enable()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    load = Remembered()
    try:
        inbox = _Inbox()
        while True:
            answer = do(inbox.next(), load)
            os.write(answers, json.dumps(answer).encode() + b"\n")
            if answer.get("last"):
                return 1 if "failed" in answer else 130
    except KeyboardInterrupt:
        return 130


class _Inbox:
    """The jobs of stdin; its end stops what is being done."""

    def __init__(self) -> None:
        self._jobs: queue.Queue[dict[str, Any]] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def next(self) -> dict[str, Any]:
        """The next job, waited for."""
        return self._jobs.get()

    def _read(self) -> None:
        for line in sys.stdin:
            self._jobs.put(json.loads(line))
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
        time.sleep(STOP_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)  # a kernel notices by itself


def do(
    job: Mapping[str, Any], load: Remembered, *, control: Control | None = None, wait: bool = False
) -> dict[str, Any]:
    """Do a job as `dglib.campaign.work` says, its output going to its log; the answer, as plain data.

    Args:
        control, wait: as for `dglib.campaign.work.train` and `dglib.campaign.work.summarise`.

    Returns:
        {"done": result}, {"failed": reason} or {"stopped": true}; with "last": true where the process should
        do no other job: it was told to stop, or the unforeseen happened, after which a GPU may be unusable.
    """
    with _printing_to(Path(job["log"])):
        try:
            if job["kind"] == "summary":
                return {"done": work.summarise(job, control=control)}
            return {"done": work.train(job, control=control, load=load, wait=wait)}
        except KeyboardInterrupt:
            return {"stopped": True, "last": True}
        except UserError as error:
            reason, last = str(error), False
        except Exception as error:
            if type(error).__name__ == "ExecutionError":  # of another process, and told in full by its cell
                reason, last = str(error), False
            else:
                traceback.print_exc()
                reason, last = f"{type(error).__name__}: {error}", True
        reason = " ".join(reason.split())
        print(reason, file=sys.stderr, flush=True)
        return {"failed": reason, "last": last}


@contextmanager
def _printing_to(log: Path) -> Iterator[None]:
    """Have all that this process and its children print meanwhile at the end of a file."""
    before = os.dup(1), os.dup(2)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as file:
        began = datetime.now(UTC).isoformat(timespec="seconds")
        print(f"-- {began}, process {os.getpid()}", file=file, flush=True)
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, original in zip((1, 2), before, strict=True):
            os.dup2(original, number)
            os.close(original)


class Remembered:
    """Loads data sets; the last one is kept, since jobs beside each other in the order often share it."""

    def __init__(self) -> None:
        self._last: tuple[object, Dataset] | None = None

    def __call__(self, parameters: Parameters) -> Dataset:
        from dglib.api import load

        p = parameters
        asked = (p.dataset, p.data_dir, p.pixel_mean, p.pixel_std)
        if self._last is None or self._last[0] != asked:
            self._last = asked, load(parameters)
        return self._last[1]


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # all that lasts is on the disk, and an interpreter with torch takes a second to end
