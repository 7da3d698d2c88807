"""Trains seeds through their protocol, with checkpoints: one, or those of a run directory."""

from __future__ import annotations

import copy
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dglib.control import Control, Interrupted
from dglib.errors import UserError
from dglib.files import phase_end_path
from dglib.protocol.engine import advance
from dglib.protocol.events import Event, Sink
from dglib.protocol.records import Record, fold
from dglib.protocol.spec import CONTINUED, Cursor, ExperimentSpec, Plan
from dglib.runs import checkpoint, identity
from dglib.runs.checkpoint import CHECKPOINT_EPOCHS, CHECKPOINT_SECONDS, Checkpoint, Saving
from dglib.runs.progress import logged_attempt
from dglib.runs.store import Store
from dglib.training.batches import DeviceData
from dglib.training.data import Dataset
from dglib.training.evaluation import epoch_stats, metrics
from dglib.training.networks import networks
from dglib.training.noise import make_noise, noises
from dglib.training.numerics import Numerics
from dglib.training.randomness import Streams
from dglib.training.state import TrainState
from dglib.training.step import mixes, values
from dglib.training.trainer import Trainer

HELD_SECONDS = 5.0  # how long to wait for a seed that another process trains
PROBE_SEED = 0  # its labels represent a noise in a run's identity, whichever seeds are run
STEPS_BETWEEN_CHECKS = 50  # how often a long epoch checks whether a checkpoint is due


SinkFactory = Callable[[Store, int], Sink]


def run_experiment(
    store: Store,
    seeds: Sequence[int],
    data: Dataset,
    numerics: Numerics,
    *,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    checkpoint_epochs: int = CHECKPOINT_EPOCHS,
    keep_states: bool = False,
    control: Control | None = None,
    sinks_for: Sequence[SinkFactory] = (),
    finished: Callable[[int], None] = lambda seed: None,
    wait: bool = False,
    made: Mapping[str, Any] | None = None,
    report: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True),
) -> list[Record]:
    """Train the seeds that have no record yet, one after the other, and rebuild the views after each.

    A seed that another process trains is left for last, then waited for a few seconds.

    Args:
        keep_states: keep the state at the end of every phase in the run directory's `states`.
        sinks_for: each called with (store, seed) when a seed begins, to give the sink for its events.
        finished: called with each seed that has its record without being trained here.
        wait: for as long as other processes train seeds, instead of a few seconds.
        made: of `dglib.runs.provenance.made_by`, for the records.
        report: given a line when a seed is resumed from a checkpoint.

    Raises:
        UserError: a seed is held by another process, or a finished seed's record is damaged.
        Interrupted: a stop was asked for; finished seeds and the unfinished one's state are saved.
    """
    control, left, patience = control or Control(), list(seeds), math.inf
    store.records()  # a damaged one is reported now, not after hours of training

    def train(seed: int) -> None:
        files, name = store.files(seed), f"{store.spec.name} seed {seed}"
        states = files.state.parent if keep_states else None
        former = store.former_jobs(seed)
        saving = Saving(files.checkpoint, checkpoint_seconds, checkpoint_epochs, states, former)
        sinks = [make(store, seed) for make in sinks_for]
        with logged_attempt(files.attempts, files.heartbeat) as begin, numerics.applied(name):
            run = SeedRun(store.spec, seed, data, numerics, saving, control=control, sinks=sinks, made=made)
            lost = begin(run.steps, run.trainer.steps_per_epoch)
            if run.steps:
                other = f", not bit for bit: {'; '.join(run.changed)}" if run.changed else ""
                report(f"{name}: resuming at step {run.steps} (about {lost} steps lost){other}")
            if not store.save(run.run()):
                report(f"{name}: finished elsewhere first; that record stays")
            store.rebuild_views()

    with control.listening():
        while left:
            held = []
            for seed in left:
                with store.exclusive(seed) as locked:
                    if store.finished(seed):
                        if locked:  # a kill between the record and this leaves the checkpoint
                            store.clear(seed)
                        finished(seed)
                    elif locked:
                        train(seed)
                        patience = math.inf
                    else:
                        held.append(seed)
            if held and control.stopping():
                raise Interrupted
            patience = math.inf if wait else min(patience, time.monotonic() + HELD_SECONDS)
            if held and time.monotonic() > patience:
                raise UserError(
                    f"{store.spec.name} seed {held[0]} is being trained by {store.holder(held[0])} in"
                    f" {store.directory}; give the same command again when it has finished"
                )
            if held:
                time.sleep(0.2)
            left = held
    return [record for record in store.rebuild_views() if record["seed"] in set(seeds)]


