"""The summary over all experiments of a base directory: sentences to read, numbers to compute with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from dglib.errors import UserError
from dglib.experiments import get, joints, names, read_under
from dglib.experiments.figures import draw_jointly, save_figure
from dglib.experiments.parameters import Parameters
from dglib.experiments.seeds import beyond_asked
from dglib.files import to_json, write_atomically
from dglib.runs.store import read_records


class Finished(Protocol):
    """An experiment that has run, or failed to."""

    @property
    def experiment(self) -> str: ...
    @property
    def parameters(self) -> Parameters: ...
    @property
    def executed(self) -> Path: ...
    @property
    def status(self) -> str: ...
    @property
    def error(self) -> str: ...
    def directory(self) -> Path | None: ...


def write_summary(base: Path, experiments: Sequence[Finished]) -> list[str]:
    """Write `summary.md` and `summary.json` into `base`, and the figures of several experiments.

    An experiment whose records cannot be read gets the reason as its paragraph.

    Returns:
        A paragraph per experiment, and one for each finding on several with records in one directory.
    """
    numbers: dict[str, Any] = {}
    paragraphs, text = [], ["# What was found", ""]
    directories: dict[str, list[Path]] = {}
    for each in sorted(experiments, key=lambda e: names().index(e.experiment)):
        directory, name = each.directory(), each.experiment
        state = "" if each.status == "done" else f" ({each.status}: {each.error})"
        try:
            records = [] if directory is None else read_under(each.parameters, read_records(directory, name))
            more = beyond_asked([record["seed"] for record in records], each.parameters.seeds)
            paragraph, summary = get(name).answer(records) + more + state, get(name).summarise(records)
        except UserError as error:
            directory, paragraph = None, f"{name}: {error}{state}"
        paragraphs.append(paragraph)
        text += [f"## {name}", "", paragraph, ""]
        if directory is None:
            continue
        directories.setdefault(name, []).append(directory)
        numbers[name] = {"answer": paragraph, "directory": str(directory), **summary}
        text += [f"Run directory `{directory}`, executed notebook `{each.executed}`.", ""]
        pictures = sorted((directory / "figures").glob(f"{name}*.png"))
        text += [f"![{picture.stem}]({picture.relative_to(base)})" for picture in pictures]
        text.append("")
    for joint in joints():
        lie = dict.fromkeys(path for name in joint.experiments for path in directories.get(name, ()))
        for directory in lie:
            mine = [read_records(directory, name) for name in joint.experiments]
            if all(mine) and len(lie) == 1:
                paragraph = joint.answer(*mine)
                paragraphs.append(paragraph)
                numbers[joint.quantity] = {"answer": paragraph, **joint.summarise(*mine)}
                text += [f"## {joint.title}", "", paragraph, ""]
            if any(mine):
                png = save_figure(draw_jointly(joint.key, *mine), directory / "figures", joint.key)[0]
                text += [f"![{joint.key}]({png.relative_to(base)})", ""]
    write_atomically(base / "summary.md", "\n".join(text).encode())
    write_atomically(base / "summary.json", to_json(numbers, indent=1))
    return paragraphs
