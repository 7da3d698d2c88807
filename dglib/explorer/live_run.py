"""A network that trains while λ is changed.

    run = LiveRun(data, Numerics.resolve("cpu", 1))
    run.begin("ordered")
    run.advance(seconds=5)
    run.change(Settings(lam=0.6))
    save_path(run.status(), png, Path("runs"))

No widgets, and no locks: call it from one thread at a time.
"""

from __future__ import annotations

import copy
import csv
import io
import math
import time
from dataclasses import astuple, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from dglib.errors import StorageError, UserError
from dglib.files import write_atomically
from dglib.protocol.engine import SKIPPED_AT_MOST
from dglib.protocol.spec import DataSpec, NetworkSpec, StepSpec
from dglib.training.batches import DeviceData
from dglib.training.data import Dataset
from dglib.training.evaluation import epoch_stats, evaluate
from dglib.training.numerics import Numerics
from dglib.training.randomness import Streams
from dglib.training.state import TrainState
from dglib.training.trainer import Trainer

NETWORK = NetworkSpec("small_cnn", 0.5)
BATCH_SIZE = 64
PATHS = "live_paths"  # below the base directory
COLUMNS = (
    "step", "epoch", "phase", "lambda", "lr", "refresh_period", "noise_rate", "error", "test_loss", "loss_s",
    "loss_v",
)  # fmt: skip

State = Literal["preparing", "running", "paused", "diverged"]


@dataclass(frozen=True)
class Settings:
    """λ, learning rate, K (steps between value gradients) and η (share of wrong labels)."""

    lam: float = 0.35
    lr: float = 0.1
    refresh_period: int = 32
    noise_rate: float = 0.4


@dataclass(frozen=True)
class Start:
    """Initial state: a new network trained at one λ for some epochs."""

    name: str
    lam: float
    epochs: int


# As in the quick profiles of T1 and T2. At higher λ a new network is trapped: it predicts one class for
# everything, and recovers at no λ.
STARTS = {start.name: start for start in (Start("ordered", 0.35, 20), Start("collapsed", 0.55, 15))}


@dataclass(frozen=True)
class Point:
    """An evaluation.

    Attributes:
        epoch: trained so far; fractional inside an epoch.
        settings: of the step before.
        error: 0 to 1; None where the logits were not finite.
        prepared: evaluated during the preparation.
        test_loss, loss_s, loss_v: in nats, the latter two means over the epoch; None where not measured.
    """

    epoch: float
    settings: Settings
    error: float | None
    prepared: bool
    step: int = 0
    test_loss: float | None = None
    loss_s: float | None = None
    loss_v: float | None = None


@dataclass(frozen=True)
class Status:
    """Snapshot of a live run.

    Attributes:
        steps: taken since the network was new, the preparation included.
        settings: of the latest step.
        wanted: of the next step or, during the preparation, of the first step after it.
        points: one per complete epoch.
        now: the latest evaluation, also inside an epoch; None before any.
    """

    start: Start
    state: State
    steps: int
    settings: Settings
    wanted: Settings
    points: tuple[Point, ...]
    now: Point | None

    @property
    def epochs(self) -> int:
        return len(self.points)

    @property
    def error(self) -> float | None:
        return None if self.now is None else self.now.error


