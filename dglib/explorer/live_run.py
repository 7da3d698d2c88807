"""A network that trains while λ is changed.

    run = LiveRun(data, Numerics.resolve("cpu", 1))
    run.begin("ordered")
    run.advance(seconds=5)
    run.wanted = Settings(lam=0.6)
    save_path(run, png, Path("runs"))

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
from dglib.training.evaluation import epoch_stats
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


class LiveRun:
    """One network in training.

    Args:
        data: the whole data set.
        numerics: the results depend on it, bit for bit.
        seed: of weights, noise and order.

    Attributes:
        wanted: settings of the next step or, during the preparation, of the first step after it. To be set.
        paused: `advance` takes no step. To be set.
        start: its initial state.
        settings: of the latest step.
        points: one per complete epoch.
        now: the latest evaluation, also inside an epoch; None before any.
    """

    start: Start
    settings: Settings
    points: tuple[Point, ...]
    now: Point | None

    def __init__(self, data: Dataset, numerics: Numerics, *, seed: int = 0) -> None:
        self.data, self.numerics, self.seed = data, numerics, seed
        self.wanted, self.paused = Settings(), False
        self._prepared: dict[tuple[Start, Settings], tuple[tuple[Point, ...], dict[str, Any]]] = {}
        self.begin("ordered")

    @property
    def state(self) -> Literal["preparing", "running", "paused", "diverged"]:
        if self._diverged:
            return "diverged"
        if self.paused:
            return "paused"
        return "preparing" if self._preparing else "running"

    @property
    def steps(self) -> int:
        """Taken since the network was new, the preparation included."""
        return self._train_state.t

    def begin(self, start: str, defaults: bool = False) -> None:
        """Start "ordered" or "collapsed", at that state's λ, the other settings as wanted, or by default.

        The preparation for one start and one set of settings runs once; later starts restore its result.
        """
        self.start = STARTS[start]
        others = Settings() if defaults else self.wanted
        self.settings = self.wanted = replace(others, lam=self.start.lam)
        step = StepSpec(BATCH_SIZE, self.settings.refresh_period)
        shape, classes = self.data.input_shape, self.data.classes
        self._train_state = TrainState.create(NETWORK, step, shape, classes, self.numerics, seed=self.seed)
        self.points = ()
        if (self.start, self.settings) in self._prepared:
            self.points, saved = self._prepared[self.start, self.settings]
            self._train_state.load_state_dict(copy.deepcopy(saved))
        self.now = self.points[-1] if self.points else None
        self._diverged = False
        self._make_trainer()

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

    @property
    def _preparing(self) -> bool:
        return len(self.points) < self.start.epochs

    def _step(self) -> bool:
        """Whether a step was taken."""
        if self._diverged:
            return False
        if not self._preparing:
            before, self.settings = self.settings, self.wanted
            if astuple(before)[2:] != astuple(self.settings)[2:]:
                self._make_trainer()  # with the state, and the value gradient that it holds, as they are
        self._trainer.advance(self._train_state, self.settings.lam, self.settings.lr, 1)
        if self._train_state.t % self._trainer.steps_per_epoch == 0:
            self._end_epoch()
        return True

    def _evaluate_inside_epoch(self) -> None:
        """For display; training does not depend on it."""
        if self._train_state.t % self._trainer.steps_per_epoch:
            self.now = self._evaluate()

    def _end_epoch(self) -> None:
        stats = epoch_stats(self._train_state, self.settings.lr)
        self.now = point = self._evaluate(stats.loss_s, stats.loss_v)
        self.points = (*self.points, point)
        self._diverged = point.error is None or stats.skipped > SKIPPED_AT_MOST * stats.taken
        if len(self.points) == self.start.epochs and not self._diverged:
            state = copy.deepcopy(self._train_state.state_dict())
            self._prepared[self.start, self.settings] = self.points, state

    def _evaluate(self, loss_s: float = math.nan, loss_v: float = math.nan) -> Point:
        result = self._trainer.evaluate(self._train_state)
        losses = (result.metrics["test_loss"], loss_s, loss_v)
        return Point(
            self._train_state.t / self._trainer.steps_per_epoch,
            self.settings,
            result.error if result.finite else None,
            self._preparing,
            self._train_state.t,
            *(loss if math.isfinite(loss) else None for loss in losses),
        )

    def _make_trainer(self) -> None:
        settings = self.settings
        noise = DataSpec(self.data.name, settings.noise_rate)
        data = DeviceData(self.data, noise, self.seed, self.numerics.torch_device)
        step = StepSpec(BATCH_SIZE, settings.refresh_period)
        self._trainer = Trainer(step, data, Streams(self.seed, "main/init"), self.numerics)


def save_path(run: LiveRun, png: bytes, base: Path) -> Path:
    """Write a CSV (a row per epoch) and a PNG of the same name below `base`; return the CSV's path.

    Raises:
        UserError: no epoch is complete.
        StorageError: the files cannot be written.
    """
    if not run.points:
        raise UserError("nothing to save yet: no epoch is complete")
    directory, now = base / PATHS, datetime.now()
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError.of(directory, error) from error
    while (path := directory / f"{run.start.name}_{now:%Y%m%d_%H%M%S}.csv").exists():
        now += timedelta(seconds=1)
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    for p in run.points:
        phase = "init" if p.prepared else "sweep"
        losses = p.test_loss, p.loss_s, p.loss_v
        rows.writerow([p.step, f"{p.epoch:g}", phase, *astuple(p.settings), p.error, *losses])
    write_atomically(path.with_suffix(".png"), png)
    write_atomically(path, text.getvalue().encode())
    return path
