"""Figures as text that a page can hold."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

from matplotlib.figure import Figure

from dglib.analysis.style import styled

_PIXELS_PER_INCH = 125  # on the page, where figures stand a little larger than in print
_SHARPER = 1.3  # pixels of the image to one of the page, for screens that have them


@dataclass(frozen=True)
class Picture:
    """A figure for the page; `source` is a data URI, `width` in CSS pixels."""

    source: str
    width: int
    caption: str


def picture(figure: Figure, caption: str, enlarged: float = 1.0) -> Picture:
    """Draw a figure into a PNG, `enlarged` on the page; the same figure has the same bytes."""
    content, scale = io.BytesIO(), enlarged * _PIXELS_PER_INCH
    with styled():
        # Laid out here: savefig would draw the whole figure once more for it, to the same pixels.
        figure.set_dpi(_SHARPER * scale)
        if (layout := figure.get_layout_engine()) is not None:
            layout.execute(figure)
            figure.set_layout_engine(None)
        figure.savefig(
            content,
            format="png",
            dpi=_SHARPER * scale,
            metadata={"Software": None},
            pil_kwargs={"compress_level": 3},  # half the time, and no larger by much
        )
    source = f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"
    return Picture(source, round(figure.get_figwidth() * scale), caption)
