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
from dglib.analysis.figures import draw_all, draw_dwell, draw_hysteresis
from dglib.campaign.jobs import NAMES
from dglib.experiments.findings import answer, lag, lag_answer, summarise, width_answer
from dglib.experiments.trapping.signs_wording import paragraphs, sentence
from dglib.identity import differences
from dglib.report import texts
from dglib.report.collect import ORDER, Collection, Found
from dglib.report.ends import READING, Ends, ends_of
from dglib.report.limits import limits
from dglib.report.pictures import Picture, picture
from dglib.report.provenance import data, facts
from dglib.report.tables import Table, seed_table


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
    read = [(each, summarise(each.experiment, each.records)) for each in collection.found]
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
    names = [texts.SYMBOLS[name] for name in ORDER if collection.of(name)]
    return f"Hysteresis in learning with noisy labels: {wording.listing(names)}" if names else "No records"


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
    executed = base / "executed" / f"{NAMES[experiment]}.ipynb"
    first = members[0][0]
    return Section(
        texts.SYMBOLS[experiment],
        texts.TITLES[experiment],
        texts.QUESTIONS[experiment],
        texts.COUNTS[experiment],
        [_run(found, summary, number, first, target) for number, (found, summary) in enumerate(members, 1)],
        [link_to(executed, target)] if executed.is_file() else [],
    )


def _run(found: Found, summary: Mapping[str, Any], number: int, first: Found, target: Path) -> Run:
    changed = differences(first.parameters, found.parameters) if number > 1 else []
    if number > 1 and not changed:
        changed = ["no parameter; see how each was run"]
    drawn = draw_all(found.experiment, found.records)
    words, signs = answer(found.experiment, found.records), summary.get("signs") if found.records else None
    return Run(
        _name(found.directory),
        number,
        changed,
        _headline(found.experiment, words, summary),
        words,
        paragraphs(signs) if signs else [],
        [picture(figure, texts.CAPTIONS[name]) for name, figure in drawn.items()] if found.records else [],
        seed_table(found, summary),
        ends_of(found),
        facts(found),
        [link_to(path, target) for path in found.results],
    )


def _loops(collection: Collection) -> list[Loop]:
    """By directory: T1 and T2 of different runs are never drawn, or subtracted, together."""
    loops = []
    sweeps = [*collection.of("T1"), *collection.of("T2")]
    for directory in sorted({each.directory for each in sweeps if each.records}):
        t1, t2 = (
            next((each.records for each in collection.of(name) if each.directory == directory), ())
            for name in ("T1", "T2")
        )
        width = width_answer(t1, t2) if t1 and t2 else None
        drawn = picture(draw_hysteresis(t1, t2), texts.CAPTIONS["hysteresis"], enlarged=1.45)
        loops.append(Loop(_name(directory), drawn, width))
    return loops


def _lag(collection: Collection) -> Lag | None:
    """None where all sweeps had one dwell time and LR rule: nothing to hold against each other."""
    t1, t2 = ([r for each in collection.of(name) for r in each.records] for name in ("T1", "T2"))
    others = [record for each in collection.of("Td1") for record in each.records]
    found = lag(t1, t2)
    if len(found["settings"]) < 2:
        return None
    sets = {data(each) for name in ("T1", "T2") for each in collection.of(name) if each.records}
    differing = [*found["differing"], *(["the data"] if len(sets) > 1 else [])]
    if differing:
        return Lag(texts.LAG_REFUSED.format(wording.listing(differing)), None)
    alike = others if _alike([*t1, *t2, *others]) else []
    drawn = picture(draw_dwell(t1, t2, alike), texts.CAPTIONS["dwell"], enlarged=1.45)
    return Lag(lag_answer(t1, t2, alike), drawn)


def _alike(records: Sequence[Mapping[str, Any]]) -> bool:
    """Whether Tδ1's networks were trained as the sweeps' were, so that their errors stand beside theirs."""
    names = ("dataset", "noise_rate", "network", "network_width", "batch_size", "lr", "refresh_period")
    stated = [record.get("parameters") or {} for record in records]
    return all(len({repr(each.get(name)) for each in stated}) == 1 for name in names)


def _headline(experiment: str, words: str, summary: Mapping[str, Any]) -> str:
    """The answer without what only its section needs: T1's way back, Tδ1's comparison of means."""
    first, *others = words.split(". ")
    if experiment not in ("T1", "Td1") or not others:
        return words
    signs = [sentence(summary["signs"])] if experiment == "Td1" else []
    return " ".join([f"{first}.", *signs, others[-1]])


def _name(directory: Path) -> str:
    return directory.absolute().name


def link_to(path: Path, target: Path) -> Link:
    """A file by its path from the page at `target`."""
    from_page = relpath(path.absolute(), target.absolute().parent)
    return Link(quote(Path(from_page).as_posix()), path.name)
