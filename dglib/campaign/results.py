"""The files that a campaign leaves over its runs: summary and report, or a grid's report."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from dglib.analysis.answer import Answer
from dglib.analysis.style import styled
from dglib.analysis.summary import SCHEMA
from dglib.campaign.grid import Grid, write_index
from dglib.campaign.jobs import Plan
from dglib.errors import UserError
from dglib.experiments import get, joints, names
from dglib.experiments.figures import save_figure
from dglib.experiments.parameters import beyond_asked
from dglib.files import to_json, write_atomically
from dglib.report.grids import RESULTS
from dglib.report.page import write_report
from dglib.runs.directories import INDEX
from dglib.runs.location import RunLocation
from dglib.runs.provenance import different_code
from dglib.runs.reading import read_under
from dglib.runs.store import read_records


def write_results(
    plans: Sequence[Plan], location: RunLocation, grid: Grid | None, out: IO[str]
) -> list[Path]:
    """Write summary and report, or a grid's report, print the answers and where they are. Returns the files.

    With a mirror the files are copied below the base directory.
    """
    files = _of_experiments(plans, location, out) if grid is None else _of_grid(write_index(grid), out)
    location.copy_to_base(*files)
    return files


def _of_experiments(plans: Sequence[Plan], location: RunLocation, out: IO[str]) -> list[Path]:
    base = location.local
    print("What was found:\n", *write_summary(base, plans), sep="\n", file=out)
    page = _write_page(base)
    if location.mirrored:
        print(f"\nAll of it is copied to {location.base}.", file=out)
    print("\nWhere it lies:", file=out)
    done = [plan for plan in plans if plan.jobs[-1].status == "done"]
    for plan in done:
        where = f"{plan.directory()} (records, figures/), notebook {plan.executed}"
        print(f"  {plan.experiment}: {where}", file=out)
    files = [base / "summary.md", base / "summary.json"]
    print(f"  summary: {', '.join(map(str, files))}", file=out)
    for path in page:
        print(f"  report: {path}", file=out)
    # Drawn with the summary, when the run directories' own mirrors have ended.
    directories = dict.fromkeys(directory for plan in plans if (directory := plan.directory()) is not None)
    patterns = [f"figures/{joint.key}.*" for joint in joints()]
    drawn = [path for directory in directories for name in patterns for path in sorted(directory.glob(name))]
    return [*files, *(plan.executed for plan in done), *drawn, *page]


def _of_grid(directory: Path, out: IO[str]) -> list[Path]:
    page = _write_page(directory)
    for path in page:
        print(f"What was found: {path}", file=out)
    tables = [directory / INDEX, *directory.glob(RESULTS)]
    return [*tables, *sorted(directory.glob("figures/grid_*")), *page]


def _write_page(base: Path) -> list[Path]:
    try:
        return [write_report(base)]
    except UserError as error:  # where no seed has left a run directory
        print(f"\nno report: {error}", file=sys.stderr)
        return []


def write_summary(base: Path, plans: Sequence[Plan]) -> list[str]:
    """Write `summary.md` and `summary.json` into `base`, and the figures of several experiments.

    An experiment whose records cannot be read or summarised gets the reason as its paragraph.

    Returns:
        A paragraph per experiment, and one for each finding on several with records in one directory.
    """
    numbers: dict[str, Any] = {"schema": SCHEMA}
    paragraphs: dict[str, str] = {}  # by their titles
    records: dict[Path, dict[str, Sequence[dict[str, Any]]]] = {}
    for plan in sorted(plans, key=lambda plan: names().index(plan.experiment)):
        directory, name, state = plan.directory(), plan.experiment, plan.state
        try:
            finished = [] if directory is None else read_under(plan.parameters, read_records(directory, name))
            summary = get(name).summarise(finished)
            beyond = beyond_asked([r["seed"] for r in finished], plan.parameters.seeds)
            answer = Answer.of(get(name), summary)
            paragraphs[name] = answer.with_flags(state, beyond, different_code(finished)).text()
        except UserError as error:
            state = "" if str(error) in state else state
            paragraphs[name] = Answer(f"{name}: no answer: {error}").with_flags(state).text()
            continue
        if directory is not None:
            records.setdefault(directory, {})[name] = finished
            numbers[name] = {"answer": paragraphs[name], "directory": str(directory), **summary}
    for joint in joints():
        within = {
            directory: [held.get(name) or read_records(directory, name) for name in joint.experiments]
            for directory, held in records.items()
            if held.keys() & set(joint.experiments)
        }
        within = {directory: sides for directory, sides in within.items() if any(sides)}
        for directory, sides in within.items():
            if all(sides) and len(within) == 1:
                joint_summary = joint.summarise(*sides)
                paragraphs[joint.title] = joint.answer_of(joint_summary).text()
                numbers[joint.quantity] = {"answer": paragraphs[joint.title], **joint_summary}
            with styled():
                drawn = joint.draw(*sides)
            save_figure(drawn, directory / "figures", joint.key)
    text = [f"\n## {title}\n\n```text\n{paragraph}\n```\n" for title, paragraph in paragraphs.items()]
    write_atomically(base / "summary.md", "".join(["# What was found\n", *text]).encode())
    write_atomically(base / "summary.json", to_json(numbers, indent=1))
    return list(paragraphs.values())
