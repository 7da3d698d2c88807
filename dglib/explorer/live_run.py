"""A network that trains while λ is changed.

    run = LiveRun(data, Numerics.resolve("cpu", 1))
    run.begin("ordered")
    run.advance(seconds=5)
    run.change(lam=0.6)
    save_path(run.status(), png, Path("runs"))

Without widgets or threads: call `advance` from one thread. `change`, `status` and the `control` may be used
from any other.
"""

from __future__ import annotations

import copy
import csv
import io
import math
import threading
import time
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from dglib.control import Control
from dglib.errors import StorageError, UserError
from dglib.explorer.live_settings import STARTS, Point, Settings, Start, State, Status
from dglib.files import write_atomically
from dglib.protocol.engine import SKIPPED_AT_MOST
from dglib.protocol.spec import Arm, DataSpec, ExperimentSpec, LearningRate, NetworkSpec, Phase, StepSpec
from dglib.training.data import Dataset
from dglib.training.evaluation import epoch_stats, evaluate
from dglib.training.numerics import Numerics
from dglib.training.randomness import Streams
from dglib.training.state import TrainState
from dglib.training.trainer import DeviceData, Trainer

NETWORK = NetworkSpec("small_cnn", 0.5)
BATCH_SIZE = 64
PATHS = "live_paths"  # below the base directory
COLUMNS = (
    "step", "epoch", "phase", "lambda", "lr", "refresh_period", "noise_rate", "error", "test_loss", "loss_s",
    "loss_v",
)  # fmt: skip


@dataclass(frozen=True)
class _Progress:
    """What training changes besides the state."""

    epochs: int = 0
    points: tuple[Point, ...] = ()
    seconds: float = 0.0
    diverged: bool = False


