"""Records of other programs of the same protocol family, in the form of the experiments here.

A record is recognised by its fields, under any of their names, whatever its file is called. What is fixed by
the published protocol and not on record (limits, LR, the λ of the init) is in `FORMATS`; the run's
`*_config.json` replaces it. Records that differ in label noise, dwell time or format make different groups.
Source of the formats: HIDEKI, Dual-Gradient Learning, Paper A (doi 10.5281/zenodo.18215925).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dglib.analysis.fields import Record, level_of, number
from dglib.analysis.lifetimes import first_passage
from dglib.analysis.thresholds import DOWN, UP, detect, rule_of
from dglib.protocol.spec import LearningRate
from dglib.runs.directories import TRANSLATORS, Translated

Fields = Mapping[str, Any]
Settings = Mapping[str, Any]

ALIASES = {
    # of records and of the entries of their lists
    "lambda": "lambda lam lambda_value",
    "epoch": "epoch global_epoch",
    "error": "error test_error test_err",
    "eta": "eta noise_rate noise_level",
    "hold": "hold_epochs hold epochs_per_level epochs_per_lambda",
    "time": "time time_seconds",
    "init_error": "init_error initial_error",
    "direction": "direction sweep_direction",
    "spinodal": "spinodal_lambda lambda_spinodal spinodal",
    "history": "history sweep_history",
    "loop": "loop_data loop",
    "target": "target_lambda lambda_target",
    "observed": "observe_trajectory observation_trajectory",
    "init_trajectory": "init_trajectory init_history",
    "arch": "architecture arch",
    "noise": "noise_type",
    "ordered_init": "ordered_init_error ordered_init",
    "collapse_init": "collapse_init_error collapse_init",
    # of configurations, in any case, at any depth
    "collapse_error": "collapse_error collapse_threshold collapse_thresh threshold_collapse",
    "recovery_error": "recovery_error recovery_threshold recovery_thresh threshold_recovery",
    "limit": "limit threshold error_threshold spinodal_threshold",  # of a sweep in either direction
    "threshold": "threshold error_threshold collapse_error collapse_threshold",
    "consecutive": "consecutive n_consecutive consecutive_required consecutive_count consecutive_epochs"
    " consecutive_levels required_consecutive min_consecutive",
    "init_lambda": "init_lambda lambda_init initial_lambda",
    "init_epochs": "init_epochs epochs_init",
    "sweep_end": "sweep_end lambda_end end_lambda",
    "lr": "lr learning_rate base_lr initial_lr",
    "sweep_lr": "sweep_lr lr_sweep intervention_lr",
    "milestones": "milestones lr_milestones",
    "epochs_per_level": "epochs_per_level epochs_per_lambda hold_epochs",
    "gap_error": "gap_error gap_threshold",
}
"""Our name -> names elsewhere, in the order in which they are tried."""


@dataclass(frozen=True)
class Format:
    """One form of record: its name in groups, what it must have, the published settings, how it is read."""

    name: str
    fields: str
    settings: Settings
    read: Callable[[Format, Fields, Settings], Translated]

    def group(self, **values: float | str) -> str:
        stated = (f"{k}={v if isinstance(v, str) else format(v, 'g')}" for k, v in values.items())
        return " ".join([self.name, *stated])


def translate(record: Record, config: Mapping[str, Any]) -> Translated | None:
    """A record in the form of an experiment here; None where no format has its fields.

    Raises:
        ValueError: it has the fields of a format, and one of them cannot be read.
    """
    for form in FORMATS:
        wanted = form.fields.split()
        fields = _named(record, [*wanted, "time"])
        if fields.keys() >= set(wanted):
            try:
                return form.read(form, fields, {**form.settings, **_settings(config, form.settings)})
            except (KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:
                raise ValueError(f"read as {form.name}: {type(error).__name__}: {error}") from None
    return None


def _named(source: Mapping[str, Any], wanted: Iterable[str]) -> dict[str, Any]:
    """Fields by our names."""
    names = {name: ALIASES.get(name, name).split() for name in wanted}
    present = {name: next((n for n in others if n in source), None) for name, others in names.items()}
    return {name: source[other] for name, other in present.items() if other is not None}


def _settings(config: Mapping[str, Any], known: Settings) -> dict[str, Any]:
    stated = {name.lower(): value for name, value in _flat(config)}
    settings: dict[str, Any] = {}
    for name, published in known.items():
        kind = list if isinstance(published, tuple) else int | float
        usable = {other: value for other, value in stated.items() if isinstance(value, kind)}
        settings |= _named(usable, [name])
    return {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}


def _flat(config: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The names and values at every depth, the outermost last, so that they win."""
    inner = [item for value in config.values() if isinstance(value, Mapping) for item in _flat(value)]
    return [*inner, *config.items()]


