"""What a campaign leaves: the same files below the base directory, where it worked elsewhere."""

import io
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from analysis_cases import t1, t2, td1
from grid_cases import fill, store_of

from dglib.campaign import command as campaign
from dglib.campaign import planning
from dglib.campaign import results as campaign_results
from dglib.campaign.planning import Campaign

MAP = "experiment: Td1\nseeds: 0-1\nset: {init_epochs: 40}\ngrid: {noise_rate: [0.2, 0.4]}\n"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def mirrored(*words: str) -> Campaign:
    """A campaign of these words that works in `work` and ends in `drive`."""
    Path("drive").mkdir()
    command = [*words, "--base-dir", "drive", "--mirror", "--set", "work_dir=work"]
    return planning.campaign(campaign._parser().parse_args(command))


def files(base: Path) -> dict[str, bytes]:
    return {str(path.relative_to(base)): path.read_bytes() for path in base.rglob("*") if path.is_file()}


def test_a_mirrored_grids_report_table_and_figures_are_laid_below_the_base_directory() -> None:
    Path("my.yaml").write_text(MAP)
    found = mirrored("--grid", "my.yaml")
    assert found.grid is not None
    fill(found.grid, found.place.work, lambda cell: [td1(seed, 0.1 + 0.4 * seed) for seed in (0, 1)])
    told = campaign_results.tell(found, io.StringIO(), io.StringIO())
    laid = files(Path("drive/grid_my"))
    names = {"grid.json", "grid_results.csv", "report.html", "figures/grid_Td1.pdf", "figures/grid_Td1.png"}
    assert laid.keys() == names
    assert laid.items() <= files(Path("work/grid_my")).items()
    assert {str(path.relative_to("work/grid_my")) for path in told} == names


def test_the_figure_drawn_after_the_runs_own_mirrors_have_ended_is_laid_too() -> None:
    found = mirrored("--only", "T1", "T2", "--seeds", "0-1")
    for plan, make in zip(found.plans, (t1, t2), strict=True):
        cell = SimpleNamespace(experiment=plan.experiment, parameters=plan.parameters, directory="")
        store_of(cell, found.place.work, [make(seed) for seed in (0, 1)])
    campaign_results.tell(found, io.StringIO(), io.StringIO())
    (directory,) = Path("work").glob("exp_T_spinodal_*")
    drawn = {f"{directory.name}/figures/hysteresis.{kind}" for kind in ("pdf", "png")}
    assert files(Path("drive")).keys() == {"summary.md", "summary.json", "report.html", *drawn}


def test_what_the_report_needs_is_loaded_once_the_seeds_are_over_and_no_sooner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(campaign_results, "_LOOK_SECONDS", 0.01)
    looked, loaded = threading.Semaphore(0), threading.Event()

    class Seed:
        kind, over = "seed", False

        @property
        def is_over(self) -> bool:
            looked.release()
            return self.over

    seed, summary = Seed(), SimpleNamespace(kind="summary", is_over=False)
    with campaign_results.readied([seed, summary], loaded.set):  # type: ignore[list-item]
        for _ in range(3):
            assert looked.acquire(timeout=120)
        assert not loaded.is_set()
        seed.over = True
        assert loaded.wait(timeout=120)


def test_a_campaign_that_is_stopped_before_loads_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign_results, "_LOOK_SECONDS", 0.01)
    loaded, seed = threading.Event(), SimpleNamespace(kind="seed", is_over=False)
    before = set(threading.enumerate())
    with campaign_results.readied([seed], loaded.set):  # type: ignore[list-item]
        (thread,) = set(threading.enumerate()) - before
    thread.join(timeout=120)
    seed.is_over = True
    assert not thread.is_alive()
    assert not loaded.is_set()