def run_seed(
    spec: ExperimentSpec,
    seed: int,
    data: Dataset,
    numerics: Numerics,
    saving: Saving | None = None,
    *,
    control: Control | None = None,
    sinks: Sequence[Sink] = (),
    made: Mapping[str, Any] | None = None,
) -> Record:
    """Train one seed through its protocol, from its checkpoint if there is one.

    The same (spec, seed, data, numerics) gives the same record, interrupted or not, apart from `time` and
    `provenance`. Where an interruption brought other numerics, the record's `numerics` holds each stretch and
    `bitwise` is false.

    Args:
        saving: where and how often checkpoints are written; None: nowhere.
        control: asked between steps.
        sinks: called with every event, those before the checkpoint included.
        made: of `dglib.runs.provenance.made_by`; the record's `provenance` has it, and any
            other from before a resume.

    Raises:
        Interrupted: a stop was asked for; the state has been saved.
        StorageError: the state cannot be saved; the last saved one is intact.
        UserError: the checkpoint cannot be used, `numerics.exact` forbids to resume it here, or another
            run of this process holds torch's switches at other values.
    """
    with numerics.applied(f"{spec.name} seed {seed}"):
        return SeedRun(spec, seed, data, numerics, saving, control=control, sinks=sinks, made=made).run()


