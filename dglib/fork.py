"""A new run from a saved state of another: the same up to an epoch, under other parameters from there on.

    python -m dglib fork runs/exp_T_spinodal_20261121_120000 --seed 3 --at 24 --set epochs_per_level=8

Up to that epoch both must hold the same levels, and what the original's files tell of it must come out again
bit for bit; `dglib.runs.lineage` checks that, epoch by epoch. So a fork may begin at any saved state before
that epoch, or at the seed's beginning, and from then on it is a run like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from dglib import api
from dglib.control import Control
from dglib.errors import UserError
from dglib.experiments import build_spec
from dglib.experiments.parameters import Parameters
from dglib.experiments.profiles import override_layer
from dglib.experiments.running import check, load
from dglib.experiments.validation import Layer, one_of, validate_layers
from dglib.files import older, unsealed
from dglib.protocol import engine
from dglib.protocol.events import Event
from dglib.protocol.spec import ExperimentSpec
from dglib.runs import checkpoint, identity
from dglib.runs.checkpoint import UNREADABLE, Checkpoint
from dglib.runs.hashes import run_hashes
from dglib.runs.identity import NUMERICS
from dglib.runs.lineage import Way, events_of
from dglib.runs.reading import manifests, read_manifest
from dglib.runs.store import SeedFiles, Store
from dglib.training.data import Dataset

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
) -> api.Run:
    """Run a seed on from its state at an epoch under changed parameters, or go on with such a fork.

    Args:
        directory: the run directory of the original; nothing in it changes.
        at: epochs completed, counted through the seed: 1 after the first.
        overrides: "name=value", of parameters that concern only what comes after.
        experiment: needed where the directory holds several.
        base_dir: where the fork's run directory is made; None: beside the original's.

    Raises:
        UserError: there is no such state, or the changes concern what comes before it.
        Interrupted: a stop was asked for; the same call goes on from there.
    """
    manifest = _manifest(directory, experiment)
    before, after = _parameters(directory, manifest, seed, overrides, base_dir)
    old, new = (build_spec(each.experiment, each) for each in (before, after))
    _check_changes(old, new, at)
    data = load(after)
    hashes = run_hashes(old, data)
    described = identity.describe(old, data.fingerprint, hashes, **manifest["identity"]["numerics"])
    if not identity.agree(identity.current(manifest["identity"]), described):
        changed = identity.changes(manifest, described, old.parameters)
        raise UserError(f"{directory}: cannot be retraced here: {'; '.join(changed[:3])}")

    new = replace(
        new,
        lineage={
            "forked_from": directory.absolute().name,
            "experiment_id": old.experiment_id.format(seed=seed),
            "fingerprint": manifest["fingerprint"],
            "epoch": at,
            "changed": {
                name: [value, new.parameters[name]]
                for name, value in old.parameters.items()
                if value != new.parameters[name]
            },
        },
    )
    files = Store(directory, old).files(seed)
    states = _states(files, identity.job_of(manifest["identity"], seed))
    known = _known(files, old, states)
    way = Way(old, new, at)
    for event in known:
        way(event)
    start = _start(states, old, new, at, data, seed)

    def begin(store: Store) -> None:
        if _begin(store, seed, start):
            steps = 0 if start is None else start.steps
            print(f"{new.name} seed {seed}: forked at epoch {at}, from a state at step {steps}", flush=True)

    _, numerics = check(after)
    return api.run_checked(
        after,
        new,
        numerics,
        data,
        control=control,
        begin=begin,
        sinks_for=[lambda store, seed: Way(old, new, at, known)],
    )


def _manifest(directory: Path, experiment: str | None) -> dict[str, Any]:
    """The manifest of the run that is forked."""
    if not directory.is_dir():
        raise UserError(f"{directory}: no such directory")
    found = {manifest["experiment"]: manifest for manifest in map(read_manifest, manifests(directory))}
    if not found:
        raise UserError(f"{directory}: no run there: must be a run directory, with a manifest")
    if experiment is None and len(found) > 1:
        raise UserError(f"{directory}: holds {' and '.join(found)}: say which with --experiment")
    name = next(iter(found)) if experiment is None else experiment
    if name not in found:
        raise UserError(f"--experiment {name}: must be {one_of(found)} in {directory}")
    if lineage := found[name].get("lineage"):  # what came before its first state lies in other directories
        raise UserError(f"{directory}: is a fork itself; fork the original, {lineage['forked_from']}")
    return found[name]


def _parameters(
    directory: Path, manifest: dict[str, Any], seed: int, overrides: Sequence[str], base_dir: str | None
) -> tuple[Parameters, Parameters]:
    """The original's and the changed ones, for this seed."""
    machine = manifest["identity"]["numerics"]
    layers = [
        Layer(str(directory), manifest["parameters"] | machine),
        Layer("--seed", {"seeds": seed}),
        Layer("--base-dir", {"base_dir": base_dir or str(directory.absolute().parent)}),
    ]
    changes = [override_layer(text) for text in overrides]
    if stays := next((name for layer in changes for name in layer.values if name in FIXED), None):
        raise UserError(f"--set {stays}: cannot be set for a fork")
    return (
        validate_layers(manifest["experiment"], layers),
        validate_layers(manifest["experiment"], [*layers, *changes]),
    )


