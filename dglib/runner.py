"""Runs seeds: the protocol's places, the trainer's steps, checkpoints between them.

`run_seed` is the one entry for the command line, notebooks and clusters; an experiment is its seeds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from dglib import checkpoint, protocol
from dglib.control import Control, Interrupted
from dglib.data import Dataset
from dglib.errors import UserError
from dglib.evaluate import evaluate
from dglib.events import Event, Sink
from dglib.numerics import Numerics
from dglib.protocol import Cursor, EpochStats
from dglib.records import Record, fold
from dglib.spec import ExperimentSpec
from dglib.state import TrainState
from dglib.step import total_norm
from dglib.store import Store
from dglib.streams import Streams
from dglib.trainer import DeviceData, Trainer

STEPS_BETWEEN_LOOKS = 50  # how often a long epoch looks at the clock
CHECKPOINT_SECONDS = 60.0

SinkFactory = Callable[[Store, int], Sink]


def run_seed(
    spec: ExperimentSpec,
    seed: int,
    data: Dataset,
    numerics: Numerics,
    *,
    checkpoint_path: Path | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    control: Control | None = None,
    sinks: Sequence[Sink] = (),
) -> Record:
    """Train one seed through its protocol, from its checkpoint if there is one.

    The same (spec, seed, data, numerics) gives the same record, interrupted or not, apart from `time`.

    Args:
        checkpoint_path: where the unfinished seed is kept; None keeps nothing.
        checkpoint_seconds: at least so often, and when stopped.
        control: asked between steps.
        sinks: called with every event, those before the checkpoint included.

    Raises:
        Interrupted: a stop was asked for; the state has been saved.
    """
    control = control or Control()
    with numerics.applied():
        return _Seed(spec, seed, data, numerics, checkpoint_path, checkpoint_seconds, control, sinks).run()


class _Seed:
    """One seed under way."""

    def __init__(
        self,
        spec: ExperimentSpec,
        seed: int,
        data: Dataset,
        numerics: Numerics,
        path: Path | None,
        checkpoint_seconds: float,
        control: Control,
        sinks: Sequence[Sink],
    ) -> None:
        self.spec, self.seed, self.control, self.sinks = spec, seed, control, sinks
        self.device = numerics.torch_device
        self.input_shape, self.classes = data.input_shape, data.classes
        self.data = DeviceData.place(data, spec.data, seed, self.device)
        self.path, self.checkpoint_seconds = path, checkpoint_seconds
        self.events: list[Event] = []
        self.cursor = protocol.start(spec)
        self.state = self._new_network(self.cursor)
        self.seconds_before = 0.0
        self.began = self.saved_at = time.monotonic()
        self._resume()

    def run(self) -> Record:
        while not self.cursor.done:
            place = protocol.place(self.spec, self.cursor)
            self._enter_run()
            self._train_epoch(place.lam, place.lr)
            evaluation = evaluate(self.state, self.data) if place.evaluates else None
            self.cursor, events = protocol.advance(self.spec, self.cursor, self._stats(place.lr), evaluation)
            self._emit(events)
            self._save_if_due()
        return fold(self.spec, self.seed, self.events, self.seconds())

    def seconds(self) -> float:
        """Time spent on this seed, earlier attempts' saved part included."""
        return self.seconds_before + time.monotonic() - self.began

    def _train_epoch(self, lam: float, lr: float) -> None:
        """Train to the end of the epoch, saving from time to time; stop where a stop was asked for."""
        left = self.trainer.steps_left(self.state)
        while left:
            wanted = min(left, STEPS_BETWEEN_LOOKS)
            taken = self.trainer.advance(self.state, lam, lr, wanted, self.control)
            left -= taken
            if taken < wanted:
                self._save()
                raise Interrupted
            if left:  # at the epoch's end the cursor lags behind the state until `run` has advanced it
                self._save_if_due()

    def _enter_run(self) -> None:
        """Bring the state into the run that the cursor stands in: a new network, a restart, or as it is."""
        if self.state.run != self.cursor.run:
            if self.state.run[0] != self.cursor.arm:
                self.state = self._new_network(self.cursor)
            else:
                self.state.restart(self.spec.step, self.cursor.run)
            self.trainer = self._new_trainer()

    def _new_network(self, cursor: Cursor) -> TrainState:
        phase = self.spec.arms[cursor.arm].phases[cursor.run_phase]
        return TrainState.create(
            self.spec.network,
            self.spec.step,
            input_shape=self.input_shape,
            classes=self.classes,
            seed=self.seed + phase.seed_offset,
            device=self.device,
            run=cursor.run,
        )

    def _new_trainer(self) -> Trainer:
        arm = self.spec.arms[self.state.run[0]]
        streams = Streams(self.seed, f"{arm.name}/{arm.phases[self.state.run[1]].name}")
        return Trainer(self.spec, self.data, streams)

    def _stats(self, lr: float) -> EpochStats:
        """What the epoch gathered, in one transfer from the device per kind."""
        loss_s, n_s, loss_v, n_v = self.state.loss_sums.tolist()
        momentum = self.state.momentum()  # empty without momentum, where the update is held nowhere
        return EpochStats(
            loss_s=loss_s / n_s,
            loss_v=loss_v / n_v if n_v else float("nan"),
            weight_norm=float(total_norm(self.state.params).detach()),
            update_norm=float(total_norm(momentum)) * lr if momentum else float("nan"),
            steps=tuple((float(step), *row.tolist()) for step, row in self.state.step_log),
        )

    def _emit(self, events: Sequence[Event]) -> None:
        self.events.extend(events)
        for event in events:
            for sink in self.sinks:
                sink(event)

    def _save_if_due(self) -> None:
        if time.monotonic() - self.saved_at > self.checkpoint_seconds:
            self._save()

    def _save(self) -> None:
        if self.path is not None:
            checkpoint.save(self.path, self.state.state_dict(), self.cursor, self.events, self.seconds())
        self.saved_at = time.monotonic()

    def _resume(self) -> None:
        saved = checkpoint.load(self.path) if self.path is not None else None
        if saved is not None:
            self.state.load_state_dict(saved.state)
            self.cursor = saved.cursor
            self.seconds_before = saved.seconds
            self._emit(saved.events)
        self.trainer = self._new_trainer()


