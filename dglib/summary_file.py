"""The summary over all experiments of a base directory: sentences to read, numbers to compute with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from dglib.analysis.figures import draw_hysteresis, save_figure
from dglib.errors import UserError
from dglib.experiments import read_under
from dglib.experiments.findings import answer, summarise, width, width_answer
from dglib.experiments.parameters import Parameters
from dglib.files import to_json, write_atomically
from dglib.seeds import beyond_asked
from dglib.store import read_records


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
    """Write `summary.md` and `summary.json` into `base`, and the hysteresis figure of T1's and T2's records.

    An experiment whose records cannot be read gets the reason as its paragraph.

    Returns:
        A paragraph per experiment, and one for the width where T1 and T2 have records in one directory.
    """
    numbers: dict[str, Any] = {}
    paragraphs, text = [], ["# What was found", ""]
    sweeps: list[Path] = []
    for each in sorted(experiments, key=lambda e: ("V3", "T1", "T2", "Td1").index(e.experiment)):
        directory, name = each.directory(), each.experiment
        state = "" if each.status == "done" else f" ({each.status}: {each.error})"
        try:
            records = [] if directory is None else read_under(each.parameters, read_records(directory, name))
            more = beyond_asked([record["seed"] for record in records], each.parameters.seeds)
            paragraph, summary = answer(name, records) + more + state, summarise(name, records)
        except UserError as error:
            directory, paragraph = None, f"{name}: {error}{state}"
        paragraphs.append(paragraph)
        text += [f"## {name}", "", paragraph, ""]
        if directory is None:
            continue
        if name in ("T1", "T2") and directory not in sweeps:
            sweeps.append(directory)
        numbers[name] = {"answer": paragraph, "directory": str(directory), **summary}
        text += [f"Run directory `{directory}`, executed notebook `{each.executed}`.", ""]
        pictures = sorted((directory / "figures").glob(f"{name}*.png"))
        text += [f"![{picture.stem}]({picture.relative_to(base)})" for picture in pictures]
        text.append("")
    for directory in sweeps:
        t1, t2 = read_records(directory, "T1"), read_records(directory, "T2")
        if t1 and t2 and len(sweeps) == 1:
            paragraph = width_answer(t1, t2)
            paragraphs.append(paragraph)
            numbers["width"] = {"answer": paragraph, **width(t1, t2)}
            text += ["## Hysteresis width", "", paragraph, ""]
        if t1 or t2:
            png = save_figure(draw_hysteresis(t1, t2), directory / "figures", "hysteresis")[0]
            text += [f"![hysteresis]({png.relative_to(base)})", ""]
    write_atomically(base / "summary.md", "\n".join(text).encode())
    write_atomically(base / "summary.json", to_json(numbers, indent=1))
    return paragraphs
