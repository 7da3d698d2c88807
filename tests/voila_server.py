"""A notebook served by Voilà in a subprocess that is always ended, with its kernels."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import psutil

ROOT = Path(__file__).parents[1]
PATIENCE = 120  # seconds; a loaded machine takes its time to import torch
FAKE_COLAB = 'import sys, types\nsys.modules["google.colab"] = types.ModuleType("google.colab")'


def with_parameters(notebook: Path, target: Path, as_in_colab: bool = False, **parameters: Any) -> Path:
    """Write a copy of `notebook` to `target`, with `parameters` laid in as papermill does.

    Args:
        as_in_colab: whether from there on a module `google.colab` is loaded, as in Colab; not before, since
            the notebook's first cell would then go and get the project.
    """
    from papermill.iorw import load_notebook_node
    from papermill.parameterize import parameterize_notebook

    given = parameterize_notebook(load_notebook_node(str(notebook)), parameters)
    injected = next(cell for cell in given.cells if "injected-parameters" in cell.metadata.get("tags", []))
    if as_in_colab:
        injected.source += f"\n{FAKE_COLAB}"
    nbformat.write(given, target)
    return target


@dataclass(frozen=True)
class Served:
    """A Voilà server and the kernels that it started, one for each open page."""

    url: str
    process: psutil.Process
    log: Path

    def kernels(self) -> set[int]:
        """The process ids of the kernels that are alive."""
        return {each.pid for each in self.process.children() if _is_kernel(each)}


@contextmanager
def served(
    notebook: Path,
    home: Path,
    *,
    python: str | Path = sys.executable,
    environment: Mapping[str, str] | None = None,
    options: Sequence[str] = (),
) -> Iterator[Served]:
    """Run ``voila NOTEBOOK --no-browser --port=…`` until the block ends.

    Args:
        notebook: what to serve; its kernels run in its directory.
        home: a new directory for all that Jupyter and IPython write or read of their own.
        python: the interpreter whose Voilà serves and whose ipykernel runs the notebook.
        environment: further variables of the server and its kernels.
        options: more of the command line.
    """
    own = {
        name: home / name.lower()
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "TMPDIR")
    }
    for directory in own.values():
        directory.mkdir(parents=True)
    variables = {name: str(directory) for name, directory in own.items()} | {"OMP_NUM_THREADS": "1"}
    port = _free_port()
    log = home / "voila.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [python, "-m", "voila", notebook, "--no-browser", f"--port={port}", *options],
            cwd=ROOT,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env={**os.environ, **variables, **(environment or {})},
        )
    try:
        port = _listening(process, log)
        yield Served(f"http://127.0.0.1:{port}/", psutil.Process(process.pid), log)
    finally:
        _end(process)


def wait_until(condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Look at `condition` until it holds; fail with `what` when it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listening(process: subprocess.Popen[bytes], log: Path) -> int:
    """The port on which the server says that it listens: another where the one it was given was taken."""

    def says() -> re.Match[str] | None:
        ended = process.poll() is not None
        told = log.read_text(encoding="utf-8", errors="replace")
        assert not ended, f"voila ended with {process.returncode}:\n{told}"
        return re.search(r"is running at:\s+http://[^\s/]+:(\d+)/", told)

    wait_until(says, f"voila does not say where it listens; see {log}")
    found = says()
    assert found is not None
    return int(found[1])


def _is_kernel(process: psutil.Process) -> bool:
    try:
        alive = process.status() != psutil.STATUS_ZOMBIE
        return alive and any("ipykernel" in word for word in process.cmdline())
    except psutil.NoSuchProcess:
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask the server to end, which ends its kernels, and kill what is left of them."""
    family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.terminate()
    try:
        process.wait(timeout=15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    _, left = psutil.wait_procs(family, timeout=5)
    for each in left:
        each.kill()
