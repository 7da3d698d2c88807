"""The page: what was asked, what came out, on which seeds, how it was run, and what it does not show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from dglib.analysis import wording
from dglib.analysis.style import styled
from dglib.experiments import get, joints, names
from dglib.experiments.figures import draw_all
from dglib.report.collect import Collection, Found
from dglib.report.limits import limits
from dglib.report.parts import ENDS_READING, Picture, ends_of, link_to, picture, seed_table
from dglib.report.provenance import UNRECORDED, data_name, facts
from dglib.runs.identity import differences

ENLARGED = 1.45  # a figure of one column, on the page
DWELL_CAPTION = "Width against dwell time, and the slowest sweep against training from scratch at each λ"
METRICS_CAPTION = "Metrics of your own against epoch; a line for each seed and branch"
LAG_READING = (
    "A network has a limited time at each λ. Where the width shrinks with longer dwell times, that part of"
    " it was lag; where it does not, it is memory at least on these time scales."
)
_LAG_REFUSED = (
    "There are runs at several dwell times or learning rates, but they also differ in {}, so their widths"
    " are not compared."
)
# What networks must have in common for errors from scratch to be compared with those of sweeps.
_ALIKE = ("dataset", "noise_rate", "network", "network_width", "batch_size", "lr", "refresh_period")


def render(collection: Collection, target: Path, whole: bool = True) -> str:
    """The page as one HTML document, or as one element with its style for a notebook.

    Links are relative to `target`, where it will lie.
    """
    return environment().get_template("page.html.j2").render(_content(collection, target), whole=whole)


@cache
def environment() -> Environment:
    return Environment(
        loader=PackageLoader("dglib.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_unbroken,
    )


def _unbroken(value: object) -> object:
    """No line break between a number and its per cent."""
    return value.replace(" %", "\u00a0%") if type(value) is str else value


def _content(collection: Collection, target: Path) -> dict[str, Any]:
    found = collection.found
    sections = [
        _section(collection.base, experiment, list(members), target)
        for experiment, members in groupby(found, key=lambda item: item.experiment)
    ]
    symbols = wording.listing([section["about"].symbol for section in sections])
    return {
        "title": f"Hysteresis in learning with noisy labels: {symbols}" if found else "No records",
        "overview": overview(found) if found else "",
        "sections": sections,
        "loops": _loops(collection),
        "lag": _lag(collection),
        "lag_reading": LAG_READING,
        "ends_reading": ENDS_READING if any(run["ends"] for item in sections for run in item["runs"]) else "",
        "limits": limits(found, collection.damaged),
        "damaged": collection.damaged,
    }


def overview(found: Sequence[Found]) -> str:
    """How many seeds, where, when and on what."""
    seeds = sum(len(item.records) for item in found)
    runs = len({item.directory for item in found})
    where = f"{runs} run director{'y' if runs == 1 else 'ies'}"
    begun = sorted(str(item.manifest["created"])[:10] for item in found if item.manifest)
    when = "" if not begun else f", begun {begun[0]}" + (f" to {begun[-1]}" if begun[-1] != begun[0] else "")
    sets = sorted({data_name(item) for item in found})
    used = f" Trained on {wording.listing(sets)}." if sets and sets != [UNRECORDED] else ""
    return f"{wording.seeds(seeds)} in {where}{when}.{used}"


def _section(base: Path, experiment: str, members: Sequence[Found], target: Path) -> dict[str, Any]:
    """One experiment with all its runs, which are shown apart."""
    about = get(experiment)
    executed = base / "executed" / f"{about.notebook}.ipynb"
    return {
        "about": about,
        "runs": [_run(found, number, members[0], target) for number, found in enumerate(members, 1)],
        "notebooks": [link_to(executed, target)] if executed.is_file() else [],
    }


def _run(found: Found, number: int, first: Found, target: Path) -> dict[str, Any]:
    changed = differences(first.parameters, found.parameters) if number > 1 else []
    about, words, drawn = get(found.experiment), None, {}
    if found.records:
        words, drawn = about.words(found.summary), draw_all(about.name, found.records)
    captions = {name: drawing.caption for name, drawing in about.figures().items()}
    return {
        "name": found.directory.absolute().name,
        "number": number,
        "differs": changed or ["no parameter; see how each was run"] * (number > 1),
        "headline": words.headline if words else about.nothing,
        "answer": words.answer if words else about.nothing,
        "more": about.paragraphs(found.summary),
        "pictures": [picture(figure, captions.get(name, METRICS_CAPTION)) for name, figure in drawn.items()],
        "table": seed_table(found),
        "ends": ends_of(found),
        "facts": facts(found),
        "records": [link_to(path, target) for path in found.results],
    }


def _loops(collection: Collection) -> list[dict[str, Any]]:
    """The figure of each joint finding, and the finding where all records of it are there.

    By directory: experiments of different runs are never drawn, or subtracted, together.
    """
    loops = []
    for joint in joints():
        found = [run for name in joint.experiments for run in collection.of(name) if run.records]
        for directory in sorted({run.directory for run in found}):
            mine = {run.experiment: run.records for run in found if run.directory == directory}
            records = [mine.get(name, ()) for name in joint.experiments]
            with styled():
                drawn = picture(joint.draw(*records), joint.caption, ENLARGED)
            answer = joint.answer(*records) if all(records) else None
            loops.append({"name": directory.absolute().name, "picture": drawn, "answer": answer})
    return loops


def _lag(collection: Collection) -> tuple[str, Picture | None] | None:
    """Width against dwell time over runs that differ in nothing else, else why not.

    None where all sweeps had one dwell time and LR rule.
    """
    for joint in joints():
        runs = {name: [e for e in collection.of(name) if e.records] for name in names()}
        records = {name: [r for item in found for r in item.records] for name, found in runs.items()}
        sweeps = [records[name] for name in joint.experiments]
        others = [r for name, mine in records.items() if not get(name).sweeps for r in mine]
        others = others if _alike([*(r for mine in sweeps for r in mine), *others]) else []
        lag = joint.lag(*sweeps, others=others)
        if lag is None:
            continue
        differing = list(lag["differing"])
        if len({data_name(item) for name in joint.experiments for item in runs[name]}) > 1:
            differing.append("the data")
        if differing:
            return _LAG_REFUSED.format(wording.listing(differing)), None
        with styled():
            drawn = joint.draw_lag(*sweeps, others=others)
        return joint.lag_words(lag), picture(drawn, DWELL_CAPTION, ENLARGED)
    return None


def _alike(records: Sequence[Mapping[str, Any]]) -> bool:
    stated = [record.get("parameters") or {} for record in records]
    return all(len({repr(item.get(name)) for item in stated}) == 1 for name in _ALIKE)
