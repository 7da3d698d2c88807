"""Recorded runs in the explorer, used as a person does: in a real browser, on the page that Voilà serves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from browser import Tab, chromium, needs_browser, tab
from voila_server import ROOT, served, with_parameters

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [needs_browser, pytest.mark.slow]

NOTEBOOK = ROOT / "notebooks" / "Lambda_explorer.ipynb"
QUICK = ROOT / "notebooks" / "assets" / "quick"
PANEL, PICTURE = ".dglib-recorded", ".dglib-picture"
LAMBDA, COLLAPSE, RECOVERY = ".dglib-lambda", ".dglib-collapse-error", ".dglib-recovery-error"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def page(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    """One page on the recorded quick runs for all tests here; each sets what it reads."""
    home = tmp_path_factory.mktemp("recorded")
    notebook = with_parameters(NOTEBOOK, home / NOTEBOOK.name, base_dir=str(home / "runs"), runs=str(QUICK))
    with served(notebook, home / "own") as server, tab(browser, server.url, f"img{PICTURE}") as page:
        yield page


def cell(experiment: str, seed: int) -> str:
    return f'[data-experiment="{experiment}"][data-seed="{seed}"]'


def on_branch(branch: str, seed: int) -> str:
    return f'[data-branch="{branch}"][data-seed="{seed}"]'


def test_browser_arrow_keys_move_the_cursor_by_a_hundredth_and_with_it_picture_and_numbers(page: Tab) -> None:
    page.type(LAMBDA, "0.4")
    page.wait_for_text("lambda", r"^0\.40$", PANEL)
    gap, picture = page.number("gap", PANEL), page.picture(PICTURE)
    page.press(LAMBDA, "ArrowRight", times=10)
    page.wait_for_text("lambda", r"^0\.50$", PANEL)
    assert page.wait_for_other_picture(PICTURE, picture)
    assert page.number("gap", PANEL) != gap
    page.press(LAMBDA, "ArrowLeft")
    page.wait_for_text("lambda", r"^0\.49$", PANEL)


def test_browser_a_dragged_cursor_reads_each_seeds_error_where_it_is_dropped(page: Tab) -> None:
    page.type(LAMBDA, "0.35")
    page.wait_for_text("lambda", r"^0\.35$", PANEL)
    low, picture = page.number("error", PANEL, on_branch("T1-up", 1)), page.picture(PICTURE)
    page.drag(LAMBDA, 0.55)
    dropped = page.wait_for_number("lambda", "> 0.505", PANEL)
    assert dropped < 0.53, "0.55 of the way from 0.10 to 0.85"
    assert page.wait_for_other_picture(PICTURE, picture)
    assert page.wait_for_number("error", f"> {low}", PANEL, on_branch("T1-up", 1))


def test_browser_a_typed_lambda_shows_the_branches_apart_and_which_seeds_have_collapsed(page: Tab) -> None:
    page.type(LAMBDA, "0.3")
    page.wait_for_text("lambda", r"^0\.30$", PANEL)
    picture = page.picture(PICTURE)
    page.type(LAMBDA, "0.4")
    page.wait_for_text("lambda", r"^0\.40$", PANEL)
    assert page.wait_for_other_picture(PICTURE, picture)
    # The recorded seeds at λ = 0.40: none had collapsed on the way up, those from scratch at 0.55 all had.
    states = [
        [
            shown.get_attribute("data-state")
            for shown in page.page.locator(f'{PANEL} [data-branch="{branch}"]').all()
        ]
        for branch in ("T1-up", "T2-down")
    ]
    assert "collapsed" not in states[0]
    assert states[1] == ["collapsed"] * 5
    up = [page.number("error", PANEL, on_branch("T1-up", seed)) for seed in range(4)]
    down = [page.number("error", PANEL, on_branch("T2-down", seed)) for seed in range(5)]
    assert max(up) < min(down)
    assert page.number("gap-T2-down", PANEL) == pytest.approx(sum(down) / 5 - sum(up) / 4, abs=0.002)


def test_browser_a_dragged_limit_moves_the_threshold_in_the_same_table(page: Tab) -> None:
    page.click(".dglib-as-run")
    page.wait_for_text("lambda-up", r"^0\.50 to 0\.55$", PANEL, cell("T1", 0))
    picture = page.picture(PICTURE)
    page.drag(COLLAPSE, 0.97)
    page.wait_for_text("lambda-up", "^above", PANEL, cell("T1", 0))
    assert page.wait_for_other_picture(PICTURE, picture)
    assert page.value("lambda-down", PANEL, cell("T2", 0)) == "0.25 to 0.30", "λ↓ has a limit of its own"
    page.drag(RECOVERY, 0.4)
    page.wait_for_text("lambda-down", r"^(?!0\.25 to 0\.30)", PANEL, cell("T2", 0))
    page.click(".dglib-as-run")
    page.wait_for_text("lambda-up", r"^0\.50 to 0\.55$", PANEL, cell("T1", 0))
    page.wait_for_text("lambda-down", r"^0\.25 to 0\.30$", PANEL, cell("T2", 0))


def test_browser_more_evaluations_in_a_row_ask_more_of_a_collapse(page: Tab) -> None:
    page.click(".dglib-as-run")
    page.wait_for_text("lambda-up", r"^0\.50 to 0\.55$", PANEL, cell("T1", 0))
    page.press(".dglib-consecutive", "ArrowRight", times=7)
    page.wait_for_text("lambda-up", "^above", PANEL, cell("T1", 0))
    page.press(".dglib-consecutive", "ArrowLeft", times=7)
    page.wait_for_text("lambda-up", r"^0\.50 to 0\.55$", PANEL, cell("T1", 0))


def test_browser_only_the_chosen_seeds_and_experiments_are_read(page: Tab) -> None:
    page.click(".dglib-all-seeds")
    page.type(LAMBDA, "0.4")
    page.wait_for_number_of(f'{PANEL} [data-branch="T1-up"]', 4)
    page.page.select_option(".dglib-seeds select", ["1", "3"])
    page.wait_for_number_of(f'{PANEL} [data-branch="T1-up"]', 2)
    page.wait_for_number_of(f'{PANEL} [data-branch="T2-down"]', 2)
    page.page.select_option(".dglib-experiments select", index=[0])
    page.wait_for_number_of(f'{PANEL} [data-branch="T2-down"]', 0)
    page.page.select_option(".dglib-experiments select", index=[0, 1])
    page.click(".dglib-all-seeds")
    page.wait_for_number_of(f'{PANEL} [data-branch="T2-down"]', 5)


def test_browser_the_page_keeps_up_with_a_hand_on_the_cursor(page: Tab) -> None:
    page.type(LAMBDA, "0.2")
    page.wait_for_text("lambda", r"^0\.20$", PANEL)
    page.press(LAMBDA, "ArrowRight", times=40)
    assert page.wait_for_text("lambda", r"^0\.60$", PANEL) == "0.60"


def test_browser_at_1280_pixels_nothing_of_the_recorded_part_is_cut_off(page: Tab) -> None:
    assert page.cut_off(PANEL) == []
    assert not page.page.locator(".dglib-static-recorded").is_visible(), (
        "the still picture is for where no widget is"
    )
