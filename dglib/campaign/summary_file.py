"""The summary over all experiments of a base directory: tables to read, numbers to compute with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dglib.analysis.answer import Answer
from dglib.analysis.style import styled
from dglib.analysis.summary import SCHEMA
from dglib.campaign.jobs import Plan
from dglib.errors import UserError
from dglib.experiments import get, joints, names, read_under
from dglib.experiments.figures import save_figure
from dglib.experiments.parameters import beyond_asked
from dglib.files import to_json, write_atomically
from dglib.runs.store import read_records


def write_summary(base: Path, plans: Sequence[Plan]) -> list[str]:
    """Write `summary.md` and `summary.json` into `base`, and the figures of several experiments.

    An experiment whose records cannot be read gets the reason as its paragraph.

    Returns:
        A paragraph per experiment, and one for each finding on several with records in one directory.
    """
    numbers: dict[str, Any] = {"schema": SCHEMA}
    paragraphs, text = [], ["# What was found", ""]
    records: dict[Path, dict[str, Sequence[dict[str, Any]]]] = {}
    for plan in sorted(plans, key=lambda plan: names().index(plan.experiment)):
        directory, name = plan.directory(), plan.experiment
        state = "" if plan.status == "done" else ": ".join(filter(None, (plan.status, plan.error)))
        try:
            mine = [] if directory is None else read_under(plan.parameters, read_records(directory, name))
        except UserError as error:
            directory, paragraph = None, Answer(f"{name}: {error}").with_flags(state).text()
        else:
            summary = get(name).summarise(mine)
            beyond = beyond_asked([r["seed"] for r in mine], plan.parameters.seeds)
            paragraph = get(name).answer_of(summary).with_flags(state, beyond).text()
        paragraphs.append(paragraph)
        text += [f"## {name}", "", "```text", paragraph, "```", ""]
        if directory is None:
            continue
        records.setdefault(directory, {})[name] = mine
        numbers[name] = {"answer": paragraph, "directory": str(directory), **summary}
        text += [f"Run directory `{directory}`, executed notebook `{plan.executed}`.", ""]
        pictures = sorted((directory / "figures").glob(f"{name}*.png"))
        text += [f"![{picture.stem}]({picture.relative_to(base)})" for picture in pictures]
        text.append("")
    for joint in joints():
        within = {
            directory: [held.get(name) or read_records(directory, name) for name in joint.experiments]
            for directory, held in records.items()
            if held.keys() & set(joint.experiments)
        }
        within = {directory: sides for directory, sides in within.items() if any(sides)}
        for directory, sides in within.items():
            if all(sides) and len(within) == 1:
                found = joint.summarise(*sides)
                paragraphs.append(joint.answer_of(found).text())
                numbers[joint.quantity] = {"answer": paragraphs[-1], **found}
                text += [f"## {joint.title}", "", "```text", paragraphs[-1], "```", ""]
            with styled():
                drawn = joint.draw(*sides)
            png = save_figure(drawn, directory / "figures", joint.key)[0]
            text += [f"![{joint.key}]({png.relative_to(base)})", ""]
    write_atomically(base / "summary.md", "\n".join(text).encode())
    write_atomically(base / "summary.json", to_json(numbers, indent=1))
    return paragraphs
