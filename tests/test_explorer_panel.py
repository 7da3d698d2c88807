"""The live panel: what sliders and buttons do, who drives it, and that it leaves nothing behind."""

import base64
import html
import io
import itertools
import re
import sys
import threading
import time
import types
from dataclasses import replace
from types import SimpleNamespace

import ipywidgets as widgets
import pytest
from PIL import Image
from small import random_data

import dglib.explorer
from dglib.errors import UserError
from dglib.experiments.profiles import load_profile
from dglib.explorer import drivers, live_panel, live_picture, live_run
from dglib.explorer.drivers import PlayDriver, ThreadDriver
from dglib.explorer.live_panel import LivePanel
from dglib.explorer.live_picture import LivePicture, stretches
from dglib.explorer.live_settings import STARTS, Point
from dglib.explorer.runs import Places

DATA = random_data(n_train=130)  # three steps an epoch
PREPARED = 6  # steps
PATIENCE = 120  # seconds, on a loaded machine


class Clock:
    """A millisecond goes by whenever somebody looks: so many steps a slice on any machine, never none."""

    def __init__(self):
        self._looks, self._leap = itertools.count(), 1000.0

    def __call__(self):
        return self._leap + next(self._looks) / 1000

    def leap(self, seconds):
        self._leap += seconds


