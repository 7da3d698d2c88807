"""The answers of two runs next to each other: their differences, and how the runs themselves differed.

python -m dglib compare runs/exp_T_spinodal_20261121_120000 ../published/exp_T_spinodal_20260117_121637
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dglib.analysis import wording
from dglib.analysis.answer import Answer, Row, aligned
from dglib.errors import UserError
from dglib.experiments import get, joints
from dglib.experiments.profiles import profile_layer
from dglib.protocol.records import Record, under
from dglib.report.analyse import pooled, read
from dglib.report.facts import UNRECORDED, computed_on, data_name, training_time, versions
from dglib.report.runs import ExperimentRun
from dglib.runs.identity import ABSENT, READING, differing

Key = tuple[str, str]  # experiment, group
_HEADS = ("", "start", "A (n)", "B (n)", "A − B", "95 % interval")
_READING = (
    "± is the SD over seeds (population, ddof 0).",
    "Intervals are at 95 %, for one difference at a time, with the sides taken as independent.",
)


@dataclass(frozen=True)
class Comparison:
    """An experiment, or a joint finding, on two sides.

    Attributes:
        name: with the groups of other programs' records.
        a, b: the answers.
        differed: lines on parameters, data, numerics and versions; empty where nothing differed.
    """

    name: str
    a: Answer
    b: Answer
    differed: Sequence[str] = ()

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """Quantity, start, both values and the difference with its interval, as text."""
        sides = [{(row.quantity, row.start): row for row in answer.rows} for answer in (self.a, self.b)]
        return [
            (*key, *map(_value, pair), *_difference(*pair))
            for key in dict.fromkeys(key for side in sides for key in side)
            if any((row := side.get(key)) and row.n for side in sides)
            for pair in [(sides[0].get(key), sides[1].get(key))]
        ]


def compare(a: Path, b: Path) -> tuple[list[Comparison], list[str]]:
    """Every experiment that both sides hold, and a line for each file or record that was not read.

    Args:
        a, b: a run directory, a base directory with one run of each experiment, a folder of published
            results' files, or one such file (`T1-spinodal_results.json`).

    Raises:
        UserError: a side is missing or empty, holds runs of an experiment that do not belong together, or the
            two have none in common.
    """
    (first, unread), (second, more) = _side(a), _side(b)
    pairs = list(_pairs(first, second))
    if not pairs:
        held = (
            f"{path} holds {wording.listing([' of '.join(filter(None, key)) for key in side])}"
            for path, side in ((a, first), (b, second))
        )
        raise UserError(f"nothing to compare: {' and '.join(held)}")
    comparisons, made = [], {}
    for one, other in pairs:
        about = get(one[0].experiment)
        sides = pooled(one), _read_as(about.name, pooled(one), pooled(other))
        made[about.name, one[0].group, other[0].group] = one, other
        a_answer, b_answer = (about.answer(records) for records in sides)
        name = _named(about.symbol, one[0].group, other[0].group)
        comparisons.append(Comparison(name, a_answer, b_answer, _differed(one[0], other[0], *sides)))
    for joint in joints():
        for groups in dict.fromkeys(key[1:] for key in made):
            runs = [made.get((name, *groups)) for name in joint.experiments]
            if both := [pair for pair in runs if pair] if all(runs) else []:
                a_answer, b_answer = (joint.answer(*(pooled(pair[i]) for pair in both)) for i in (0, 1))
                comparisons.append(Comparison(_named(joint.title, *groups), a_answer, b_answer))
    return comparisons, list(dict.fromkeys([*unread, *more]))


def run(a: Path, b: Path) -> tuple[str, bool]:
    """What `compare` found, for a terminal, and whether every record and file was read."""
    comparisons, unread = compare(a, b)
    lines = [f"A: {a}", f"B: {b}"]
    for item in comparisons:
        lines += ["", item.name, f"  A: {item.a.title}", f"  B: {item.b.title}"]
        lines += aligned([_HEADS, *item.rows]) if item.rows else []
        lines += [f"  {line}" for line in item.differed]
    return "\n".join([*lines, *(["", "Not read"] if unread else []), *unread, "", *_READING]), not unread


def _named(name: str, *groups: str) -> str:
    given = dict.fromkeys(filter(None, groups))
    return f"{name} ({' | '.join(given)})" if given else name


def _value(row: Row | None) -> str:
    return f"{row.value_text} ({row.n})" if row and row.n else wording.NONE


def _difference(a: Row | None, b: Row | None) -> tuple[str, str]:
    if not a or not b or not a.n or not b.n:
        return "none: a side without seeds", ""
    difference = a.minus(b)
    return difference.value_text, difference.interval_text


def _side(path: Path) -> tuple[dict[Key, list[ExperimentRun]], list[str]]:
    """(Experiment, group) -> its runs there; and what was not read."""
    sets, problems = read(path)
    return {(runs[0].experiment, runs[0].group): runs for runs in sets}, problems


def _pairs(
    first: Mapping[Key, list[ExperimentRun]], second: Mapping[Key, list[ExperimentRun]]
) -> Iterator[tuple[list[ExperimentRun], list[ExperimentRun]]]:
    """The runs of an experiment on both sides: of one group, or whatever the group of the only one."""
    for name in dict.fromkeys(name for name, _ in first):
        sides = [{g: runs for (held, g), runs in side.items() if held == name} for side in (first, second)]
        shared = sides[0].keys() & sides[1].keys()
        if not shared and len(sides[0]) == len(sides[1]) == 1:
            yield next(iter(sides[0].values())), next(iter(sides[1].values()))
        yield from ((sides[0][group], sides[1][group]) for group in sorted(shared))


def _read_as(experiment: str, a: Sequence[Record], b: Sequence[Record]) -> list[Record]:
    """The records `b` under the reading parameters of `a`."""
    parameters = a[0].get("parameters") or {}
    reading = {name: parameters[name] for name in READING[experiment] & parameters.keys()}
    return [under(record, reading) for record in b]


def _differed(a: ExperimentRun, b: ExperimentRun, *sides: Sequence[Record]) -> list[str]:
    """How two runs of an experiment differed, a line for each kind of thing."""
    lines, parameters = [], []
    for name, item in (("A", a), ("B", b)):
        parameters.append(item.parameters or dict(profile_layer(item.experiment, "paper").values))
        if not item.parameters:
            taken = f"taken to be those of params/paper/{item.experiment}.yaml"
            lines.append(f"parameters: {name} records none; {taken}")
    # A profile also has machine settings; only what both sides have is a difference of the runs.
    lines += [
        f"parameters: {name} = {' | '.join(map(_text, values))}"
        for name, values in differing(*parameters).items()
        if (a.parameters and b.parameters) or ABSENT not in values
    ]
    identities = [run.manifest.get("identity", {}) for run in (a, b)]
    pairs = {
        "data": [data_name(run) for run in (a, b)],
        "data fingerprint": [str(identity.get("data", UNRECORDED))[:12] for identity in identities],
        "numerics": [computed_on(records) for records in sides],
        "versions": [versions(run.manifest) for run in (a, b)],
        "results version": [str(identity.get("results_version", UNRECORDED)) for identity in identities],
        "time": [training_time(records) for records in sides],
        "seeds": [", ".join(str(record["seed"]) for record in records) for records in sides],
    }
    lines += [f"{what}: {one} | {other}" for what, (one, other) in pairs.items() if one != other]
    errors = [{record["seed"]: _errors(record) for record in records} for records in sides]
    if shared := errors[0].keys() & errors[1].keys():
        same = sum(errors[0][seed] == errors[1][seed] != [] for seed in shared)
        both = wording.seeds(len(shared))
        lines.append(f"of {both} on both sides, {same} with the same errors bit for bit")
    return lines


def _text(value: object) -> str:
    return UNRECORDED if value is ABSENT else json.dumps(value, ensure_ascii=False)


def _errors(record: Mapping[str, Any]) -> list[Any]:
    fields = sorted(name for name in record if name.endswith("trajectory"))
    return [entry.get("error") for field in fields for entry in record[field] or ()]