class SeedRun:
    """One seed under way. For the arguments see `run_seed`.

    Attributes:
        cursor, state: the position in the protocol, and the network that is trained there.
        steps: trained since the seed began.
        changed: how the numerics differ from those before a resume; empty where they do not.
    """

    def __init__(
        self,
        spec: ExperimentSpec,
        seed: int,
        data: Dataset,
        numerics: Numerics,
        saving: Saving | None = None,
        *,
        control: Control | None = None,
        sinks: Sequence[Sink] = (),
        made: Mapping[str, Any] | None = None,
    ) -> None:
        self.spec, self.seed, self.numerics, self.sinks = spec, seed, numerics, sinks
        self.saving, self.control = saving or Saving(), control or Control()
        self.data = DeviceData(data, spec.data, seed, numerics.torch_device)
        self.job = identity.job(spec, data.fingerprint, seed)
        self.jobs = (self.job, *self.saving.former_jobs)
        self.hashes = {**source_hashes(spec), "labels": self.data.noise.fingerprint}
        self.stretches: list[dict[str, Any]] = [{"from_step": 0, **numerics.describe()}]
        self.made: list[dict[str, Any]] = [] if made is None else [{"from_step": 0, **made}]
        self.phase_ends: dict[str, dict[str, Any]] = {}  # states, where no file keeps them
        self.events: list[Event] = []
        self.changed: list[str] = []
        self.steps = self.epochs_unsaved = 0
        self.cursor = Cursor()
        self.state = self._new_network(self.cursor)
        self.seconds_before = 0.0
        self.began = self.saved_at = time.monotonic()
        self._resume()
        self.trainer = self._new_trainer()

    def run(self) -> Record:
        while not self.cursor.done:
            self._enter_run()
            plan = self.spec.plan(self.cursor)
            self._train_epoch(plan)
            evaluation = None
            if plan.evaluates:
                evaluation = self.trainer.evaluate(self.state, self.spec.metrics)
            stats = epoch_stats(self.state, plan.lr)
            before = self.cursor
            self.cursor, events = advance(self.spec, before, stats, evaluation)
            self._emit(events)
            self.epochs_unsaved += 1
            moved = (before.arm, before.phase) != (self.cursor.arm, self.cursor.phase)
            if moved or self.cursor.outcome not in (None, "diverged"):
                self._save_phase_end(plan.name)
            self._save_if_due()
        return self._record()

    def _record(self) -> Record:
        record = fold(self.spec, self.seed, self.events, self.seconds())
        self._note_fallback()
        record["noise"] = self.data.noise.describe()
        if sources := {name: value for name, value in self.hashes.items() if name != "labels"}:
            record["hashes"] = sources
        record["numerics"] = self.stretches
        record["bitwise"] = len(self.stretches) == 1 and not self.stretches[0]["autotune"]
        return record | ({"provenance": self.made} if self.made else {})

    def seconds(self) -> float:
        """Time spent on this seed, the saved part of earlier attempts included."""
        return self.seconds_before + time.monotonic() - self.began

    def _train_epoch(self, plan: Plan) -> None:
        """Train to the end of the epoch, saving from time to time; stop where a stop was asked for."""
        left = self.trainer.steps_left(self.state)
        while left:
            wanted = min(left, STEPS_BETWEEN_CHECKS)
            taken = self.trainer.advance(self.state, plan.lam, plan.lr, wanted, self.control)
            left -= taken
            self.steps += taken
            if taken < wanted:
                self._save()
                raise Interrupted
            if left:  # at the epoch's end the cursor lags behind the state until `run` has advanced it
                self._save_if_due()

    def _note_fallback(self) -> None:
        """Note in the current stretch why it was slower than asked for: that may move the last bits."""
        if self.trainer.fallback:
            self.stretches[-1]["fallback"] = self.trainer.fallback

    def _enter_run(self) -> None:
        """Bring the state into the cursor's run: a new network, a saved state, a restart, or as it is."""
        if self.state.run == self.cursor.run:
            return
        self._note_fallback()
        start = self.spec.arms[self.cursor.arm].start
        if self.state.run[0] == self.cursor.arm:
            self.state.restart(self.spec.step, self.cursor.run)
        else:
            self.state = self._new_network(self.cursor)
            if start is not None:
                self._start_from(start)
        self.trainer = self._new_trainer()

    def _new_network(self, cursor: Cursor) -> TrainState:
        return TrainState.create(
            self.spec.network,
            self.spec.step,
            self.data.input_shape,
            self.data.classes,
            self.numerics,
            seed=self.seed + self.spec.arms[cursor.arm].phases[0].seed_offset,
            run=cursor.run,
        )

    def _new_trainer(self) -> Trainer:
        streams = Streams(self.seed, self.spec.stream_name(self.cursor))
        return Trainer(self.spec.step, self.data, streams, self.numerics)

    def _start_from(self, start: str) -> None:
        """Load the state at the end of a phase, as the state of the cursor's run."""
        if self.saving.path is None:
            state = self.phase_ends[start]
        else:
            path = phase_end_path(self.saving.path, start)
            saved = checkpoint.load(path, self.jobs)
            if saved is None:
                raise UserError(
                    f"{path}: is missing, and {self.spec.name} seed {self.seed} starts arm"
                    f" {self.spec.arms[self.cursor.arm].name} from it; remove {self.saving.path.name} to"
                    " train the seed from the beginning"
                )
            state = saved.state
        self.state.load_state_dict(state)
        if self.cursor.run_phase == CONTINUED:
            self.state.run = self.cursor.run
        else:
            self.state.restart(self.spec.step, self.cursor.run)

    def _emit(self, events: Sequence[Event]) -> None:
        self.events.extend(events)
        for event in events:
            for sink in self.sinks:
                sink(event)

    def _save_phase_end(self, end: str) -> None:
        """Save the state at the end of a phase if an arm starts from it, or if states are kept."""
        path, states = self.saving.path, self.saving.states
        if end in self.spec.starts and not self.cursor.done:
            if path is None:
                self.phase_ends[end] = copy.deepcopy(self.state.state_dict())
            else:
                checkpoint.save(phase_end_path(path, end), self._checkpoint(), keep_older=False)
        if path is not None and states is not None:
            checkpoint.save(phase_end_path(states / path.name, end), self._checkpoint(), keep_older=False)

    def _save_if_due(self) -> None:
        late = time.monotonic() - self.saved_at > self.saving.seconds
        if (late or self.epochs_unsaved >= self.saving.epochs) and not self.cursor.done:
            self._save()

    def _save(self) -> None:
        if self.saving.path is not None:
            checkpoint.save(self.saving.path, self._checkpoint())
        self.saved_at, self.epochs_unsaved = time.monotonic(), 0

    def _checkpoint(self) -> Checkpoint:
        self._note_fallback()
        return Checkpoint(
            self.job,
            self.state.state_dict(),
            self.cursor,
            self.events,
            self.steps,
            self.seconds(),
            self.stretches,
            self.made,
            self.hashes,
        )

    def _resume(self) -> None:
        saved = None if self.saving.path is None else checkpoint.load(self.saving.path, self.jobs)
        if saved is None:
            return
        self._check_hashes(saved)
        self._continue_stretches(saved)
        self.state.load_state_dict(saved.state)
        self.cursor, self.steps = saved.cursor, saved.steps
        self.seconds_before = saved.seconds
        self._emit(saved.events)

    def _check_hashes(self, saved: Checkpoint) -> None:
        """Refuse to resume with another network or other labels than the seed began with."""
        changed = identity.changed_hashes({"hashes": saved.hashes}, {"hashes": self.hashes})
        if changed:
            what = "noisy labels" if changed[0] == "labels" else f"code of the {changed[0]}"
            raise UserError(
                f"{self.saving.path}: seed {self.seed} began with other {what};"
                " remove the checkpoint to train it from the beginning"
            )

    def _continue_stretches(self, saved: Checkpoint) -> None:
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
                " resume it; set exact to false, or resume where it began"
            )
        if changed:
            self.changed = changed
            self.stretches.append({"from_step": saved.steps, **here})
        now, self.made = self.made, [dict(made) for made in saved.made]
        if now and (not self.made or self.made[-1] | {"from_step": 0} != now[0]):
            self.made.append(now[0] | {"from_step": saved.steps})


def source_hashes(spec: ExperimentSpec) -> dict[str, str]:
    """Of the sources that define a user's network, noise, mix, value and metrics; dglib's own have none."""
    hashes = {
        "network": networks.source(spec.network.name),
        "noise": noises.source(spec.data.noise),
        "mix": mixes.source(spec.step.mix),
        "value": values.source(spec.step.value),
    }
    hashes |= {f"metric {name}": metrics.source(name) for name in spec.metrics}
    return {name: value for name, value in hashes.items() if value is not None}


def run_hashes(spec: ExperimentSpec, data: Dataset) -> dict[str, str]:
    """As `source_hashes`, and of the "labels" that a user's noise gives for `PROBE_SEED`."""
    hashes, noise = source_hashes(spec), spec.data.noise
    if noises.is_own(noise):
        made = make_noise(noise, data.y_train, spec.data.noise_rate, PROBE_SEED, data.classes)
        hashes["labels"] = made.fingerprint
    return hashes
