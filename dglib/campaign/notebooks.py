"""Executes one notebook headless, in this process."""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import papermill
import psutil
from ipykernel.kernelspec import RESOURCES, get_kernel_dict
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from papermill.exceptions import PapermillExecutionError

from dglib.control import Control, Interrupted
from dglib.errors import UserError

START_PAUSES = (1.0, 3.0)  # seconds, before a kernel that did not start is started again
CHECK_SECONDS = 0.05


def execute(
    notebook: Path, output: Path, parameters: Mapping[str, Any], control: Control | None = None
) -> None:
    """Execute a notebook with these parameters; `output` is replaced at the end, also of one that fails.

    The notebook runs in the directory of `output`. A kernel that dies is started again: where many start at
    once, two may choose one port. A stop, by signals or `control`, kills the kernel.

    Raises:
        UserError: a cell failed, or no kernel could be used; one line.
        Interrupted: the execution was stopped.
    """
    for draft in output.parent.glob(f".{output.stem}.*.ipynb"):
        draft.unlink(missing_ok=True)  # of an execution that was killed
    draft = output.with_name(f".{output.stem}.{os.getpid()}-{secrets.token_hex(4)}.ipynb")
    control = control or Control()
    try:
        with control.listening(), _kernels_killed_on(control):
            for pause in (*START_PAUSES, None):
                try:
                    _run(notebook, draft, parameters)
                    return
                except (RuntimeError, OSError) as error:
                    if pause is None or control.stopping() or isinstance(error, FileNotFoundError):
                        raise
                    time.sleep(pause)
    except PapermillExecutionError as error:
        if error.ename in ("Interrupted", "KeyboardInterrupt"):
            raise Interrupted from None
        reason = error.evalue if error.ename == "UserError" else f"{error.ename}: {error.evalue}"
        raise UserError(" ".join(reason.split())) from None
    except KeyboardInterrupt:  # a second signal
        raise Interrupted from None
    except Exception as error:
        if control.stopping():
            raise Interrupted from None
        raise UserError(f"{type(error).__name__}: {' '.join(str(error).split())}") from error
    finally:
        with suppress(FileNotFoundError):  # stopped before there was anything
            draft.replace(output)


class _OwnKernel(AsyncKernelManager):
    """A kernel of this process's Python, which has dglib: a user's own `python3` may be of another one."""

    @property
    def kernel_spec(self) -> KernelSpec:
        return KernelSpec(resource_dir=RESOURCES, **get_kernel_dict())


def _run(notebook: Path, output: Path, parameters: Mapping[str, Any]) -> None:
    os.environ["DGLIB_HEADLESS"] = "1"  # for the first cell: nobody can be asked to mount a Drive
    try:
        papermill.execute_notebook(
            str(notebook),
            str(output),
            dict(parameters),
            kernel_name="python3",
            kernel_manager_class=_OwnKernel,
            progress_bar=False,
            cwd=str(output.parent),
            # By then all that lasts is on the disk, and an interpreter with torch takes a second to end.
            shutdown_kernel="immediate",
        )
    finally:
        os.environ.pop("DGLIB_HEADLESS", None)


@contextmanager
def _kernels_killed_on(control: Control) -> Iterator[None]:
    """Kill the kernels started meanwhile, child processes, once a stop is asked for, and at the end."""
    others, over = _children(), threading.Event()

    def kill() -> None:
        for kernel in _children() - others:
            with suppress(psutil.NoSuchProcess):
                kernel.kill()

    def watch() -> None:
        while not over.wait(CHECK_SECONDS):
            if control.stopping():
                kill()

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        over.set()
        kill()


def _children() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))
