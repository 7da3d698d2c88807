"""The page: what was asked, what came out, on which seeds, how it was run, and what it does not show.

python run_all.py report --base-dir runs

A page is a list of sections, each a heading and blocks: (kind, value) pairs, for `templates/page.html.j2`.
"""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from os.path import relpath
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from dglib.analysis import wording
from dglib.analysis.answer import Answer
from dglib.analysis.fields import number
from dglib.analysis.style import styled
from dglib.analysis.summary import Summary
from dglib.analysis.wording import NONE
from dglib.experiments import Joint, get, joints, names
from dglib.experiments.figures import draw_all, rendered
from dglib.experiments.tables import LONG, evaluation_rows
from dglib.files import write_atomically
from dglib.protocol.records import Record
from dglib.report.collect import Collection, Found, Grid, collect
from dglib.report.facts import UNRECORDED, data_name, facts, limits
from dglib.runs.identity import differences
from dglib.runs.progress import duration
from dglib.runs.reading import Source

Block = tuple[str, Any]
Section = tuple[str, list[Block]]
Table = tuple[list[str], list[list[str]]]  # column heads, and rows of as many cells
Link = tuple[str, str]  # href and text

NAME = "report.html"
ENLARGED = 1.45  # a figure of one column, on the page
DWELL_CAPTION = "Width against dwell time, and the slowest sweep against training from scratch at each λ"
LAG_READING = (
    "A network has a limited time at each λ. Where the width shrinks with longer dwell times, that part of"
    " it was lag; where it does not, it is memory at least on these time scales."
)
_ASKED = (
    "Each training step mixes two normalised gradients: that of the batch under noisy labels (structure), and"
    " one under clean labels, held for K steps (value), with weight λ on the value gradient. The test error"
    " may depend not only on λ but also on its history: a network trained at small λ stays ordered, with low"
    " error, as λ is raised, until it collapses at some λ↑; a collapsed one recovers only when λ has been"
    " lowered to some λ↓ below that, or never. The width λ↑ − λ↓ measures this hysteresis.",
    "Ordered: low error. Collapsed: high error, but better than chance. Trapped: one class predicted for"
    " everything, to the end. Diverged: outputs that are not finite. Dwell time: epochs at each λ of a sweep."
    " Null: the width of a path without memory or lag, read at the same two errors. A seed is one training"
    " from one random start; every seed is shown. ± SD: population standard deviation over seeds.",
)
_LOOP_READING = (
    "Above, thin lines are seeds and thick ones medians, with arrows in the direction of the sweep. Below,"
    " each bar is a seed and spans the levels between which its threshold lies; an arrowhead means that the"
    " sweep ended before it was found. Where the rising and the falling sweep lie apart at one λ, the path"
    " counts at this dwell time: by memory, or by a lag that a held λ would end."
)
_LAG_REFUSED = (
    "There are runs at several dwell times or learning rates, but they also differ in {}, so their widths"
    " are not compared."
)
_METRICS_CAPTION = "Metrics of your own against epoch; a line for each seed and branch"
# What networks must have in common for errors from scratch to be compared with those of sweeps.
_ALIKE = ("dataset", "noise_rate", "network", "network_width", "batch_size", "lr", "refresh_period")
_PIXELS_PER_INCH = 125  # on the page, where figures are a little larger than in print
_NOT_DRAWN = ("test_loss", "dead_channels")
_SHARPER = 1.3  # pixels of the image to one of the page, for screens that have them


@dataclass(frozen=True)
class Picture:
    """A figure for the page; `source` and `data` (a CSV) are data URIs, `width` in CSS pixels."""

    name: str
    source: str
    width: int
    caption: str
    alt: str
    data: str


def write_report(base: Path, target: Path | None = None) -> Path:
    """Write the page over all runs in `base`, from their records alone, and return its path.

    Of a grid's directory the page is over all of its cells, and the table and figures are files there too.
    The same records give the same bytes. Figures are in the page; only links to executed notebooks and
    records lead out of it, relative to where it lies.

    Args:
        base: a base directory, or one run directory; a folder with published results' files will do.
        target: the file to write; None: `report.html` in `base`.

    Raises:
        UserError: there is no such directory, no run in it, or the page cannot be written.
    """
    target, collection = base / NAME if target is None else target, collect(base)
    if isinstance(collection, Grid):
        from dglib.report.grids import write_figures

        write_figures(collection)
    write_atomically(target, render(collection, target).encode())
    return target


