"""The summary of records, as JSON for machines and as a table for people.

python -m dglib analyse runs --json analysis.json

The JSON is one object with `schema` (2). `T1`, `T2`, `V3`, `Td1`, each where it has records: `n`, `events`,
`failed_inits`, `diverged`, `outcomes`, then `lambda_up`, `lambda_down`, `width`, `gap` (at `gap_lambda`),
each null or

    {"estimate": 0.575, "lower": 0.55, "upper": 0.6, "ci95": [0.5, null], "censored": "interval"}

A threshold is the first λ of the run of evaluations that fires; it lies past the level before and at most at
that one. `lower` and `upper` bound the sample's median, null where open. `estimate` is the middle between
them, null where one is open (in schema 1 it was the level that fired). `ci95` encloses the population's
median (null below six seeds; an open end is null). `censored`: "right" (only `lower` is known), "left" (only
`upper`), "interval" (both), or null: known exactly.
`width`, λ↑ of T1 less λ↓ of T2 paired by seed, is the same in T1 and T2, with its seeds under `hysteresis`.
`groups`: the same names for records of other programs, by the format with η, dwell time or λ. `problems`
has a line for each file or record that was not read. The other fields are those of the experiment's summary,
see `dglib.analysis.summary`, with its estimates in their own names. Nowhere NaN or
infinity.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dglib.analysis import wording
from dglib.analysis.compatible import check_compatible, why_apart
from dglib.analysis.summary import SCHEMA, Summary
from dglib.errors import StorageError, UserError
from dglib.experiments import get, joints, names
from dglib.files import to_json, write_atomically
from dglib.runs.directories import is_grid, left_aside
from dglib.runs.identity import read_manifest
from dglib.runs.reading import Source, find_records

_RECORDS = ("_results.json", "_checkpoint.json", "_manifest.json")
_HASHES = {"network": "network's code", "noise": "noise's code", "labels": "noisy labels"}

Summaries = dict[str, Summary]
Groups = dict[str, Summaries]  # "" for our own and for published records of the same form


def run(path: Path, target: Path | None = None, verbose: bool = False) -> tuple[str, bool]:
    """Analyse, write the JSON to `target` where one is given.

    Returns:
        The text to print, and whether everything was read.

    Raises:
        UserError: as `summarise`, or the target cannot be written or holds records.
    """
    if target is not None:
        _check_target(target, path)
    groups, problems = summarise(path)
    if target is not None:
        write_atomically(target, to_json(as_json(groups, problems), indent=1))
    grids = [left_aside(child) for child in sorted(path.glob("*")) if is_grid(child)]
    return "\n".join([text(path, groups, problems, verbose), *grids]), not problems


def analyse(path: Path) -> dict[str, Any]:
    """The JSON of the records below a path; see the module's docstring."""
    return as_json(*summarise(path))


def summarise(path: Path) -> tuple[Groups, list[str]]:
    """By group the summary of each experiment, and of findings on several by their key; a line per problem.

    Args:
        path: a results file, a run directory or a folder of several; grids in it are left aside.

    Raises:
        UserError: nothing is there, no record can be read, or records of one experiment do not belong
            together (mixed parameters, or one seed from two runs).
    """
    try:
        found = find_records(path, grids=False)
    except OSError as error:
        raise StorageError.of(path, error, "read") from error
    problems = list(found.problems)
    sources = [source for source in found.sources if _is_whole(source, problems)]
    if not sources:
        others = [line for line in problems if line != f"{path}: no records there"]
        more = f" (and {len(others) - 1} more like it)" if len(others) > 1 else ""
        raise UserError(f"{path}: no records there{f'; {others[0]}' if others else ''}{more}")
    check_compatible(path, sources, _made_on(sources, problems))
    groups = sorted({source.group for source in sources})
    return {group: _summaries([s for s in sources if s.group == group]) for group in groups}, problems


def _summaries(sources: Sequence[Source]) -> Summaries:
    records = {
        name: [source.record for source in sorted(mine, key=lambda source: source.seed)]
        for name in names()
        if (mine := [source for source in sources if source.experiment == name])
    }
    summaries: Summaries = {name: get(name).summarise(mine) for name, mine in records.items()}
    for joint in joints():
        if records.keys() >= set(joint.experiments):
            sides = [records[name] for name in joint.experiments]
            apart = why_apart(joint.experiments, *sides)
            if apart is None:
                summaries[joint.key] = joint.summarise(*sides)
                continue
            left_out = sorted({record["seed"] for mine in sides for record in mine})
            nothing = {"measured": 0, **dict.fromkeys(joint.nothing), "estimates": {joint.quantity: None}}
            summaries[joint.key] = nothing | {"notes": [apart], "left_out": left_out, "seeds": []}
    return summaries


