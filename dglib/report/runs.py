"""A directory's runs, with their records and manifests, and the page over them.

A page is a list of sections, each a heading and blocks: (kind, value) pairs, for `templates/page.html.j2`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from dglib.analysis import wording
from dglib.analysis.answer import Answer
from dglib.analysis.style import styled
from dglib.analysis.summary import Summary
from dglib.errors import UserError
from dglib.experiments import Experiment, get, joints, names
from dglib.experiments.figures import draw_all
from dglib.files import to_json
from dglib.protocol.records import Record
from dglib.report.facts import caveats, facts
from dglib.report.parts import (
    ENLARGED,
    LAG_READING,
    Block,
    Picture,
    Section,
    evaluations_csv,
    lag_shown,
    link_to,
    overview,
    picture,
    seed_table,
)
from dglib.runs.directories import runs_in, unread_below
from dglib.runs.identity import differences, manifests, read_manifest
from dglib.runs.reading import Source, read_run

_ASKED = (
    "Each training step mixes two normalised gradients: that of the batch under noisy labels (structure), and"
    " one under clean labels, held for K steps (value), with weight λ on the value gradient. The test error"
    " may depend not only on λ but also on its history: a network trained at small λ stays ordered, with low"
    " error, as λ is raised, until it collapses at some λ↑; a collapsed one recovers only when λ has been"
    " lowered to some λ↓ below that, or never. The width λ↑ − λ↓ measures this hysteresis.",
    "Ordered: low error. Collapsed: high error, but better than chance. Trapped: one class predicted for"
    " everything, in most of the last evaluations. Diverged: outputs that are not finite. Dwell time: epochs"
    " at each λ of a sweep. Null: the width of a path without memory or lag, read at the same two errors. A"
    " seed is one training from one random start; every seed is shown. ± SD: population standard deviation"
    " over seeds.",
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


@dataclass(frozen=True)
class ExperimentRun:
    """One experiment's records in one run directory.

    Attributes:
        manifest: what the run was made under; empty where there is none, as in published folders.
        heartbeats: of seeds that have begun and have no record.
    """

    experiment: str
    directory: Path
    records: tuple[Record, ...]
    manifest: Mapping[str, Any] = field(default_factory=dict)
    heartbeats: tuple[Mapping[str, Any], ...] = ()
    group: str = ""  # of another program's records, see `dglib.runs.directories.Translated`

    @property
    def name(self) -> str:
        """The run directory, with the group."""
        name = self.directory.absolute().name
        return f"{name}, {self.group}" if self.group else name

    @property
    def about(self) -> Experiment:
        return get(self.experiment)

    @cached_property
    def summary(self) -> Summary:
        return self.about.summarise(self.records)

    @cached_property
    def answer(self) -> Answer:
        return Answer.of(self.about, self.summary)

    @property
    def parameters(self) -> dict[str, Any]:
        """As the manifest has them, else the first record that states any; empty for published files."""
        if self.manifest:
            return dict(self.manifest["parameters"])
        return next((dict(r["parameters"]) for r in self.records if r.get("parameters")), {})

    @property
    def results(self) -> list[Path]:
        paths = (self.directory / f"{self.about.prefix}_results.{kind}" for kind in ("json", "csv"))
        return [path for path in paths if path.is_file()]


@dataclass
class Collection:
    """All of a directory.

    Attributes:
        found: by experiment, the oldest run first.
        damaged: a line per file that could not be read.
        skipped: a line for each file or directory that was left aside.
    """

    base: Path
    runs: list[ExperimentRun] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def of(self, experiment: str) -> list[ExperimentRun]:
        return [item for item in self.runs if item.experiment == experiment]


def collect_runs(base: Path) -> Collection:
    """Read a run directory, or all of those in a base directory, also where none could be read.

    Raises:
        UserError: there is no such directory, or no run in it.
    """
    collection = Collection(base)
    runs = runs_in(base)
    for directory in runs:
        run = read_run(directory)
        collection.damaged += run.damaged
        collection.skipped += run.strangers
        collection.runs += runs_of(directory, run.sources, collection.damaged, collection.skipped)
    collection.skipped += unread_below(base, runs)
    collection.runs.sort(key=lambda item: (names().index(item.experiment), item.directory.name, item.group))
    return collection


def runs_of(
    directory: Path, sources: Sequence[Source], damaged: list[str], left_out: list[str]
) -> list[ExperimentRun]:
    """The runs in a directory, from its records; those without any have a manifest.

    Args:
        damaged: gets a line for each manifest and record that cannot be used.
        left_out: gets a line for each experiment that cannot be.
    """
    known: dict[str, Mapping[str, Any]] = {}
    for path in manifests(directory):
        try:
            made_under = read_manifest(path)
            known[made_under["experiment"]] = made_under
        except UserError as error:
            damaged.append(str(error))
    records: dict[tuple[str, str], list[Record]] = {(name, ""): [] for name in names() if name in known}
    for source in sorted(sources, key=lambda source: source.seed):
        records.setdefault((source.experiment, source.group), []).append(dict(source.record))
    usable = []
    for (name, group), members in records.items():
        run = ExperimentRun(name, directory, tuple(members), group=group)
        if not group:
            beats = _heartbeats(directory, name, {record["seed"] for record in members})
            run = replace(run, manifest=known.get(name, {}), heartbeats=tuple(beats))
        usable += _usable(run, damaged, left_out)
    return usable


def _usable(run: ExperimentRun, damaged: list[str], left_out: list[str]) -> list[ExperimentRun]:
    """The run without records that cannot be computed with; nothing where none can."""
    if not _fault(run):
        return [run]
    faults = [_fault(replace(run, records=(record,))) for record in run.records]
    rest = replace(run, records=tuple(r for r, why in zip(run.records, faults, strict=True) if not why))
    if fault := ("" if rest.records else next(filter(None, faults), "")) or _fault(rest):
        left_out.append(f"{run.directory}: {run.experiment} is left out: {fault}")
        return []
    named = zip(run.records, faults, strict=True)
    where = f"{run.directory}: {run.experiment}"
    damaged += [f"{where} seed {record['seed']} not read: {why}" for record, why in named if why]
    return [rest]


def _fault(run: ExperimentRun) -> str:
    """Why a run's records cannot be computed with; empty if they can."""
    try:
        to_json(dict(run.summary))
        run.answer.text()
    except UserError as error:  # of a user's own experiment
        return str(error)
    except (TypeError, ValueError, KeyError, AttributeError, IndexError, OverflowError) as error:
        return f"its fields are not those of a record ({type(error).__name__}: {error})"
    return ""


