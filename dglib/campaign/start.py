"""Seeds that start from another run's saved states: the same records in less time.

    python -m dglib run T1 --seeds 3 --set epochs_per_level=8 --start-from runs/exp_T_spinodal_20261121_120000

Where two runs train the same first epochs, the second one may start from a state of the first: one that
`keep_states` left at a phase's end, or a checkpoint of an unfinished seed.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from dglib.errors import UserError
from dglib.experiments import build_spec
from dglib.experiments.profiles import Layer, validate_layers
from dglib.files import checkpoint_steps, older, phase_end_path, phase_end_paths
from dglib.protocol.engine import EPOCH_NUMBERS, EpochStats, advance
from dglib.protocol.events import EpochDone, Evaluated, Evaluation, Event, StepsLogged
from dglib.protocol.spec import Cursor, ExperimentSpec
from dglib.runs import checkpoint, identity
from dglib.runs.checkpoint import UNREADABLE, Checkpoint
from dglib.runs.identity import RESULTS_VERSION, read_manifest
from dglib.runs.seed import run_hashes
from dglib.runs.store import Store
from dglib.training.data import Dataset

SHARED = ("network", "data", "step", "metrics")  # of the specifications of both runs


class Origin:
    """A run directory from whose saved states seeds of another specification start.

    Raises:
        UserError: it has no run of this experiment, or one that trains in another way.
    """

    def __init__(self, directory: Path, spec: ExperimentSpec, data: Dataset) -> None:
        path = directory / f"{spec.prefix}_manifest.json"
        if not path.exists():
            raise UserError(f"--start-from {directory}: must be a run directory with a run of {spec.name}")
        manifest = read_manifest(path)
        given = manifest["parameters"] | manifest["identity"]["numerics"] | {"seeds": 0}
        self._old = build_spec(spec.name, validate_layers(spec.name, [Layer(str(directory), given)]))
        self._directory, self._identity, self._new = directory, manifest["identity"], spec
        was, now = ({part: asdict(one)[part] for part in SHARED} for one in (self._old, spec))
        was |= {"pixels and labels": self._identity["data"], "version": self._identity["results_version"]}
        now |= {"pixels and labels": data.fingerprint, "version": RESULTS_VERSION}
        sources = identity.changed_hashes(self._identity, {"hashes": run_hashes(spec, data)})
        if changed := identity.differences(was, now) + [f"hash of the {name}" for name in sources]:
            raise UserError(f"--start-from {directory}: must be the same in both runs: {'; '.join(changed)}")
        self._fingerprint = data.fingerprint
        self._steps_per_epoch = -(-len(data.x_train) // spec.step.batch_size)

    def state(self, seed: int) -> Checkpoint:
        """The newest saved state of a seed that the new specification reaches as well, as its checkpoint.

        Raises:
            UserError: there is none.
        """
        files = Store(self._directory, self._old).files(seed)
        paths = [files.checkpoint, older(files.checkpoint)]
        paths += [path for near in (files.checkpoint, files.state) for path in phase_end_paths(near)]
        reason = "with keep_states=true a run keeps the state at every phase's end"
        for path in sorted(paths, key=_steps, reverse=True):
            if saved := self._read(seed, path):
                cursor, events, reason = self._under(saved)
                lost = [end for end, state in self._phase_ends(seed, saved, cursor).items() if state is None]
                if not reason and lost:
                    reason = f"a later arm starts from the end of {lost[0]}, which has none"
                if not reason:
                    job = identity.job(self._new, self._fingerprint, seed)
                    return replace(saved, job=job, cursor=cursor, events=events)
        name = f"seed {seed} has no saved state to start from"
        rest = "without --start-from it is trained from the beginning"
        raise UserError(f"--start-from {self._directory}: {name}: {reason}; {rest}")

    def _read(self, seed: int, *paths: Path) -> Checkpoint | None:
        """The first state of a seed of the origin that can be read."""
        for path in paths:
            with suppress(UserError, *UNREADABLE):
                saved = checkpoint.read(path)
                if saved.job == identity.job_of(self._identity, seed):
                    return saved
        return None

    def _phase_ends(self, seed: int, saved: Checkpoint, cursor: Cursor) -> dict[str, Checkpoint | None]:
        """The states at the ends of phases from which arms start that come after a saved state."""
        files = Store(self._directory, self._old).files(seed)
        after = self._new.arms[cursor.arm + (saved.state["run"][0] == cursor.arm) :]
        names = [arm.start for arm in after if arm.start in cursor.ended]
        nears = (files.checkpoint, files.state)
        return {end: self._read(seed, *(phase_end_path(near, end) for near in nears)) for end in names if end}

    def _under(self, saved: Checkpoint) -> tuple[Cursor, list[Event], str]:
        """Position and events of a state under the new specification, and why it does not reach it."""
        cursor, events, reason = replay(self._new, saved.events)
        if not reason and cursor.done:
            reason = f"it ends there ({cursor.outcome}) under the new parameters"
        if not reason and saved.steps % self._steps_per_epoch:  # within the next epoch
            plans = self._old.plan(saved.cursor), self._new.plan(cursor)
            was, now = ({"phase": plan.name, "λ": plan.lam, "LR": plan.lr} for plan in plans)
            reason = "; ".join(identity.differences(was, now))
        if not reason and tuple(saved.state["run"]) > cursor.run:
            reason = "under the new parameters its phase comes later"
        return cursor, events, reason

    def save_start(self, store: Store, seed: int) -> None:
        """Save the state as the checkpoint of a seed that has not begun, with those that later arms need."""
        with store.exclusive(seed) as held:
            if not held or store.has_begun(seed):
                return
            start, path = self.state(seed), store.files(seed).checkpoint
            for end, saved in self._phase_ends(seed, start, start.cursor).items():
                if saved is not None:
                    checkpoint.save(
                        phase_end_path(path, end), replace(saved, job=start.job), keep_older=False
                    )
            checkpoint.save(path, start)
        print(
            f"{store.spec.name} seed {seed}: starts from step {start.steps} in {self._directory}", flush=True
        )


def _steps(path: Path) -> int:
    with suppress(OSError):
        return checkpoint_steps(path.read_bytes())
    return -1


def replay(spec: ExperimentSpec, events: Iterable[Event]) -> tuple[Cursor, list[Event], str]:
    """The cursor and the events that a seed's epochs so far give under another specification.

    The third is why that trains or evaluates one of the epochs otherwise; "" where it does not.
    """
    epochs: dict[tuple[str, int], dict[type[Event], Any]] = {}
    for event in events:
        epochs.setdefault((event.arm, event.epoch), {})[type(event)] = event
    cursor, renewed = Cursor(), list[Event]()
    for epoch in epochs.values():
        done, evaluated, logged = epoch[EpochDone], epoch.get(Evaluated), epoch.get(StepsLogged)
        where = f"epoch {done.epoch} of {done.arm}/{done.phase}"
        if cursor.done:
            return cursor, renewed, f"{where}: the seed ends before it ({cursor.outcome})"
        plan = spec.plan(cursor)
        was = {"phase": f"{done.arm}/{done.phase}", "λ": done.lam, "LR": done.lr}
        now = {"phase": plan.name, "λ": plan.lam, "LR": plan.lr, "evaluated": plan.evaluates}
        if changed := identity.differences(was | {"evaluated": evaluated is not None}, now):
            return cursor, renewed, f"{where}: {'; '.join(changed)}"
        stats = EpochStats(
            **{name: getattr(done, name) for name in EPOCH_NUMBERS},
            steps=logged.rows if logged else (),
            taken=done.steps,
            skipped=done.skipped,
        )
        evaluation = evaluated and Evaluation(
            evaluated.error, evaluated.predicted, evaluated.finite, evaluated.metrics
        )
        cursor, new = advance(spec, cursor, stats, evaluation)
        renewed += new
    return cursor, renewed, ""
