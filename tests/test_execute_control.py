"""An execution in a thread, where no signals arrive: a control stops it."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dglib.campaign import notebooks as execute
from dglib.control import Control, Interrupted

PATIENCE = 120  # seconds, on a loaded machine
KERNEL = [sys.executable, "-c", "import time; print(1, flush=True); time.sleep(600)"]


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[bool], tuple[int, BaseException]]:
    """Stops an execution, in a cell or before any. Gives how its kernel ended, and what was raised."""

    def run(in_a_cell: bool) -> tuple[int, BaseException]:
        control, kernels, raised = Control(), list[subprocess.Popen[bytes]](), list[BaseException]()

        def papermill(*_: Any, on_cell_execute: Callable[..., None], **__: Any) -> None:
            assert "DGLIB_HEADLESS" in os.environ, "the first cell would ask for a Drive"
            kernel = subprocess.Popen(KERNEL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            kernels.append(kernel)
            with kernel:
                assert kernel.stdout is not None
                kernel.stdout.readline()
                if in_a_cell:
                    on_cell_execute(cell=None, cell_index=0)
                control.stop()
                kernel.wait(PATIENCE)
            if not in_a_cell:
                raise RuntimeError("Kernel died before replying to kernel_info")
            on_cell_execute(cell=None, cell_index=1)

        def thread() -> None:
            try:
                execute.execute(tmp_path / "a.ipynb", tmp_path / "b.ipynb", {}, control)
            except BaseException as error:
                raised.append(error)

        monkeypatch.setattr(execute.papermill, "execute_notebook", papermill)
        runs = threading.Thread(target=thread)
        runs.start()
        runs.join(2 * PATIENCE)
        (kernel,) = kernels
        return kernel.returncode, raised[0]

    return run


def test_a_stop_interrupts_the_cell_and_begins_no_other(
    executed: Callable[[bool], tuple[int, BaseException]],
) -> None:
    code, error = executed(True)
    assert code == -2  # by SIGINT, at which a cell saves its state
    assert isinstance(error, Interrupted)


def test_a_stop_kills_a_kernel_that_runs_no_cell_yet_and_starts_no_other(
    executed: Callable[[bool], tuple[int, BaseException]],
) -> None:
    code, error = executed(False)
    assert code == -9
    assert isinstance(error, Interrupted)
