"""Hashes of what a user gave: by which source it is defined, and what it returns."""

from __future__ import annotations

from dglib.protocol.spec import ExperimentSpec
from dglib.training.data import Dataset
from dglib.training.evaluation import metrics
from dglib.training.networks import networks
from dglib.training.noise import make_noise, noises
from dglib.training.step import mixes, values

PROBE_SEED = 0
"""The seed whose labels represent a noise in a run's identity, whichever seeds are run."""


def source_hashes(spec: ExperimentSpec) -> dict[str, str]:
    """Of the sources that define a user's network, noise, mix, value and metrics; dglib's own have none."""
    found = {
        "network": networks.source(spec.network.name),
        "noise": noises.source(spec.data.noise),
        "mix": mixes.source(spec.step.mix),
        "value": values.source(spec.step.value),
    }
    found |= {f"metric {name}": metrics.source(name) for name in spec.metrics}
    return {name: value for name, value in found.items() if value is not None}


def run_hashes(spec: ExperimentSpec, data: Dataset) -> dict[str, str]:
    """As `source_hashes`, and of the "labels" that a user's noise gives for `PROBE_SEED`."""
    found, noise = source_hashes(spec), spec.data.noise
    if noises.is_own(noise):
        made = make_noise(noise, data.y_train, spec.data.noise_rate, PROBE_SEED, data.classes)
        found["labels"] = made.fingerprint
    return found
