"""Two runs and the same quantities of both: their differences, and how the runs themselves differed.

python -m dglib compare runs/exp_T_spinodal_20261121_120000 ../published/exp_T_spinodal_20260117_121637
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dglib.analysis import wording
from dglib.analysis.compatible import why_apart
from dglib.analysis.differences import Difference, mean_row
from dglib.analysis.fields import number
from dglib.errors import UserError
from dglib.experiments import get, joints, names
from dglib.experiments.profiles import profile_layer
from dglib.protocol.records import Record
from dglib.report.collect import Found, collect_runs, translated
from dglib.report.facts import UNRECORDED, computed_on, data_name, versions
from dglib.runs.identity import ABSENT, READING, differing
from dglib.runs.reading import find_records

Side = dict[tuple[str, str], Found]


@dataclass(frozen=True)
class Comparison:
    """One experiment, or the width, on two sides.

    Attributes:
        rows: the quantities.
        differed: lines on parameters, data, numerics and versions; empty where nothing differed.
    """

    name: str
    rows: list[Difference]
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
    (first, left_out), (second, more) = _side(a), _side(b)
    pairs = list(_pairs(first, second))
    if not pairs:
        held = (
            f"{path} holds {wording.listing([' of '.join(filter(None, key)) for key in side])}"
            for path, side in ((a, first), (b, second))
        )
        raise UserError(f"nothing to compare: {' and '.join(held)}")
    found = []
    for one, other in pairs:
        experiment = one.about
        sides = one.records, _read_as(one.records, other.records)
        rows = experiment.compare(*(experiment.summarise(records) for records in sides))
        times = [[time for r in records if (time := number(r, "time")) is not None] for records in sides]
        rows.append(mean_row("training time a seed (s)", times[0], times[1], places=1))
        found.append(Comparison(_title(experiment.symbol, one, other), rows, _differed(one, other)))
    for joint in joints():
        for groups in dict.fromkeys((one.group, other.group) for one, other in pairs):
            mine = {
                one.experiment: (one, other) for one, other in pairs if (one.group, other.group) == groups
            }
            if set(joint.experiments) <= mine.keys():
                runs = [mine[name] for name in joint.experiments]
                both = [[pair[side].records for pair in runs] for side in (0, 1)]
                apart = [why_apart(joint.experiments, *records) for records in both]
                lines = [f"{side}: {why}" for side, why in zip("AB", apart, strict=True) if why]
                rows = [] if lines else joint.compare(*(joint.summarise(*side) for side in both))
                found.append(Comparison(_title(joint.title, *runs[0]), rows, lines))
    unread = list(dict.fromkeys([*left_out, *more]))
    return [*found, *([Comparison("Not read", [], unread)] if unread else [])]


def _pairs(first: Side, second: Side) -> Iterator[tuple[Found, Found]]:
    """The runs of an experiment on both sides: of one group, or whatever the group of the only one."""
    for name in names():
        sides = [{g: item for (held, g), item in side.items() if held == name} for side in (first, second)]
        shared = sides[0].keys() & sides[1].keys()
        if not shared and len(sides[0]) == len(sides[1]) == 1:
            yield next(iter(sides[0].values())), next(iter(sides[1].values()))
        yield from ((sides[0][group], sides[1][group]) for group in sorted(shared))


def _title(name: str, one: Found, other: Found) -> str:
    groups = dict.fromkeys(item.group for item in (one, other) if item.group)
    return f"{name} ({' | '.join(groups)})" if groups else name


def text(a: Path, b: Path, found: Iterable[Comparison]) -> str:
    lines = [f"A: {a}", f"B: {b}"]
    for item in found:
        table = [("", "A", "B", "A − B"), *((r.name, r.a, r.b, r.difference) for r in item.rows)]
        widths = [max(len(row[column]) for row in table) for column in range(3)]
        lines += ["", item.name]
        table = table if item.rows else []
        for *cells, last in table:
            padded = (cell.ljust(size) for cell, size in zip(cells, widths, strict=True))
            lines.append(f"  {'  '.join([*padded, last])}".rstrip())
        lines += [f"  {line}" for line in item.differed]
    lines += ["", "± is the SD over seeds (population, ddof 0); their number follows in brackets."]
    lines += ["Intervals are at 95 %, for one difference at a time, with the sides taken as independent."]
    return "\n".join(lines)


def _read_as(a: Sequence[Record], b: Sequence[Record]) -> list[Record]:
    """The records `b` under the reading parameters of `a`."""
    one = (a[0].get("parameters") if a else None) or {}
    read_by = READING.get(str(a[0].get("experiment")), frozenset()) if a else frozenset()
    reading = {name: value for name, value in one.items() if name in read_by}
    others = [{k: v for k, v in (record.get("parameters") or {}).items() if k not in read_by} for record in b]
    return [{**record, "parameters": own | reading} for record, own in zip(b, others, strict=True)]


def _side(path: Path) -> tuple[Side, list[str]]:
    """(Experiment, group) -> its one run there; then a line for each file or directory left aside."""
    files = {f"{get(name).prefix}_results.json": name for name in names()}
    if path.is_file() and path.name not in files:
        sources = find_records(path)
        others = translated(path.parent, sources.sources)
        if not others or sources.problems:
            why = f" ({sources.problems[0]})" if sources.problems else ""
            raise UserError(f"{path}: must be a directory, or a file called {', '.join(files)}{why}")
        return {(item.experiment, item.group): item for item in others}, []
    collection = collect_runs(path.parent if path.is_file() else path)
    if collection.damaged:
        raise UserError(f"{collection.damaged[0]}; see `python -m dglib verify {collection.base}`")
    held = collection.of(files[path.name]) if path.is_file() else collection.found
    side: Side = {}
    for item in (found for found in held if found.records):
        key = item.experiment, item.group
        if key in side:
            several = f"{side[key].name}, {item.name}"
            raise UserError(f"{path}: holds several runs of {item.experiment} ({several}): name one of them")
        side[key] = item
    if not side:
        raise UserError(f"{path}: no seed has finished there")
    return side, collection.skipped


def _differed(a: Found, b: Found) -> list[str]:
    """How two runs of an experiment differed, a line for each kind of thing."""
    lines = [*_parameters(a, b), *_data(a, b)]
    pairs = {
        "numerics": [computed_on(side.records) for side in (a, b)],
        "versions": [versions(side.manifest) for side in (a, b)],
        "results version": [str(side.manifest.get("identity", {}).get("results_version")) for side in (a, b)],
        "seeds": [", ".join(str(r.get("seed", "?")) for r in side.records) for side in (a, b)],
    }
    lines += [f"{what}: {one} | {other}" for what, (one, other) in pairs.items() if one != other]
    errors = [{r["seed"]: _errors(r) for r in side.records if "seed" in r} for side in (a, b)]
    if shared := [seed for seed in errors[0] if seed in errors[1]]:
        same = sum(errors[0][seed] == errors[1][seed] != [] for seed in shared)
        both = wording.seeds(len(shared))
        lines.append(f"of {both} on both sides, {same} with the same errors bit for bit")
    return lines


def _parameters(a: Found, b: Found) -> list[str]:
    sides, lines = [], []
    for name, item in (("A", a), ("B", b)):
        sides.append(item.parameters or dict(profile_layer(item.experiment, "paper").values))
        if not item.parameters:
            taken = f"taken to be those of params/paper/{item.experiment}.yaml"
            lines.append(f"parameters: {name} records none; {taken}")
    # A profile also has machine settings; only what both sides have is a difference of the runs.
    both = bool(a.parameters and b.parameters)
    lines += [
        f"parameters: {name} = {' | '.join(map(_value, values))}"
        for name, values in differing(*sides).items()
        if both or ABSENT not in values
    ]
    return lines


def _value(value: object) -> str:
    return UNRECORDED if value is ABSENT else json.dumps(value, ensure_ascii=False)


def _data(a: Found, b: Found) -> list[str]:
    one, other = (
        data_name(side) + ("" if side.parameters else " (CIFAR-10 in the published protocol)")
        for side in (a, b)
    )
    prints = [side.manifest.get("identity", {}).get("data") for side in (a, b)]
    if one != other:
        return [f"data: {one} | {other}"]
    if None not in prints and prints[0] != prints[1]:
        ends = (f"fingerprint {str(item)[:12]}" for item in prints)
        return [f"data: {one} on both sides, but not the same: {' | '.join(ends)}"]
    return []


def _errors(record: Mapping[str, Any]) -> list[Any]:
    fields = sorted(name for name in record if name.endswith("trajectory"))
    return [entry.get("error") for field in fields for entry in record[field] or ()]