def as_json(groups: Groups, problems: Sequence[str]) -> dict[str, Any]:
    """The summaries under the names of the JSON; the own records' at the top."""
    others = {group: _by_name(summaries) for group, summaries in groups.items() if group}
    found = {**_by_name(groups.get("", {})), **({"groups": others} if others else {})}
    return {"schema": SCHEMA, **found, "problems": list(problems)}


def _by_name(summaries: Summaries) -> dict[str, Any]:
    """Estimates in their own names, joint ones in both."""
    quantities = dict.fromkeys(name for item in names() for name in get(item).quantities)
    joint = {item.quantity: item for item in joints()}
    result: dict[str, Any] = {}
    for name, summary in summaries.items():
        if name in names():
            common = {"n": summary["n"], "events": None, **quantities, **dict.fromkeys(joint)}
            result[name] = {**common, **_flat(summary)}
        else:
            result[name] = _flat(summary)
    for quantity, item in joint.items():
        for name in item.experiments if item.key in result else ():
            result[name][quantity] = result[item.key][quantity]
    return result


def _flat(summary: Summary) -> dict[str, Any]:
    found = {
        name: _flat(value) if isinstance(value, dict) and "estimates" in value else value
        for name, value in summary.items()
        if name != "estimates"
    }
    return {**found, **summary["estimates"]}


def text(path: Path, groups: Groups, problems: Sequence[str], verbose: bool = False) -> str:
    """The answers as plain text; `verbose`: with a sentence for each row."""
    lines = [str(path)]
    if problems:
        what = "record or file was" if len(problems) == 1 else "records or files were"
        lines = [f"{path}: {len(problems)} {what} not read, listed below"]
    for group, summaries in groups.items():
        answers = [get(name).answer_of(summaries[name]) for name in names() if name in summaries]
        answers += [joint.answer_of(summaries[joint.key]) for joint in joints() if joint.key in summaries]
        lines += ["", f"{group}, read as {wording.listing(list(summaries))}"] if group else []
        for answer in answers:
            lines += ["", answer.sentences if verbose else answer.text()]
    return "\n".join([*lines, *(["", "Problems"] if problems else []), *(f"  {line}" for line in problems)])


def _is_whole(source: Source, problems: list[str]) -> bool:
    """Whether a record can be computed with; one whose fields are of other kinds is named as a problem."""
    try:
        try:
            to_json(dict(get(source.experiment).summarise([source.record])))
        except UserError as error:  # of a user's own experiment
            problems.append(f"{source.file}: seed {source.seed} not read: {error}")
            return False
        check_compatible(source.file, [source], {})
        for joint in joints():
            if source.experiment in joint.experiments:
                joint.summarise(*([source.record] for _ in joint.experiments))
    except (TypeError, ValueError, KeyError, AttributeError, IndexError, OverflowError) as error:
        why = f"its fields are not those of a record ({type(error).__name__}: {error})"
        problems.append(f"{source.file}: seed {source.seed} not read: {why}")
        return False
    return True


def _made_on(sources: Sequence[Source], problems: list[str]) -> dict[tuple[Path, str], dict[str, str]]:
    """The hashes and the version of results that manifests state, by run directory and experiment."""
    found = {}
    own = [source for source in sources if not source.group]
    for run_of, experiment in dict.fromkeys((source.run, source.experiment) for source in own):
        path = run_of / f"{get(experiment).prefix}_manifest.json"
        try:
            if path.is_file():
                identity = read_manifest(path)["identity"]
                hashes = identity.get("hashes", {})
                found[run_of, experiment] = {
                    "data fingerprint": str(identity["data"])[:12],
                    "results version": str(identity["results_version"]),
                    **{words: str(hashes[name])[:12] for name, words in _HASHES.items() if name in hashes},
                }
        except (UserError, KeyError) as error:
            problems.append(str(error) if isinstance(error, UserError) else f"{path}: lacks {error}")
    return found


def _check_target(target: Path, path: Path) -> None:
    same = path.is_file() and target.resolve() == path.resolve()
    if same or target.name.endswith(_RECORDS) or target.resolve().parent.name == "seeds":
        raise UserError(f"{target}: is where records lie: name another file for the JSON")
