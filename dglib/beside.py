"""Several seeds of a run at once: processes beside this one that train the seeds it has not come to.

Seeds are shared out by their locks, as between any processes on one run directory, so nothing is decided
here and a process that dies leaves its seeds to the others. `python -m dglib.beside FILE.json` is such one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from dglib import output
from dglib.control import Control, Interrupted
from dglib.errors import UserError
from dglib.files import to_json
from dglib.registry import module_path

if TYPE_CHECKING:
    from dglib.experiments.parameters import Parameters

STOP_SECONDS = 120.0


@contextmanager
def siblings(
    parameters: Parameters, base: Path, seeds_left: int, tell: Callable[[str], None]
) -> Iterator[Callable[[], bool]]:
    """Have up to `parameters.seeds_at_once` processes train, this one counted, and no more than seeds left.

    Yields a function that says whether any of them still runs. On the way out those that do are asked to
    stop, which saves their seeds, and one that failed is told of: its seeds were left to this process.

    Args:
        base: where the run directory lies; it must be there already.
    """
    wanted = min(parameters.seeds_at_once, seeds_left) - 1
    running: list[tuple[subprocess.Popen[bytes], IO[bytes]]] = []
    with ExitStack() as stack:
        try:
            if wanted > 0:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dglib-")))
                own = {"base_dir": str(base.absolute()), "mirror": False, "seeds_at_once": 1}
                job = {"experiment": parameters.experiment, "parameters": parameters.model_dump() | own}
                (folder / "job.json").write_bytes(to_json(job))
                for _ in range(wanted):
                    log = stack.enter_context(tempfile.TemporaryFile())
                    running.append((_start(folder / "job.json", log), log))
            yield lambda: any(process.poll() is None for process, _ in running)
        finally:
            _end(running, tell)


def _start(job: Path, log: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "dglib.beside", str(job)],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=os.environ | {"TQDM_DISABLE": "1", "PYTHONPATH": module_path()},
    )


def _end(running: list[tuple[subprocess.Popen[bytes], IO[bytes]]], tell: Callable[[str], None]) -> None:
    """Stop all, and tell what went wrong."""
    asked = [process for process, _ in running if process.poll() is None]
    for process in asked:
        process.terminate()
    deadline = time.monotonic() + STOP_SECONDS
    for process, log in running:
        try:
            code = process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        if code not in (0, 130) and process not in asked:
            log.seek(0)
            lines = log.read().decode(errors="replace").strip().splitlines()
            tell(f"a process beside this one ended early: {lines[-1] if lines else f'status {code}'}")


def main(job_file: str) -> int:
    """Train the seeds that are free. 0: none is left; 2: the parameters cannot be used; 130: stopped."""
    from dglib.experiments.validation import Layer, validate_layers

    output.never_fail("utf-8")  # which its log is read as
    job = json.loads(Path(job_file).read_bytes())
    control = Control()
    _stop_with_parent(control)
    try:
        parameters = validate_layers(job["experiment"], [Layer(job_file, job["parameters"])])
        from dglib.api import train_free_seeds

        train_free_seeds(parameters, control)
    except UserError as error:
        print("dglib: error:", " ".join(str(error).split()), file=sys.stderr)
        return 2
    except (Interrupted, KeyboardInterrupt):
        return 130
    return 0


def _stop_with_parent(control: Control) -> None:
    """A parent that was killed can ask for nothing any more."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        control.stop()

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
