"""Executes one notebook headless, in this process. papermill's own metadata is no proof of success: whether
the call returns is."""

from __future__ import annotations

import os
import secrets
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import papermill
import psutil
from ipykernel.kernelspec import RESOURCES, get_kernel_dict
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from papermill.exceptions import PapermillExecutionError

from dglib.control import POLL_SECONDS, Control, Interrupted
from dglib.errors import UserError

START_PAUSES = (1.0, 3.0)  # seconds, before a kernel that did not start is started again


class ExecutionError(Exception):
    """A notebook or its kernel failed; the message is one line."""


def execute(
    notebook: Path, output: Path, parameters: Mapping[str, Any], control: Control | None = None
) -> None:
    """Execute a notebook with these parameters; `output` is replaced when that has ended, well or not.

    The notebook runs in the directory of `output`. A kernel that does not start is started again: where many
    start at once, two may choose one port. In the main thread SIGINT and SIGTERM stop the execution, which
    lets a cell save its state; in another thread `control` may ask for that.

    Raises:
        UserError: a cell raised it.
        Interrupted: the execution was stopped.
        ExecutionError: anything else that went wrong.
    """
    for left in output.parent.glob(f".{output.stem}.*.ipynb"):
        left.unlink(missing_ok=True)  # of an execution that was killed
    draft = output.with_name(f".{output.stem}.{os.getpid()}-{secrets.token_hex(4)}.ipynb")
    try:
        for pause in (*START_PAUSES, None):
            stop = _Stop(control)
            try:
                with stop.listening():
                    _run(notebook, draft, parameters, stop)
                return
            except (RuntimeError, OSError) as error:
                if stop.asked or stop.executing or pause is None or isinstance(error, FileNotFoundError):
                    raise
                _kill(stop.kernels())
                time.sleep(pause)
    except PapermillExecutionError as error:
        if error.ename in ("Interrupted", "KeyboardInterrupt"):
            raise Interrupted(_line(error.ename, error.evalue)) from None
        if error.ename == "UserError":
            raise UserError(error.evalue) from None
        raise ExecutionError(_line(error.ename, error.evalue)) from None
    except KeyboardInterrupt:
        _kill(stop.kernels())  # one that was just being started
        raise Interrupted from None
    except Exception as error:
        if stop.asked:
            raise Interrupted from None
        raise ExecutionError(_line(type(error).__name__, str(error))) from error
    finally:
        with suppress(FileNotFoundError):  # stopped before there was anything
            draft.replace(output)


class _OwnKernel(AsyncKernelManager):
    """A kernel of this process's Python, which has dglib: a user's own `python3` may be of another one."""

    @property
    def kernel_spec(self) -> KernelSpec:
        return KernelSpec(resource_dir=RESOURCES, **get_kernel_dict())


def _run(notebook: Path, output: Path, parameters: Mapping[str, Any], stop: _Stop) -> None:
    with _headless():
        papermill.execute_notebook(
            str(notebook),
            str(output),
            dict(parameters),
            kernel_name="python3",
            kernel_manager_class=_OwnKernel,
            progress_bar=False,
            cwd=str(output.parent),
            on_cell_execute=stop.before_cell,
            # By then all that lasts is on the disk, and an interpreter with torch takes a second to end.
            shutdown_kernel="immediate",
        )


@contextmanager
def _headless() -> Iterator[None]:
    """Tell the first cell of a kernel started meanwhile that nobody can be asked to mount a Drive."""
    os.environ["DGLIB_HEADLESS"] = "1"
    try:
        yield
    finally:
        os.environ.pop("DGLIB_HEADLESS", None)


def _line(name: str, reason: str) -> str:
    return f"{name}: {' '.join(reason.split())}"


def _kill(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


class _Stop:
    """Passes a stop on: the kernel lives in a session of its own and hears nothing of our signals."""

    def __init__(self, control: Control | None) -> None:
        self._control = control
        self.asked = False
        self.executing = False
        self._not_ours = set(_children())

    @contextmanager
    def listening(self) -> Iterator[None]:
        """SIGINT and SIGTERM meanwhile ask for the stop. Other threads than the main one get no signals."""
        if threading.current_thread() is not threading.main_thread():
            with self._looking():
                yield
            return
        before = {number: signal.signal(number, self) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def _looking(self) -> Iterator[None]:
        """What the control asks for meanwhile is done by a thread."""
        over = threading.Event()

        def look() -> None:
            while self._control is not None and not over.wait(POLL_SECONDS):
                if self._control.stopping():
                    self.asked = True
                    if self.executing:
                        self._interrupt()
                        return
                    _kill(self.kernels())

        threading.Thread(target=look, daemon=True).start()
        try:
            yield
        finally:
            over.set()

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        if not self.executing:
            raise KeyboardInterrupt  # a kernel that runs no cell yet may lose the signal, or break on it
        self._interrupt()

    def _interrupt(self) -> None:
        for kernel in self.kernels():
            with suppress(psutil.NoSuchProcess):
                kernel.send_signal(signal.SIGINT)

    def before_cell(self, **_: Any) -> None:
        """Begin no cell after a stop: the signal was lost if none was running just then."""
        self.executing = True
        if self.asked:
            raise KeyboardInterrupt

    def kernels(self) -> list[psutil.Process]:
        """What the execution has started, and nothing that its caller had."""
        return [process for process in _children() if process not in self._not_ours]


def _children() -> list[psutil.Process]:
    return list(psutil.Process().children(recursive=True))