class ByHand:
    """A driver whose turns the test takes."""

    hint, view = "by hand", None

    def __init__(self, turn):
        self.turn, self.wakes, self.closed = turn, 0, False

    def wake(self):
        self.wakes += 1

    def close(self):
        self.closed = True


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(live_panel, "load_dataset", lambda *_, **__: DATA)
    for name, start in STARTS.items():
        monkeypatch.setitem(STARTS, name, replace(start, epochs=PREPARED // 3))


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """The time by which turns end and pages are taken to have gone."""
    clock = Clock()
    for module in (live_run, drivers):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=clock))
    return clock


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Makes panels without a recorded loop, and closes them."""
    monkeypatch.setattr(live_panel, "recorded_loop", lambda places: [])
    made = []

    def make(driver=ByHand):
        made.append(LivePanel(Places(tmp_path, None), driver))
        return made[-1]

    yield make
    for panel in made:
        panel.close()
    assert live_threads() == []


@pytest.fixture
def panel(make):
    return make()


def turn(panel, seconds=0.0):
    return panel._driver.turn(seconds)


def trained(panel, start="ordered"):
    """Begun, and through its preparation."""
    panel.begin(start)
    turn(panel)
    while panel.run.status().state == "preparing":
        turn(panel, 0.01)
    turn(panel)
    return panel


def told(panel, name):
    """What the readout says under a name."""
    found = re.search(rf'data-value="{name}">([^<]*)<', panel.numbers.value)
    return html.unescape(found[1])


def text(panel):
    return html.unescape(re.sub("<[^>]*>", "", panel.numbers.value))


def live_threads():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("dglib-live")]


def wait(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# ── sliders and buttons ──


def test_before_anything_is_touched_nothing_trains_and_the_readout_says_what_to_do(make):
    panel = make(ThreadDriver)
    assert live_threads() == []
    assert (told(panel, "state"), told(panel, "step"), told(panel, "error")) == ("paused", "0", "–")
    assert "Press ‘start ordered’" in text(panel)


def test_the_readout_tells_step_epoch_error_and_what_is_in_force(panel):
    trained(panel)
    panel.lam.value = 0.62
    panel.lr.value = 0.03
    panel.k.value = 8
    panel.eta.value = 0.2
    before = int(told(panel, "step"))
    while panel.run.status().steps == before:
        turn(panel, 0.001)
    status = panel.run.status()
    expected = f"step {status.steps} · epoch {status.epochs} · λ 0.620 · error {status.error:.3f}"
    assert f"{expected} · LR 0.03 · K 8 · η 0.20" in text(panel)
    assert told(panel, "state") == "running"


@pytest.mark.parametrize("start", STARTS)
def test_a_start_button_sets_λ_and_begins(panel, start):
    panel.lam.value = 0.9
    button = {"ordered": panel.ordered, "collapsed": panel.collapsed}[start]
    button.click()
    turn(panel)
    assert panel.lam.value == STARTS[start].lam
    assert (told(panel, "state"), told(panel, "start")) == ("preparing", start)


def test_λ_moved_during_the_preparation_is_announced_and_acts_at_its_end(panel):
    panel.begin("ordered")
    turn(panel)
    panel.lam.value = 0.8
    turn(panel)
    assert "what you have set (λ 0.80) acts then" in told(panel, "message")
    while panel.run.status().steps <= PREPARED:
        turn(panel, 0.001)
    assert told(panel, "lambda") == "0.800"
    assert panel.run.status().settings.lam == 0.8


def test_a_start_pressed_twice_quickly_keeps_what_the_slider_shows(panel):
    trained(panel)
    panel.begin("collapsed")
    panel.lam.value = 0.2  # before the driver has begun anew
    turn(panel)
    assert panel.run.status().wanted.lam == 0.2


def test_pause_stops_the_steps_and_goes_on_where_it_stopped(panel):
    trained(panel)
    panel.pause.click()
    assert turn(panel, 0.05) is None
    before = told(panel, "step")
    assert (told(panel, "state"), panel.pause.description) == ("paused", "go on")
    turn(panel, 0.05)
    assert told(panel, "step") == before
    panel.pause.click()
    assert turn(panel, 0.05) == 0
    assert int(told(panel, "step")) > int(before)
    assert (told(panel, "state"), panel.pause.description) == ("running", "pause")


def test_step_takes_one_step_and_leaves_it_paused(panel):
    trained(panel)
    before = panel.run.status().steps  # a turn may have gone past the preparation's last step
    for count in range(1, 4):
        panel.one.click()
        turn(panel, 0.05)
        assert (told(panel, "step"), told(panel, "state")) == (str(before + count), "paused")


def test_reset_returns_to_the_start_with_every_slider_at_its_default(panel):
    trained(panel, "collapsed")
    panel.lam.value, panel.lr.value, panel.k.value, panel.eta.value = 0.1, 0.3, 1, 0.0
    turn(panel, 0.05)
    panel.pause.click()
    panel.again.click()
    turn(panel)
    sliders = (panel.lam.value, panel.lr.value, panel.k.value, panel.eta.value)
    assert sliders == (STARTS["collapsed"].lam, 0.1, 32, 0.4)
    assert (told(panel, "step"), told(panel, "state")) == (str(PREPARED), "paused")
    assert panel.run.status().settings == panel.run.status().wanted


def test_reset_of_a_run_that_trains_lets_it_train_on(panel):
    trained(panel)
    panel.reset()
    turn(panel)
    assert told(panel, "state") == "running"


def test_while_paused_a_moved_slider_shows_in_the_picture(panel):
    trained(panel)
    panel.pause.click()
    turn(panel)
    before, wakes = panel.picture.value, panel._driver.wakes
    panel.lam.value = 0.7
    assert panel._driver.wakes > wakes
    turn(panel)
    assert panel.picture.value != before
    assert told(panel, "lambda") == "0.700"
    assert panel.run.status().settings.lam == 0.35  # nothing has been trained at 0.7 yet


def test_nothing_is_drawn_again_where_nothing_has_changed(panel):
    trained(panel)
    panel.pause.click()
    turn(panel)
    before = panel.redraws
    for _ in range(5):
        turn(panel, 0.01)
    assert panel.redraws == before


def test_save_path_writes_a_table_and_a_picture_and_names_their_directory(panel, tmp_path):
    trained(panel)
    panel.save.click()
    turn(panel)
    table, picture = sorted((tmp_path / "live_paths").iterdir())
    assert told(panel, "message") == f"path saved in {table.parent}: {table.name} and {picture.name}"
    assert len(table.read_text().splitlines()) > PREPARED // 3
    assert Image.open(io.BytesIO(picture.read_bytes())).format == "PNG"


def test_what_cannot_be_saved_is_told_in_the_readout_and_training_goes_on(panel):
    panel.begin("ordered")
    panel.save.click()
    assert turn(panel, 0.01) == 0
    assert "nothing to save yet" in text(panel)
    assert panel.failure is None


def test_an_error_in_the_training_is_shown_and_a_reset_gets_over_it(panel, monkeypatch):
    trained(panel)

    def fails(seconds):
        raise RuntimeError("out of <memory>")

    with monkeypatch.context() as broken:
        broken.setattr(panel.run, "advance", fails)
        assert turn(panel, 0.01) is None
    assert told(panel, "message") == "stopped by RuntimeError: out of <memory>"
    assert told(panel, "state") == "paused"
    assert isinstance(panel.failure, RuntimeError)
    panel.begin("ordered")
    assert turn(panel, 0.01) == 0
    assert (told(panel, "state"), told(panel, "message")) == ("running", "")


def test_an_error_in_drawing_is_shown_too(panel, monkeypatch):
    monkeypatch.setattr(panel._picture, "draw", lambda status: 1 / 0)
    panel.begin("ordered")
    assert turn(panel, 0.01) is None
    assert told(panel, "message") == "stopped by ZeroDivisionError: division by zero"


# ── the thread ──


def test_in_a_thread_it_trains_and_draws_while_many_fast_changes_come(make):
    panel = make(ThreadDriver)
    panel.begin("ordered")
    wait(lambda: panel.run.status().state == "running")
    assert len(live_threads()) == 1
    first = panel.redraws
    for position in range(300):
        panel.lam.value = round(0.2 + position % 60 / 100, 2)
        panel.k.value = (1, 2, 4)[position % 3]
        if position % 50 == 0:
            panel.eta.value = position / 1000
            time.sleep(0.05)
    panel.lam.value = 0.95  # as never before: what shows it was drawn after it was set
    wait(lambda: told(panel, "lambda") == "0.950")
    steps = panel.run.status().steps
    wait(lambda: panel.run.status().steps > steps)
    assert panel.failure is None
    assert panel.redraws > first
    panel.pause.click()
    wait(lambda: told(panel, "state") == "paused")
    assert panel.run.status().settings.refresh_period == panel.k.value
    assert panel.run.status().settings.noise_rate == pytest.approx(panel.eta.value)


def test_an_error_does_not_end_the_thread_and_does_not_get_lost(make, monkeypatch):
    panel = make(ThreadDriver)
    with monkeypatch.context() as broken:
        broken.setattr(panel.run, "advance", lambda seconds: 1 / 0)
        panel.begin("ordered")
        wait(lambda: panel.failure is not None)
    assert "stopped by ZeroDivisionError" in text(panel)
    panel.begin("ordered")
    wait(lambda: told(panel, "state") == "running")


def test_closing_ends_the_thread_and_closes_every_widget(make):
    before = set(_open_widgets())
    panel = make(ThreadDriver)
    panel.begin("ordered")
    wait(lambda: panel.redraws > 2)
    panel.close()
    assert live_threads() == []
    layouts = (widgets.Layout, widgets.widget_description.DescriptionStyle, widgets.ButtonStyle)
    left = [w for w in set(_open_widgets()) - before if not isinstance(w, (*layouts, widgets.Style))]
    assert left == []
    panel.close()


def test_closing_the_root_widget_alone_ends_the_thread(make):
    panel = make(ThreadDriver)
    panel.begin("ordered")
    wait(lambda: panel.redraws > 2)
    panel.widget.close()
    assert live_threads() == []


def test_closing_all_widgets_at_once_ends_the_thread(make):
    panel = make(ThreadDriver)
    panel.begin("ordered")
    wait(lambda: panel.redraws > 2)
    widgets.Widget.close_all()
    assert live_threads() == []
    assert panel.failure is None


@pytest.mark.parametrize("name", ["live", "_", "_12"])
def test_running_the_cell_again_ends_the_thread_of_before(make, tmp_path, name):
    globals_ = {"base_dir": str(tmp_path)}
    earlier = globals_[name] = make(ThreadDriver)
    earlier.begin("ordered")
    wait(lambda: earlier.redraws > 2)
    later = dglib.explorer.live(globals_)
    try:
        assert live_threads() == []
        later.begin("ordered")
        wait(lambda: later.redraws > 2)
        assert len(live_threads()) == 1
    finally:
        later.close()


def test_a_driver_that_was_closed_does_not_begin_a_thread(make):
    panel = make(ThreadDriver)
    panel.close()
    panel.begin("ordered")
    panel._driver.wake()
    assert live_threads() == []


# ── in Colab ──


@pytest.fixture
def in_colab(monkeypatch):
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))


@pytest.mark.usefixtures("in_colab")
def test_in_colab_the_pages_clock_drives_it_and_no_thread(make):
    panel = make(drivers.driver_for)
    driver = panel._driver
    assert isinstance(driver, PlayDriver)
    assert driver.view in panel.widget.children
    panel.begin("ordered")
    assert (told(panel, "state"), panel.run.status().steps) == ("preparing", 0)  # done at once, not trained
    for tick in range(1, 500):
        driver.play.value = tick
        if panel.run.status().state == "running":
            break
    before, drawn = panel.run.status().steps, panel.redraws
    driver.play.value += 1
    assert panel.run.status().steps > before
    assert panel.redraws == drawn + 1
    panel.pause_or_go_on()
    assert told(panel, "state") == "paused"
    before, drawn = panel.run.status().steps, panel.redraws
    driver.play.value += 1
    assert (panel.run.status().steps, panel.redraws) == (before, drawn)
    panel.lam.value = 0.6
    assert panel.redraws == drawn + 1
    assert live_threads() == []


@pytest.mark.usefixtures("in_colab")
def test_in_colab_closing_ends_the_ticks(make):
    panel = make(drivers.driver_for)
    panel.begin("ordered")
    panel.close()
    before = panel.run.status().steps
    panel._driver.play.value = 5
    assert panel.run.status().steps == before


def test_elsewhere_a_thread_drives_it(monkeypatch):
    monkeypatch.delitem(sys.modules, "google.colab", raising=False)
    assert isinstance(drivers.driver_for(lambda seconds: None), ThreadDriver)


# ── a page that goes ──


def answer(panel):
    """What a page does with what it is asked, through the link between the two."""
    panel._page._answered.value = panel._page._asked.value


def test_once_the_page_has_gone_training_waits_and_goes_on_when_it_is_back(panel, clock):
    trained(panel)
    answer(panel)
    turn(panel, 0.01)  # draws, and so asks
    clock.leap(drivers.GONE_SECONDS)
    before = panel.run.status().steps
    assert turn(panel, 0.05) >= drivers.ASK_SECONDS
    assert panel.run.status().steps == before
    assert "the page has gone" in text(panel)
    wakes = panel._driver.wakes
    answer(panel)
    assert panel._driver.wakes > wakes
    assert turn(panel, 0.05) == 0
    assert panel.run.status().steps > before
    assert told(panel, "message") == ""


def test_a_page_that_never_answered_is_not_taken_to_have_gone(panel, clock):
    trained(panel)
    clock.leap(drivers.GONE_SECONDS)
    before = panel.run.status().steps
    assert turn(panel, 0.05) == 0
    assert panel.run.status().steps > before


def test_a_page_that_is_gone_is_asked_ever_more_seldom(clock):
    page = drivers.Page(lambda: None)
    page.ask()
    page._answered.value = page._asked.value
    page.ask()
    waits = []
    clock.leap(drivers.GONE_SECONDS)
    for _ in range(8):
        assert page.gone
        waits.append(page.patience)
        page.ask()
        clock.leap(waits[-1])
    page.close()
    assert waits == sorted(waits)
    assert waits[0] == drivers.ASK_SECONDS
    assert waits[-1] > 60  # longer than a server lets an idle kernel live


def test_pictures_wait_for_a_page_that_is_behind(panel):
    trained(panel)
    answer(panel)
    for _ in range(drivers.FRAMES_AHEAD + 5):
        turn(panel, 0.005)
    drawn = panel._page._asked.value - panel._page._answered.value
    assert drawn == drivers.FRAMES_AHEAD


# ── what is shown ──


def test_the_still_picture_shows_where_it_stands(panel):
    trained(panel)
    still = panel.still()
    assert '<div class="dglib-static dglib-static-live"><img src="data:image/png;base64,' in still
    assert f'data-value="step">{panel.run.status().steps}<' in still
    assert any(
        ".dglib-static-live{display:none}" in getattr(c, "value", "")
        for c in panel.widget.children
        if isinstance(c, widgets.HTML)
    )


def test_the_still_picture_is_that_of_the_panel(panel):
    shown = base64.b64decode(re.search('base64,([^"]*)', panel.still())[1])
    assert shown == panel.picture.value
    assert "A still picture" in panel.still()


def test_every_control_has_its_own_class(panel):
    controls = ["lambda", "lr", "k", "eta", "ordered", "collapsed", "pause", "step", "reset", "save"]
    names = [*controls, "picture", "readout"]
    shown = [*panel._controls, panel.picture, panel.numbers]
    assert [c for each in shown for c in each._dom_classes] == [f"dglib-live-{name}" for name in names]
    assert "dglib-live" in panel.widget._dom_classes


def test_a_path_is_cut_where_λ_turns():
    lams = [0.3, 0.3, 0.5, 0.5, 0.4, 0.4, 0.6]
    points = [Point(epoch, lam, 0.1, False) for epoch, lam in enumerate(lams)]
    rising, falling = stretches(points)
    assert [[p.epoch for p in stretch] for stretch in rising] == [[0, 1, 2, 3], [5, 6]]
    assert [[p.epoch for p in stretch] for stretch in falling] == [[3, 4, 5]]
    assert stretches(points[3:5]) == ([], [points[3:5]])
    assert stretches([]) == ([], [])


def test_the_axis_of_time_grows_and_shrinks_with_the_run_and_the_picture_keeps_its_size(panel):
    picture, status = LivePicture([]), panel.run.status()
    sizes, ends = set(), []
    for epochs in (0, 49, 50, 450, 5000, 20):
        points = tuple(Point(e, 0.3 + 0.4 * (e % 100) / 100, e / 5001, e < 20) for e in range(1, epochs + 1))
        png = picture.draw(replace(status, epochs=epochs, points=points, now=points[-1] if points else None))
        sizes.add(Image.open(io.BytesIO(png)).size)
        ends.append(picture._over_time.get_xlim()[1])
    assert ends == [50, 50, 100, 800, 6400, 50]
    assert len(sizes) == 1


def test_the_colours_of_rising_and_falling_are_in_the_picture(panel):
    picture, status = LivePicture([]), panel.run.status()
    lams = (0.35, 0.4, 0.5, 0.6, 0.5, 0.4)
    points = tuple(Point(10 * e, lam, lam, False) for e, lam in enumerate(lams))
    blank = _colors(picture.draw(replace(status, points=(), now=None)))
    drawn = _colors(picture.draw(replace(status, points=points, now=points[-1], epochs=49)))
    for color in ((0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)):  # also in the legend
        assert drawn[color] > blank[color] + 50


def test_the_loop_behind_the_path_is_the_quick_runs_where_there_is_no_other(tmp_path):
    seeds = live_picture.recorded_loop(Places(tmp_path / "none", None))
    assert {seed.experiment for seed in seeds} >= {"T1", "T2"}


def test_starts_are_prepared_at_the_λ_of_the_quick_profiles():
    assert STARTS["ordered"].lam == load_profile("T1", "quick").init_lambda
    assert STARTS["collapsed"].lam == load_profile("T2", "quick").init_lambda


@pytest.mark.parametrize("wrong", [{"base_dirr": "x"}, {"base_dir": 3}, {"runs": "nowhere"}])
def test_a_wrong_parameter_is_told_in_one_line(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))) as told:
        dglib.explorer.live(wrong)
    assert "\n" not in str(told.value)


def _colors(png):
    image = Image.open(io.BytesIO(png)).convert("RGB")
    found = {color: count for count, color in image.getcolors(maxcolors=image.width * image.height)}
    return {c: found.get(c, 0) for c in ((0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00))}


def _open_widgets():
    found = getattr(widgets.widgets.widget, "_instances", None)
    return list((widgets.Widget.widgets if found is None else found).values())
