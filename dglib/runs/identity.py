"""What makes two runs the same run, and the manifest that contains it. One manifest per experiment.

An identity contains the specification, the hash of the data, the requested numerics and, for a user's own
code and labels, their `hashes`. Two rules keep it comparable:

- A field that the specification has gained since `_ALWAYS` was written is in it only where it is not at its
  default, so that no fingerprint moves when one is added.
- A hash is compared where both sides have it. Manifests from before there were hashes have none.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import socket
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dglib.errors import StorageError, UserError
from dglib.files import matching
from dglib.protocol.spec import ExperimentSpec

# Parameters under which an experiment's records are read, by its name; `dglib.experiments.register` fills it.
READING: dict[str, frozenset[str]] = {}
TECHNIQUES = ("precision", "channels_last", "fused", "compiled", "cuda_graphs", "autotune")
# Parameters of the numerics, which are part of the identity.
NUMERICS = ("device", "threads", "exact", *TECHNIQUES)
# Where and how a run is made; by these alone no run differs from another.
MACHINE_SETTINGS = frozenset(
    {*NUMERICS, "seeds_at_once", "checkpoint_epochs", "checkpoint_minutes", "keep_states"}
    | {"base_dir", "data_dir", "work_dir", "mirror", "tensorboard"}
)

# Raised by every change of code that changes results; golden records in the tests show when that is.
RESULTS_VERSION = 2

_ALWAYS = {
    "ExperimentSpec": "name prefix directory_prefix experiment_id arms network data step"
    " outcome_without_event final_classes step_log_field",
    "Arm": "name phases",
    "Phase": "name levels epochs_per_level learning_rate evaluate_every trajectory final restart"
    " seed_offset success event only_after_event",
    "LearningRate": "base milestones decay",
    "Success": "criterion field flag",
    "StopEvent": "criterion consecutive field flag",
    "Criterion": "comparison threshold",
    "NetworkSpec": "name width",
    "DataSpec": "dataset noise_rate noise augmentation crop_padding pixel_mean pixel_std",
    "StepSpec": "batch_size refresh_period momentum weight_decay two_pass_statistics log_every",
}
ABSENT = object()  # in place of a value, where there is none
_NEVER = ("parameters", "constants")  # they follow from the rest
_FILE = re.compile(r".+\.(npy|npz|pt)(:[^/\\]+)?")
FILES = ("dataset", "noise")  # fields whose value may be a file


def is_identity(name: str, experiment: str) -> bool:
    """Whether an experiment's parameter is part of what a run is; the numerics count apart."""
    return name not in READING.get(experiment, ()) and name not in MACHINE_SETTINGS and name != "seeds"


def requested_numerics(parameters: Any) -> dict[str, Any]:
    """The numerics asked for, as they identify a run; a technique left to "auto" is not among them."""
    asked = {name: getattr(parameters, name) for name in NUMERICS}
    return {name: value for name, value in asked.items() if name not in TECHNIQUES or value != "auto"}


def describe(
    spec: ExperimentSpec,
    data_fingerprint: str,
    hashes: Mapping[str, str] | None = None,
    /,
    **numerics: object,
) -> dict[str, Any]:
    """Everything that identifies a run but its seed, as plain data.

    `hashes` are those of `run_hashes`; `numerics` those asked for (`requested_numerics`),
    not what they were settled to: a resume on another machine finds its run. Where the data's fingerprint is
    known, the path of a data file does not count.
    """
    described = {"spec": _plain(spec), "data": data_fingerprint, "results_version": RESULTS_VERSION}
    return {**current(described | ({"hashes": dict(hashes)} if hashes else {})), "numerics": numerics}