def _heartbeats(directory: Path, experiment: str, finished: Iterable[Any]) -> list[Mapping[str, Any]]:
    """Of unfinished seeds. A file that is missing or torn is left out: they are hints only."""
    beats = list[Mapping[str, Any]]()
    for path in sorted((directory / "heartbeats").glob("*.json")):
        with suppress(OSError, ValueError, TypeError):
            beat = dict(json.loads(path.read_bytes()))
            if beat.get("experiment") == experiment and beat.get("seed") not in set(finished):
                beats.append(beat)
    return beats


# ── the page ──


def content(collection: Collection, target: Path) -> dict[str, Any]:
    runs = {name: members for name in names() if (members := collection.of(name))}
    questions = [(f"{get(name).symbol}.", get(name).question) for name in runs]
    asked: list[Block] = [*(("p", text) for text in _ASKED), ("list", questions)]
    loops = list(_loops(collection))
    sections: list[Section] = [("What was asked", asked)]
    shown = len(loops) > 1
    headlines: list[Block] = [
        ("answer", (f"Width in {name}" if shown else "", answer)) for name, _, answer in loops if answer
    ]
    for members in runs.values():
        for number_, run in enumerate(members, 1):
            of = f"{run.about.symbol}, run {number_} of {len(members)} ({run.name})" * (len(members) > 1)
            headlines.append(("answer", (of, run.answer.html(whole=False))))
    sections += [("What came out", headlines)] if runs else []
    if loops:
        blocks: list[Block] = [("p", _LOOP_READING)]
        for name, drawn, _ in loops:
            blocks += [*([("h3", name)] if shown else []), ("figure", drawn)]
        sections.append(("The hysteresis loop", blocks))
    if lag := _lag(collection):
        sections.append(("How much of it is lag", [("p", LAG_READING), *lag]))
    for name, members in runs.items():
        sections.append(
            (f"{get(name).symbol}: {get(name).title}", list(_runs(collection.base, members, target)))
        )
    symbols = wording.listing([get(name).symbol for name in runs])
    return {
        "title": f"Hysteresis in learning with noisy labels: {symbols}" if runs else "No records",
        "overview": overview(collection.runs) if runs else "",
        "damaged": collection.damaged,
        "sections": sections,
        "limits": [*caveats(collection.runs, collection.damaged), *collection.skipped],
    }


