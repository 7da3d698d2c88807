"""The report in a notebook: the same page, shown in the notebook."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dglib.base_dir import base_directory
from dglib.experiments.notebook import notebook_paths
from dglib.report.page import collect, render, write_report
from dglib.report.runs import Collection
from dglib.runs import provenance


@dataclass(frozen=True)
class Report:
    """What lies in a base directory, ready to be shown."""

    collection: Collection

    def show(self) -> None:
        """Display the page in the notebook; links start from the directory that the notebook runs in."""
        from IPython.display import HTML, display

        html = render(self.collection, Path.cwd() / "notebook", whole=False)
        display(HTML(html))  # type: ignore[no-untyped-call]

    def write(self) -> Path:
        """Write the page to `report.html` in the base directory, and return where it lies."""
        return write_report(self.collection.base)


def notebook_report(globals_: Mapping[str, object]) -> Report:
    """The report on the global `base_dir` of a notebook, its only parameter. Prints versions.

    Raises:
        UserError: as `notebook_paths`, or nothing to report.
    """
    (given,) = notebook_paths("the report", ["base_dir"], globals_)
    collection = collect(base_directory(given, where="notebook"))
    print(provenance.line(provenance.versions()))
    return Report(collection)
