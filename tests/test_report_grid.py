"""The page over a grid: its cells' numbers, what varies and what does not, and what is not there yet."""

import csv
from pathlib import Path

import pytest
from analysis_cases import t1, t2, td1
from grid_cases import begin, fill, grid_of, store_of
from report_page import Page

from dglib.campaign.grid import write_index
from dglib.errors import UserError
from dglib.report.page import collect, render, write_report
from dglib.runs.directories import INDEX

MAP = """
experiment: Td1
seeds: 0-2
set: {init_epochs: 40}
grid:
  noise_rate: [0.2, 0.4]
  init_lambda: [0.4, 0.6, 0.8]
"""
DWELLS = "experiments: [T1, T2]\nseeds: 0-1\ngrid: {epochs_per_level: [2, 4]}\n"
ERRORS = {0.4: (0.05, 0.1, 0.15), 0.6: (0.1, 0.5, 0.6), 0.8: (0.5, 0.9, 0.9)}


def by_level(cell):
    return [td1(seed, error) for seed, error in enumerate(ERRORS[cell.values["init_lambda"]])]


def sweeps(cell):
    make = t1 if cell.experiment == "T1" else t2
    dwell = cell.values["epochs_per_level"]
    return [make(seed) | {"epochs_per_level": dwell} for seed in cell.parameters.seeds]


def read(base: Path) -> Page:
    return Page(render(collect(base), base / "report.html"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Page]:
    """A finished grid's directory, with its page and the files beside it."""
    place = tmp_path_factory.mktemp("whole")
    directory = fill(grid_of(place, MAP), by_level)
    return directory, Page(write_report(directory).read_text(encoding="utf-8"))


def test_a_grids_page_has_the_finding_one_map_and_a_table_of_its_cells_which_lie_beside_it_as_files(whole):
    directory, page = whole
    assert page.answers[0].strip() == (
        "Tδ1: 6 of 6 cells have finished seeds; half of a cell's seeds came to this end, or passed it:"
        " ordered in 2, partial collapse in 2, trapped in 2"
    )
    assert (len(page.all("img")), len(page.all("details"))) == (1, 6)
    assert "6 cells, all finished. 18 seeds in 6 run directories" in page.text
    head, *rows = page.tables[0]
    assert head == ["η", "λ", "Seeds", "Ordered", "Partial collapse", "Trapped", "Median final error"]
    assert [row[:3] for row in rows] == [
        [e, lam, "3"] for e in ("0.2", "0.4") for lam in ("0.4", "0.6", "0.8")
    ]
    # Clopper and Pearson, of 3 in 3, of 0 in 3 and of 1 in 3.
    assert rows[0][3:] == ["3 (0.29 to 1.00)", "0 (0.00 to 0.71)", "0 (0.00 to 0.71)", "0.10"]
    assert rows[1][3:] == ["1 (0.01 to 0.91)", "2 (0.09 to 0.99)", "0 (0.00 to 0.71)", "0.50"]
    written = list(csv.DictReader((directory / "grid_results.csv").read_text().splitlines()))
    assert [written[1][name] for name in ("noise_rate", "init_lambda", "n")] == ["0.2", "0.6", "3"]
    partial = [float(written[1][f"partial_collapse_{name}"]) for name in ("share", "lower")]
    assert partial == pytest.approx([2 / 3, 0.0943], abs=1e-4)
    assert {path.name for path in (directory / "figures").iterdir()} == {"grid_Td1.png", "grid_Td1.pdf"}


def test_cells_that_are_not_done_are_marked_in_the_table(tmp_path):
    grid = grid_of(tmp_path, MAP)
    directory = fill(grid, lambda plan: None if plan.values["noise_rate"] == 0.4 else by_level(plan))
    begin(store_of(grid.plans[3], by_level(grid.plans[3])[:1]), 1)
    page = read(directory)
    assert "6 cells, 4 with finished seeds, 3 finished." in page.text
    assert page.tables[0][4][2] == "1 of 3, 1 under way"
    assert page.tables[0][5][2:] == ["0 of 3", "–", "–", "–", "–"]


def test_a_dwell_time_grid_opens_with_width_against_dwell_time(tmp_path):
    page = read(fill(grid_of(tmp_path, DWELLS), sweeps))
    assert len(page.all("img")) == 3  # the dwell figure, and a curve for each experiment
    assert str(page.all("img")[0]["alt"]).startswith("Width against dwell time")
    assert page.answers[0].strip().startswith("Hysteresis width λ↑ − λ↓ against dwell time")
    assert [table[0][0] for table in page.tables[:3]] == ["quantity", "dwell time", "dwell time"]
    assert len(page.all("details")) == 2
    assert page.text.count("Hysteresis width: ") == 2  # of each cell


def test_runs_of_other_parameters_and_cells_that_the_grid_no_longer_has_are_left_out_by_name(tmp_path):
    grid = grid_of(tmp_path, MAP)
    fill(grid, by_level)
    other = grid_of(tmp_path, MAP.replace("init_epochs: 40", "init_epochs: 20"))
    store = store_of(other.plans[0], by_level(other.plans[0]))
    page = read(write_index(grid_of(tmp_path, MAP.replace("0.6, 0.8", "0.6"))))
    gone = "noise_rate=0.2,init_lambda=0.8, noise_rate=0.4,init_lambda=0.8"
    assert f"left out: {grid.plans[0].base.name}/{store.directory.name}, {gone}." in page.text
    assert "12 seeds in 4 run directories" in page.text


@pytest.mark.parametrize("content", ["{", '{"grid": "map", "axes": {}, "cells": []}'])
def test_a_damaged_index_is_named_by_its_path(tmp_path, content):
    (tmp_path / INDEX).write_text(content)
    with pytest.raises(UserError, match=r"grid.json: not a readable index of a grid"):
        write_report(tmp_path)


def test_a_base_directory_with_nothing_but_grids_says_where_they_lie(tmp_path):
    fill(grid_of(tmp_path, MAP), lambda plan: None)
    with pytest.raises(UserError, match=r"no run there.*; grids lie in grid_map there"):
        write_report(tmp_path / "runs")
