"""Progress of seeds: the bar, heartbeats, logs of attempts, and whether a process lives.

heartbeats/<seed>.json     replaced at most once a second while the seed trains
attempts/<seed>.jsonl      two lines an attempt; one that was killed has no second line
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dglib.control import Interrupted
from dglib.errors import StorageError
from dglib.files import append_line, to_json, write_atomically
from dglib.protocol.events import EpochDone, Evaluated, Event, SeedDone, Sink
from dglib.protocol.spec import ExperimentSpec

if TYPE_CHECKING:
    from dglib.runs.store import Store

HEARTBEAT_SECONDS = 1.0
STALE_SECONDS = 60.0  # heartbeats and owner files are updated far more often
CLOCK_SECONDS = 5.0  # by which a process may seem to begin after an update of its own


class Bar:
    """One bar for all seeds of an experiment, in epochs. A seed that ends early fills its share.

    It shows seed, phase, λ, the seed's epoch and the last error. The time left is computed from the epochs
    trained here: seeds that were finished before do not count for the speed.
    """

    def __init__(self, spec: ExperimentSpec, n_seeds: int) -> None:
        from tqdm.auto import tqdm  # here: machines that only train need not have it

        self._planned = spec.planned_epochs
        self._bar = tqdm(total=self._planned * n_seeds, desc=spec.name, unit="epoch", dynamic_ncols=True)
        self._finished = 0

    def skip_seed(self) -> None:
        """Count a seed that is finished already."""
        self._finished += 1
        if self._bar.disable:  # it has no numbers then
            return
        skipped = self._planned * self._finished - self._bar.n
        self._bar.initial += skipped
        self._bar.last_print_n += skipped
        self._bar.n += skipped
        self._bar.refresh()

    def sink(self, store: Store, seed: int) -> Sink:
        shown: dict[str, Any] = {"seed": seed}
        done = 0

        def show(event: Event) -> None:
            nonlocal done
            match event:
                case EpochDone():
                    done += 1
                    shown.update(phase=event.phase, λ=f"{event.lam:g}", epoch=f"{done}/{self._planned}")
                    self._bar.set_postfix(shown, refresh=False)
                    self._bar.update(1)
                case Evaluated():
                    shown["error"] = "nan" if event.error is None else f"{event.error:.3f}"
                    self._bar.set_postfix(shown, refresh=False)
                case SeedDone():
                    self.skip_seed()

        return show

    def print(self, line: str) -> None:
        """Print a line above the bar."""
        self._bar.write(line)

    def close(self) -> None:
        self._bar.close()


def heartbeat(store: Store, seed: int) -> Sink:
    """A sink that updates the seed's heartbeat: phase, λ, epoch, error and planned epochs."""
    path = store.files(seed).heartbeat
    now: dict[str, Any] = {
        "experiment": store.spec.name,
        "seed": seed,
        **this_process(),
        "epochs_done": 0,
        "epochs_planned": store.spec.planned_epochs,
    }
    written = 0.0

    def beat(event: Event) -> None:
        nonlocal written
        now.update(arm=event.arm, phase=event.phase, **{"lambda": event.lam}, epoch=event.epoch)
        if isinstance(event, EpochDone):
            now["epochs_done"] += 1
        if isinstance(event, Evaluated):
            now["error"] = event.error
        if isinstance(event, SeedDone):
            now["outcome"] = event.outcome
        if isinstance(event, SeedDone) or time.monotonic() - written >= HEARTBEAT_SECONDS:
            now["updated"] = datetime.now(UTC).isoformat(timespec="milliseconds")
            with suppress(StorageError):  # only information
                write_atomically(path, to_json(now))
            written = time.monotonic()

    return beat


def read_heartbeat(directory: Path, seed_id: str) -> dict[str, Any] | None:
    """A seed's heartbeat in a run directory; None where there is none that can be read.

    `updated` is Unix time. Where an epoch of the current attempt has been completed there are also
    `epochs_per_second` and `seconds_left`, an upper limit: an event may end the seed early.
    """
    try:
        beat: dict[str, Any] = json.loads((directory / "heartbeats" / f"{seed_id}.json").read_bytes())
        beat["updated"] = datetime.fromisoformat(beat["updated"]).timestamp()
        done, planned = int(beat["epochs_done"]), int(beat["epochs_planned"])
        attempts = read_attempts(directory / "attempts" / f"{seed_id}.jsonl")
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if attempts:
        began, resumed_at = attempts[-1]["began"], attempts[-1].get("found_epochs", 0.0)
        if beat["updated"] > began and done > resumed_at:
            beat["epochs_per_second"] = speed = (done - resumed_at) / (beat["updated"] - began)
            beat["seconds_left"] = (planned - done) / speed
    return beat


