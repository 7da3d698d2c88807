"""The explorer in a real browser, on the page that Voilà serves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import HEIGHT, ROOT, WIDTH, Tab, chromium, expect, needs_browser, served, tab, with_parameters

pytestmark = [needs_browser, pytest.mark.slow]

NOTEBOOK = ROOT / "notebooks" / "Lambda_explorer.ipynb"
QUICK = ROOT / "notebooks" / "assets" / "quick"
RECORDED, MARKS, LAMBDA = ".dglib-recorded", ".dglib-marks", ".dglib-lam"
LIVE = ".dglib-live"
PREPARED = 440  # steps: 20 epochs of 22


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("explorer")


@pytest.fixture(scope="module")
def page(home: Path) -> Iterator[Tab]:
    """One page for all tests; every test sets what it reads."""
    notebook = with_parameters(NOTEBOOK, home / NOTEBOOK.name, base_dir=str(home / "runs"), runs=str(QUICK))
    shows = f"img{LIVE}-picture"
    with served(notebook, home / "own") as url, chromium() as browser, tab(browser, url, shows) as page:
        yield page


def test_browser_keyboard_and_text_move_the_cursor_picture_and_numbers(page: Tab) -> None:
    lam = page.value("lambda", RECORDED)
    page.type(LAMBDA, "0.4")
    expect(lam).to_have_text("0.40")
    up, down = (  # seed 4 is trapped: a branch of its own
        [page.number("error", RECORDED, f'[data-branch="{key}"][data-seed="{seed}"]') for seed in range(4)]
        for key in ("T1-up", "T2-down")
    )
    assert max(up) < min(down)
    assert page.number("gap-T2-down", RECORDED) == pytest.approx(sum(down) / 4 - sum(up) / 4, abs=0.002)
    with page.new_marks(MARKS):
        page.press(LAMBDA, "ArrowRight", times=10)
        expect(lam).to_have_text("0.50")


def test_browser_a_network_trains_while_its_sliders_move_and_its_path_is_saved(page: Tab, home: Path) -> None:
    page.click(f"{LIVE}-ordered")
    page.play(f"{LIVE}-clock")
    page.wait_for("v.start == 'ordered' && v.state == 'running'", LIVE)
    with page.new_marks(f"{LIVE}-marks"):
        page.type(f"{LIVE}-lam", "0.8")
        page.wait_for("v.lambda == 0.8 && v.error > 0.5", LIVE)
    page.click(f"{LIVE}-pause")
    paused = page.wait_for("v.state == 'paused'", LIVE)
    page.press(f"{LIVE}-lr", "ArrowLeft")
    page.press(f"{LIVE}-k", "ArrowRight")
    page.press(f"{LIVE}-eta", "ArrowRight")
    page.click(f"{LIVE}-step")
    stepped = page.wait_for(f"v.step > {paused['step']}", LIVE)
    assert stepped["step"] == paused["step"] + 1
    assert (stepped["lr"], stepped["k"], stepped["eta"]) == (0.03, 64, 0.45)
    page.click(f"{LIVE}-save")
    page.wait_for("/path saved in/.test(v.message)", LIVE)
    assert {path.suffix for path in (home / "runs" / "live_paths").iterdir()} == {".csv", ".png"}
    page.click(f"{LIVE}-reset")
    reset = page.wait_for(f"v.step == {PREPARED} && v.state == 'paused'", LIVE)
    assert (reset["lambda"], reset["lr"], reset["k"], reset["eta"]) == (0.35, 0.1, 32, 0.4)


def test_browser_at_1000_pixels_three_sliders_share_a_line_and_nothing_is_cut_off(page: Tab) -> None:
    page.page.set_viewport_size({"width": 1000, "height": HEIGHT})
    fits = "parts => parts.every(css => document.querySelector(css).getBoundingClientRect().right <= 1000)"
    try:
        page.page.wait_for_function(fits, arg=[RECORDED, LIVE])  # the page lays itself out later
        assert page.cut_off(RECORDED) == page.cut_off(LIVE) == []
        for sliders in (
            (".dglib-collapse-error", ".dglib-recovery-error", ".dglib-consecutive"),
            (f"{LIVE}-lr", f"{LIVE}-k", f"{LIVE}-eta"),
        ):
            boxes = [page.page.locator(css).first.bounding_box() for css in sliders]
            tops = [box["y"] for box in boxes if box]
            assert max(tops) - min(tops) < 10  # pixels, less than a slider's height
    finally:
        page.page.set_viewport_size({"width": WIDTH, "height": HEIGHT})


def test_browser_at_1280_pixels_nothing_is_cut_off_and_no_still_picture_is_visible(page: Tab) -> None:
    assert page.cut_off(RECORDED) == page.cut_off(LIVE) == []
    assert page.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.page.locator(".dglib-static:visible").count() == 0
