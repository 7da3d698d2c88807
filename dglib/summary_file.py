"""The summary over all experiments of a base directory: sentences to read, numbers to compute with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from dglib.analysis.figures import draw_hysteresis, save_figure
from dglib.analysis.summary import answer, summarise, width, width_answer
from dglib.files import to_json, write_atomically
from dglib.records import Record
from dglib.store import read_records


class Finished(Protocol):
    """An experiment that has run, or failed to."""

    @property
    def experiment(self) -> str: ...
    @property
    def executed(self) -> Path: ...
    @property
    def status(self) -> str: ...
    @property
    def error(self) -> str: ...
    def directory(self) -> Path | None: ...


def write_summary(base: Path, experiments: Sequence[Finished]) -> list[str]:
    """Write `summary.md` and `summary.json` into `base`, and the hysteresis figure of T1's and T2's records.

    Returns:
        A paragraph per experiment, and one for the width where T1 and T2 have records in one directory.
    """
    found: dict[str, list[Record]] = {}
    numbers: dict[str, Any] = {}
    paragraphs, text = [], ["# What was found", ""]
    directories: dict[str, Path] = {}
    for each in sorted(experiments, key=lambda e: ("V3", "T1", "T2", "Td1").index(e.experiment)):
        directory, name = each.directory(), each.experiment
        records = read_records(directory, name) if directory is not None else []
        state = "" if each.status == "done" else f" ({each.status}: {each.error})"
        paragraph = answer(name, records) + state
        paragraphs.append(paragraph)
        text += [f"## {name}", "", paragraph, ""]
        if directory is None:
            continue
        found[name], directories[name] = records, directory
        numbers[name] = {"answer": paragraph, "directory": str(directory), **summarise(name, records)}
        text += [f"Run directory `{directory}`, executed notebook `{each.executed}`.", ""]
        pictures = sorted((directory / "figures").glob(f"{name}*.png"))
        text += [f"![{picture.stem}]({picture.relative_to(base)})" for picture in pictures]
        text.append("")
    if found.get("T1") and found.get("T2") and directories["T1"] == directories["T2"]:
        paragraph = width_answer(found["T1"], found["T2"])
        paragraphs.append(paragraph)
        numbers["width"] = {"answer": paragraph, **width(found["T1"], found["T2"])}
        text += ["## Hysteresis width", "", paragraph, ""]
    if found.get("T1") or found.get("T2"):
        directory = directories.get("T1") or directories["T2"]
        figure = draw_hysteresis(found.get("T1", []), found.get("T2", []))
        png = save_figure(figure, directory / "figures", "hysteresis")[0]
        text += [f"![hysteresis]({png.relative_to(base)})", ""]
    write_atomically(base / "summary.md", "\n".join(text).encode())
    write_atomically(base / "summary.json", to_json(numbers, indent=1))
    return paragraphs
