"""Runs a seed: the protocol's places, the trainer's steps, checkpoints between them.

`run_seed` is the one entry for the command line, notebooks and clusters; an experiment is its seeds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dglib.control import Control, Interrupted
from dglib.errors import UserError
from dglib.protocol import engine
from dglib.protocol.engine import Cursor
from dglib.protocol.events import Evaluation, Event, Sink
from dglib.protocol.records import Record, fold
from dglib.protocol.spec import ExperimentSpec
from dglib.runs import checkpoint, identity
from dglib.runs.checkpoint import Checkpoint
from dglib.runs.hashes import source_hashes
from dglib.training.data import Dataset
from dglib.training.evaluation import epoch_stats, evaluate
from dglib.training.numerics import Numerics
from dglib.training.randomness import Streams
from dglib.training.state import TrainState
from dglib.training.trainer import DeviceData, Trainer

STEPS_BETWEEN_LOOKS = 50  # how often a long epoch looks at the clock
CHECKPOINT_SECONDS = 60.0
CHECKPOINT_EPOCHS = 10


def run_seed(
    spec: ExperimentSpec,
    seed: int,
    data: Dataset,
    numerics: Numerics,
    *,
    checkpoint_path: Path | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    checkpoint_epochs: int = CHECKPOINT_EPOCHS,
    control: Control | None = None,
    sinks: Sequence[Sink] = (),
    resumed: Callable[[int, int], None] | None = None,
    made: Mapping[str, Any] | None = None,
    former_jobs: Sequence[str] = (),
) -> Record:
    """Train one seed through its protocol, from its checkpoint if there is one.

    The same (spec, seed, data, numerics) gives the same record, interrupted or not, apart from `time` and
    `provenance`. Where an interruption brought other numerics, the record's `numerics` holds each stretch and
    `bitwise` is false.

    Args:
        checkpoint_path: where the unfinished seed is kept; None keeps nothing.
        checkpoint_seconds, checkpoint_epochs: it is saved at least so often, and when stopped.
        control: asked between steps.
        sinks: called with every event, those before the checkpoint included.
        resumed: called with the steps already trained (0 for a seed that begins) and the steps of an epoch.
        made: of `dglib.runs.provenance.made_by`; the record's `provenance` has it, and any
            other from before a resume.
        former_jobs: jobs that the checkpoint may have as well, of `Store.former_jobs`.

    Raises:
        Interrupted: a stop was asked for; the state has been saved.
        StorageError: the state cannot be saved; the last saved one is intact.
        UserError: the checkpoint cannot be used, `numerics.exact` forbids to go on from it here, or another
            run of this process holds torch's switches at other values.
    """
    control = control or Control()
    with numerics.applied(f"{spec.name} seed {seed}"):
        seed_run = _Seed(
            spec,
            seed,
            data,
            numerics,
            checkpoint_path,
            checkpoint_seconds,
            control,
            sinks,
            checkpoint_epochs,
            made,
            former_jobs,
        )
        if resumed is not None:
            resumed(seed_run.steps, seed_run.trainer.steps_per_epoch)
        return seed_run.run()


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
        checkpoint_epochs: int = CHECKPOINT_EPOCHS,
        made: Mapping[str, Any] | None = None,
        former_jobs: Sequence[str] = (),
    ) -> None:
        self.spec, self.seed, self.control, self.sinks = spec, seed, control, sinks
        self.device = numerics.torch_device
        self.input_shape, self.classes = data.input_shape, data.classes
        self.data = DeviceData.place(data, spec.data, seed, self.device)
        self.path, self.checkpoint_seconds = path, checkpoint_seconds
        self.checkpoint_epochs, self.epochs_unsaved = checkpoint_epochs, 0
        self.job = identity.job(spec, data.fingerprint, seed)
        self.jobs = (self.job, *former_jobs)
        self.sources = source_hashes(spec)
        self.numerics = numerics
        self.stretches: list[dict[str, Any]] = [{"from_step": 0, **numerics.describe()}]
        self.made: list[dict[str, Any]] = [] if made is None else [{"from_step": 0, **made}]
        self.steps = 0
        self.events: list[Event] = []
        self.cursor = engine.start(spec)
        self.state = self._new_network(self.cursor)
        self.seconds_before = 0.0
        self.began = self.saved_at = time.monotonic()
        self._resume()

    def run(self) -> Record:
        while not self.cursor.done:
            place = engine.place(self.spec, self.cursor)
            self._enter_run()
            self._train_epoch(place.lam, place.lr)
            evaluation = self._evaluate() if place.evaluates else None
            stats = epoch_stats(self.state, place.lr)
            self.cursor, events = engine.advance(self.spec, self.cursor, stats, evaluation)
            self._emit(events)
            self.epochs_unsaved += 1
            self._save_if_due()
        record = fold(self.spec, self.seed, self.events, self.seconds())
        self._note_fallback()
        bitwise = len(self.stretches) == 1 and not self.stretches[0]["autotune"]
        made = {"provenance": self.made} if self.made else {}
        record |= {"noise": self.data.noise.describe()}
        record |= {"hashes": self.sources} if self.sources else {}
        return record | {"numerics": self.stretches, "bitwise": bitwise, **made}

    def seconds(self) -> float:
        """Time spent on this seed, earlier attempts' saved part included."""
        return self.seconds_before + time.monotonic() - self.began

    def _evaluate(self) -> Evaluation:
        return evaluate(self.state, self.data, self.numerics, self.spec.metrics)

    def _train_epoch(self, lam: float, lr: float) -> None:
        """Train to the end of the epoch, saving from time to time; stop where a stop was asked for."""
        left = self.trainer.steps_left(self.state)
        while left:
            wanted = min(left, STEPS_BETWEEN_LOOKS)
            taken = self.trainer.advance(self.state, lam, lr, wanted, self.control)
            left -= taken
            self.steps += taken
            if taken < wanted:
                self._save()
                self._wait()
            if left:  # at the epoch's end the cursor lags behind the state until `run` has advanced it
                self._save_if_due()

    def _wait(self) -> None:
        """Sit a pause out, off the clock; leave where a stop was asked for."""
        paused_at = time.monotonic()
        if not self.control.wait():
            raise Interrupted
        self.began += time.monotonic() - paused_at

    def _note_fallback(self) -> None:
        """Say in the stretch under way why it was slower than asked for: that may move the last bits."""
        if self.trainer.take_step.fallback:
            self.stretches[-1]["fallback"] = self.trainer.take_step.fallback

    def _enter_run(self) -> None:
        """Bring the state into the run that the cursor stands in: a new network, a restart, or as it is."""
        if self.state.run != self.cursor.run:
            if self.state.run[0] != self.cursor.arm:
                self.state = self._new_network(self.cursor)
            else:
                self.state.restart(self.spec.step, self.cursor.run)
            self._note_fallback()
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
            memory_format=self.numerics.memory_format,
        )

    def _new_trainer(self) -> Trainer:
        arm = self.spec.arms[self.state.run[0]]
        streams = Streams(self.seed, f"{arm.name}/{arm.phases[self.state.run[1]].name}")
        return Trainer(self.spec, self.data, streams, self.numerics)

    def _emit(self, events: Sequence[Event]) -> None:
        self.events.extend(events)
        for event in events:
            for sink in self.sinks:
                sink(event)

    def _save_if_due(self) -> None:
        late = time.monotonic() - self.saved_at > self.checkpoint_seconds
        if (late or self.epochs_unsaved >= self.checkpoint_epochs) and not self.cursor.done:
            self._save()

    def _save(self) -> None:
        self._note_fallback()
        if self.path is not None:
            found = Checkpoint(
                self.job,
                self.state.state_dict(),
                self.cursor,
                self.events,
                self.steps,
                self.seconds(),
                self.stretches,
                self.made,
                self._hashes(),
            )
            checkpoint.save(self.path, found)
        self.saved_at, self.epochs_unsaved = time.monotonic(), 0

    def _resume(self) -> None:
        saved = checkpoint.load(self.path, self.jobs) if self.path is not None else None
        if saved is not None:
            self._check_hashes(saved)
            self._go_on_here(saved)
            self.state.load_state_dict(saved.state)
            self.cursor, self.steps = saved.cursor, saved.steps
            self.seconds_before = saved.seconds
            self._emit(saved.events)
        self.trainer = self._new_trainer()

    def _hashes(self) -> dict[str, str]:
        return {**self.sources, "labels": self.data.noise.fingerprint}

    def _check_hashes(self, saved: Checkpoint) -> None:
        """Refuse to go on with another network or other labels than the seed began with."""
        changed = identity.changed_hashes({"hashes": saved.hashes}, {"hashes": self._hashes()})
        if changed:
            what = {"network": "code of the network", "noise": "code of the noise", "labels": "noisy labels"}
            raise UserError(
                f"{self.path}: seed {self.seed} began with other {what[changed[0]]};"
                " remove the checkpoint to train it from the beginning"
            )

    def _go_on_here(self, saved: Checkpoint) -> None:
        """Take over the stretches; other numerics than the last one's begin a new one, or are refused."""
        here = self.numerics.describe()
        self.stretches = [dict(stretch) for stretch in saved.stretches]
        last = self.stretches[-1]
        changed = [f"{key} {last.get(key)} → {here[key]}" for key in here if last.get(key) != here[key]]
        if not changed and not self.state.takes_dropout_of(saved.state):
            changed = ["a dropout generator of another kind"]
        if changed and self.numerics.exact:
            raise UserError(
                f"seed {self.seed} began with other numerics ({'; '.join(changed)}): exact = true refuses to"
                " go on; set exact to false, or go on where it began"
            )
        if changed:
            self.stretches.append({"from_step": saved.steps, **here})
        now, self.made = self.made, [dict(made) for made in saved.made]
        if now and (not self.made or self.made[-1] | {"from_step": 0} != now[0]):
            self.made.append(now[0] | {"from_step": saved.steps})
