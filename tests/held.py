"""A small network that holds its process up in mid-seed until its test lets go, on a machine of any speed.

As `network=held:network`, with this directory on the PYTHONPATH; `held_up` gives the environment for it.
"""

import json
import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

from torch import Tensor, nn

from dglib.training.networks import build_network

HOLD = "DGLIB_HOLD"
_stopped = threading.Event()


def held_up(hold: Path) -> dict[str, str]:
    """The environment in which a process waits after the first epoch that it trains below `hold`'s directory.

    It waits while that file is there. One that a signal stops waits no longer.
    """
    paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {HOLD: str(hold), "PYTHONPATH": os.pathsep.join(paths)}


def network(input_shape: tuple[int, int, int], classes: int, width: float) -> nn.Module:
    return Held(build_network("small_cnn", input_shape=input_shape, classes=classes, width=width))


class Held(nn.Module):
    """Passes images on to a network of the project's."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, images: Tensor) -> Tensor:
        if self.training and HOLD in os.environ:
            _wait(Path(os.environ[HOLD]))
        out: Tensor = self.inner(images)
        return out


def _wait(hold: Path) -> None:
    if _stopped.is_set() or not hold.exists() or not _has_begun(hold.parent):
        return
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.getsignal(number)

            def hear(number, frame):
                _stopped.set()
                before[number](number, frame)

            signal.signal(number, hear)
    hold.with_name("waiting").touch()  # from here on a signal is heard
    try:
        while hold.exists() and not _stopped.is_set():
            time.sleep(0.01)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _has_begun(directory: Path) -> bool:
    """Whether this process has completed an epoch of some seed: a heartbeat says so."""
    for path in directory.rglob("heartbeats/*.json"):
        with suppress(OSError, ValueError):
            if json.loads(path.read_bytes())["pid"] == os.getpid():
                return True
    return False
