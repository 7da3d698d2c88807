"""A figure with a fixed background and moving artists, and its HTML where no widget can be shown."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from html import escape
from typing import Any

from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from dglib.analysis import style

_VIEW = "application/vnd.jupyter.widget-view+json"


class Canvas:
    """A figure in inches. Draw the background, `freeze` it, then call `png` for every frame.

    Moving artists are made with `animated=True`, which leaves them out of the background.
    """

    def __init__(self, width: float, height: float, dpi: float) -> None:
        self.figure: Figure = style.new_figure(height, width)
        self.figure.set_dpi(dpi)
        self._agg: Any = FigureCanvasAgg(self.figure)  # its methods have no types
        self._background: Any = None

    def freeze(self) -> None:
        """Fix the layout and store what is drawn as background."""
        if (layout := self.figure.get_layout_engine()) is not None:
            layout.execute(self.figure)
            self.figure.set_layout_engine(None)
        self._agg.draw()
        self._background = self._agg.copy_from_bbox(self.figure.bbox)

    def png(self, moving: Iterable[Artist]) -> bytes:
        """The background with these artists on it."""
        self._agg.restore_region(self._background)
        for artist in moving:
            artist.draw(self._agg.get_renderer())
        size, content = self._agg.get_width_height(physical=True), io.BytesIO()
        pixels = Image.frombuffer("RGBA", size, self._agg.buffer_rgba(), "raw", "RGBA", 0, 1)
        pixels.convert("RGB").save(content, "PNG", compress_level=1)
        return content.getvalue()


def static_html(part: str, png: bytes, alternative: str, numbers: str, width: int) -> str:
    """A still picture with its numbers below.

    Args:
        part: "recorded" or "live"; `hiding` of the same part hides this.
        alternative: text in place of the picture.
        numbers: HTML.
        width: in CSS pixels.
    """
    source = base64.b64encode(png).decode()
    return (
        f'<div class="dglib-static dglib-static-{part}">'
        f'<img src="data:image/png;base64,{source}" alt="{escape(alternative)}" width="{width}" '
        f'style="max-width:100%;height:auto">{numbers}</div>'
    )


def hiding(part: str) -> str:
    """HTML for a widget: where it is shown, the still picture is not."""
    return f"<style>.dglib-static-{part}{{display:none}}</style>"


def show(still: str, widget: Any) -> None:
    """Display the still picture, then the widget; where widgets cannot be shown, only the picture."""
    from IPython.display import HTML, display

    display(HTML(still))  # type: ignore[no-untyped-call]
    view = {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}
    display({_VIEW: view, "text/plain": ""}, raw=True)  # type: ignore[no-untyped-call]
