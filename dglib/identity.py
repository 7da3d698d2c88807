"""What makes two runs the same run."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import Any

from dglib.spec import ExperimentSpec

# Raised by every change of code that moves a result; golden records in the tests tell when that is.
RESULTS_VERSION = 1


def describe(
    spec: ExperimentSpec, data_fingerprint: str, *, device: str, threads: int, exact: bool = False
) -> dict[str, Any]:
    """Everything that identifies a run but its seed, as plain data.

    `device` is the one asked for ("auto" stays "auto"), so a resume on another machine finds its run.
    """
    plain = asdict(spec)
    for not_identity in ("parameters", "constants"):
        del plain[not_identity]
    return {
        "spec": plain,
        "data": data_fingerprint,
        "results_version": RESULTS_VERSION,
        "numerics": {"device": device, "threads": threads, "exact": exact},
    }


def describe_shared(spec: ExperimentSpec, data_fingerprint: str) -> dict[str, Any]:
    """What two experiments must have in common to share a run directory, so that λ↑ − λ↓ means something."""
    step = asdict(spec.step)
    for own in ("log_every", "two_pass_statistics"):
        del step[own]
    return {
        "network": asdict(spec.network),
        "data": {**asdict(spec.data), "fingerprint": data_fingerprint},
        "step": step,
        "results_version": RESULTS_VERSION,
    }


def job(spec: ExperimentSpec, data_fingerprint: str, seed: int) -> str:
    """Whose state a checkpoint is: fingerprint of what decides its bits, but for the numerics."""
    plain = asdict(spec)
    del plain["parameters"], plain["constants"]
    return fingerprint(
        {"spec": plain, "data": data_fingerprint, "seed": seed, "results_version": RESULTS_VERSION}
    )


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
