"""The explorer's notebook: its cells, and its output where no widget can be shown."""

import base64
import io
import re

import papermill
import pytest
from analysis_cases import t1
from nbconvert import HTMLExporter
from PIL import Image
from report_cases import published_in

from dglib.base_dir import NOTEBOOKS
from dglib.explorer.runs import PARAMETERS

SOURCE = NOTEBOOKS / "Lambda_explorer.ipynb"
VIEW = "application/vnd.jupyter.widget-view+json"
STATIC = re.compile(r'dglib-static-(recorded|live)">\s*<img[^>]*src="data:image/png;base64,([^"]+)"')


def test_the_notebook_has_the_explorers_parameters_with_their_meaning():
    listed = papermill.inspect_notebook(SOURCE)
    assert tuple(listed) == PARAMETERS
    assert all(p["help"] and p["default"] == "None" for p in listed.values())


@pytest.mark.slow
def test_both_panels_leave_a_still_picture_and_the_widget_and_an_html_export_shows_the_pictures(tmp_path):
    published_in(tmp_path / "my runs" / "exp_T_spinodal_20260101_000000", "T1", [t1(0, 0.6, 0.4, True)])
    options = {"kernel_name": "python3", "progress_bar": False, "cwd": tmp_path, "start_timeout": 300}
    executed = papermill.execute_notebook(SOURCE, tmp_path / "out.ipynb", {"base_dir": "my runs"}, **options)
    assert {path.name for path in tmp_path.iterdir()} <= {"my runs", "out.ipynb", "data"}
    panels = [cell for cell in executed.cells if cell.cell_type == "code" and ".show()" in cell.source]
    for part, cell in zip(("recorded", "live"), panels, strict=True):
        still, view = [output.data for output in cell.outputs if output.output_type == "display_data"]
        assert [name for name, _ in STATIC.findall(still["text/html"])] == [part]
        assert (VIEW in view, view["text/plain"]) == (True, "")
    html, _ = HTMLExporter().from_notebook_node(executed)
    found = STATIC.findall(html)
    assert [part for part, _ in found] == ["recorded", "live"]
    for _, source in found:
        image = Image.open(io.BytesIO(base64.b64decode(source)))
        assert image.width >= 1000
        assert len(image.convert("RGB").getcolors(10**6) or []) > 50, "an empty picture has few colours"
    gap = re.search(r'<span data-value="gap">([\d.]+)</span>', html)
    assert gap is not None
    assert float(gap[1]) == pytest.approx(0.42, abs=0.05)  # 0.08 as λ rises, 0.50 as it falls
    assert ("0.55 to 0.60" in html, "VBox(" in html) == (True, False)