def _entries(rows: Sequence[Mapping[str, Any]], **added: Any) -> list[dict[str, Any]]:
    """Evaluations with our names: λ, error, and the epoch where there is one."""
    entries = [{**added, **_named(row, ("lambda", "error", "epoch"))} for row in rows]
    for entry in entries:
        if level_of(entry) is None or "error" not in entry:
            raise ValueError(f"an evaluation lacks λ or error: {entry}")
    return entries


def _rate(settings: Settings, epochs: float) -> float:
    """The LR of the epoch that is complete after `epochs`."""
    return LearningRate(settings["lr"], settings.get("milestones", ())).after(int(epochs) - 1)


def _record(fields: Fields, settings: Settings, parameters: Sequence[str] = ()) -> dict[str, Any]:
    """What every record has; `parameters`: the settings under which it is read."""
    stated = {name: settings[name] for name in parameters}
    names = {"eta": "noise_rate", "hold": "epochs_per_level"}
    stated |= {ours: fields[name] for name, ours in names.items() if name in fields}
    known = {name: fields.get(name) for name in ("seed", "time", "eta")}
    return {**known, "lr": settings["lr"], "parameters": stated}


def _loop(form: Format, fields: Fields, settings: Settings) -> Translated:
    """R1, R2: one network up and down, without an init and without an event."""
    levels: dict[str, list[dict[str, Any]]] = {"up": [], "down": []}
    for row in fields["loop"]:
        (entry,) = _entries([row], phase=row["direction"])
        levels[row["direction"]].append(entry | {"lr": _rate(settings, entry["epoch"])})
    record = _record(fields, settings) | {
        **{f"{name}_trajectory": entries for name, entries in levels.items()},
        "epochs_per_level": fields["hold"],
        "sweep_lr": None,  # that of the milestones
        "outcome": "complete",
    }
    return Translated("loop", form.group(eta=fields["eta"], hold=fields["hold"]), record)


def _spinodal(form: Format, fields: Fields, settings: Settings) -> Translated:
    """R3: a sweep that ends at an event; where none came, the recorded λ is the sweep's end.

    The published comparisons are strict (> and <). The sweep starts from the init's λ only if the init error
    is on the near side of the limit: else the first level says nothing of the levels before.
    """
    if fields["direction"] not in ("up", "down"):
        raise ValueError(f"direction = {fields['direction']!r}: must be up or down")
    direction = UP if fields["direction"] == "up" else DOWN
    name, init_lambda, sweep_end = ("T1", 0.35, 0.70) if direction.rising else ("T2", 0.65, 0.20)
    settings = {
        "init_lambda": init_lambda,
        "sweep_end": sweep_end,
        **{name: value for name, value in settings.items() if value is not None},
    }
    settings[direction.limit] = settings.get("limit", settings[direction.limit])
    settings["collapse_error"] = math.nextafter(settings["collapse_error"], math.inf)
    settings["recovery_error"] = math.nextafter(settings["recovery_error"], -math.inf)
    sweep = _entries(fields["history"], phase="sweep")
    if not sweep:
        raise ValueError("its sweep is empty")
    init = {
        "lambda": settings["init_lambda"],
        "error": fields["init_error"],
        "epoch": settings["init_epochs"],
    }
    rule, flags = rule_of(direction, {"parameters": settings}), []
    if rule.holds(init):
        flags.append(f"the init error is beyond the limit of a {direction.noun} already")
    recorded, last = number(fields, "spinodal"), level_of(sweep[-1])
    at_end = recorded is not None and round(recorded, 6) in (last, settings["sweep_end"])
    if at_end and detect(sweep, rule).first is None:
        recorded = None
        flags.append(f"the recorded {direction.symbol} is the sweep's end, where nothing happened: censored")
    record = _record(fields, settings, ("collapse_error", "recovery_error", "consecutive")) | {
        "init_error": fields["init_error"],
        direction.field: recorded,
        direction.event: recorded is not None,
        "final_lambda": last,
        "final_error": sweep[-1].get("error"),
        "epochs_per_level": fields["hold"],
        "sweep_lr": settings["lr"],
        "trajectory": [{"phase": "init", **init}] * (not rule.holds(init)) + sweep,
        "flags": flags,
    }
    return Translated(name, form.group(eta=fields["eta"], hold=fields["hold"]), record)


