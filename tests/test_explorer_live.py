"""Live training: settings act on the next step, starts are reproducible, paths can be saved, panels close."""

import csv
import html
import io
import itertools
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import matplotlib as mpl
import pytest
import torch
from by_name import draw
from PIL import Image
from small import CPU, random_data, run_to_end, small_spec

import dglib.explorer
from dglib.analysis.style import RC, styled
from dglib.errors import UserError
from dglib.experiments.figures import save_figure
from dglib.explorer import live_panel, live_run
from dglib.explorer.live_panel import LivePanel, LivePicture, stretches
from dglib.explorer.live_run import STARTS, LiveRun, Point, Settings, save_path

DATA = random_data(n_train=130)  # batches of 64: three steps an epoch, the last one of two images
EPOCH, PREPARED = 3, 2  # steps, epochs


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(live_panel, "load_dataset", lambda *_, **__: DATA)
    for name, start in STARTS.items():
        monkeypatch.setitem(STARTS, name, replace(start, epochs=PREPARED))


@pytest.fixture
def run():
    return LiveRun(DATA, CPU)


def prepared(run):
    while run.state == "preparing":
        run.step()
    return run


def steps(run, count):
    for _ in range(count):
        run.step()


def weights(run):
    return torch.cat([p.detach().flatten() for p in run._train_state.model.state_dict().values()])


# ── the run ──


@pytest.mark.parametrize("change", [{"lam": 0.9}, {"noise_rate": 0.0}, {"refresh_period": 1}], ids=str)
def test_a_change_during_the_preparation_acts_on_the_first_step_after_it(change):
    one, other = LiveRun(DATA, CPU), prepared(LiveRun(DATA, CPU))
    steps(one, 2)
    one.wanted = Settings(**change)
    assert (one.state, one.settings) == ("preparing", Settings())
    assert torch.equal(weights(prepared(one)), weights(other))
    steps(one, 2)
    steps(other, 2)
    assert one.settings == Settings(**change)
    assert not torch.equal(weights(one), weights(other))


def test_a_new_refresh_period_keeps_the_held_value_gradient(run):
    def unchanged():
        return all(torch.equal(a, b) for a, b in zip(run._train_state.g_v, held, strict=True))

    prepared(run)  # 6 steps, the only refresh at the first
    held = [g.clone() for g in run._train_state.g_v]
    run.wanted = Settings(refresh_period=4)
    steps(run, 2)  # t = 6, 7
    assert unchanged()
    steps(run, 1)  # t = 8 = 2·4
    assert not unchanged()


def test_a_start_is_prepared_once_and_restored_bit_for_bit(run):
    run.begin(start := "collapsed")
    first = weights(prepared(run))
    run.wanted = Settings(lr=0.3)
    steps(run, 4)
    run.begin(start, defaults=True)
    assert (run.state, len(run.points)) == ("running", PREPARED)
    assert torch.equal(weights(run), first)
    run.wanted = Settings(lr=0.05)
    run.begin(start)
    assert run.state == "preparing"


def test_a_saved_path_has_a_row_for_every_epoch_with_its_settings(run, tmp_path):
    prepared(run)
    for lam, lr in ((0.5, 0.1), (0.7, 0.03)):
        run.wanted = Settings(lam=lam, lr=lr)
        steps(run, EPOCH)
    steps(run, 1)
    table = save_path(run, b"png", tmp_path)
    assert table.with_suffix(".png").read_bytes() == b"png"
    columns = ("step", "phase", "lambda", "lr", "refresh_period", "error")
    rows = [[row[name] for name in columns] for row in csv.DictReader(table.read_text().splitlines())]
    settings = [*[("init", "0.35", "0.1")] * PREPARED, ("sweep", "0.5", "0.1"), ("sweep", "0.7", "0.03")]
    assert rows == [
        [str(EPOCH * (i + 1)), *each, "32", str(point.error)]
        for i, (each, point) in enumerate(zip(settings, run.points, strict=True))
    ]
    assert save_path(run, b"", tmp_path) != table
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError):
        save_path(run, b"", tmp_path / "file")


