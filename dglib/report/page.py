"""The page: what was asked, what came out, on which seeds, how it was run, and what it does not show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from os.path import relpath
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from dglib.analysis import wording
from dglib.experiments import Joint, get, joints, names
from dglib.experiments.figures import draw_all, draw_jointly, draw_lag
from dglib.report import texts
from dglib.report.collect import Collection, Found
from dglib.report.ends import READING, Ends, ends_of
from dglib.report.limits import limits
from dglib.report.pictures import Picture, picture
from dglib.report.provenance import data, facts
from dglib.report.tables import Table, seed_table
from dglib.runs.identity import differences


@dataclass(frozen=True)
class Link:
    """A file beside the page, by its path from there."""

    href: str
    text: str


@dataclass(frozen=True)
class Run:
    """One experiment in one run directory, as the page shows it."""

    name: str
    number: int
    differs: list[str]
    headline: str
    answer: str
    more: list[str]
    pictures: list[Picture]
    table: Table
    ends: Ends | None
    facts: list[tuple[str, str]]
    records: list[Link]


@dataclass(frozen=True)
class Section:
    """One experiment with all its runs, which are shown apart."""

    symbol: str
    title: str
    question: str
    counts: str
    runs: list[Run]
    notebooks: list[Link]


@dataclass(frozen=True)
class Loop:
    """The hysteresis figure of a run directory, and the width where both sweeps are there."""

    name: str
    picture: Picture
    answer: str | None


@dataclass(frozen=True)
class Lag:
    """Width against dwell time over runs that differ in nothing else; without a picture, why not."""

    answer: str
    picture: Picture | None


def render(collection: Collection, target: Path) -> str:
    """The page as one HTML document. Links are relative to `target`, where it will lie."""
    return environment().get_template("page.html.j2").render(_content(collection, target))


def render_fragment(collection: Collection, target: Path) -> str:
    """The same as one element with its style, for a notebook at `target`."""
    return environment().get_template("fragment.html.j2").render(_content(collection, target))


def _content(collection: Collection, target: Path) -> dict[str, Any]:
    read = [(each, get(each.experiment).summarise(each.records)) for each in collection.found]
    sections = [
        _section(collection.base, experiment, list(members), target)
        for experiment, members in groupby(read, key=lambda each: each[0].experiment)
    ]
    return {
        "title": _title(collection),
        "overview": overview(collection.found) if collection.found else "",
        "background": texts.BACKGROUND,
        "sections": sections,
        "loops": _loops(collection),
        "loop_reading": texts.LOOP_READING,
        "lag": _lag(collection),
        "lag_reading": texts.LAG_READING,
        "columns": texts.COLUMNS,
        "ends_reading": READING if any(run.ends for each in sections for run in each.runs) else "",
        "limits": limits(collection, read) if read else [],
        "damaged": collection.damaged,
    }


@cache
def environment() -> Environment:
    """Of the page's templates."""
    return Environment(
        loader=PackageLoader("dglib.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_kept_together,
    )


def _kept_together(value: object) -> object:
    """No line break between a number and its per cent."""
    return value.replace(" %", "\u00a0%") if type(value) is str else value


def _title(collection: Collection) -> str:
    symbols = [get(name).symbol for name in names() if collection.of(name)]
    if not symbols:
        return "No records"
    return f"Hysteresis in learning with noisy labels: {wording.listing(symbols)}"


def overview(found: Sequence[Found]) -> str:
    """How many seeds, where, when and on what."""
    seeds = sum(len(each.records) for each in found)
    runs = len({each.directory for each in found})
    where = f"{runs} run director{'y' if runs == 1 else 'ies'}"
    begun = sorted(str(each.manifest["created"])[:10] for each in found if each.manifest)
    when = "" if not begun else f", begun {begun[0]}" + (f" to {begun[-1]}" if begun[-1] != begun[0] else "")
    sets = sorted({data(each).partition(";")[0] for each in found})
    used = f" Trained on {wording.listing(sets)}." if sets and sets != ["not on record"] else ""
    return f"{wording.seeds(seeds)} in {where}{when}.{used}"


def _section(
    base: Path, experiment: str, members: Sequence[tuple[Found, Mapping[str, Any]]], target: Path
) -> Section:
    about = get(experiment)
    executed = base / "executed" / f"{about.notebook}.ipynb"
    first = members[0][0]
    return Section(
        about.symbol,
        about.title,
        about.question,
        about.counts,
        [_run(found, summary, number, first, target) for number, (found, summary) in enumerate(members, 1)],
        [link_to(executed, target)] if executed.is_file() else [],
    )


def _run(found: Found, summary: Mapping[str, Any], number: int, first: Found, target: Path) -> Run:
    changed = differences(first.parameters, found.parameters) if number > 1 else []
    if number > 1 and not changed:
        changed = ["no parameter; see how each was run"]
    about = get(found.experiment)
    words = about.answer(found.records)
    drawn = draw_all(about.name, found.records) if found.records else {}
    captions = {name: drawing.caption for name, drawing in about.figures().items()}
    return Run(
        _name(found.directory),
        number,
        changed,
        about.headline(words, summary),
        words,
        about.paragraphs(summary),
        [picture(figure, captions[name]) for name, figure in drawn.items()],
        seed_table(found, summary),
        ends_of(found),
        facts(found),
        [link_to(path, target) for path in found.results],
    )


def _loops(collection: Collection) -> list[Loop]:
    """By directory: experiments of different runs are never drawn, or subtracted, together."""
    return [
        _loop(joint, directory, collection)
        for joint in joints()
        for directory in sorted(
            {each.directory for name in joint.experiments for each in collection.of(name) if each.records}
        )
    ]


def _loop(joint: Joint, directory: Path, collection: Collection) -> Loop:
    records = [
        next((each.records for each in collection.of(name) if each.directory == directory), ())
        for name in joint.experiments
    ]
    drawn = picture(draw_jointly(joint.key, *records), joint.caption, enlarged=1.45)
    return Loop(_name(directory), drawn, joint.answer(*records) if all(records) else None)


def _lag(collection: Collection) -> Lag | None:
    """None where all sweeps had one dwell time and LR rule: nothing to hold against each other."""
    for joint in joints():
        runs = {name: [e for e in collection.of(name) if e.records] for name in names()}
        records = {name: [r for each in found for r in each.records] for name, found in runs.items()}
        sweeps = [records[name] for name in joint.experiments]
        differing = joint.lag_differs(*sweeps)
        if differing is None:
            continue
        if len({data(each) for name in joint.experiments for each in runs[name]}) > 1:
            differing = [*differing, "the data"]
        if differing:
            return Lag(texts.LAG_REFUSED.format(wording.listing(differing)), None)
        others = [r for name, mine in records.items() if not get(name).sweeps for r in mine]
        alike = others if _alike([*(r for mine in sweeps for r in mine), *others]) else []
        drawn = picture(draw_lag(joint.key, *sweeps, others=alike), texts.DWELL_CAPTION, enlarged=1.45)
        return Lag(joint.lag_answer(*sweeps, others=alike), drawn)
    return None


def _alike(records: Sequence[Mapping[str, Any]]) -> bool:
    """Whether all networks were trained alike, so that errors from scratch stand beside those of sweeps."""
    alike = ("dataset", "noise_rate", "network", "network_width", "batch_size", "lr", "refresh_period")
    stated = [record.get("parameters") or {} for record in records]
    return all(len({repr(each.get(name)) for each in stated}) == 1 for name in alike)


def _name(directory: Path) -> str:
    return directory.absolute().name


def link_to(path: Path, target: Path) -> Link:
    """A file by its path from the page at `target`."""
    from_page = relpath(path.absolute(), target.absolute().parent)
    return Link(quote(Path(from_page).as_posix()), path.name)