def _lifetime(form: Format, fields: Fields, settings: Settings) -> Translated:
    """T1a, T13: an ordered network whose λ jumps, until it collapses. A failed init has no lifetime."""
    init, target = fields["init_trajectory"], fields["target"]
    ordered = _entries(init, phase="init", **{"lambda": settings["init_lambda"]})
    before = int(ordered[-1]["epoch"])
    held = [
        entry | {"epoch": before + entry["epoch"], "lr": _rate(settings, before + entry["epoch"])}
        for entry in _entries(fields["observed"], phase="hold", **{"lambda": target})
        if entry["epoch"] > 0
    ]
    flags, success = [], fields["init_success"] is not False
    if success:
        consecutive = int(settings["consecutive"])
        left = first_passage([e["error"] for e in held], "ordered", settings["threshold"], consecutive)
        recorded = None if fields["censored"] else fields["lifetime"]
        if recorded != (None if left is None else left - consecutive + 1):
            flags.append("the recorded lifetime is not that of the trajectory, which was taken")
    elif fields["lifetime"] is not None:
        flags.append("the init failed, so the recorded lifetime is none")
    record = _record(fields, settings, ("threshold", "consecutive")) | {
        "ordered_init": fields["init_error"],
        "ordered_init_success": success,
        "ordered_init_trajectory": ordered,
        "ordered_trajectory": held if success else [],
        "outcome": "complete" if success else "init_failed",
        "test_size": TEST_SIZE,
        "flags": flags,
    }
    record["parameters"]["hold_lambdas"] = [target]
    return Translated("Hold", form.group(eta=fields["eta"], **{"lambda": target}), record)


def _branches(form: Format, fields: Fields, settings: Settings) -> Translated:
    """V3's two branches, on another network or under other label noise."""
    stated = {name: str(fields[name]) for name in ("arch", "noise") if name in fields}
    record = _record(fields, settings, ("gap_lambda", "gap_error")) | {
        **{name: fields[name] for name in ("ordered_init", "collapse_init")},
        "ordered_trajectory": _entries(fields["ordered_trajectory"], phase="sweep"),
        "collapse_trajectory": _entries(fields["collapse_trajectory"], phase="sweep"),
        "arch": fields.get("arch"),
        "epochs_per_level": settings["epochs_per_level"],
        "sweep_lr": settings["sweep_lr"],
    }
    return Translated("V3", form.group(**stated), record)


def _jumps(form: Format, fields: Fields, settings: Settings) -> Translated:
    """W2: from an ordered and a collapsed network a jump to each λ, and a hold there."""
    branches: dict[str, Any] = {}
    for start in ("ordered", "collapse"):
        held = [
            entry
            for item in fields["interventions"]
            for entry in _entries(
                item[start]["trajectory"],
                phase="hold", lr=settings["sweep_lr"], **{"lambda": item["target_lambda"]},
            )
            if entry["epoch"] > 0
        ]  # fmt: skip
        init = {"phase": "init", "epoch": 0, "error": fields[f"{start}_init"]}
        branches |= {f"{start}_trajectory": held, f"{start}_init_trajectory": [init]}
        branches[f"{start}_init"] = fields[f"{start}_init"]
    branches |= {"outcome": "complete", "test_size": TEST_SIZE}
    record = _record(fields, settings, ("threshold", "consecutive")) | branches
    return Translated("Hold", form.group(), record)


TEST_SIZE = 10_000  # images of CIFAR-10
_BRANCHES = {"lr": 0.1, "sweep_lr": 0.001, "epochs_per_level": 3, "gap_lambda": 0.50, "gap_error": 0.10}
_TWO = "seed ordered_init collapse_init ordered_trajectory collapse_trajectory"


FORMATS = (
    Format("R1/R2", "seed eta hold loop", {"lr": 0.1, "milestones": (50, 75)}, _loop),
    Format(
        "R3",
        "seed direction eta hold spinodal init_error history",
        {"collapse_error": 0.40, "recovery_error": 0.25, "consecutive": 3, "lr": 0.1}
        | {"init_lambda": None, "sweep_end": None, "init_epochs": 30, "limit": None},
        _spinodal,
    ),
    Format(
        "T1a/T13",
        "seed eta target init_error init_success lifetime censored init_trajectory observed",
        {"threshold": 0.40, "consecutive": 5, "init_lambda": 0.35, "lr": 0.1, "milestones": (50, 75)},
        _lifetime,
    ),
    Format("V1", f"{_TWO} noise", _BRANCHES, _branches),
    Format("V3", f"{_TWO} arch", _BRANCHES, _branches),
    Format(
        "W2",
        "seed interventions ordered_init collapse_init",
        {"threshold": 0.40, "consecutive": 3, "lr": 0.1, "sweep_lr": 0.001},
        _jumps,
    ),
)
TRANSLATORS.append(translate)