class LiveRun:
    """One network whose settings may change at every step; while `paused`, `advance` takes none.

    Args:
        data: the whole data set.
        numerics: the results depend on it, bit for bit.
        seed: of weights, noise and order.
    """

    def __init__(self, data: Dataset, numerics: Numerics, *, seed: int = 0) -> None:
        self.data, self.numerics, self.seed = data, numerics, seed
        self.paused = False
        self._prepared: dict[tuple[Start, Settings], tuple[tuple[Point, ...], dict[str, Any]]] = {}
        self._wanted = Settings()
        self.begin("ordered")

    def begin(self, start: str, defaults: bool = False) -> None:
        """Start "ordered" or "collapsed", at that state's λ, the other settings as wanted, or by default.

        The preparation for one start and one set of settings runs once; later starts restore its result.
        """
        self._start = STARTS[start]
        others = Settings() if defaults else self._wanted
        self._settings = self._wanted = replace(others, lam=self._start.lam)
        step = StepSpec(BATCH_SIZE, self._settings.refresh_period)
        shape, classes = self.data.input_shape, self.data.classes
        self._state = TrainState.create(NETWORK, step, shape, classes, self.numerics, seed=self.seed)
        self._points: tuple[Point, ...] = ()
        if (self._start, self._settings) in self._prepared:
            self._points, saved = self._prepared[self._start, self._settings]
            self._state.load_state_dict(copy.deepcopy(saved))
        self._now = self._points[-1] if self._points else None
        self._diverged = False
        self._make_trainer()

    def change(self, settings: Settings) -> None:
        """Use these settings from the next step on or, during the preparation, from its end on."""
        self._wanted = settings

    def advance(self, seconds: float) -> int:
        """Train for about so long; return the number of steps.

        Evaluates after every epoch and at the end. Divergence ends it early.
        """
        until, taken = time.monotonic() + seconds, 0
        with self.numerics.applied("the live run"):
            while not self.paused and time.monotonic() < until and self._step():
                taken += 1
            if taken:
                self._evaluate_inside_epoch()
        return taken

    def step(self) -> None:
        """Take one step, also while paused, and evaluate."""
        with self.numerics.applied("the live run"):
            if self._step():
                self._evaluate_inside_epoch()

    def status(self) -> Status:
        state: State = "preparing" if self._preparing else "running"
        if self._diverged or self.paused:
            state = "diverged" if self._diverged else "paused"
        return Status(
            self._start, state, self._state.t, self._settings, self._wanted, self._points, self._now
        )

    @property
    def _preparing(self) -> bool:
        return len(self._points) < self._start.epochs

    def _step(self) -> bool:
        """Whether a step was taken."""
        if self._diverged:
            return False
        if not self._preparing:
            before, self._settings = self._settings, self._wanted
            if astuple(before)[2:] != astuple(self._settings)[2:]:
                self._make_trainer()  # with the state, and the value gradient that it holds, as they are
        self._trainer.advance(self._state, self._settings.lam, self._settings.lr, 1)
        if self._state.t % self._trainer.steps_per_epoch == 0:
            self._end_epoch()
        return True

    def _evaluate_inside_epoch(self) -> None:
        """For display; training does not depend on it."""
        if self._state.t % self._trainer.steps_per_epoch:
            self._now = self._evaluate()

    def _end_epoch(self) -> None:
        stats = epoch_stats(self._state, self._settings.lr)
        self._now = point = self._evaluate(stats.loss_s, stats.loss_v)
        self._points = (*self._points, point)
        self._diverged = point.error is None or stats.skipped > SKIPPED_AT_MOST * stats.taken
        if len(self._points) == self._start.epochs and not self._diverged:
            state = copy.deepcopy(self._state.state_dict())
            self._prepared[self._start, self._settings] = self._points, state

    def _evaluate(self, loss_s: float = math.nan, loss_v: float = math.nan) -> Point:
        result = evaluate(self._state, self._trainer.data, self.numerics)
        losses = (result.metrics["test_loss"], loss_s, loss_v)
        return Point(
            self._state.t / self._trainer.steps_per_epoch,
            self._settings,
            result.error if result.finite else None,
            self._preparing,
            self._state.t,
            *(loss if math.isfinite(loss) else None for loss in losses),
        )

    def _make_trainer(self) -> None:
        settings = self._settings
        noise = DataSpec(self.data.name, settings.noise_rate)
        data = DeviceData(self.data, noise, self.seed, self.numerics.torch_device)
        step = StepSpec(BATCH_SIZE, settings.refresh_period)
        self._trainer = Trainer(step, data, Streams(self.seed, "main/init"), self.numerics)


def save_path(status: Status, png: bytes, base: Path) -> Path:
    """Write a CSV (a row per epoch) and a PNG of the same name below `base`; return the CSV's path.

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
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    for p in status.points:
        phase = "init" if p.prepared else "sweep"
        losses = p.test_loss, p.loss_s, p.loss_v
        rows.writerow([p.step, f"{p.epoch:g}", phase, *astuple(p.settings), p.error, *losses])
    write_atomically(path.with_suffix(".png"), png)
    write_atomically(path, text.getvalue().encode())
    return path
