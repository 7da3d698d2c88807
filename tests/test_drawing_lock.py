"""One thread draws at a time: matplotlib's settings are global, and a notebook calls back in several."""

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
