"""Two runs side by side: the same quantities, their differences, and how the runs themselves differed.

python -m dglib compare runs/exp_T_spinodal_20261121_120000 ../published/exp_T_spinodal_20260117_121637
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dglib.analysis import wording
from dglib.analysis.differences import Row
from dglib.errors import UserError
from dglib.experiments import get, joints, names
from dglib.experiments.profiles import profile_layer
from dglib.protocol.records import Record
from dglib.report.collect import Found, collect_whatever
from dglib.report.provenance import computed_on, data
from dglib.runs.identity import READING

_UNRECORDED = "not on record"


@dataclass(frozen=True)
class Comparison:
    """One experiment, or the width, on two sides.

    Attributes:
        rows: the quantities.
        differed: lines on parameters, data, numerics and versions; empty where nothing differed.
    """

    name: str
    rows: list[Row]
    differed: list[str]


def compare(a: Path, b: Path) -> list[Comparison]:
    """Compare every experiment that both sides hold.

    Args:
        a, b: a run directory, a base directory with one run of each experiment, a folder of published
            results' files, or one such file (`T1-spinodal_results.json`).

    Raises:
        UserError: a side is missing, empty, damaged or holds several runs of an experiment, or the two have
            none in common.
    """
    first, second = _side(a), _side(b)
    shared = [name for name in names() if name in first and name in second]
    if not shared:
        held = (f"{path} holds {wording.listing(list(side))}" for path, side in ((a, first), (b, second)))
        raise UserError(f"nothing to compare: {' and '.join(held)}")
    found = []
    for name in shared:
        one, other = first[name], second[name]
        rows = get(name).compare(one.records, read_as(one.records, other.records))
        found.append(Comparison(get(name).symbol, rows, differences(one, other)))
    for joint in joints():
        if set(joint.experiments) <= set(shared):
            a_side, b_side = ([side[name].records for name in joint.experiments] for side in (first, second))
            found.append(Comparison(joint.title, joint.compare(a_side, b_side), []))
    return found


def read_as(a: Sequence[Record], b: Sequence[Record]) -> list[Record]:
    """The records `b` under the reading parameters of `a`."""
    one = (a[0].get("parameters") if a else None) or {}
    reading = {name: value for name, value in one.items() if name in READING}
    others = [{k: v for k, v in (record.get("parameters") or {}).items() if k not in READING} for record in b]
    return [{**record, "parameters": own | reading} for record, own in zip(b, others, strict=True)]


def text(a: Path, b: Path, found: Iterable[Comparison]) -> str:
    """The comparison as a page of plain text."""
    lines = [f"A: {a}", f"B: {b}"]
    for each in found:
        table = [("", "A", "B", "A − B"), *((r.name, r.a, r.b, r.difference) for r in each.rows)]
        widths = [max(len(row[column]) for row in table) for column in range(3)]
        lines += ["", each.name]
        for *cells, last in table:
            padded = (cell.ljust(size) for cell, size in zip(cells, widths, strict=True))
            lines.append(f"  {'  '.join([*padded, last])}".rstrip())
        lines += [f"  {line}" for line in each.differed]
    lines += ["", "Intervals are at 95 %, for one difference at a time, with the sides taken as independent."]
    return "\n".join(lines)


def differences(a: Found, b: Found) -> list[str]:
    """What differed between two runs of an experiment, a line for each kind of thing."""
    lines = [*_parameters(a, b), *_data(a, b)]
    machines = [computed_on(side.records) or _UNRECORDED for side in (a, b)]
    lines.append(_line("numerics", *machines))
    lines.append(_line("versions", *(_versions(side) for side in (a, b))))
    lines.append(_line("seeds", *(_seeds(side.records) for side in (a, b))))
    return [line for line in [*lines, _bits(a.records, b.records)] if line]


def _side(path: Path) -> dict[str, Found]:
    """Experiment -> its one run there."""
    if path.is_file():
        files = {f"{get(name).prefix}_results.json": name for name in names()}
        if path.name not in files:
            raise UserError(f"{path}: must be a directory, or a file called {', '.join(files)}")
        collection = collect_whatever(path.parent)
        held = collection.of(files[path.name])
    else:
        collection = collect_whatever(path)
        held = collection.found
    if collection.damaged:
        raise UserError(f"{collection.damaged[0]}; `python -m dglib verify {collection.base}` says more")
    held = [each for each in held if each.records]
    if not held:
        raise UserError(f"{path}: no seed has finished there")
    side: dict[str, Found] = {}
    for each in held:
        if each.experiment in side:
            several = f"{side[each.experiment].directory.name}, {each.directory.name}"
            raise UserError(f"{path}: holds several runs of {each.experiment} ({several}): name one of them")
        side[each.experiment] = each
    return side


def _parameters(a: Found, b: Found) -> list[str]:
    sides, lines = [], []
    for name, each in (("A", a), ("B", b)):
        sides.append(each.parameters or dict(profile_layer(each.experiment, "paper").values))
        if not each.parameters:
            lines.append(
                f"parameters: {name} records none; taken to be those of params/paper/{each.experiment}.yaml"
            )
    one, other = sides
    # A profile also says where a run goes and on what; only what both sides know is a difference of the runs.
    known = one.keys() & other.keys()
    changed = [name for name in one if name in known and not _same(one[name], other[name])]
    lines += [f"parameters: {name} = {_value(one[name])} | {_value(other[name])}" for name in changed]
    if a.parameters and b.parameters:
        for name in sorted(one.keys() ^ other.keys()):
            values = (_value(side[name]) if name in side else _UNRECORDED for side in sides)
            lines.append(f"parameters: {name} = {' | '.join(values)}")
    return lines


def _data(a: Found, b: Found) -> list[str]:
    names = [_data_name(side) for side in (a, b)]
    prints = [((side.manifest or {}).get("identity") or {}).get("data") for side in (a, b)]
    if names[0] != names[1]:
        return [_line("data", *names)]
    if None not in prints and prints[0] != prints[1]:
        ends = (f"fingerprint {str(each)[:12]}" for each in prints)
        return [f"data: {names[0]} on both sides, but not the same: {' | '.join(ends)}"]
    return []


def _data_name(found: Found) -> str:
    name = data(found).partition(";")[0]
    return name if found.parameters else f"{name} (CIFAR-10 in the published protocol)"


def _versions(found: Found) -> str:
    manifest = found.manifest
    if manifest is None:
        return _UNRECORDED
    commit = str(manifest.get("commit") or "unknown")[:12]
    changed = " with changes" if manifest.get("dirty") else ""
    results = (manifest.get("identity") or {}).get("results_version", "unknown")
    return f"Python {manifest.get('python', 'unknown')}, dglib {commit}{changed}, results version {results}"


def _seeds(records: Sequence[Record]) -> str:
    return ", ".join(str(record.get("seed", "?")) for record in records)


def _bits(a: Sequence[Record], b: Sequence[Record]) -> str:
    """How many of the seeds that both sides have gave the same errors to the last bit."""
    one, other = ({r["seed"]: _errors(r) for r in side if "seed" in r} for side in (a, b))
    shared = [seed for seed in one if seed in other]
    if not shared:
        return ""
    same = sum(one[seed] == other[seed] and bool(one[seed]) for seed in shared)
    return f"of {wording.seeds(len(shared))} on both sides, {same} with the same errors bit for bit"


def _errors(record: Mapping[str, Any]) -> list[Any]:
    fields = sorted(name for name in record if name.endswith("trajectory"))
    return [entry.get("error") for field in fields for entry in record[field] or ()]


def _same(one: object, other: object) -> bool:
    return _value(one) == _value(other) or one == other  # 1 and 1.0 are one value


def _value(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _line(what: str, a: str, b: str) -> str:
    return "" if a == b else f"{what}: {a} | {b}"
