"""One notebook executed headless: how it ends, and how it is stopped."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from papermill.exceptions import PapermillExecutionError

import dglib
from dglib.campaign import notebooks as execute
from dglib.control import Control, Interrupted
from dglib.errors import UserError

PATIENCE = 120  # seconds, on a loaded machine


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """An execution with a stand-in for papermill."""

    def run(papermill: Callable[..., None], *more: Any) -> None:
        monkeypatch.setattr(execute.papermill, "execute_notebook", papermill)
        execute.execute(Path("a.ipynb"), Path("b.ipynb"), {}, *more)

    return run


def _in_notebook(name: str, reason: str) -> PapermillExecutionError:
    return PapermillExecutionError(0, 1, "", name, reason, [])


@pytest.mark.parametrize(
    ("raised", "kind", "line"),
    [
        (ValueError("first\n  second"), UserError, "ValueError: first second"),
        (
            _in_notebook("RuntimeError", "CUDA\nout of memory"),
            UserError,
            "RuntimeError: CUDA out of memory",
        ),
        (_in_notebook("UserError", "no such file"), UserError, "no such file"),
        (_in_notebook("Interrupted", ""), Interrupted, ""),
        (_in_notebook("KeyboardInterrupt", ""), Interrupted, ""),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_failed_execution_is_reported_in_one_line(
    raised: Exception, kind: type[BaseException], line: str, executed: Callable[..., None]
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise raised

    with pytest.raises(kind) as caught:
        executed(fail)
    assert str(caught.value) == line


def test_a_kernel_that_does_not_start_is_started_again_and_fails_after_three(
    executed: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execute, "START_PAUSES", (0.0, 0.0))
    tries = []

    def starts_at(number: int) -> Callable[..., None]:
        def start(*_: Any, **__: Any) -> None:
            tries.append(number)
            if tries.count(number) < number:
                raise RuntimeError("Kernel died before replying to kernel_info")

        return start

    executed(starts_at(3))
    assert len(tries) == 3
    with pytest.raises(UserError, match="Kernel died before replying"):
        executed(starts_at(9))
    assert tries.count(9) == 3


@pytest.mark.parametrize("by", ["signal", "control"])
def test_a_stop_kills_the_kernel(by: str, executed: Callable[..., None], tmp_path: Path) -> None:
    control, kernels, raised = Control(), list[subprocess.Popen[bytes]](), list[BaseException]()
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    def papermill(*_: Any, **__: Any) -> None:
        assert "DGLIB_HEADLESS" in os.environ, "the first cell would ask for a Drive"
        with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as kernel:
            kernels.append(kernel)
            if by == "signal":
                signal.raise_signal(signal.SIGTERM)
            else:
                control.stop()
            kernel.wait(PATIENCE)
        raise RuntimeError("Kernel died")

    def run() -> None:
        try:
            executed(papermill, control)
        except BaseException as error:
            raised.append(error)

    if by == "signal":
        run()
    else:  # in another thread, where no signals arrive
        thread = threading.Thread(target=run)
        thread.start()
        thread.join(2 * PATIENCE)
    assert [kernel.returncode for kernel in kernels] == [-signal.SIGKILL]
    assert isinstance(raised[0], Interrupted)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_notebook_runs_in_our_python_whatever_kernel_a_user_has_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = tmp_path / "jupyter" / "kernels" / "python3" / "kernel.json"
    foreign.parent.mkdir(parents=True)
    argv = ["/nowhere/python", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    foreign.write_text(json.dumps({"argv": argv, "display_name": "Python 3", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": kernel})
    notebook.cells = [nbformat.v4.new_code_cell("import dglib\nprint(dglib.__file__)")]
    nbformat.write(notebook, tmp_path / "in.ipynb")
    (tmp_path / "out").mkdir()
    execute.execute(tmp_path / "in.ipynb", tmp_path / "out" / "out.ipynb", {})
    assert str(Path(dglib.__file__).parent) in (tmp_path / "out" / "out.ipynb").read_text(encoding="utf-8")