def _check_changes(old: ExperimentSpec, new: ExperimentSpec, at: int) -> None:
    """Refuse what can be seen to be wrong without the seed's files."""
    before, after = (
        {"network": asdict(spec.network), "data": asdict(spec.data), "step": asdict(spec.step)}
        for spec in (old, new)
    )
    if changed := identity.differences(before, after):
        raise UserError(f"--set {'; '.join(changed)}: network, data and step cannot change in a fork")
    most = min(engine.planned_epochs(old), engine.planned_epochs(new) - 1)
    if not 1 <= at <= most:
        raise UserError(f"--at {at}: must be from 1 to {most}, so that something comes after it")


def _states(files: SeedFiles, job: str) -> list[Checkpoint]:
    """The original's readable generations, the furthest first. In place of a damaged one, another serves."""
    found = []
    for path in (files.checkpoint, older(files.checkpoint)):
        try:
            saved = checkpoint.read(path)
        except (UserError, *UNREADABLE):
            continue
        if saved.job == job:
            found.append(saved)
    return sorted(found, key=lambda saved: saved.steps, reverse=True)


def _known(files: SeedFiles, old: ExperimentSpec, states: Sequence[Checkpoint]) -> Sequence[Event]:
    """What the original's files tell of the seed's way."""
    if files.record.exists():
        return events_of(old, unsealed("seed record", files.record))
    if states:
        return states[0].events
    if files.attempts.exists():
        return ()
    raise UserError(f"{files.record.stem}: was never begun in {files.record.parent.parent}")


def _start(
    states: Sequence[Checkpoint], old: ExperimentSpec, new: ExperimentSpec, at: int, data: Dataset, seed: int
) -> Checkpoint | None:
    """The newest state at or before the epoch, as one of the fork; None: the seed's beginning."""
    steps_per_epoch = -(-len(data.x_train) // old.step.batch_size)
    for saved in states:
        if saved.steps > at * steps_per_epoch:
            continue
        way = Way(old, new, at)
        for event in saved.events:
            way(event)
        # Saved in between two arms, it may be of a network already that the fork does not come to yet.
        if tuple(saved.state["run"]) in (way.run, way.cursor.run):
            job = identity.job(new, data.fingerprint, seed)
            return replace(saved, job=job, cursor=way.cursor, events=way.events)
    return None


def _begin(store: Store, seed: int, start: Checkpoint | None) -> bool:
    """Lay down the state that the fork begins with, unless it has begun; whether it had not."""
    path = store.files(seed).checkpoint
    with store.exclusive(seed) as mine:
        begun = store.finished(seed) or path.exists() or older(path).exists()
        if mine and not begun and start is not None:
            checkpoint.save(path, start)
        return mine and not begun
