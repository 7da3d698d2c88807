"""Figures as text that a page can hold."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

from matplotlib.figure import Figure

from dglib.analysis.style import styled

_DPI = 160
_PIXELS_PER_INCH = 125  # on the page, where figures stand a little larger than in print


@dataclass(frozen=True)
class Picture:
    """A figure for the page; `source` is a data URI, `width` in CSS pixels."""

    source: str
    width: int
    caption: str


def picture(figure: Figure, caption: str) -> Picture:
    """Draw a figure into a PNG; the same figure has the same bytes."""
    content = io.BytesIO()
    with styled():
        figure.savefig(content, format="png", dpi=_DPI, metadata={"Software": None})
    source = f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"
    return Picture(source, round(figure.get_figwidth() * _PIXELS_PER_INCH), caption)
