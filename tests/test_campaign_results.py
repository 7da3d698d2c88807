"""The files of a campaign that writes to a local directory: all of them are below the base directory, too."""

import io
from pathlib import Path

import pytest
from analysis_cases import t1, t2, td1
from grid_cases import fill, store_of

from dglib import cli
from dglib.campaign import results
from dglib.campaign.command import plan_campaign

MAP = "experiment: Td1\nseeds: 0-1\nset: {init_epochs: 40}\ngrid: {noise_rate: [0.2, 0.4]}\n"


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def mirrored(*words):
    """A campaign that writes to `work` and is copied to `drive`."""
    Path("drive").mkdir()
    given = ["campaign", *words, "--base-dir", "drive", "--mirror", "--set", "work_dir=work"]
    arguments = cli.parser("run_all").parse_args(given)
    arguments.typed = []
    return plan_campaign(arguments)


def files(base):
    return {str(path.relative_to(base)): path.read_bytes() for path in base.rglob("*") if path.is_file()}


def test_report_table_and_figures_of_a_grid_are_copied_below_the_base_directory():
    Path("my.yaml").write_text(MAP)
    found = mirrored("--grid", "my.yaml")
    assert found.grid is not None
    fill(found.grid, lambda plan: [td1(seed, 0.1 + 0.4 * seed) for seed in (0, 1)])
    written = results.write_results(found.plans, found.location, found.grid, io.StringIO())
    copied = files(Path("drive/grid_my"))
    names = {"grid.json", "grid_results.csv", "report.html", "figures/grid_Td1.pdf", "figures/grid_Td1.png"}
    assert copied.keys() == names
    assert copied.items() <= files(Path("work/grid_my")).items()
    assert {str(path.relative_to("work/grid_my")) for path in written} == names


def test_the_figure_drawn_after_the_runs_own_mirrors_have_ended_is_copied_too():
    found = mirrored("--only", "T1", "T2", "--seeds", "0-1")
    for plan, make in zip(found.plans, (t1, t2), strict=True):
        store_of(plan, [make(seed) for seed in (0, 1)])
    results.write_results(found.plans, found.location, found.grid, io.StringIO())
    (directory,) = Path("work").glob("exp_T_spinodal_*")
    drawn = {f"{directory.name}/figures/hysteresis.{kind}" for kind in ("pdf", "png")}
    assert files(Path("drive")).keys() == {"summary.md", "summary.json", "report.html", *drawn}
