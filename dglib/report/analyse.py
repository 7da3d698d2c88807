"""What records say, as JSON for machines and as a table for people.

python -m dglib analyse runs --json analysis.json

The JSON is one object. `T1`, `T2`, `V3`, `Td1`, each where it has records: `n`, `events`, `failed_inits`,
`diverged`, `outcomes`, then `lambda_up`, `lambda_down`, `width`, `gap` (at `gap_lambda`), each null or

    {"estimate": 0.6, "lower": 0.55, "upper": 0.6, "ci95": [0.5, null], "censored": "interval"}

A threshold is the first λ of the run of evaluations that fires; it lies past the level before and at most at
that one. `lower` and `upper` bound the sample's median, null where open. `estimate` is that median by the
levels that fired, null where censoring leaves it open. `ci95` encloses the population's median (null below
six seeds; an open end is null). `censored`: "right" (only `lower` is known), "left" (only `upper`),
"interval" (both), or null: known exactly.
`width`, λ↑ of T1 less λ↓ of T2 paired by seed, is the same in T1 and T2, with its seeds under `hysteresis`.
`problems` has a line for each file or record that was not read. The other fields: see
`dglib.experiments.values`. Nowhere NaN or infinity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dglib.analysis import wording
from dglib.analysis.mixing import check_unmixed, why_apart
from dglib.errors import StorageError, UserError
from dglib.experiments import Joint, get, joints, names
from dglib.experiments.values import experiment_values, quantities
from dglib.files import to_json, write_atomically
from dglib.runs.manifest import read_manifest
from dglib.runs.reading import Source, find_records

_RECORDS = ("_results.json", "_checkpoint.json", "_manifest.json")
_HEAD = ("", "estimate", "lower", "upper", "95 % interval", "censored")


def analyse(path: Path, target: Path | None = None) -> dict[str, Any]:
    """All that the records below a path say; see the module's docstring for the fields.

    Args:
        path: a results file, a run directory or a folder of several.
        target: a file beside the records that is the analysis itself, and so no problem.

    Raises:
        UserError: nothing is there, no record can be read, or records of one experiment do not belong
            together (mixed parameters, or one seed from two runs).
    """
    try:
        found = find_records(path)
    except OSError as error:
        raise StorageError.of(path, error, "read") from error
    problems = [line for line in found.problems if target is None or not _is_about(line, target)]
    sources = [source for source in found.sources if _is_whole(source, problems)]
    if not sources:
        told = [line for line in problems if line != f"{path}: no records there"]
        more = f" (and {len(told) - 1} more like it)" if len(told) > 1 else ""
        raise UserError(f"{path}: no records there{f'; {told[0]}' if told else ''}{more}")
    check_unmixed(path, sources, _made_on(sources, problems))
    records = {
        name: [source.record for source in sorted(mine, key=lambda source: source.seed)]
        for name in names()
        if (mine := [source for source in sources if source.experiment == name])
    }
    result: dict[str, Any] = {name: experiment_values(name, mine) for name, mine in records.items()}
    for joint in joints():
        if records.keys() >= set(joint.experiments):
            result[joint.key] = found_jointly = _jointly(joint, *(records[n] for n in joint.experiments))
            for name in joint.experiments:
                result[name][joint.quantity] = found_jointly[joint.quantity]
    return {**result, "problems": problems}


def run(path: Path, target: Path | None = None) -> str:
    """Analyse, write the JSON to `target` where one is given, and return the text to print.

    Raises:
        UserError: as `analyse`, or the target cannot be written or holds records.
    """
    if target is not None:
        _check_target(target, path)
    result = analyse(path, target)
    if target is not None:
        write_atomically(target, to_json(result, indent=1))
    return text(path, result)


def text(path: Path, result: Mapping[str, Any]) -> str:
    """The analysis as a page of plain text."""
    lines = [str(path)]
    for name in names():
        if name in result:
            lines += ["", *_experiment_lines(name, result[name])]
    for joint in joints():
        if joint.key in result:
            lines += ["", *_joint_lines(joint, result[joint.key])]
    if result["problems"]:
        lines += ["", "Problems", *(f"  {line}" for line in result["problems"])]
    return "\n".join(lines)


def _jointly(joint: Joint, *records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    apart = why_apart(joint.experiments, *records)
    if apart is None:
        return joint.values(*records)
    left_out = sorted({record["seed"] for mine in records for record in mine})
    return {"measured": 0, **joint.nothing(), "notes": [apart], "left_out": left_out, "seeds": []}


def _experiment_lines(name: str, found: Mapping[str, Any]) -> list[str]:
    events = "" if found["events"] is None else f"events {found['events']}, "
    experiment, symbols = get(name), quantities()
    head = f"{experiment.symbol}: {wording.seeds(found['n'])}; {events}"
    lines = [f"{head}failed inits {found['failed_inits']}, diverged {found['diverged']}"]
    lines.append(f"  outcomes: {', '.join(f'{kind} {count}' for kind, count in found['outcomes'].items())}")
    apart = {joint.quantity for joint in joints()}
    told = {_symbol(key, found): found[key] for key in symbols if key not in apart}
    lines += _table(told, found["measured"])
    if found.get("event_share"):
        lines.append(f"  share of the seeds swept that had the event: {_share(found['event_share'])}")
    for kind, share in (found.get("shares") or {}).items():
        lines += [f"  share {kind}: {_share(share)}"] if share else []
    lines += _every(found, next(iter(experiment.quantities.values()), ""))
    lines += _by_start(found)
    return lines + [f"  {line}" for line in (*experiment.lines(found), *found["notes"])]


def _joint_lines(joint: Joint, found: Mapping[str, Any]) -> list[str]:
    between = wording.listing(list(joint.experiments))
    measured = wording.seeds(found["measured"])
    lines = [f"{joint.key.capitalize()} between {between}: {measured} with both thresholds"]
    lines += _table({joint.symbol: found[joint.quantity]}, found["measured"])
    lines += _every(found, joint.quantity) + _by_start(found)
    return lines + [f"  {note}" for note in found["notes"]]


def _by_start(found: Mapping[str, Any]) -> list[str]:
    """The median in each of the two states from which a way down begins."""
    lines, symbols = [], quantities()
    for state, group in (found.get("by_start") or {}).items():
        for name, known in group.items():
            if name in symbols and known:
                bounds = wording.interval(known["lower"], known["upper"])
                way = "the collapse branch" if name == "gap" else "the way down"
                what = f"median {_symbol(name, found)} where {way} began {state}"
                lines.append(f"  {what}: {bounds} ({wording.seeds(group['n'])})")
    return lines


def _symbol(quantity: str, found: Mapping[str, Any]) -> str:
    """With the λ at which it was taken, where `<quantity>_lambda` gives one."""
    at = found.get(f"{quantity}_lambda")
    return quantities()[quantity] + ("" if at is None else f" at λ = {wording.level(at)}")


def _table(quantities: Mapping[str, Mapping[str, Any] | None], measured: int) -> list[str]:
    rows = [_row(name, found, measured) for name, found in quantities.items() if found]
    if not rows:
        return []
    table = [_HEAD, *rows]
    sizes = [max(len(row[column]) for row in table) for column in range(len(_HEAD))]
    return [
        "  " + "  ".join(c.ljust(size) for c, size in zip(row, sizes, strict=True)).rstrip() for row in table
    ]


def _row(name: str, found: Mapping[str, Any], measured: int) -> tuple[str, ...]:
    ends = (_level(found[key]) for key in ("estimate", "lower", "upper"))
    interval = wording.pair(found["ci95"]) if found["ci95"] else f"none (n = {measured})"
    return (name, *ends, interval, found["censored"] or "no")


def _every(found: Mapping[str, Any], symbol: str) -> list[str]:
    """What holds in every seed, and of what fraction of such seeds that can be said."""
    every = found.get("in_every_seed")
    if not every:
        return []
    n, least = every["n"], every["share_ci95"][0]
    where = wording.interval(every["lower"], every["upper"])
    words = f"{symbol} {where} in {'every one of ' if n > 1 else ''}{wording.seeds(n)}"
    fraction = f"a fraction of {least:.3f} to 1 of such seeds"
    return [f"  {words}: holds in {fraction} (95 % interval, Clopper–Pearson, n = {n})"]


def _share(share: Mapping[str, Any]) -> str:
    (low, high), n = share["ci95"], share["of"]
    return f"{share['count']} of {n} (95 % interval {low:.3f} to {high:.3f}, Clopper–Pearson, n = {n})"


def _level(value: float | None) -> str:
    return "–" if value is None else wording.level(value)


def _is_whole(source: Source, problems: list[str]) -> bool:
    """Whether a record can be computed with; one whose fields are of other kinds is named as a problem."""
    try:
        to_json(experiment_values(source.experiment, [source.record]))
        check_unmixed(source.file, [source], {})
        for joint in joints():
            if source.experiment in joint.experiments:
                joint.values(*([source.record] for _ in joint.experiments))
    except (TypeError, ValueError, KeyError, AttributeError, IndexError, OverflowError) as error:
        why = f"its fields are not those of a record ({type(error).__name__}: {error})"
        problems.append(f"{source.file}: seed {source.seed} not read: {why}")
        return False
    return True


def _made_on(sources: Sequence[Source], problems: list[str]) -> dict[tuple[Path, str], dict[str, str]]:
    """The hashes and the version of results that manifests state, by run directory and experiment."""
    found = {}
    for run_of, experiment in dict.fromkeys((source.run, source.experiment) for source in sources):
        path = run_of / f"{get(experiment).prefix}_manifest.json"
        try:
            if path.is_file():
                identity = read_manifest(path)["identity"]
                made = {"data fingerprint": str(identity["data"])[:12]}
                made["results version"] = str(identity["results_version"])
                words = {"network": "network's code", "noise": "noise's code", "labels": "noisy labels"}
                hashes = identity.get("hashes", {})
                made |= {words[name]: str(value)[:12] for name, value in hashes.items() if name in words}
                found[run_of, experiment] = made
        except (UserError, KeyError) as error:
            problems.append(str(error) if isinstance(error, UserError) else f"{path}: lacks {error}")
    return found


def _check_target(target: Path, path: Path) -> None:
    """Refuse to write the analysis over records."""
    same = path.is_file() and target.resolve() == path.resolve()
    if same or target.name.endswith(_RECORDS) or target.resolve().parent.name == "seeds":
        raise UserError(f"{target}: is where records lie: name another file for the JSON")


def _is_about(line: str, target: Path) -> bool:
    return Path(line.partition(": not read")[0]).resolve() == target.resolve()
