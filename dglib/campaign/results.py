"""What a campaign leaves when its jobs are done: summary, report, a grid's index, and where it all lies."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import IO, TYPE_CHECKING

from dglib.errors import StorageError, UserError
from dglib.experiments import joints

if TYPE_CHECKING:
    from dglib.campaign.jobs import Job
    from dglib.campaign.planning import Campaign

_LOOK_SECONDS = 0.5


def _load() -> None:
    for name in ("dglib.experiments.summary_file", "dglib.report"):
        import_module(name)


@contextmanager
def readied(jobs: Sequence[Job], load: Callable[[], None] = _load) -> Iterator[None]:
    """Meanwhile load what `tell` needs, seconds of imports, as soon as all seeds are over.

    While the last notebooks run a core may be idle; afterwards somebody waits. Before, what is not needed for
    hours would only take memory.
    """
    over = threading.Event()

    def look() -> None:
        while not over.wait(_LOOK_SECONDS):
            if all(job.is_over for job in jobs if job.kind == "seed"):
                load()
                return

    threading.Thread(target=look, daemon=True).start()
    try:
        yield
    finally:
        over.set()


def tell(campaign: Campaign, out: IO[str], err: IO[str]) -> list[Path]:
    """Write summary and report, or a grid's report, and say what was found and where it lies; the files.

    With a mirror the files are copied to the same places below the base directory.
    """
    files = _of_experiments(campaign, out, err) if campaign.grid is None else _of_grid(campaign, out, err)
    campaign.place.copy_to_base(*files)
    return files


def write_index(campaign: Campaign) -> Path:
    """Write what a grid's directory is made for, so that a page written meanwhile knows of all cells."""
    from dglib.campaign import grid_index
    from dglib.report.grid_index import NAME

    assert campaign.grid is not None
    try:
        campaign.place.work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError.of(campaign.place.work, error) from error
    return grid_index.write_index(campaign.grid, campaign.place.work) / NAME


def _of_experiments(campaign: Campaign, out: IO[str], err: IO[str]) -> list[Path]:
    from dglib.experiments.summary_file import write_summary  # matplotlib: not needed to answer bad input

    base, plans = campaign.place.work, campaign.plans
    print("What was found:\n", file=out)
    for paragraph in write_summary(base, plans):
        print(paragraph, file=out)
    executed = [plan.executed for plan in plans if plan.jobs[-1].status == "done"]
    page = _write_page(base, err)
    if campaign.place.mirrored:
        print(f"\nAll of it is copied to {campaign.place.base}.", file=out)
    print("\nWhere it lies:", file=out)
    directories = []
    for plan in plans:
        if (directory := plan.directory()) is not None:
            directories.append(directory)
        if plan.executed in executed:
            print(f"  {plan.experiment}: {directory} (records, figures/), notebook {plan.executed}", file=out)
    files = [base / "summary.md", base / "summary.json"]
    print(f"  summary: {', '.join(map(str, files))}", file=out)
    for path in page:
        print(f"  report: {path}", file=out)
    # Drawn with the summary, when the run directories' own mirrors have ended.
    both = [
        path
        for each in dict.fromkeys(directories)
        for joint in joints()
        for path in sorted(each.glob(f"figures/{joint.key}.*"))
    ]
    return [*files, *executed, *both, *page]


def _of_grid(campaign: Campaign, out: IO[str], err: IO[str]) -> list[Path]:
    from dglib.report.grid_page import RESULTS

    index = write_index(campaign)
    page = _write_page(index.parent, err)
    for path in page:
        print(f"What was found: {path}", file=out)
    beside = [*index.parent.glob(RESULTS), *sorted(index.parent.glob("figures/grid_*"))]
    return [index, *beside, *page]


def _write_page(base: Path, err: IO[str]) -> list[Path]:
    from dglib.report import write_report

    try:
        return [write_report(base)]
    except UserError as error:  # where no seed has come far enough to leave a run directory
        print(f"\nno report: {error}", file=err)
        return []