# ── the panel ──


@pytest.fixture
def panel(tmp_path, monkeypatch):
    """A panel without a recorded loop; every call of the time is a millisecond later."""
    calls = itertools.count()
    monkeypatch.setattr(live_run, "time", SimpleNamespace(monotonic=lambda: next(calls) / 1000))
    monkeypatch.setattr(live_panel, "is_run", lambda path: False)
    made = LivePanel(tmp_path)
    yield made
    made.close()


def tick(panel):
    panel.clock.value += 1


def trained(panel, start="ordered"):
    """Through the preparation."""
    getattr(panel, start).click()
    while panel.run.state == "preparing":
        tick(panel)
    return panel


def shown(panel, name):
    found = re.search(rf'data-value="{name}">([^<]*)<', panel.numbers.value)
    return html.unescape(found[1])


def test_sliders_set_what_is_trained_and_shown(panel):
    assert (shown(panel, "state"), shown(panel, "step"), shown(panel, "error")) == ("paused", "0", "–")
    panel.ordered.click()
    panel.lam.value = 0.62
    assert "your settings (λ 0.62) apply after that" in shown(panel, "message")
    trained(panel)
    panel.lam.value, panel.lr.value, panel.k.value, panel.eta.value = 0.62, 0.03, 8, 0.2
    before = panel.run.steps
    tick(panel)
    assert panel.run.steps > before
    assert panel.run.settings == Settings(0.62, 0.03, 8, 0.2)
    names = ("state", "lambda", "lr", "k", "eta")
    assert [shown(panel, name) for name in names] == ["running", "0.620", "0.03", "8", "0.20"]


def test_buttons_start_pause_step_save_and_reset_and_the_clock_runs_while_the_network_trains(panel, tmp_path):
    def state():
        runs = panel.clock.playing if panel.clock.has_trait("playing") else shown(panel, "state") == "running"
        return shown(panel, "state"), panel.pause.description, runs

    hidden = "none" if panel.clock.has_trait("playing") else None
    assert (panel.clock.layout.display, "▶" in shown(panel, "message")) == (hidden, hidden is None)
    panel.save.click()
    assert (shown(panel, "message"), state()[2]) == ("nothing to save yet: no epoch is complete", False)
    trained(panel, "collapsed")
    assert (shown(panel, "start"), panel.lam.value) == ("collapsed", STARTS["collapsed"].lam)
    assert state() == ("running", "pause", True)
    panel.pause.click()
    before = panel.run.steps
    assert state() == ("paused", "resume", False)
    panel.lam.value = 0.7
    tick(panel)
    assert (panel.run.steps, panel.run.wanted.lam) == (before, 0.7)
    panel.step.click()
    tick(panel)
    assert (shown(panel, "step"), shown(panel, "state")) == (str(before + 1), "paused")
    panel.save.click()
    table, picture = sorted((tmp_path / "live_paths").iterdir())
    assert shown(panel, "message") == f"path saved in {table.parent}: {table.name} and {picture.name}"
    assert Image.open(io.BytesIO(picture.read_bytes())).format == "PNG"
    panel.reset.click()
    sliders = (panel.lam.value, panel.lr.value, panel.k.value, panel.eta.value)
    assert sliders == (STARTS["collapsed"].lam, 0.1, 32, 0.4)
    assert (shown(panel, "step"), shown(panel, "state")) == (str(EPOCH * PREPARED), "paused")
    panel.pause.click()
    assert state() == ("running", "pause", True)
    with torch.no_grad():
        panel.run._train_state.params[0].fill_(float("nan"))
    while shown(panel, "state") != "diverged":
        tick(panel)
    before = panel.run.steps
    panel.step.click()
    assert (panel.run.steps, shown(panel, "error"), state()[2]) == (before, "–", False)
    panel.collapsed.click()
    assert state() == ("running", "pause", True)