class LiveRun:
    """One network whose settings may change at every step.

    Args:
        data: the whole data set.
        numerics: resolved; the bits depend on it.
        seed: of weights, noise and order.

    Attributes:
        control: pauses the training, from any thread.
        seed, data, numerics: as given.
    """

    def __init__(self, data: Dataset, numerics: Numerics, *, seed: int = 0) -> None:
        self.data, self.numerics, self.seed = data, numerics, seed
        self.control = Control()
        self._lock = threading.Lock()  # over what `status` and `change` see
        self._prepared: dict[tuple[Start, Settings], tuple[_Progress, dict[str, Any]]] = {}
        self._wanted = Settings()
        self._progress: _Progress
        self._now: Point | None
        self.begin("ordered")

    def begin(self, start: str) -> None:
        """Go to the beginning of "ordered" or "collapsed", under the settings wanted but for its own λ.

        A preparation under the same settings is done once. For the thread that trains.

        Raises:
            UserError: no such start.
        """
        if start not in STARTS:
            raise UserError(f"start = {start!r}: must be one of {', '.join(STARTS)}")
        with self._lock:
            self._start = STARTS[start]
            self._settings = self._wanted = replace(self._wanted, lam=self._start.lam)
            self._state = TrainState.create(
                NETWORK,
                self._step_spec(),
                input_shape=self.data.input_shape,
                classes=self.data.classes,
                seed=self.seed,
                device=self.numerics.torch_device,
                run=(0, 0),
                memory_format=self.numerics.memory_format,
            )
            self._progress = _Progress()
            known = self._prepared.get((self._start, self._settings))
            if known is not None:
                self._progress = known[0]
                self._state.load_state_dict(copy.deepcopy(known[1]))
            self._now = self._progress.points[-1] if self._progress.points else None
            self._place_data()
            self._new_trainer()

    def reset(self) -> None:
        """Back to the beginning of the start chosen last, with every setting at its default."""
        self._wanted = Settings()
        self.begin(self._start.name)

    def change(self, **values: object) -> None:
        """Set `lam`, `lr`, `refresh_period` or `noise_rate` from the next step on. From any thread.

        A preparation ignores changes; they act at its end.

        Raises:
            UserError: as `Settings.changed`; nothing is changed then.
        """
        with self._lock:
            self._wanted = self._wanted.changed(**values)

    def advance(self, seconds: float) -> int:
        """Train for about so long, and return the number of steps taken.

        Evaluates at the end of each epoch and before it returns. Ends early at a pause, a stop, or where the
        network has diverged.
        """
        until, taken = time.monotonic() + seconds, 0
        with self.numerics.applied("the live run"):
            while time.monotonic() < until and self._step(self.control):
                taken += 1
            if taken:
                self._evaluate_between()
        return taken

    def step(self) -> None:
        """Take one step, also while paused, and evaluate."""
        with self.numerics.applied("the live run"):
            if self._step(None):
                self._evaluate_between()

    def status(self) -> Status:
        """A snapshot. From any thread."""
        with self._lock:
            return Status(
                self._start,
                self._state_now(),
                self._state.t,
                self._progress.epochs,
                self._settings,
                self._wanted,
                self._progress.points,
                self._now,
                self._progress.seconds,
            )

    @property
    def _preparing(self) -> bool:
        return self._progress.epochs < self._start.epochs

    def _step(self, control: Control | None) -> bool:
        """Take a step; False where none is to be taken."""
        if self._progress.diverged:
            return False
        if not self._preparing:
            self._take_settings()
        began = time.monotonic()
        if not self._trainer.advance(self._state, self._settings.lam, self._settings.lr, 1, control):
            return False
        seconds = self._progress.seconds + time.monotonic() - began
        self._progress = replace(self._progress, seconds=seconds)
        if self._at_epochs_end():
            self._close_epoch()
        return True

    def _at_epochs_end(self) -> bool:
        return self._state.t % self._trainer.steps_per_epoch == 0

    def _evaluate_between(self) -> None:
        """Evaluate for display; changes nothing that training uses."""
        if not self._at_epochs_end():
            point, _ = self._measured()
            with self._lock:
                self._now = point

    def _close_epoch(self) -> None:
        stats = epoch_stats(self._state, self._settings.lr)
        point, finite = self._measured(stats.loss_s, stats.loss_v)
        before, started = self._progress, self._preparing
        diverged = not finite or stats.skipped > SKIPPED_AT_MOST * stats.taken
        with self._lock:
            self._now = point
            self._progress = replace(
                before, epochs=before.epochs + 1, points=(*before.points, point), diverged=diverged
            )
        if started and not self._preparing and not diverged:
            state = copy.deepcopy(self._state.state_dict())
            self._prepared[self._start, self._settings] = (self._progress, state)

    def _measured(self, *losses: float) -> tuple[Point, bool]:
        found = evaluate(self._state, self._data, self.numerics)
        return Point(
            self._state.t / self._trainer.steps_per_epoch,
            self._settings.lam,
            found.error if found.finite else None,
            self._preparing,
            self._state.t,
            self._settings,
            _number(found.metrics["test_loss"]),
            *map(_number, losses),
        ), found.finite

    def _take_settings(self) -> None:
        """Use the wanted settings from the next step on."""
        with self._lock:
            before, self._settings = self._settings, self._wanted
        now = self._settings
        if before.noise_rate != now.noise_rate:
            self._place_data()
        if (before.noise_rate, before.refresh_period) != (now.noise_rate, now.refresh_period):
            self._new_trainer()  # on the same state, with the value gradient that it holds

    def _state_now(self) -> State:
        if self._progress.diverged:
            return "diverged"
        if self.control.paused:
            return "paused"
        return "preparing" if self._preparing else "running"

    def _step_spec(self) -> StepSpec:
        return StepSpec(BATCH_SIZE, self._settings.refresh_period)

    def _place_data(self) -> None:
        spec = DataSpec(self.data.name, self._settings.noise_rate)
        self._data = DeviceData.place(self.data, spec, self.seed, self.numerics.torch_device)

    def _new_trainer(self) -> None:
        rate, data = LearningRate(self._settings.lr), DataSpec(self.data.name, self._settings.noise_rate)
        init = Phase("init", (self._start.lam,), self._start.epochs, rate, 1, final="")
        spec = ExperimentSpec(
            name="Live",
            prefix="Live",
            directory_prefix="Live",
            experiment_id="Live-{seed:03d}",
            arms=(Arm("main", (init,)),),
            network=NETWORK,
            data=data,
            step=self._step_spec(),
        )
        self._trainer = Trainer(spec, self._data, Streams(self.seed, "main/init"), self.numerics)


def save_path(status: Status, png: bytes, base: Path) -> Path:
    """Write the path so far as CSV (a row per epoch) and PNG into the directory `PATHS` below `base`.

    Returns:
        The CSV; the picture has the same name.

    Raises:
        UserError: no epoch is complete.
        StorageError: the files cannot be written.
    """
    if not status.points:
        raise UserError("nothing to save yet: no epoch is complete")
    directory, now = base / PATHS, datetime.now()
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError.of(directory, error) from error
    while (path := directory / f"{status.start.name}_{now:%Y%m%d_%H%M%S}.csv").exists():
        now += timedelta(seconds=1)
    write_atomically(path.with_suffix(".png"), png)
    write_atomically(path, _table(status.points).encode())
    return path


def _table(points: tuple[Point, ...]) -> str:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    for p in points:
        used = p.settings or Settings(p.lam)
        phase = "init" if p.prepared else "sweep"
        row = [p.step, f"{p.epoch:g}", phase, p.lam, used.lr, used.refresh_period, used.noise_rate]
        rows.writerow([*row, p.error, p.test_loss, p.loss_s, p.loss_v])
    return text.getvalue()


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
