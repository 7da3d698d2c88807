"""The summary of records, as JSON for machines and as a table for people.

python -m dglib analyse runs --json analysis.json

The JSON is one object with `schema` (3). `T1`, `T2`, `V3`, `Td1`, each where it has records: `n`, `events`,
`failed_inits`, `diverged`, `outcomes`, then `lambda_up`, `lambda_down`, `width`, `gap` (at `gap_lambda`),
each null or

    {"estimate": 0.575, "lower": 0.55, "upper": 0.6, "ci95": [0.5, null], "censored": "interval"}

A threshold is the first λ of the run of evaluations that fires; it lies past the level before and at most at
that one. `lower` and `upper` bound the sample's median, null where open. `estimate` is the middle between
them, null where one is open. `ci95` encloses the population's median (null below six seeds; an open end is
null). `censored`: "right" (only `lower` is known), "left" (only `upper`), "interval" (both), or null: known
exactly.
`width`, λ↑ of T1 less λ↓ of T2 paired by seed within a run directory, is the same in T1 and T2, with its
seeds under `hysteresis`. `groups`: the same names for records of other programs, by the format with η, dwell
time or λ. `problems` has a line for each file or record that was not read. The other fields are those of the
experiment's summary, see `dglib.analysis.summary`, with its estimates in their own names. Nowhere NaN or
infinity.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from dglib.analysis import wording
from dglib.analysis.answer import Answer
from dglib.analysis.summary import SCHEMA, Summary
from dglib.errors import StorageError, UserError
from dglib.experiments import get, joints, names
from dglib.files import to_json, write_atomically
from dglib.protocol.records import Record
from dglib.report.runs import ExperimentRun, runs_of
from dglib.runs.directories import is_grid, left_aside
from dglib.runs.identity import ABSENT, FILES, READING, differing, is_file, is_identity
from dglib.runs.reading import Source, find_records

_RECORDS = ("_results.json", "_checkpoint.json", "_manifest.json")
_SHOWN = 6  # parameters that differ

Sets = list[list[ExperimentRun]]  # of one experiment and group the runs, made alike


def read(path: Path) -> tuple[Sets, list[str]]:
    """The records of each experiment and group below a path, and a line for each that was not read.

    Args:
        path: a results file, a run directory or a folder of several; grids in it are left aside.

    Raises:
        UserError: nothing is there, no record can be read, or the runs of one experiment do not belong
            together (parameters, data or code differ, or one seed is in two of them).
    """
    try:
        record_set = find_records(path, grids=False)
    except OSError as error:
        raise StorageError.of(path, error, "read") from error
    problems = list(record_set.problems)
    sources: dict[Path, list[Source]] = {}
    for source in record_set.sources:
        sources.setdefault(source.run, []).append(source)
    runs = [
        run for directory, own in sources.items() for run in runs_of(directory, own, problems, problems)
    ]
    runs = sorted((run for run in runs if run.records), key=lambda r: (names().index(r.experiment), r.group))
    if not runs:
        others = [line for line in problems if line != f"{path}: no records there"]
        more = f" (and {len(others) - 1} more like it)" if len(others) > 1 else ""
        raise UserError(f"{path}: no records there{f'; {others[0]}' if others else ''}{more}")
    sets: dict[tuple[str, str], list[ExperimentRun]] = {}
    for run in runs:
        sets.setdefault((run.experiment, run.group), []).append(run)
    for members in sets.values():
        _check_alike(path, members)
    return list(sets.values()), problems


def pooled(runs: Sequence[ExperimentRun], directories: Collection[Path] = ()) -> list[Record]:
    """The records of runs by seed; if given, of those in `directories` alone."""
    records = [r for run in runs if run.directory in directories or not directories for r in run.records]
    return sorted(records, key=lambda record: int(record["seed"]))


def summaries(sets: Sets) -> dict[str, dict[str, Summary]]:
    """By group the summary of each experiment, and of joint findings by their key."""
    by_group: dict[str, dict[str, Summary]] = {}
    for group in sorted({runs[0].group for runs in sets}):
        by_name = {runs[0].experiment: runs for runs in sets if runs[0].group == group}
        by_group[group] = {name: get(name).summarise(pooled(runs)) for name, runs in by_name.items()}
        for joint in joints():
            both = [{run.directory for run in by_name.get(name, ())} for name in joint.experiments]
            if shared := set.intersection(*both):
                sides = (pooled(by_name[name], shared) for name in joint.experiments)
                by_group[group][joint.key] = joint.summarise(*sides)
    return by_group


def analyse(path: Path) -> dict[str, Any]:
    """The JSON of the records below a path; see the module's docstring."""
    sets, problems = read(path)
    return as_json(summaries(sets), problems)


def run(path: Path, target: Path | None = None) -> tuple[str, bool]:
    """Analyse, write the JSON to `target` where one is given.

    Returns:
        The text to print, and whether everything was read.

    Raises:
        UserError: as `read`, or the target cannot be written or holds records.
    """
    if target is not None:
        same = path.is_file() and target.resolve() == path.resolve()
        if same or target.name.endswith(_RECORDS) or target.resolve().parent.name == "seeds":
            raise UserError(f"{target}: is where records lie: name another file for the JSON")
    sets, problems = read(path)
    groups = summaries(sets)
    if target is not None:
        write_atomically(target, to_json(as_json(groups, problems), indent=1))
    grids = [left_aside(child) for child in sorted(path.glob("*")) if is_grid(child)]
    return "\n".join([_text(path, groups, problems), *grids]), not problems


