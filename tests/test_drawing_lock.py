"""One thread draws at a time: matplotlib's settings are global, and a notebook calls back in several."""

import threading
from concurrent.futures import ThreadPoolExecutor

import matplotlib as mpl
import pytest
from by_name import draw_hysteresis
from small import CPU, random_data

from dglib.analysis.style import RC, styled
from dglib.experiments.figures import draw, save_figure
from dglib.explorer.live_picture import LivePicture
from dglib.explorer.live_run import LiveRun
from dglib.report.pictures import picture


def figure_file(directory):
    return [path.read_bytes() for path in save_figure(draw("T1", []), directory, "T1")]


def live_picture(_):
    return LivePicture([]).draw(LiveRun(random_data(n_train=130), CPU).status())


def frame_of(drawn):
    status = LiveRun(random_data(n_train=130), CPU).status()
    return lambda _: drawn.draw(status)


def report_picture(_):
    return picture(draw_hysteresis([], []), "").source


@pytest.fixture(scope="module")
def live():
    return LivePicture([])


@pytest.mark.parametrize("what", ["figure", "live picture", "live frame", "report"])
def test_a_drawing_waits_for_the_one_in_another_thread(what, tmp_path, live):
    draws = {
        "figure": figure_file,
        "live picture": live_picture,
        "live frame": frame_of(live),
        "report": report_picture,
    }[what]
    alone = draws(tmp_path)
    with ThreadPoolExecutor(1) as thread:
        with styled():
            other = thread.submit(draws, tmp_path)
            with pytest.raises(TimeoutError):
                other.result(timeout=0.5)
            assert mpl.rcParams["font.size"] == RC["font.size"]
        assert other.result() == alone


def test_threads_that_draw_at_once_get_the_same_bytes_and_leave_the_readers_settings(tmp_path):
    alone = figure_file(tmp_path)
    together = threading.Barrier(3)

    def drawn(number):
        together.wait()
        return figure_file(tmp_path / str(number))

    with mpl.rc_context({"font.size": 31}), ThreadPoolExecutor(3) as threads:
        assert list(threads.map(drawn, range(3))) == [alone] * 3
        assert mpl.rcParams["font.size"] == 31
