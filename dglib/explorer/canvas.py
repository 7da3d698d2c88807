"""A figure whose background is drawn once and its moving parts often; its HTML where no widget is shown."""

from __future__ import annotations

import base64
import io
from collections.abc import Hashable, Iterable
from html import escape
from typing import Any

from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from dglib.analysis import style

_COLORS, _APART = 256, 8
_VIEW = "application/vnd.jupyter.widget-view+json"


class Canvas:
    """A figure in inches. Draw what stands still, `settle`, then `png` as often as anything moves.

    What moves is made with `animated=True`, which leaves it out of the background.
    """

    def __init__(self, width: float, height: float, dpi: float) -> None:
        self.figure: Figure = style.new_figure(height, width)
        self.figure.set_dpi(dpi)
        self._agg: Any = FigureCanvasAgg(self.figure)  # whose methods have no types
        self._background: Any = None
        self._layer: tuple[Hashable, Any] = (None, None)
        self._palette: Image.Image | None = None

    def settle(self) -> None:
        """Lay the figure out for good and keep it as background."""
        if (layout := self.figure.get_layout_engine()) is not None:
            layout.execute(self.figure)
            self.figure.set_layout_engine(None)
        self._agg.draw()
        self._background = self._agg.copy_from_bbox(self.figure.bbox)

    def png(self, key: Hashable, below: Iterable[Artist], moving: Iterable[Artist]) -> bytes:
        """The background with these artists on it.

        Args:
            key: those `below` are drawn anew only if it changes.
        """
        if self._layer[1] is None or self._layer[0] != key:
            self._put(self._background, below)
            layer = self._agg.copy_from_bbox(self.figure.bbox)
            self._layer = (key, layer)
        self._put(self._layer[1], moving)
        return self._encoded()

    def _put(self, background: Any, artists: Iterable[Artist]) -> None:
        self._agg.restore_region(background)
        for artist in artists:
            artist.draw(self._agg.get_renderer())

    def _encoded(self) -> bytes:
        """As a PNG of 256 colours, which takes a third of the time and bytes of one with all."""
        size = self._agg.get_width_height(physical=True)
        pixels = Image.frombuffer("RGBA", size, self._agg.buffer_rgba(), "raw", "RGBA", 0, 1).convert("RGB")
        if self._palette is None:
            self._palette = _palette(pixels)
        content = io.BytesIO()
        pixels.quantize(palette=self._palette, dither=Image.Dither.NONE).save(
            content, "PNG", compress_level=1
        )
        return content.getvalue()


def _palette(pixels: Image.Image) -> Image.Image:
    """The commonest colours of a picture, exactly; the rest, of smoothed edges, go to about the nearest.

    They stand some steps apart, or Pillow's own rounding would take one for its neighbour (white for a grey).
    """
    counted: Any = pixels.getcolors(maxcolors=pixels.width * pixels.height)
    kept: dict[tuple[int, ...], tuple[int, int, int]] = {}
    for _, color in sorted(counted, key=lambda each: (-each[0], each[1])):
        kept.setdefault(tuple(value // _APART for value in color), color)
        if len(kept) == _COLORS:
            break
    palette = Image.new("P", (1, 1))
    palette.putpalette([value for color in kept.values() for value in color])
    return palette


def static_html(part: str, png: bytes, alternative: str, reading: str, width: int) -> str:
    """A still picture with its reading below it.

    Args:
        part: "recorded" or "live"; `hiding` of the same part hides this.
        alternative: what the picture shows, for those who do not see it.
        reading: HTML.
        width: in CSS pixels.
    """
    source = base64.b64encode(png).decode()
    return (
        f'<div class="dglib-static dglib-static-{part}">'
        f'<img src="data:image/png;base64,{source}" alt="{escape(alternative)}" width="{width}" '
        f'style="max-width:100%;height:auto">{reading}</div>'
    )


def hiding(part: str) -> str:
    """HTML for a widget: where it is shown, the still picture is not."""
    return f"<style>.dglib-static-{part}{{display:none}}</style>"


def lay_out(still: str, widget: Any) -> None:
    """Display the still picture, then the widget, in a form that leaves nothing where none can be shown."""
    from IPython.display import HTML, display

    display(HTML(still))  # type: ignore[no-untyped-call]
    view = {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}
    display({_VIEW: view, "text/plain": ""}, raw=True)  # type: ignore[no-untyped-call]