def shared_of(description: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a description that experiments share in a run directory, so that λ↑ − λ↓ has a meaning."""
    spec = description["spec"]
    shared = {
        "network": spec["network"],
        "data": {**spec["data"], "fingerprint": description["data"]},
        "step": {k: v for k, v in spec["step"].items() if k not in ("log_every", "two_pass_statistics")},
        "results_version": description["results_version"],
    }
    shared |= {"lineage": spec["lineage"]} if "lineage" in spec else {}  # forks of earlier releases
    return shared | ({"hashes": description["hashes"]} if "hashes" in description else {})


def job(spec: ExperimentSpec, data_fingerprint: str, seed: int) -> str:
    """Whose state a checkpoint is: fingerprint of what decides its bits, but for numerics and hashes."""
    return job_of(describe(spec, data_fingerprint, {"labels": ""}), seed)


def job_of(description: Mapping[str, Any], seed: int) -> str:
    """As `job`, from what `describe` gave."""
    deciding = {key: description[key] for key in ("spec", "data", "results_version")}
    return fingerprint(deciding | {"seed": seed})


def asked(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest's identity as `describe` gives it before any data are read: without what they hold."""
    identity, parameters = manifest["identity"], manifest.get("parameters") or {}
    names = {name: parameters[name] for name in FILES if name in parameters}
    spec = {**identity["spec"], "data": identity["spec"]["data"] | names}
    return {key: value for key, value in identity.items() if key != "hashes"} | {"spec": spec, "data": ""}


def current(stored: Mapping[str, Any]) -> dict[str, Any]:
    """An identity as a manifest of any age has it, in today's form."""
    data = dict(stored["spec"]["data"])
    known = {"dataset": stored["data"], "noise": "labels" in stored.get("hashes", {})}
    for name in FILES:
        if known[name] and is_file(data[name]):
            data[name] = "file"
    return {**stored, "spec": {**stored["spec"], "data": data}}


def is_file(name: object) -> bool:
    """Whether a parameter's value names a file of data or labels."""
    return isinstance(name, str) and _FILE.fullmatch(name) is not None


def agree(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two descriptions are of one thing: equal, and in the hashes that both have."""
    bare = [{key: value for key, value in side.items() if key != "hashes"} for side in (one, other)]
    return fingerprint(bare[0]) == fingerprint(bare[1]) and not changed_hashes(one, other)


def changed_hashes(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """The names of the hashes that both have, and that differ."""
    first, second = one.get("hashes", {}), other.get("hashes", {})
    return [name for name in first if name in second and first[name] != second[name]]


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        always = _ALWAYS.get(type(value).__name__, "").split()
        values = [(f, getattr(value, f.name)) for f in fields(value) if f.name not in _NEVER]
        return {f.name: _plain(v) for f, v in values if f.name in always or v != _default(f)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _default(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


def fingerprint(description: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON."""
    text = json.dumps(description, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def differing(*sides: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """The names whose values differ, with the value of each side; `ABSENT` where a side lacks the name.

    1 and 1.0 are one value, and so are a list and a tuple.
    """
    plain = [_as_json(dict(side)) for side in sides]
    names = dict.fromkeys(name for side in plain for name in side)
    compared = {name: tuple(side.get(name, ABSENT) for side in plain) for name in names}
    return {name: values for name, values in compared.items() if any(value != values[0] for value in values)}


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """The leaves in which two descriptions differ, as "path: old → new"."""
    old, new = _as_json(old), _as_json(new)
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(old.keys() | new.keys())
        below = {key: f"{path}.{key}".strip(".") for key in keys}
        return [d for key in keys for d in differences(old.get(key), new.get(key), below[key])]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new) and path:
        pairs = zip(old, new, strict=True)
        return [d for i, (a, b) in enumerate(pairs) for d in differences(a, b, f"{path}[{i}]")]
    return [] if old == new else [f"{path}: {old} → {new}"]


def changes(
    manifest: Mapping[str, Any], identity: Mapping[str, Any], parameters: Mapping[str, Any]
) -> list[str]:
    """How a run differs from a manifest's, in terms of the user's parameters.

    Args:
        identity: of the run, from `describe`.
        parameters: the flat ones that it was made from.
    """
    stored = current(manifest["identity"])
    since = str(manifest.get("created", ""))[:16].replace("T", " ") + " UTC"
    new = {**parameters, **identity.get("numerics", {})}
    old = {"train_size": None, **(manifest.get("parameters") or {}), **stored.get("numerics", {})}
    changed = differing(old, new)
    hashes = changed_hashes(stored, identity)
    same = {"dataset": stored["data"] == identity["data"], "noise": "labels" not in hashes}
    named = {
        name: pair
        for name, pair in changed.items()
        if ABSENT not in pair and not (name in FILES and same[name] and all(map(is_file, pair)))
    }
    lines = [f"{name} {_shown(old)} → {_shown(now)}" for name, (old, now) in named.items()]
    if not same["dataset"] and not named.keys() & {"dataset", "pixel_mean", "pixel_std"}:
        lines.append(f"dataset {new.get('dataset', '')} has changed since {since}")
    for name in hashes:
        kind, verb = ("noise", "gives other labels") if name == "labels" else (name, "has changed")
        if kind not in named and not (name == "labels" and "noise" in hashes):
            lines.append(f"{kind} {new[kind]} {verb} since {since}" if kind in new else f"{kind} {verb}")
    if stored["results_version"] != identity["results_version"]:
        lines.append(f"results version {stored['results_version']} → {identity['results_version']}")
    if not lines:  # a specification of a user's own, or a change of the code that makes it
        lines = differences({"spec": stored["spec"]}, {"spec": identity["spec"]})
    return lines or differences(stored, identity)


def _as_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


# ── manifests ──


def manifest_of(
    spec: ExperimentSpec, identity: Mapping[str, Any], stored: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The manifest of a run with this identity, from `describe`: a new one, or `stored` in today's form.

    That has the hashes of both and the current paths of files. A former identity is added to `formerly`:
    checkpoints from before refer to it.
    """
    before: dict[str, Any] = {} if stored is None else stored["identity"]
    hashes = {**before.get("hashes", {}), **identity.get("hashes", {})}
    now = {**identity, **({"hashes": hashes} if hashes else {})}
    manifest: dict[str, Any] = {
        "experiment": spec.name,
        "fingerprint": fingerprint(now),
        "shared_fingerprint": fingerprint(shared_of(now)),
        "identity": now,
        "parameters": dict(spec.parameters),
    }
    if stored is None:
        created = datetime.now(UTC).isoformat(timespec="seconds")
        machine = {"host": socket.gethostname(), "python": platform.python_version()}
        return {**manifest, "created": created, **machine}
    both = (stored["parameters"], spec.parameters)
    moved = {n: spec.parameters[n] for n in FILES if all(is_file(side.get(n)) for side in both)}
    manifest = {**stored, **manifest, "parameters": {**stored["parameters"], **moved}}
    if manifest["fingerprint"] != stored["fingerprint"]:
        manifest["formerly"] = [*stored.get("formerly", []), before]
    return manifest


def manifests(directory: Path) -> list[Path]:
    """The manifests in a run directory, one per experiment, by name."""
    return matching(directory, "*_manifest.json")


def read_manifest(path: Path, name: str | None = None) -> dict[str, Any]:
    """A manifest whose fingerprints are those of the identity in it.

    Args:
        name: of the file in the run directory, where `path` is that of a mirrored copy.

    Raises:
        UserError: it is torn, edited or something else; the message begins with the path.
    """
    try:
        manifest = json.loads(path.read_bytes())
        described, spec = manifest["identity"], manifest["identity"]["spec"]
        expected = {
            "experiment": spec["name"],
            "fingerprint": fingerprint(described),
            "shared_fingerprint": fingerprint(shared_of(described)),
        }
        expected_name = f"{spec['prefix']}_manifest.json"
        if not isinstance(manifest["parameters"], dict):
            raise TypeError("parameters are no mapping")
    except OSError as error:
        raise StorageError.of(path, error, "read") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a readable manifest ({type(error).__name__}: {error})") from None
    wrong = [field for field, value in expected.items() if manifest.get(field) != value]
    if wrong:
        raise UserError(f"{path}: {' and '.join(wrong)} not that of its identity: the file was edited")
    if (name or path.name) != expected_name:
        raise UserError(f"{path}: belongs in a file called {expected_name}")
    return dict(manifest)