def _runs(base: Path, runs: Sequence[ExperimentRun], target: Path) -> Iterator[Block]:
    """One experiment with all its runs, which are shown apart."""
    about, several = runs[0].about, len(runs) > 1
    yield "p", about.question
    if about.counts:
        yield "soft", f"What counts as an answer: {about.counts}"
    if several:
        apart = "made under different parameters or in different places"
        yield "p", f"{len(runs)} runs, {apart}. They are shown apart and never averaged."
    for number_, run in enumerate(runs, 1):
        if several:
            yield "h3", f"Run {number_} of {len(runs)}: {run.name}"
        if number_ > 1:
            changed = differences(runs[0].parameters, run.parameters)
            yield (
                "soft",
                f"Differs from run 1 in {'; '.join(changed) or 'no parameter; see how each was run'}.",
            )
        # The notebook is executed over the newest run.
        yield from _run(base if number_ == len(runs) else None, run, target)


def _run(base: Path | None, run: ExperimentRun, target: Path) -> Iterator[Block]:
    """`base`: where its executed notebook is; None: it has none."""
    about, shows, data = run.about, run.answer.line, evaluations_csv([run])
    yield "answer", ("", run.answer.html())
    captions = {name: drawing.caption for name, drawing in about.figures().items()}
    for name, figure in (draw_all(about.name, run.records) if run.records else {}).items():
        yield "figure", picture(name, figure, captions.get(name, _METRICS_CAPTION), shows, data)
    table = seed_table(run)
    yield "h4", "Seeds"
    yield ("table", table) if table[1] else ("p", "No seed has finished.")
    links = {"Records": run.results}
    if base is not None and (executed := base / "executed" / f"{about.notebook}.ipynb").is_file():
        seeds = run.directory.glob(f"seeds/{about.prefix}-*.json")
        newest = max((path.stat().st_mtime for path in seeds), default=0.0)
        late = ", executed before the last seeds" if executed.stat().st_mtime < newest else ""
        links[f"Executed notebook{late}"] = [executed]
    known = {name: [link_to(path, target) for path in paths] for name, paths in links.items()}
    yield "h4", "How it was run"
    yield "facts", [("Run directory", run.name), *facts(run)]
    yield from (("links", (f"{name}: ", shown)) for name, shown in known.items() if shown)


def _loops(collection: Collection) -> Iterator[tuple[str, Picture, str | None]]:
    """The figure of each joint finding, and the finding where all records of it are there.

    By directory and group: experiments of different runs are never drawn, or subtracted, together.
    """
    for joint in joints():
        candidates = [run for name in joint.experiments for run in collection.of(name) if run.records]
        for directory, group in sorted({(run.directory, run.group) for run in candidates}):
            same = [run for run in candidates if (run.directory, run.group) == (directory, group)]
            by_name = {run.experiment: run.records for run in same}
            records = [by_name.get(name, ()) for name in joint.experiments]
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
    for joint in joints():
        runs = [[run for run in collection.of(name) if run.records] for name in joint.experiments]
        lag = joint.lag(*([record for run in members for record in run.records] for members in runs))
        if lag and lag["differing"]:
            return [("p", _LAG_REFUSED.format(wording.listing(lag["differing"])))]
        if lag:
            answer, drawn = lag_shown(joint, lag, runs)
            return [("answer", ("", answer.html())), ("figure", drawn)]
    return []