def as_json(groups: Mapping[str, Mapping[str, Summary]], problems: Sequence[str]) -> dict[str, Any]:
    """The summaries under the names of the JSON; the own records' at the top."""
    others = {group: _by_name(summaries) for group, summaries in groups.items() if group}
    own = {**_by_name(groups.get("", {})), **({"groups": others} if others else {})}
    return {"schema": SCHEMA, **own, "problems": list(problems)}


def _by_name(summaries: Mapping[str, Summary]) -> dict[str, Any]:
    """Estimates in their own names, joint ones in both."""
    quantities = dict.fromkeys(name for item in names() for name in get(item).quantities)
    joint = {item.quantity: item for item in joints()}
    result: dict[str, Any] = {name: _flat(summary) for name, summary in summaries.items()}
    for name in result.keys() & set(names()):
        result[name] = {"events": None, **quantities, **dict.fromkeys(joint), **result[name]}
        for quantity, item in joint.items():
            if name in item.experiments and item.key in result:
                result[name][quantity] = result[item.key][quantity]
    return result


def _flat(summary: Summary) -> dict[str, Any]:
    flat = {
        name: _flat(value) if isinstance(value, dict) and "estimates" in value else value
        for name, value in summary.items()
        if name != "estimates"
    }
    return {**flat, **summary["estimates"]}


def _text(path: Path, groups: Mapping[str, Mapping[str, Summary]], problems: Sequence[str]) -> str:
    lines = [str(path)]
    if problems:
        what = "record or file was" if len(problems) == 1 else "records or files were"
        lines = [f"{path}: {len(problems)} {what} not read, listed below"]
    joint = {item.key: item for item in joints()}
    for group, summaries in groups.items():
        lines += ["", f"{group}, read as {wording.listing(list(summaries))}"] if group else []
        for name, summary in summaries.items():
            answer = joint[name].answer_of(summary) if name in joint else Answer.of(get(name), summary)
            lines += ["", answer.text()]
    return "\n".join([*lines, *(["", "Problems"] if problems else []), *(f"  {line}" for line in problems)])


def _check_alike(root: Path, runs: Sequence[ExperimentRun]) -> None:
    """Refuse runs of one experiment that do not belong together."""
    name = " of ".join(filter(None, (runs[0].experiment, runs[0].group)))
    where = [
        str(run.directory.relative_to(root)) if root in run.directory.parents else run.directory.name
        for run in runs
    ]
    apart, named, sides = [], list[str](), list[dict[str, Any]]()
    for run, label in zip(runs, where, strict=True):
        made = [_made_under(run, record) for record in run.records]
        # A record of an earlier release may lack a parameter: it has the value of the run's others.
        known = {name: value for one in reversed(made) for name, value in one.items()}
        made = [known | m if r.get("parameters") else m for r, m in zip(run.records, made, strict=True)]
        alike = all(one == made[0] for one in made)
        named += [label] if alike else [f"{label} seed {record['seed']}" for record in run.records]
        sides += made[:1] if alike else made
    for parameter, values in differing(*sides).items():
        texts = ["not stated" if v is ABSENT else json.dumps(v, ensure_ascii=False) for v in values]
        first = dict(zip(reversed(texts), reversed(named), strict=True))
        stated = (f"{text} ({first[text]})" for text in dict.fromkeys(texts))
        apart.append(f"{parameter} = {' | '.join(stated)}")
    if apart:
        shown = [*apart[:_SHOWN], *([f"{len(apart) - _SHOWN} more"] if len(apart) > _SHOWN else [])]
        alone = "give one of the directories alone"
        raise UserError(f"{root}: {name} was run under mixed parameters: {'; '.join(shown)}; {alone}")
    held: dict[int, str] = {}
    for run, label in zip(runs, where, strict=True):
        for seed in (record["seed"] for record in run.records):
            if seed in held:
                both = f"{held[seed]} and {label}"
                raise UserError(f"{root}: {name} seed {seed} is in {both}: give one of the directories alone")
            held[seed] = label


def _made_under(run: ExperimentRun, record: Record) -> dict[str, Any]:
    """What records of one set have in common: parameters, data and code; without these, what they show."""
    identity = run.manifest.get("identity", {})
    parameters, reading = dict(record.get("parameters") or {}), READING.get(run.experiment, frozenset())
    if not parameters:
        return {name: run.summary.get(name) for name in ("eta", "dwell", "levels")}
    for name in FILES:  # their contents count, below
        if identity and is_file(parameters.get(name)):
            parameters[name] = "file"
    made = {k: v for k, v in parameters.items() if k in reading or is_identity(k, run.experiment)}
    made |= {"lineage": record["lineage"]} if record.get("lineage") else {}
    if identity:
        made |= {"data fingerprint": identity["data"][:12], "results version": identity["results_version"]}
        made |= {name: digest[:12] for name, digest in identity.get("hashes", {}).items()}
    return made
