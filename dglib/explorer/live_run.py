"""A network that trains while a hand moves λ: the protocol is the person, everything else as in any run.

    run = LiveRun(data, Numerics.resolve("cpu", 1))
    run.begin("ordered")
    run.advance(seconds=5)
    run.change(lam=0.6)

No widgets here, and no thread: whoever holds the session calls `advance`, from one thread. `change` and the
`control` may be used from any other.
"""

from __future__ import annotations

import copy
import hashlib
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from dglib import protocol
from dglib.control import Control
from dglib.data import Dataset
from dglib.epoch_stats import epoch_stats
from dglib.errors import UserError
from dglib.evaluate import evaluate
from dglib.events import Event
from dglib.explorer.live_settings import STARTS, Settings, Start
from dglib.explorer.live_spec import BATCH_SIZE, NETWORK, live_spec
from dglib.explorer.live_status import Point, State, Status
from dglib.numerics import Numerics
from dglib.protocol import Cursor
from dglib.spec import DataSpec, ExperimentSpec, StepSpec
from dglib.state import TrainState
from dglib.streams import Streams
from dglib.trainer import DeviceData, Trainer

FOREVER = 10**9  # epochs: the level that a hand holds ends when the hand moves


@dataclass(frozen=True)
class _Place:
    """Everything of a session that training changes; with the state it can be gone back to."""

    cursor: Cursor
    events: tuple[Event, ...]
    points: tuple[Point, ...]
    script: tuple[dict[str, Any], ...]
    seconds: float


