"""The network that trains under the reader's hand, in a real browser, on the page that Voilà serves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from browser import Tab, chromium, needs_browser, tab
from voila_server import PATIENCE, ROOT, Served, served, wait_until, with_parameters

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [needs_browser, pytest.mark.slow]

NOTEBOOK = ROOT / "notebooks" / "Lambda_explorer.ipynb"
PANEL, PICTURE = ".dglib-live", ".dglib-live-picture"
LAMBDA = ".dglib-live-lambda"
BEGINNING = 440  # steps: 20 epochs of 22
# What voila.json sets, in half its time: less, and a kernel that starts slowly on a loaded machine would be
# taken for an idle one.
SOON = ("--MappingKernelManager.cull_idle_timeout=30", "--MappingKernelManager.cull_interval=1")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def base_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("live") / "runs"


@pytest.fixture(scope="module")
def server(base_dir: Path) -> Iterator[Served]:
    home = base_dir.parent
    notebook = with_parameters(NOTEBOOK, home / NOTEBOOK.name, base_dir=str(base_dir))
    with served(notebook, home / "own", options=SOON) as server:
        yield server


@pytest.fixture(scope="module")
def page(browser: Browser, server: Served) -> Iterator[Tab]:
    """One page for most tests here; each begins anew."""
    with tab(browser, server.url, f"img{PICTURE}") as page:
        yield page


@dataclass(frozen=True)
class Pair:
    """Two pages side by side: one paused, the other made to train and then closed; at last the first as well.

    Attributes:
        paused: what the first showed when it was paused.
        beside: what it showed after the other had trained.
        stepped: what it showed after the other was closed and one more step was asked for.
        kernels: the process ids of both.
    """

    paused: dict[str, Any]
    beside: dict[str, Any]
    stepped: dict[str, Any]
    kernels: set[int]


@pytest.fixture(scope="module")
def pair(browser: Browser, server: Served) -> Pair:
    before = server.kernels()
    with tab(browser, server.url, f"img{PICTURE}") as one:
        one.click(".dglib-live-ordered")
        one.wait_for("v.step > 0", PANEL)
        one.click(".dglib-live-pause")
        paused = one.wait_for("v.state == 'paused'", PANEL)
        with tab(browser, server.url, f"img{PICTURE}") as other:
            kernels = server.kernels() - before
            other.press(".dglib-live-eta", "ArrowRight")
            other.click(".dglib-live-collapsed")
            other.wait_for(f"v.step > {paused['step']} && v.start == 'collapsed' && v.eta == 0.45", PANEL)
            beside = one.wait_for("true", PANEL)
        one.click(".dglib-live-step")
        stepped = one.wait_for(f"v.step > {paused['step']}", PANEL)
    return Pair(paused, beside, stepped, kernels)


def begin(page: Tab, start: str = "ordered") -> None:
    """Start, and wait until the hand has the network."""
    if page.value("state", PANEL) != "paused":  # or what trains would be taken for what has begun
        pause(page)
    page.click(f".dglib-live-{start}")
    page.wait_for(f"v.start == '{start}' && v.state == 'running'", PANEL)


def hold(page: Tab, lam: str, epochs: int, condition: str = "true") -> float:
    """Type λ, wait for so many whole epochs under it, and more until `condition` holds; return the error."""
    page.type(LAMBDA, lam)
    acted = page.wait_for(f"v.lambda == {lam}", PANEL)["epoch"]
    # The epoch under way was begun under another λ.
    return float(page.wait_for(f"v.epoch > {acted + epochs} && {condition}", PANEL)["error"])


def pause(page: Tab) -> int:
    page.click(".dglib-live-pause")
    return int(page.wait_for("v.state == 'paused'", PANEL)["step"])


def go_on(page: Tab) -> None:
    page.click(".dglib-live-pause")
    page.wait_for("v.state == 'running'", PANEL)


def reset(page: Tab) -> dict[str, Any]:
    """Reset what was started ordered and is paused; return the values then shown."""
    page.click(".dglib-live-reset")
    return page.wait_for(f"v.step == {BEGINNING} && v.state == 'paused'", PANEL)


def test_browser_two_pages_do_not_disturb_each_other(pair: Pair) -> None:
    assert len(pair.kernels) == 2
    assert pair.beside == pair.paused
    assert pair.stepped["step"] == pair.paused["step"] + 1


def test_browser_lambda_up_until_it_collapses_and_down_again_shows_two_branches(page: Tab) -> None:
    begin(page)
    picture = page.picture(PICTURE)
    up = hold(page, "0.4", 2)
    collapsed = hold(page, "0.7", 4, "v.error > 0.5")
    down = hold(page, "0.4", 2)
    assert collapsed > 0.5
    assert down > up, "at the same λ the error depends on the way"
    assert page.wait_for_other_picture(PICTURE, picture)


def test_browser_paused_it_takes_the_steps_that_are_asked_for_and_no_other(page: Tab) -> None:
    begin(page)
    # A single step while it trains pauses it, too.
    page.click(".dglib-live-step")
    before = int(page.wait_for("v.state == 'paused'", PANEL)["step"])
    for taken in (1, 2, 3):
        page.click(".dglib-live-step")
        assert page.wait_for(f"v.step >= {before + taken}", PANEL)["step"] == before + taken
    go_on(page)
    page.wait_for(f"v.step > {before + 20}", PANEL)
    stopped, picture = pause(page), page.picture(PICTURE)
    # One step may move the picture by less than a pixel; of ten, nobody misses all.
    for taken in range(1, 11):
        page.click(".dglib-live-step")
        assert page.wait_for(f"v.step >= {stopped + taken}", PANEL)["step"] == stopped + taken
    assert page.wait_for_other_picture(PICTURE, picture)


def test_browser_reset_goes_back_to_the_beginning_with_every_slider(page: Tab) -> None:
    begin(page)
    pause(page)
    first = reset(page)
    page.type(LAMBDA, "0.6")
    page.press(".dglib-live-k", "ArrowLeft", times=2)
    go_on(page)
    page.wait_for(f"v.epoch > {first['epoch']} && v.lambda == 0.6 && v.k == 8", PANEL)
    pause(page)
    assert reset(page) == first
    assert page.page.locator(f"{LAMBDA} .widget-readout").inner_text() == "0.35"
    assert page.page.locator(".dglib-live-k .widget-readout").inner_text() == "32"


def test_browser_every_slider_acts_by_keyboard_and_lambda_by_drag_on_the_next_step(page: Tab) -> None:
    begin(page)
    pause(page)
    first = reset(page)
    assert (first["lr"], first["k"], first["eta"]) == (0.1, 32, 0.4)
    page.press(".dglib-live-lr", "ArrowLeft")
    page.press(".dglib-live-k", "ArrowRight")
    page.press(".dglib-live-eta", "ArrowRight")
    page.drag(LAMBDA, 0.8)
    page.click(".dglib-live-step")
    now = page.wait_for(f"v.step > {first['step']} && v.lambda > 0.7", PANEL)
    assert (now["lr"], now["k"], now["eta"]) == (0.03, 64, 0.45)
    assert 0.75 < now["lambda"] < 0.85


def test_browser_started_collapsed_it_comes_back_where_lambda_is_low(page: Tab) -> None:
    begin(page, "collapsed")
    start = page.wait_for("v.state == 'running'", PANEL)["error"]
    assert start > 0.2
    assert hold(page, "0.1", 2, "v.error <= 0.2") <= 0.2


def test_browser_save_path_writes_a_table_and_a_picture(page: Tab, base_dir: Path) -> None:
    begin(page)
    hold(page, "0.5", 1)
    page.click(".dglib-live-save")
    page.wait_for("/path saved in/.test(v.message)", PANEL)
    assert {path.suffix for path in (base_dir / "live_paths").iterdir()} == {".csv", ".png"}


def test_browser_pictures_follow_each_other_while_it_trains(page: Tab) -> None:
    begin(page)
    before = page.wait_for("v.state == 'running'", PANEL)["step"]
    page.wait_for_pictures(PICTURE, 20)
    assert page.wait_for("v.state == 'running'", PANEL)["step"] > before


def test_browser_at_1280_pixels_nothing_of_the_page_is_cut_off(page: Tab) -> None:
    assert page.cut_off(".dglib-recorded") == []
    assert page.cut_off(PANEL) == []
    assert page.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.page.locator(".dglib-static:visible").count() == 0


def test_browser_in_the_form_for_colab_play_trains_and_lambda_acts(browser: Browser, tmp_path: Path) -> None:
    notebook = with_parameters(
        NOTEBOOK, tmp_path / NOTEBOOK.name, as_in_colab=True, base_dir=str(tmp_path / "runs")
    )
    with served(notebook, tmp_path / "own") as server, tab(browser, server.url, f"img{PICTURE}") as page:
        page.click(".dglib-live-ordered")
        assert page.wait_for("v.start == 'ordered' && v.state == 'preparing'", PANEL)["step"] == 0
        picture = page.picture(PICTURE)
        page.page.locator(f"{PANEL} .dglib-live-play button").first.click()
        page.wait_for("v.step > 100", PANEL)
        assert page.wait_for_other_picture(PICTURE, picture)
        page.wait_for("v.state == 'running'", PANEL)
        assert hold(page, "0.7", 1, "v.error > 0.5") > 0.5
        page.wait_for_pictures(PICTURE, 5)
        assert page.cut_off(PANEL) == []


def test_browser_closed_pages_leave_no_process_though_one_was_training(pair: Pair, server: Served) -> None:
    # Last, since it waits until each of them has been taken to be gone.
    gone = "the kernel of a closed page lives on"
    wait_until(lambda: not pair.kernels & server.kernels(), gone, 3 * PATIENCE)