def render(collection: Collection, target: Path, whole: bool = True) -> str:
    """The page as one HTML document, or as one element with its style for a notebook.

    Links are relative to `target`, where it will lie.
    """
    if isinstance(collection, Grid):
        from dglib.report import grids  # which uses parts of this module

        content = grids.content(collection, target)
    else:
        content = _content(collection, target)
    return _environment().get_template("page.html.j2").render(content, whole=whole)


@cache
def _environment() -> Environment:
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
    runs = {name: mine for name in names() if (mine := collection.of(name))}
    questions = [(f"{get(name).symbol}.", get(name).question) for name in runs]
    asked: list[Block] = [*(("p", text) for text in _ASKED), ("list", questions)]
    loops = list(_loops(collection))
    sections: list[Section] = [("What was asked", asked)]
    shown = len(loops) > 1
    headlines: list[Block] = [
        ("answer", (f"Width in {name}" if shown else "", answer)) for name, _, answer in loops if answer
    ]
    for mine in runs.values():
        for number_, found in enumerate(mine, 1):
            of = f"{found.about.symbol}, run {number_} of {len(mine)} ({found.name})" * (len(mine) > 1)
            headlines.append(("answer", (of, found.answer.html(whole=False))))
    sections += [("What came out", headlines)] if runs else []
    if loops:
        blocks: list[Block] = [("p", _LOOP_READING)]
        for name, drawn, _ in loops:
            blocks += [*([("h3", name)] if shown else []), ("figure", drawn)]
        sections.append(("The hysteresis loop", blocks))
    if lag := _lag(collection):
        sections.append(("How much of it is lag", [("p", LAG_READING), *lag]))
    for name, mine in runs.items():
        sections.append(
            (f"{get(name).symbol}: {get(name).title}", list(_runs(collection.base, mine, target)))
        )
    symbols = wording.listing([get(name).symbol for name in runs])
    return {
        "title": f"Hysteresis in learning with noisy labels: {symbols}" if runs else "No records",
        "overview": overview(collection.found) if runs else "",
        "damaged": collection.damaged,
        "sections": sections,
        "limits": [*limits(collection.found, collection.damaged), *collection.skipped],
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


def _runs(base: Path, runs: Sequence[Found], target: Path) -> Iterator[Block]:
    """One experiment with all its runs, which are shown apart."""
    about, several = runs[0].about, len(runs) > 1
    yield "p", about.question
    if about.counts:
        yield "soft", f"What counts as an answer: {about.counts}"
    if several:
        apart = "made under different parameters or in different places"
        yield "p", f"{len(runs)} runs, {apart}. They are shown apart and never averaged."
    for number_, found in enumerate(runs, 1):
        if several:
            yield "h3", f"Run {number_} of {len(runs)}: {found.name}"
        if number_ > 1:
            changed = differences(runs[0].parameters, found.parameters)
            yield (
                "soft",
                f"Differs from run 1 in {'; '.join(changed) or 'no parameter; see how each was run'}.",
            )
        yield from _run(base, found, target)


def _run(base: Path, found: Found, target: Path) -> Iterator[Block]:
    about, shows, data = found.about, found.answer.line, evaluations_csv([found])
    yield "answer", ("", found.answer.html())
    captions = {name: drawing.caption for name, drawing in about.figures().items()}
    for name, figure in (draw_all(about.name, found.records) if found.records else {}).items():
        yield "figure", picture(name, figure, captions.get(name, _METRICS_CAPTION), shows, data)
    table = seed_table(found)
    yield "h4", "Seeds"
    yield ("table", table) if table[1] else ("p", "No seed has finished.")
    links = {"Records": found.results, "Executed notebook": [base / "executed" / f"{about.notebook}.ipynb"]}
    known = {name: [link_to(p, target) for p in paths if p.is_file()] for name, paths in links.items()}
    yield "h4", "How it was run"
    yield "facts", [("Run directory", found.name), *facts(found)]
    yield from (("links", (f"{name}: ", shown)) for name, shown in known.items() if shown)


def _loops(collection: Collection) -> Iterator[tuple[str, Picture, str | None]]:
    """The figure of each joint finding, and the finding where all records of it are there.

    By directory and group: experiments of different runs are never drawn, or subtracted, together.
    """
    for joint in joints():
        found = [run for name in joint.experiments for run in collection.of(name) if run.records]
        for directory, group in sorted({(run.directory, run.group) for run in found}):
            same = [run for run in found if (run.directory, run.group) == (directory, group)]
            mine = {run.experiment: run.records for run in same}
            records = [mine.get(name, ()) for name in joint.experiments]
            answer = joint.answer(*records) if all(records) else None
            shows = answer.line if answer else "; ".join(run.answer.line for run in same)
            with styled():
                figure, data = joint.draw(*records), evaluations_csv(same)
            drawn = picture(joint.key, figure, joint.caption, shows, data, ENLARGED)
            yield same[0].name, drawn, answer.html() if answer else None


def _lag(collection: Collection) -> list[Block]:
    """Width against dwell time over runs that differ in nothing else, else why not.

    Empty where all sweeps had one dwell time and LR rule.
    """
    runs = {name: [run for run in collection.of(name) if run.records] for name in names()}
    records = {name: [r for item in found for r in item.records] for name, found in runs.items()}
    for joint in joints():
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
            return [("p", _LAG_REFUSED.format(wording.listing(differing)))]
        answer, drawn = lag_shown(joint, lag, [runs[name] for name in joint.experiments])
        return [("answer", ("", answer.html())), ("figure", drawn)]
    return []


def lag_shown(joint: Joint, lag: Summary, runs: Sequence[Sequence[Found]]) -> tuple[Answer, Picture]:
    """A joint finding at several dwell times, in words and drawn; `runs`: of each of its experiments."""
    answer = joint.lag_answer(lag)
    with styled():
        figure = joint.draw_lag(lag, *([record for run in mine for record in run.records] for mine in runs))
    data = evaluations_csv([run for mine in runs for run in mine])
    return answer, picture(f"{joint.key}_dwell", figure, DWELL_CAPTION, answer.line, data, ENLARGED)


def _alike(records: Sequence[Mapping[str, Any]]) -> bool:
    stated = [record.get("parameters") or {} for record in records]
    return all(len({repr(item.get(name)) for item in stated}) == 1 for name in _ALIKE)


def link_to(path: Path, target: Path) -> Link:
    from_page = relpath(path.absolute(), target.absolute().parent)
    return quote(Path(from_page).as_posix()), path.name


def picture(name: str, figure: Figure, caption: str, shows: str, data: str, enlarged: float = 1.0) -> Picture:
    """Draw a figure into a PNG, `enlarged` on the page; the same figure has the same bytes.

    Args:
        name: of the file that `data` is saved as.
        shows: what is to be seen, in words, for those who do not see it.
        data: what was drawn, as a CSV.
    """
    scale = enlarged * _PIXELS_PER_INCH
    # Compressed in half the time, and no larger by much.
    content = rendered(figure, _SHARPER * scale, pil_kwargs={"compress_level": 3})
    source = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    link = f"data:text/csv;charset=utf-8,{quote(data, safe=',')}"
    return Picture(name, source, round(figure.get_figwidth() * scale), caption, f"{caption}. {shows}", link)


def evaluations_csv(runs: Sequence[Found]) -> str:
    """Error and metrics of one's own at every evaluation, in the columns of `python -m dglib export`."""
    rows = [
        {**row, "run": run.directory.absolute().name}
        for run in runs
        for record in run.records
        for row in evaluation_rows(
            Source(run.directory, run.directory, run.experiment, record.get("seed", -1), record, run.group),
            left_out=_NOT_DRAWN,
        )
    ]
    constant = {name for name in ("run", "group") if len({row[name] for row in rows}) == 1}
    text = io.StringIO()
    names = [name for name in LONG if name not in constant]
    writer = csv.DictWriter(text, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def seed_table(found: Found) -> Table:
    """A row per record, and one for each seed that has begun and not ended."""
    columns = found.about.seed_columns(found.summary)
    texts = {head: [show(seed) for seed in found.summary["seeds"]] for head, show in columns.items()}
    for head, field in {"Skipped steps": "skipped_steps", "Reason": "reason"}.items():
        if any(record.get(field) for record in found.records):  # most runs need neither
            values = [record.get(field) for record in found.records]
            texts[head] = [NONE if value is None else str(value) for value in values]
    times = [number(record, "time") for record in found.records]
    texts["Time"] = [NONE if time is None else duration(time) for time in times]
    texts["Computed on"] = list(map(_machines, found.records))
    bits = {True: "yes", False: "no", None: NONE}
    texts["Bit for bit"] = [bits[record.get("bitwise")] for record in found.records]
    rows = [list(row) for row in zip(*texts.values(), strict=True)]
    for beat in found.heartbeats:
        epochs = f"{beat.get('epochs_done', '?')} of {beat.get('epochs_planned', '?')}"
        known = {"Seed": str(beat.get("seed", NONE)), "Outcome": f"not finished: epoch {epochs}"}
        rows.append([known.get(head, NONE) for head in texts])
    return list(texts), rows


def _machines(record: Record) -> str:
    stretches = record.get("numerics") or ()
    on = (f"{s.get('device_name', s.get('device', '?'))}, {s.get('precision', '?')}" for s in stretches)
    return "; then ".join(dict.fromkeys(on)) or NONE