class LiveRun:
    """One network under somebody's hand.

    Args:
        data: the whole data set.
        numerics: settled; the bits depend on it.
        seed: of weights, noise and order.

    Attributes:
        control: pauses the training, from any thread; its λ and learning rate are what the hand has set.
        seed, data, numerics: as given.
    """

    def __init__(self, data: Dataset, numerics: Numerics, *, seed: int = 0) -> None:
        self.data, self.numerics, self.seed = data, numerics, seed
        self.control = Control()
        self._unpaused = Control()  # for a step that is taken also while paused
        self._lock = threading.Lock()  # over what `status` and `change` see
        self._prepared: dict[tuple[Start, Settings], tuple[_Place, dict[str, Any]]] = {}
        self._wanted = Settings()
        self._cursor: Cursor
        self._events: tuple[Event, ...]
        self._points: tuple[Point, ...]
        self._now: Point | None
        self._script: tuple[dict[str, Any], ...]
        self._seconds: float
        self.begin("ordered")

    def begin(self, start: str) -> None:
        """Go to the beginning of "ordered" or "collapsed", under the settings wanted but for its own λ.

        What was prepared under the same settings before is there at once. For the thread that trains.

        Raises:
            UserError: no such start.
        """
        if start not in STARTS:
            raise UserError(f"start = {start!r}: must be one of {', '.join(STARTS)}")
        with self._lock:
            chosen = STARTS[start]
            self._start = chosen
            self._settings = self._wanted = replace(self._wanted, lam=chosen.lam)
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
            script = (self._settings.as_row(0),)
            place = _Place(Cursor(), (), (), script, 0.0)
            known = self._prepared.get((chosen, self._settings))
            if known is not None:
                place = known[0]
                self._state.load_state_dict(copy.deepcopy(known[1]))
            self._go_to(place)
            self._place_data()
            self._new_trainer()

    def reset(self) -> None:
        """Back to the beginning of the start chosen last, with every setting at its default."""
        self._wanted = Settings()
        self.begin(self._start.name)

    def change(self, **values: object) -> None:
        """Set `lam`, `lr`, `refresh_period` or `noise_rate` from the next step on. From any thread.

        A preparation is the same for everyone: what is set meanwhile acts at its end.

        Raises:
            UserError: as `Settings.changed`; nothing is changed then.
        """
        with self._lock:
            self._wanted = self._wanted.changed(**values)

    def advance(self, seconds: float) -> int:
        """Train for about so long, evaluating at each epoch's end. Returns the number of steps taken.

        Ends early at a pause, a stop, or where the network has diverged; and with an evaluation for the eye,
        which leaves no trace in the run.
        """
        until, taken = time.monotonic() + seconds, 0
        with self.numerics.applied("the live run"):
            while time.monotonic() < until and self._step(self.control):
                taken += 1
            if taken:
                self._look()
        return taken

    def step(self) -> None:
        """Take one step, also while paused, and evaluate for the eye."""
        with self.numerics.applied("the live run"):
            if self._step(self._unpaused):
                self._look()

    def status(self) -> Status:
        """Where it stands now. From any thread."""
        with self._lock:
            return Status(
                self._start,
                self._state_now(),
                self._state.t,
                self._cursor.arm_epochs,
                self._settings,
                self._wanted,
                self._points,
                self._now,
                self._seconds,
            )

    @property
    def script(self) -> tuple[dict[str, Any], ...]:
        """The settings in the order in which they came into force, each with its first step."""
        return self._script

    @property
    def events(self) -> tuple[Event, ...]:
        """What happened so far, as of any run."""
        return self._events

    @property
    def cursor(self) -> Cursor:
        return self._cursor

    def spec(self, levels: Sequence[float] = (), dwell: int = 1, lr: float | None = None) -> ExperimentSpec:
        """The run as an experiment, see `live_spec`; K, η and without `lr` the LR are those it began with."""
        first = Settings.of_row(self._script[0])
        first = first if lr is None else first.changed(lr=lr)
        return live_spec(self.data.name, self._start, first, levels, dwell)

    def digest(self) -> str:
        """SHA-256 of weights, buffers, momentum and held value gradient: equal for the same bits alone."""
        found = hashlib.sha256()
        held = self._state.g_v or []
        for tensor in [*self._state.model.state_dict().values(), *self._state.momentum(), *held]:
            found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return found.hexdigest()

    def follow(self, row: dict[str, Any], until: int) -> None:
        """Train with what a script's row says, from its step on, to the step `until`. For `replay`."""
        with self.numerics.applied("the live run"):
            self._wanted = Settings.of_row(row)
            self._bring_into_force()
            while self._state.t < until:
                if not self._step(self._unpaused):
                    raise UserError(f"step {self._state.t}: the network has diverged, the record has not")

    def _step(self, control: Control) -> bool:
        """Take a step; False where none is to be taken. The hand stands over what the run began with."""
        if self._cursor.done:
            return False
        if self._cursor.phase > 0:
            self._bring_into_force()
        first, began = Settings.of_row(self._script[0]), time.monotonic()
        control.lam, control.lr = self._settings.lam, self._settings.lr
        if not self._trainer.advance(self._state, first.lam, first.lr, 1, control):
            return False
        self._seconds += time.monotonic() - began
        if self._at_epochs_end():
            self._close_epoch()
        return True

    def _at_epochs_end(self) -> bool:
        return self._state.t % self._trainer.steps_per_epoch == 0

    def _look(self) -> None:
        """Evaluate for the eye; at an epoch's end that is done already."""
        if self._at_epochs_end():
            return
        evaluation = evaluate(self._state, self._data, self.numerics)
        epoch = self._state.t / self._trainer.steps_per_epoch
        error = evaluation.error if evaluation.finite else None
        with self._lock:
            self._now = Point(epoch, self._settings.lam, error, self._cursor.phase == 0)

    def _close_epoch(self) -> None:
        """Evaluate, and tell the protocol, whose sweep has one level: the λ in force."""
        settings, preparing = self._settings, self._cursor.phase == 0
        spec = self.spec((settings.lam,), FOREVER, settings.lr)
        evaluation = evaluate(self._state, self._data, self.numerics)
        stats = epoch_stats(self._state, settings.lr)
        cursor, events = protocol.advance(spec, self._cursor, stats, evaluation)
        error = evaluation.error if evaluation.finite else None
        point = Point(cursor.arm_epochs, settings.lam, error, preparing)
        with self._lock:
            self._cursor, self._now = cursor, point
            self._events += events
            self._points += (point,)
        if preparing and cursor.phase > 0:
            place = _Place(cursor, self._events, self._points, self._script, self._seconds)
            self._prepared[self._start, settings] = (place, copy.deepcopy(self._state.state_dict()))

    def _bring_into_force(self) -> None:
        """Let what is wanted act from the next step on, and note it in the script."""
        with self._lock:
            before, self._settings = self._settings, self._wanted
        if before == self._settings:
            return
        row = self._settings.as_row(self._state.t)
        earlier = tuple(each for each in self._script if each["step"] < self._state.t)
        self._script = (*earlier, row)
        if before.noise_rate != self._settings.noise_rate:
            self._place_data()
        if (before.noise_rate, before.refresh_period) != (
            self._settings.noise_rate,
            self._settings.refresh_period,
        ):
            self._new_trainer()  # on the same state, with the value gradient that it holds

    def _state_now(self) -> State:
        if self._cursor.done:
            return "diverged"
        if self.control.paused:
            return "paused"
        return "preparing" if self._cursor.phase == 0 else "running"

    def _go_to(self, place: _Place) -> None:
        self._cursor, self._events, self._points = place.cursor, place.events, place.points
        self._script, self._seconds = place.script, place.seconds
        self._now = place.points[-1] if place.points else None

    def _step_spec(self) -> StepSpec:
        return StepSpec(BATCH_SIZE, self._settings.refresh_period)

    def _place_data(self) -> None:
        spec = DataSpec(self.data.name, self._settings.noise_rate)
        self._data = DeviceData.place(self.data, spec, self.seed, self.numerics.torch_device)

    def _new_trainer(self) -> None:
        spec = replace(self.spec(), step=self._step_spec())
        self._trainer = Trainer(spec, self._data, Streams(self.seed, "main/init"), self.numerics)