def test_an_error_in_the_panel_is_shown_and_a_new_start_continues(panel, monkeypatch):
    def fails(seconds):
        raise RuntimeError("out of <memory>")

    trained(panel)
    with monkeypatch.context() as broken:
        broken.setattr(panel.run, "advance", fails)
        tick(panel)
    assert shown(panel, "message") == "stopped by RuntimeError: out of <memory>"
    assert panel.run.paused
    panel.ordered.click()
    tick(panel)
    assert (shown(panel, "state"), shown(panel, "message")) == ("running", "")


@pytest.mark.parametrize("again", [False, True])
def test_a_panel_that_is_closed_or_whose_cell_runs_again_trains_no_more(again, panel, tmp_path):
    trained(panel)
    if again:
        later = dglib.explorer.live({"base_dir": str(tmp_path), "_12": panel})
        assert later.widget.comm is not None
        later.close()
    else:
        panel.widget.close()
    before = panel.run.steps
    tick(panel)
    panel.step.click()
    assert (panel.run.steps, panel.widget.comm) == (before, None)


def test_callbacks_in_other_threads_leave_a_training_cell_its_bits(panel):
    """As in JupyterLab, whose subshells call back while a cell runs."""
    spec = small_spec("T1", init_epochs=2)
    alone, weights_alone = run_to_end(spec)
    trained(panel)
    before, over, moves = panel.run.steps, threading.Event(), [0, 0]

    def drag(number):
        while not over.is_set():
            tick(panel)
            panel.lam.value = 0.40 + (moves[number] + number) % 10 / 100
            moves[number] += 1

    with ThreadPoolExecutor(2) as threads:
        drags = [threads.submit(drag, number) for number in range(2)]
        try:
            while min(moves) < 2 and not any(one.done() for one in drags):
                together, weights_together = run_to_end(spec)
                assert together == alone
                assert all(map(torch.equal, weights_together, weights_alone))
        finally:
            over.set()
        for one in drags:
            one.result()
    assert (shown(panel, "state"), shown(panel, "message")) == ("running", "")
    assert panel.run.steps > before


# ── pictures ──


def figure_file(directory):
    return [path.read_bytes() for path in save_figure(draw("T1", []), directory, "T1")]


def live_frame(_):
    return LivePicture([]).draw(LiveRun(DATA, CPU)).png()


@pytest.mark.parametrize("drawing", [figure_file, live_frame])
def test_a_drawing_waits_for_the_one_in_another_thread(drawing, tmp_path):
    """Matplotlib's settings are global, and a notebook calls back in several threads."""
    alone = drawing(tmp_path)
    with ThreadPoolExecutor(1) as thread:
        with styled():
            other = thread.submit(drawing, tmp_path)
            with pytest.raises(TimeoutError):
                other.result(timeout=0.5)
            assert mpl.rcParams["font.size"] == RC["font.size"]
        assert other.result() == alone


def test_a_path_is_cut_where_λ_turns():
    lams = [0.3, 0.3, 0.5, 0.5, 0.4, 0.4, 0.6]
    points = [Point(epoch, Settings(lam), 0.1, False) for epoch, lam in enumerate(lams)]
    rising, falling = stretches(points)
    assert [[p.epoch for p in part] for part in rising] == [[0, 1, 2, 3], [5, 6]]
    assert [[p.epoch for p in part] for part in falling] == [[3, 4, 5]]
    assert stretches([]) == ([], [])


def test_the_axis_of_time_grows_and_shrinks_and_the_picture_keeps_its_size(run):
    picture = LivePicture([])
    sizes, ends = set(), []
    for epochs in (0, 49, 50, 5000, 20):
        run.points = tuple(Point(e, Settings(e % 100 / 100), e / 5001, e < 20) for e in range(1, epochs + 1))
        run.now = run.points[-1] if run.points else None
        png = picture.draw(run).png()
        sizes.add(Image.open(io.BytesIO(png)).size)
        ends.append(picture._over_time.get_xlim()[1])
    assert ends == [50, 50, 100, 6400, 50]
    assert len(sizes) == 1
