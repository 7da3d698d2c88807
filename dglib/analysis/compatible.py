"""Whether records may be analysed together: same parameters, same data, each seed once."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dglib.analysis import wording
from dglib.analysis.fields import Record, entries, level_of, levels_of, number
from dglib.analysis.thresholds import init_level
from dglib.errors import UserError
from dglib.runs.identity import ABSENT, READING, differing, is_file, is_identity
from dglib.runs.reading import Source

# What two experiments must have in common for a difference between them to mean something.
SHARED = (
    "eta",
    "dataset", "train_size", "noise", "noise_rate", "pixel_mean", "pixel_std", "augmentation", "crop_padding",
    "network", "network_width", "batch_size", "lr", "lr_decay", "momentum", "weight_decay", "refresh_period",
)  # fmt: skip
_SHOWN = 6
_UNSTATED = "not stated"

Texts = dict[str, str]
MadeOn = Mapping[tuple[Path, str], Texts]


def check_compatible(root: Path, sources: Sequence[Source], made_on: MadeOn) -> None:
    """Refuse records of one experiment that do not belong together.

    Args:
        made_on: by run directory and experiment, what its manifest adds: the data's fingerprint for instance.

    Raises:
        UserError: parameters differ, or a seed is in two runs; with the values and the directories.
    """
    for experiment, group in dict.fromkeys((source.experiment, source.group) for source in sources):
        mine = [source for source in sources if (source.experiment, source.group) == (experiment, group)]
        named = f"{experiment} of {group}" if group else experiment
        differing = list(_differing(mine, made_on))
        if differing:
            shown = []
            for name, values in differing[:_SHOWN]:
                places = (f"{text} ({_where(root, some, mine)})" for text, some in values.items())
                shown.append(f"{name} = {' | '.join(places)}")
            shown += [f"{len(differing) - _SHOWN} more"] * (len(differing) > _SHOWN)
            several = len({source.run for source in mine}) > 1
            alone = "one of the directories alone" if several else "each set alone"
            raise UserError(
                f"{root}: {named} was run under mixed parameters: {'; '.join(shown)}; give {alone}"
            )
        _check_once(root, named, mine)


def why_apart(names: Sequence[str], *records: Sequence[Record]) -> str | None:
    """Why experiments' records make no finding together; None if they do.

    Args:
        records: of each of `names`, each list made under one set of parameters.
    """
    stated = [_parameters(mine[0]) for mine in records]
    silent = [name for name, side in zip(names, stated, strict=True) if not side]
    if silent and len(silent) < len(names):
        stating = [name for name in names if name not in silent]
        return (
            f"{wording.listing(stating)} states its parameters and {wording.listing(silent)} none, so they"
            " are not taken together"
        )
    sides = [_texts({"eta": mine[0].get("eta"), **side}) for mine, side in zip(records, stated, strict=True)]
    apart = differing(*sides)
    shared = [name for name in SHARED if ABSENT not in apart.get(name, (ABSENT,))]
    if not shared:
        return None
    found = [f"{name} = {' | '.join(apart[name])}" for name in shared]
    return f"{wording.listing(list(names))} were run under different parameters: {'; '.join(found)}"


def _differing(sources: Sequence[Source], made_on: MadeOn) -> Iterator[tuple[str, dict[str, list[Source]]]]:
    """Name -> value -> the sources that have it, for everything that is not the same in all."""
    stated, sides = [_stated(source.record) for source in sources], []
    for source, own in zip(sources, stated, strict=True):
        made = made_on.get((source.run, source.experiment), {})
        sides.append(_seen(source.record) | made | own)
        if own and (source.run, source.experiment) in made_on:
            # Of one run, a record of an earlier release may lack a parameter: it has the others' value.
            for other, twin in zip(sources, stated, strict=True):
                sides[-1] = twin | sides[-1] if other.run == source.run else sides[-1]
    known = {name for side in stated for name in side}
    for name, values in differing(*sides).items():
        found: dict[str, list[Source]] = {}
        for source, value in zip(sources, values, strict=True):
            if value is not ABSENT or name in known:  # what is only seen may lack by chance
                found.setdefault(_UNSTATED if value is ABSENT else value, []).append(source)
        if len(found) > 1:
            yield name, found


def _stated(record: Record) -> Texts:
    """The parameters on record that decide what a seed does; where it was forked from counts among them."""
    lineage = {"lineage": record["lineage"]} if record.get("lineage") else {}
    experiment = str(record.get("experiment"))
    return _texts({k: v for k, v in _parameters(record).items() if is_identity(k, experiment)} | lineage)


def _parameters(record: Record) -> Mapping[str, Any]:
    """The parameters on record, where a file of data or labels counts by its contents, not by its path."""
    parameters = dict(record.get("parameters") or {})
    contents = {
        "dataset": next((side.get("data_fingerprint") for side in record.get("provenance") or ()), None),
        "noise": (record.get("noise") or {}).get("labels"),
    }
    for name, value in contents.items():
        if value and is_file(parameters.get(name)):
            parameters[name] = f"file {str(value)[:12]}"
    return parameters


def _seen(record: Record) -> Texts:
    """What a record shows of its parameters without stating them, as published ones do; how it is read."""
    parameters = record.get("parameters") or {}
    found: dict[str, Any] = {"eta": number(record, "eta")}
    reading = READING.get(str(record.get("experiment")), frozenset())
    found |= {name: value for name, value in parameters.items() if name in reading}
    if not parameters:
        sweep, init = entries(record, "trajectory", "sweep"), entries(record, "trajectory", "init")
        levels = levels_of(sweep)
        found |= {"initial λ": init_level(record), "first λ of the sweep": next(iter(levels), None)}
        found["arch"] = record.get("arch")
        if len(levels) > 1 and init:  # the first level was held to its end
            ends = [init[-1], [entry for entry in sweep if level_of(entry) == levels[0]][-1]]
            before, after = (number(entry, "epoch") for entry in ends)
            if before is not None and after is not None:
                found["epochs at the first λ"] = after - before
    return _texts({name: value for name, value in found.items() if value is not None})


def _texts(values: Mapping[str, Any]) -> Texts:
    return {name: _text(value) for name, value in values.items()}


def _text(value: Any) -> str:
    """A value as it is compared and shown: 1 and 1.0 are one value."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return repr(float(value)).removesuffix(".0")
    if isinstance(value, list):
        return f"[{', '.join(map(_text, value))}]"
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _where(root: Path, some: Sequence[Source], every: Sequence[Source]) -> str:
    """The directories of some sources, with the seeds where a directory also holds others."""
    names = []
    for run in dict.fromkeys(source.run for source in some):
        seeds = [str(source.seed) for source in some if source.run == run]
        whole = len(seeds) == sum(source.run == run for source in every)
        which = "" if whole else f"seed{'s' * (len(seeds) > 1)} {', '.join(seeds)} of "
        names.append(f"{which}{_name(root, run)}")
    return wording.listing(names)


def _name(root: Path, run: Path) -> str:
    return str(run.relative_to(root)) if run != root and run.is_relative_to(root) else run.name or str(run)


def _check_once(root: Path, experiment: str, sources: Sequence[Source]) -> None:
    runs: dict[int, list[Path]] = {}
    for source in sources:
        runs.setdefault(source.seed, []).append(source.run)
    twice = {seed: held for seed, held in runs.items() if len(held) > 1}
    if twice:
        seed, held = next(iter(sorted(twice.items())))
        names = wording.listing([_name(root, run) for run in held])
        more = f" (and {wording.seeds(len(twice) - 1)} more)" if len(twice) > 1 else ""
        raise UserError(
            f"{root}: {experiment} seed {seed}{more} is in {names}: give one of the directories alone"
        )
