"""What makes two runs the same run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from dglib.spec import ExperimentSpec

# Raised by every change of code that moves a result; golden records in the tests tell when that is.
RESULTS_VERSION = 2


def describe(spec: ExperimentSpec, data_fingerprint: str, **numerics: object) -> dict[str, Any]:
    """Everything that identifies a run but its seed, as plain data.

    `numerics` are those asked for (`dglib.experiments.requested_numerics`), not what they were settled to:
    a resume on another machine finds its run.
    """
    return {
        **_described(spec, data_fingerprint),
        "numerics": numerics,
    }


def describe_shared(spec: ExperimentSpec, data_fingerprint: str) -> dict[str, Any]:
    """What two experiments must have in common to share a run directory, so that λ↑ − λ↓ means something."""
    return shared_of(_described(spec, data_fingerprint))


def shared_of(description: Mapping[str, Any]) -> dict[str, Any]:
    """As `describe_shared`, from what `describe` gave."""
    spec = description["spec"]
    shared = {
        "network": spec["network"],
        "data": {**spec["data"], "fingerprint": description["data"]},
        "step": {k: v for k, v in spec["step"].items() if k not in ("log_every", "two_pass_statistics")},
        "results_version": description["results_version"],
    }
    return shared | {"lineage": spec["lineage"]} if "lineage" in spec else shared


def job(spec: ExperimentSpec, data_fingerprint: str, seed: int) -> str:
    """Whose state a checkpoint is: fingerprint of what decides its bits, but for the numerics."""
    return job_of(_described(spec, data_fingerprint), seed)


def job_of(description: Mapping[str, Any], seed: int) -> str:
    """As `job`, from what `describe` gave."""
    deciding = {key: description[key] for key in ("spec", "data", "results_version")}
    return fingerprint(deciding | {"seed": seed})


def _described(spec: ExperimentSpec, data_fingerprint: str) -> dict[str, Any]:
    plain = asdict(spec)
    del plain["parameters"], plain["constants"]
    if spec.lineage is None:  # so that runs keep the fingerprints that they had before there were forks
        del plain["lineage"]
    return {"spec": plain, "data": data_fingerprint, "results_version": RESULTS_VERSION}


def fingerprint(description: dict[str, Any]) -> str:
    """SHA-256 of the canonical JSON."""
    text = json.dumps(description, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """The leaves in which two descriptions differ, as "path: old → new"."""
    old, new = json.loads(json.dumps(old)), json.loads(json.dumps(new))
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(old.keys() | new.keys())
        below = {key: f"{path}.{key}".strip(".") for key in keys}
        return [d for key in keys for d in differences(old.get(key), new.get(key), below[key])]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new) and path:
        pairs = zip(old, new, strict=True)
        return [d for i, (a, b) in enumerate(pairs) for d in differences(a, b, f"{path}[{i}]")]
    return [] if old == new else [f"{path}: {old} → {new}"]
