"""TensorBoard's event files: a sink that writes them while a seed trains, and their writer for exports."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dglib.errors import UserError
from dglib.protocol.events import EpochDone, Evaluated, Event, SeedDone, Sink
from dglib.protocol.records import epoch_numbers

if TYPE_CHECKING:
    from dglib.runs.store import Store

FLUSH_SECONDS = 10


def writer_class(where: str) -> Any:
    """`torch.utils.tensorboard.SummaryWriter`.

    Raises:
        UserError: the package tensorboard is missing; the message begins with `where`.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UserError(f"{where}: needs the package tensorboard: pip install .[export]") from None
    return SummaryWriter


def open_writer(folder: Path, where: str) -> Any:
    """A writer into a folder, in place of all that earlier files there hold (TensorBoard's `purge_step`)."""
    return writer_class(where)(str(folder), purge_step=0, flush_secs=FLUSH_SECONDS)


def tensorboard(store: Store, seed: int) -> Sink:
    """A sink that writes a seed's numbers by epoch, below `tensorboard` a folder for each arm.

    A resumed seed repeats its events from the first one on, so an arm's folder is written anew.
    """
    folder = store.directory / "tensorboard" / store.files(seed).record.stem
    writers: dict[str, Any] = {}  # by arm

    def write(event: Event) -> None:
        numbers: dict[str, Any] = {}
        if isinstance(event, EpochDone):
            numbers = {"lambda": event.lam, **epoch_numbers(event)}
        if isinstance(event, Evaluated):
            numbers = {"error": event.error, **event.metrics}
        with suppress(OSError):  # only information: training reports a full disk itself
            if numbers and event.arm not in writers:
                writers[event.arm] = open_writer(folder / event.arm, "tensorboard = true")
            for name, value in numbers.items():
                if value is not None:
                    writers[event.arm].add_scalar(name, value, event.epoch)
            if isinstance(event, SeedDone):
                for writer in writers.values():
                    writer.close()

    return write
