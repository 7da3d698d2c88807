"""A new run that starts from a saved state of another, under other parameters from there on.

    python -m dglib fork runs/exp_T_spinodal_20261121_120000 --seed 3 --at 24 --set epochs_per_level=8

It starts from the newest state at or before that epoch: one that `keep_states` left at a phase's end, or a
checkpoint of the unfinished seed. From then on it is a run like any other, resumed by the same command.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from dglib.campaign.run import Run, load_data, run
from dglib.control import Control
from dglib.errors import UserError
from dglib.experiments import build_spec
from dglib.experiments.profiles import Layer, one_of, override_layer, validate_layers
from dglib.files import older, phase_end_path, phase_end_paths
from dglib.protocol.engine import EPOCH_NUMBERS, EpochStats, advance
from dglib.protocol.events import EpochDone, Evaluated, Evaluation, Event, StepsLogged
from dglib.protocol.spec import Cursor, ExperimentSpec
from dglib.runs import checkpoint, identity
from dglib.runs.checkpoint import UNREADABLE, Checkpoint
from dglib.runs.identity import NUMERICS, manifests, read_manifest
from dglib.runs.store import SeedFiles, Store

FIXED = ("seeds", "base_dir", *NUMERICS)


def fork(
    directory: Path,
    seed: int,
    at: int,
    overrides: Sequence[str] = (),
    *,
    experiment: str | None = None,
    base_dir: str | None = None,
    control: Control | None = None,
) -> Run:
    """Train a seed from its newest saved state at or before an epoch under other parameters.

    Args:
        directory: the run directory of the original; nothing in it changes.
        at: epochs completed, counted through the seed: 1 after the first.
        overrides: "name=value", of parameters that concern only what comes after the state.
        experiment: needed where the directory holds several.
        base_dir: where the fork's run directory is made; None: next to the original's.

    Raises:
        UserError: there is no such state, or the changes concern what comes before it.
        Interrupted: a stop was asked for; the same call resumes the fork.
    """
    manifest = _manifest(directory, experiment)
    layers = [
        Layer(str(directory), manifest["parameters"] | manifest["identity"]["numerics"]),
        Layer("--seed", {"seeds": seed}),
        Layer("--base-dir", {"base_dir": base_dir or str(directory.absolute().parent)}),
    ]
    changes = [override_layer(text) for text in overrides]
    if fixed := next((name for layer in changes for name in layer.values if name in FIXED), None):
        raise UserError(f"--set {fixed}: cannot be set for a fork")
    name = manifest["experiment"]
    before, after = (validate_layers(name, given) for given in (layers, [*layers, *changes]))
    old, new = build_spec(name, before), build_spec(name, after)
    for part in ("network", "data", "step"):
        was, now = ({part: asdict(getattr(spec, part))} for spec in (old, new))
        if changed := identity.differences(was, now):
            raise UserError(f"--set {'; '.join(changed)}: network, data and step cannot change in a fork")
    data = load_data(after)
    if data.fingerprint != manifest["identity"]["data"]:
        raise UserError(f"{directory}: dataset {after.dataset} has changed since that run")
    lineage = {
        "forked_from": directory.absolute().name,
        "experiment_id": old.experiment_id.format(seed=seed),
        "fingerprint": manifest["fingerprint"],
        "changed": identity.differing(old.parameters, new.parameters),
    }

    steps_per_epoch = -(-len(data.subset(old.data.train_size).x_train) // old.step.batch_size)
    files, job = Store(directory, old).files(seed), identity.job_of(manifest["identity"], seed)
    states = {saved.steps // steps_per_epoch: saved for saved in _states(files, job)}
    known = [*states, *_begun(Path(str(after.base_dir)), lineage)]
    epoch = max((epoch for epoch in known if epoch <= at), default=None)
    if epoch is None:
        raise _no_state(files, at, list(states))
    new = replace(new, lineage={**lineage, "epoch": epoch})
    start = None
    if epoch in states:
        start = _under(new, old, states[epoch], epoch, steps_per_epoch)
        start = replace(start, job=identity.job(new, data.fingerprint, seed))

    def begin(store: Store) -> None:
        mine = store.files(seed)
        if store.finished(seed) or mine.checkpoint.exists() or older(mine.checkpoint).exists():
            return
        if start is None:  # the fork has only a manifest, and the original's state is gone
            raise _no_state(files, at, list(states))
        with store.exclusive(seed) as held:
            if held:
                _copy(start, files, mine)
        print(f"{new.name} seed {seed}: starts from the state at epoch {epoch}", flush=True)

    return run(after, control=control, spec=new, data=data, begin=begin)


def _manifest(directory: Path, experiment: str | None) -> dict[str, Any]:
    """The manifest of the run that is forked."""
    if not directory.is_dir():
        raise UserError(f"{directory}: no such directory")
    found = {manifest["experiment"]: manifest for manifest in map(read_manifest, manifests(directory))}
    if not found:
        raise UserError(f"{directory}: no run there: must be a run directory, with a manifest")
    if experiment is None and len(found) > 1:
        raise UserError(f"{directory}: holds {' and '.join(found)}: choose one with --experiment")
    name = next(iter(found)) if experiment is None else experiment
    if name not in found:
        raise UserError(f"--experiment {name}: must be {one_of(found)} in {directory}")
    return found[name]


def _states(files: SeedFiles, job: str) -> list[Checkpoint]:
    """The readable states of a seed, by steps."""
    paths = [files.checkpoint, older(files.checkpoint)]
    paths += [path for near in (files.checkpoint, files.state) for path in phase_end_paths(near)]
    found = []
    for path in paths:
        with suppress(UserError, *UNREADABLE):
            found.append(checkpoint.read(path))
    return sorted((saved for saved in found if saved.job == job), key=lambda saved: saved.steps)


def _no_state(files: SeedFiles, at: int, states: Sequence[int]) -> UserError:
    directory, others = files.record.parent.parent, f" ({', '.join(map(str, states))})" if states else ""
    if not files.record.exists() and not files.attempts.exists():
        return UserError(f"{files.record.stem}: has not been trained in {directory}")
    return UserError(
        f"{files.record.stem}: no saved state at or before epoch {at}{others} in {directory}: with"
        " keep_states=true a run keeps the state at every phase's end (in another base directory if its seeds"
        " have finished)"
    )


def _begun(base: Path, lineage: Mapping[str, Any]) -> Iterator[int]:
    """The epochs from which the same fork was started before: its state may be gone since."""
    for path in base.glob("*/*_manifest.json"):
        with suppress(UserError):
            theirs = dict(read_manifest(path).get("lineage") or {})
            epoch = theirs.pop("epoch", 0)
            if theirs == json.loads(json.dumps(lineage)):
                yield epoch


def _under(
    new: ExperimentSpec, old: ExperimentSpec, saved: Checkpoint, epoch: int, steps_per_epoch: int
) -> Checkpoint:
    """A saved state at the same position of another specification."""
    try:
        cursor, events = replay(new, saved.events)
    except ValueError as error:
        raise UserError(f"{error}: only what comes after epoch {epoch} can change") from None
    if cursor.done:
        raise UserError(f"under the changed parameters the seed ends at epoch {epoch} ({cursor.outcome})")
    if saved.steps % steps_per_epoch:  # within the next epoch
        plans = old.plan(saved.cursor), new.plan(cursor)
        was, now = ((plan.name, plan.lam, plan.lr) for plan in plans)
        if was != now:
            raise UserError(f"the state is within epoch {epoch + 1}, which would change: {was} → {now}")
    if tuple(saved.state["run"]) > cursor.run:
        raise UserError(f"the state at epoch {epoch} is of a phase that the changed parameters reach later")
    return replace(saved, cursor=cursor, events=events)


def replay(spec: ExperimentSpec, events: Iterable[Event]) -> tuple[Cursor, list[Event]]:
    """The cursor and the events that a seed's epochs so far give under another specification.

    Raises:
        ValueError: the specification trains or evaluates one of these epochs otherwise.
    """
    epochs: dict[tuple[str, int], dict[type[Event], Any]] = {}
    for event in events:
        epochs.setdefault((event.arm, event.epoch), {})[type(event)] = event
    cursor, found = Cursor(), list[Event]()
    for epoch in epochs.values():
        done, evaluated, logged = epoch[EpochDone], epoch.get(Evaluated), epoch.get(StepsLogged)
        where = f"epoch {done.epoch} of {done.arm}/{done.phase}"
        if cursor.done:
            raise ValueError(f"{where}: the seed ends before it ({cursor.outcome})")
        plan = spec.plan(cursor)
        for name, before, now in (
            ("phase", f"{done.arm}/{done.phase}", plan.name),
            ("λ", done.lam, plan.lam),
            ("LR", done.lr, plan.lr),
            ("evaluated", evaluated is not None, plan.evaluates),
        ):
            if before != now:
                raise ValueError(f"{where}: {name} {before} → {now}")
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
        found += new
    return cursor, found


def _copy(start: Checkpoint, theirs: SeedFiles, mine: SeedFiles) -> None:
    """Save the state that a fork starts from, and before it the states that later arms start from."""
    for end in start.cursor.ended:
        for path in (phase_end_path(near, end) for near in (theirs.checkpoint, theirs.state)):
            if path.exists():
                saved = replace(checkpoint.read(path), job=start.job)
                checkpoint.save(phase_end_path(mine.checkpoint, end), saved, keep_older=False)
    checkpoint.save(mine.checkpoint, start)