@contextmanager
def logged_attempt(log: Path, heartbeat: Path) -> Iterator[Callable[[int, int], int]]:
    """Log one process's attempt at a seed, from taking its lock to releasing it, and how it ended.

    Yields a function to call with the steps trained before and the steps of an epoch, once they are known. It
    logs the beginning, and returns about how many trained steps are lost.
    """
    try:
        epochs_before = int(json.loads(heartbeat.read_bytes())["epochs_done"])
    except (OSError, ValueError, KeyError, TypeError):
        epochs_before = 0

    def begin(steps: int, steps_per_epoch: int) -> int:
        lost = max(0, epochs_before * steps_per_epoch - steps)
        line = {
            **this_process(),
            "began": time.time(),
            "found_step": steps,
            "found_epochs": round(steps / steps_per_epoch, 3),
            "lost_steps": lost,
        }
        append_line(log, to_json(line))
        return lost

    how = "failed"
    try:
        yield begin
        how = "done"
    except Interrupted:
        how = "stopped"
        raise
    finally:
        with suppress(StorageError):  # the error before is more important
            append_line(log, to_json({**this_process(), "ended": time.time(), "how": how}))


def read_attempts(log: Path) -> list[dict[str, Any]]:
    """The attempts of a log in order, each with its end where it has one. Torn lines are ignored."""
    attempts: list[dict[str, Any]] = []
    for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else []:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if "began" in entry:
            attempts.append(entry)
            continue
        for attempt in reversed(attempts):  # not always the last one: two machines' attempts may overlap
            if "ended" not in attempt and all(attempt[key] == entry[key] for key in ("pid", "host")):
                attempt |= entry
                break
    return attempts


NOISE = ("[IPKernelApp]", "Passed unknown parameter")  # of a notebook's kernel and papermill


def last_line(log: Path, since: float) -> str:
    """The last line that a job has printed to its log since `since`, Unix time; "" where there is none."""
    try:
        with log.open("rb") as file:
            if os.fstat(file.fileno()).st_mtime < since:
                return ""
            file.seek(max(0, os.fstat(file.fileno()).st_size - 4096))
            lines = file.read().decode("utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    last = next((line for line in reversed(lines) if not line.startswith(NOISE)), "")
    return "" if last.startswith("-- ") else last.strip()  # the header of a job's log


def in_words(beat: dict[str, Any]) -> str:
    """Phase, λ, epoch, error, speed and time left of a heartbeat."""
    words = [
        f"{beat['phase']} λ {beat['lambda']:g}",
        f"epoch {beat['epochs_done']} of {beat['epochs_planned']}",
    ]
    if beat.get("error") is not None:
        words.append(f"error {beat['error']:.2f}")
    if speed := beat.get("epochs_per_second"):
        words.append(f"{speed:.1f} epochs/s" if speed >= 1 else f"{1 / speed:.1f} s/epoch")
        words.append(f"{duration(beat['seconds_left'])} left at most")
    return ", ".join(words)


def duration(seconds: float) -> str:
    """Seconds in words: 45 s, 3 min 20 s, 5 h 10 min."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


# ── processes ──
#
# Records of processes hold `pid`, `host` and the time of their last update. On this host the process table
# answers; a process id that was given to a later process does not count. Of other hosts only the age of the
# last update is known.


def this_process() -> dict[str, Any]:
    return {"pid": os.getpid(), "host": socket.gethostname()}


def is_alive(process: Mapping[str, Any], updated: float) -> bool:
    """Whether a process is not known to have ended, and its last update is not older than `STALE_SECONDS`.

    Args:
        process: `pid` and `host`; where one is missing only the age counts.
        updated: Unix time of the last update.
    """
    age = abs(time.time() - updated)  # a clock that was set back must not block anybody
    return age < STALE_SECONDS and not has_ended(process, updated)


def has_ended(process: Mapping[str, Any], updated: float) -> bool:
    """Whether a process is known to have ended; always false for processes of other hosts."""
    import psutil  # here: machines that only train need not have it

    if process.get("host") != socket.gethostname() or "pid" not in process:
        return False
    try:
        running = psutil.Process(process["pid"])
        ended = running.status() == psutil.STATUS_ZOMBIE
        return bool(ended or running.create_time() > updated + CLOCK_SECONDS)
    except psutil.NoSuchProcess:
        return True
    except (psutil.Error, TypeError, ValueError):  # another user's, or no process id
        return False
