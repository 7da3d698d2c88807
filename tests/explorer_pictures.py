"""Takes the README's pictures of the explorer: python tests/explorer_pictures.py

Drives the page in a real browser as a person would, in a minute or two; writes notebooks/assets/explorer/.
"""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

from browser import PATIENCE, ROOT, Tab, chromium, served, with_parameters
from PIL import Image

ASSETS = ROOT / "notebooks" / "assets" / "explorer"
NOTEBOOK = ROOT / "notebooks" / "Lambda_explorer.ipynb"
PIXELS = 1.5  # per CSS pixel
UP, DOWN = range(40, 66, 5), range(60, 14, -5)  # λ in hundredths
EPOCHS = 4  # held at each λ


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        notebook = with_parameters(NOTEBOOK, home / NOTEBOOK.name, base_dir=str(home / "none"))
        with served(notebook, home / "own") as url, chromium() as browser:
            view = {"width": 1200, "height": 1200}
            page = browser.new_page(viewport=view, device_scale_factor=PIXELS)
            page.set_default_timeout(1000 * PATIENCE)
            page.goto(url)
            tab = Tab(page, [])
            page.wait_for_selector("img.dglib-picture")
            with tab.new_marks(".dglib-marks"):
                tab.type(".dglib-lam", "0.40")
            take(tab, ".dglib-recorded", ".dglib-picture", "recorded")
            up_and_down(tab)
            take(tab, ".dglib-live", ".dglib-live-picture", "live")


def up_and_down(tab: Tab) -> None:
    """Raise λ on an ordered network until it collapses, and lower it again."""
    tab.click(".dglib-live-ordered")
    tab.wait_for("v.state == 'running'", ".dglib-live")
    for percent in (*UP, *DOWN):
        epoch = tab.number("epoch", ".dglib-live")
        tab.type(".dglib-live-lam", f"{percent / 100:.2f}")
        tab.wait_for(f"v.epoch >= {epoch + EPOCHS}", ".dglib-live")
    tab.click(".dglib-live-pause")
    tab.wait_for("v.state == 'paused'", ".dglib-live")


def take(tab: Tab, part: str, picture: str, name: str) -> None:
    """Save a part of the page down to the end of its picture."""
    whole = tab.page.locator(part).bounding_box()
    shown = tab.page.locator(f"img{picture}").bounding_box()
    assert whole is not None
    assert shown is not None
    height = round(PIXELS * (shown["y"] + shown["height"] - whole["y"]))
    taken = Image.open(io.BytesIO(tab.page.locator(part).screenshot()))
    width = min(taken.width, round(PIXELS * (shown["x"] + shown["width"] - whole["x"])))
    ASSETS.mkdir(parents=True, exist_ok=True)
    taken.crop((0, 0, width, height)).convert("RGB").save(ASSETS / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
