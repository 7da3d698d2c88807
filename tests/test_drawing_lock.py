"""One thread draws at a time: matplotlib's settings are global, and a notebook calls back in several."""

import threading
from concurrent.futures import ThreadPoolExecutor

import matplotlib as mpl
import pytest
from by_name import draw
from small import CPU, random_data

from dglib.analysis.style import RC, styled
from dglib.experiments.figures import save_figure
from dglib.explorer.live_panel import LivePicture
from dglib.explorer.live_run import LiveRun


def figure_file(directory):
    return [path.read_bytes() for path in save_figure(draw("T1", []), directory, "T1")]


def live_frame(_):
    return LivePicture([]).draw(LiveRun(random_data(n_train=130), CPU)).png()


@pytest.mark.parametrize("drawing", [figure_file, live_frame])
def test_a_drawing_waits_for_the_one_in_another_thread(drawing, tmp_path):
    alone = drawing(tmp_path)
    with ThreadPoolExecutor(1) as thread:
        with styled():
            other = thread.submit(drawing, tmp_path)
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
