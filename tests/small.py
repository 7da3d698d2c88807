"""Small data sets and specifications, so that whole runs take a second."""

import errno
import json
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import yaml

from dglib.control import Control
from dglib.experiments import build_spec
from dglib.protocol.spec import Arm, Criterion, LearningRate, Phase, Success
from dglib.runs import identity
from dglib.runs.seed import SeedRun
from dglib.runs.store import Store
from dglib.training.data import Dataset, load_dataset
from dglib.training.numerics import Numerics

CPU = Numerics.resolve("cpu", 1)

OWN = yaml.safe_load("""
common: &common
  {noise: symmetric, noise_rate: 0.4, dataset: digits, pixel_mean: null, pixel_std: null, augmentation: none,
  crop_padding: 4, network: small_cnn, network_width: 0.25, batch_size: 64, lr: 0.1, lr_decay: 0.1,
  momentum: 0.9, weight_decay: 5.0e-4, refresh_period: 4, sweep_lr: null}
spinodal: &spinodal
  {<<: *common, init_lambda: 0.35, init_epochs: 3, init_evaluate_every: 2, evaluate_every: 1, milestones: [4],
  epochs_per_level: 2, consecutive: 2, recovery_error: 0.2}
T1: {<<: *spinodal, init_error_max: 1.0, sweep_lambdas: [0.5, 0.7], collapse_error: 0.4, return_sweep: true,
  return_lambdas: [0.6, 0.4, 0.2]}
T2: {<<: *spinodal, init_lambda: 0.7, init_error_min: 0.0, sweep_lambdas: [0.5, 0.3]}
V3: {<<: *common, ordered_lambda: 0.35, ordered_epochs: 2, ordered_milestones: [1], ordered_error_max: 1.1,
  collapse_lambda: 0.6, collapse_epochs: 2, collapse_milestones: [1], collapse_error_min: 0.0,
  init_evaluate_every: 1, sweep_lambdas: [0.3, 0.5], epochs_per_level: 1, sweep_lr_factor: 0.01}
Td1: {<<: *common, init_lambda: 0.6, init_epochs: 4, evaluate_every: 2, milestones: [2], log_every: 3,
  two_pass_statistics: true, trapped_error: 0.85, partial_error: 0.4}
""")


def small_spec(experiment, **changes):
    """The specification of an experiment under small parameters."""
    return build_spec(experiment, SimpleNamespace(**{**OWN[experiment], **changes}))


RATE = LearningRate(0.05, (3,))


def trunk(*more):
    """Two epochs of init; the arm's name and its phase's are "trunk" and "init"."""
    success = Success(Criterion("<=", 1.0), "trunk_error", "trunk_success")
    init = Phase("init", (0.35,), 2, RATE, 1, "trunk_trajectory", success=success)
    return Arm("trunk", (init, *more))


def hold(lam, name=None, **changes):
    """Three epochs at λ."""
    name = name or f"hold_{lam:g}"
    return replace(Phase(name, (lam,), 3, RATE, 1, f"{name}_trajectory"), **changes)


def branching_spec(*arms, lambdas=(0.3, 0.5, 0.7)):
    """Arms of the small VGG with dropout; by default a trunk and a branch for each λ."""
    small = small_spec("T1", batch_size=8, refresh_period=2, network="vgg11_bn", network_width=0.0625)
    branches = (Arm(f"at {lam:g}", (hold(lam),), "trunk/init") for lam in lambdas)
    return replace(small, arms=arms or (trunk(), *branches))


def run_to_end(spec, saving=None, control=None):
    """The record of seed 0 without its time, and the tensors that it ended with."""
    with CPU.applied():
        one = SeedRun(spec, 0, random_data(), CPU, saving, control=control)
        record, state = one.run(), one.state
    assert record.pop("time") > 0
    held = [*state.momentum(), *state.g_v, state.dropout.get_state()]
    return record, [*state.model.state_dict().values(), *held]


def open_store(base, spec, data, threads=1):
    """The store of a run on the CPU, and the line that names its directory."""
    described = identity.describe(spec, data.fingerprint, device="cpu", threads=threads)
    return Store.open(base, spec, described, {"command": ["test"]})


def without_time(record):
    """A record as text, but for the time that it took."""
    return json.dumps({**record, "time": None})


def random_data(n_train=22, n_test=10, shape=(1, 8, 8), classes=10, seed=0):
    """Random pixels with random labels: nothing to learn, everything to compute."""
    rng = np.random.default_rng(seed)

    def images(n):
        return rng.integers(0, 256, (n, *shape), dtype=np.uint8)

    def labels(n):
        return rng.integers(0, classes, n)

    arrays = images(n_train), labels(n_train), images(n_test), labels(n_test)
    return Dataset("random", *arrays, classes, 255.0, mean=(0.5,) * shape[0], std=(0.25,) * shape[0])


def digits():
    return load_dataset("digits", data_dir="unused")


class StopAfter(Control):
    """Asks for a stop once so many steps were taken."""

    def __init__(self, steps):
        super().__init__()
        self.left = steps

    def stopping(self):
        self.left -= 1
        return self.left < 0


class KillAfter(StopAfter):
    """Ends the process, as far as the run can notice, once so many steps were taken."""

    def stopping(self):
        if super().stopping():
            raise SystemExit
        return False


def unreadable(monkeypatch, directory, code=errno.EIO):
    """From now on the system refuses to list this directory and those below it."""

    def refuse(real):
        def listed(path="."):
            if Path(os.fsdecode(path)).is_relative_to(directory):
                raise OSError(code, os.strerror(code), str(path))
            return real(path)

        return listed

    for name in ("listdir", "scandir"):  # pathlib uses one or the other, depending on Python's version
        monkeypatch.setattr(os, name, refuse(getattr(os, name)))
