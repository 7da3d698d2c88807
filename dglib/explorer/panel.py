"""What both parts of the explorer share: a picture with moving artists, and the panel around it."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, ClassVar

import ipywidgets as widgets
from IPython.display import HTML, display
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from dglib.analysis import style

WIDTH, DPI = 8.6, 125  # of a picture, in inches, and pixels per inch
PIXELS = round(WIDTH * DPI)
BOX = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1}  # behind text on lines
_VIEW = "application/vnd.jupyter.widget-view+json"


class Canvas:
    """A figure. Draw the background, `freeze` it, then call `png` for every frame.

    Moving artists are made with `animated=True`, which leaves them out of the background.
    """

    def __init__(self, height: float) -> None:
        self.figure: Figure = style.new_figure(height, WIDTH)
        self.figure.set_dpi(DPI)
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
        for artist in sorted(moving, key=lambda artist: artist.zorder):
            artist.draw(self._agg.get_renderer())
        size, content = self._agg.get_width_height(physical=True), io.BytesIO()
        pixels = Image.frombuffer("RGBA", size, self._agg.buffer_rgba(), "raw", "RGBA", 0, 1)
        pixels.convert("RGB").save(content, "PNG", compress_level=1)
        return content.getvalue()


class Cursor:
    """λ as a vertical line through some axes, named at the top of the first."""

    def __init__(self, *axes: Axes, size: float, width: float) -> None:
        line: dict[str, Any] = {"color": style.BLACK, "linewidth": width, "animated": True, "zorder": 3.5}
        self._axes = axes[0]
        self._lines = [each.axvline(0, **line) for each in axes]
        self._name = axes[0].text(
            0, 1.0, "", transform=axes[0].get_xaxis_transform(), fontsize=size, fontweight="bold",
            ha="center", va="top", bbox=BOX, animated=True, zorder=7,
        )  # fmt: skip
        self.artists: list[Artist] = [*self._lines, self._name]

    def move(self, lam: float) -> None:
        low, high = self._axes.get_xlim()
        margin = 0.08 * (high - low)
        for line in self._lines:
            line.set_xdata([lam, lam])
        self._name.set_text(f"λ = {lam:.2f}")
        self._name.set_x(min(max(lam, low + margin), high - margin))


class Panel:
    """Controls above a picture and its numbers.

    Attributes:
        part: "recorded" or "live".
        css: the prefix of the CSS classes of the controls.
        still_note: below the still picture.
        widget: the root widget.
        picture, numbers: what the root widget shows below the controls.
    """

    part: ClassVar[str]
    css: ClassVar[str]
    still_note: ClassVar[str]

    def __init__(self) -> None:
        self.line = widgets.Layout(width=f"{PIXELS}px", max_width="100%")
        self.picture = widgets.Image(format="png", layout=self.line)
        self.numbers = widgets.HTML(layout=self.line)
        self.widget = widgets.VBox()

    @classmethod
    def close_earlier(cls, globals_: Mapping[str, object], name: str) -> None:
        """Close panels of this kind in the global `name` or in IPython's output variables."""
        for key, value in list(globals_.items()):
            if isinstance(value, cls) and (key == name or key.startswith("_")):
                value.close()

    def show(self) -> None:
        """Display the still picture, then the widget; where widgets cannot be shown, only the picture."""
        display(HTML(self.still()))  # type: ignore[no-untyped-call]
        view = {"version_major": 2, "version_minor": 0, "model_id": self.widget.model_id}
        display({_VIEW: view, "text/plain": ""}, raw=True)  # type: ignore[no-untyped-call]

    def _ipython_display_(self) -> None:
        self.show()

    def still(self) -> str:
        """The picture and its numbers as HTML; hidden where the widget is shown."""
        source = base64.b64encode(self.picture.value).decode()
        return (
            f'<div class="dglib-static dglib-static-{self.part}"><img src="data:image/png;base64,{source}"'
            f' alt="{escape(self._alternative())}" width="{PIXELS}" style="max-width:100%;height:auto">'
            f"{self._html(self.still_note)}</div>"
        )

    def close(self) -> None:
        """Close all widgets."""
        _close(self.widget)

    def _alternative(self) -> str:
        """What the picture shows, in words."""
        raise NotImplementedError

    def _html(self, note: str) -> str:
        """The numbers with a note."""
        raise NotImplementedError

    def _lay_out(self, controls: Mapping[str, Any], rows: Sequence[Any]) -> None:
        """Fill the root widget with rows: widgets, or lists of widgets that wrap."""
        for name, control in {**controls, "picture": self.picture, "readout": self.numbers}.items():
            control.add_class(f"{self.css}-{name}")
        hidden = widgets.HTML(f"<style>.dglib-static-{self.part}{{display:none}}</style>")
        wrapped = widgets.Layout(flex_flow="row wrap", align_items="flex-start")
        shown = [widgets.HBox(row, layout=wrapped) if isinstance(row, list) else row for row in rows]
        self.widget.children = [hidden, *shown, self.picture, self.numbers]
        self.widget.add_class(f"dglib-{self.part}")


def _close(widget: Any) -> None:
    for child in getattr(widget, "children", ()):
        _close(child)
    widget.unobserve_all()
    widget.close()