def run_experiment(
    store: Store,
    seeds: Sequence[int],
    data: Dataset,
    numerics: Numerics,
    *,
    control: Control | None = None,
    sinks_for: Sequence[SinkFactory] = (),
) -> list[Record]:
    """Run the seeds that have no record yet, one after the other, and rebuild the views after each.

    A seed that another process trains is left to it; once the others are done, that is an error.

    Args:
        sinks_for: each called with (store, seed) when a seed begins, to give the sink for its events.

    Raises:
        UserError: a seed is held by another process, or a finished seed's record is damaged.
        Interrupted: a stop was asked for; finished seeds and the unfinished one's state are saved.
    """
    control = control or Control()
    held = []
    store.records()  # a damaged one is told now, not after hours of training
    with control.listening():
        for seed in seeds:
            with store.exclusive(seed) as mine:
                if not mine:
                    held.append(seed)
                elif not store.finished(seed):
                    record = run_seed(
                        store.spec,
                        seed,
                        data,
                        numerics,
                        checkpoint_path=store.files(seed).checkpoint,
                        control=control,
                        sinks=[make(store, seed) for make in sinks_for],
                    )
                    store.save(record)
                    store.rebuild_views()
    records = store.rebuild_views()
    left = [seed for seed in held if not store.finished(seed)]
    if left:
        raise UserError(
            f"{store.spec.name} seed {left[0]} is being trained by {store.holder(left[0])} in"
            f" {store.directory}; run the same command again when it has finished"
        )
    return [record for record in records if record["seed"] in set(seeds)]
