"""What both parts of the explorer share: a picture with moving marks, and the panel around it.

A picture is a background, drawn once by matplotlib, and marks over it. While a slider moves, only the marks
are sent, as SVG. In a file, and where no widget can be shown, both are one PNG.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, ClassVar, Literal

import ipywidgets as widgets
import numpy as np
from IPython.display import HTML, display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from dglib.analysis import style

WIDTH, DPI = 8.6, 125  # of a picture, in inches, and pixels per inch
PIXELS = round(WIDTH * DPI)
_VIEW = "application/vnd.jupyter.widget-view+json"
_POINT = DPI / 72  # pixels
_ANCHORS = {"left": "start", "center": "middle", "right": "end"}
_FONT = "DejaVu Sans"
_STYLE = """
.dglib-static-%s{display:none}
.dglib-%s .widget-html-content{min-width:0}
.dglib-stack{position:relative;overflow:hidden;contain:layout paint}
.dglib-stack > *{margin:0 !important}
.dglib-stack > .widget-html{position:absolute;left:0;top:0;width:100%%;height:100%%;pointer-events:none}
.dglib-stack svg{position:absolute;left:0;top:0;width:100%%;height:100%%}
"""


@dataclass(frozen=True)
class Mark:
    """A line through points in the coordinates of the axes, a dot on each, or a text at the first.

    Attributes:
        xs, ys: NaN breaks the line.
        width: of the line, in points; 0: none.
        dashes: lengths of dashes and gaps, in widths of the line.
        size: of the dots, in points; 0: none.
        text: on a white halo; `above`: shifted by so many points.
    """

    axes: Axes
    xs: Sequence[float]
    ys: Sequence[float]
    color: str = style.BLACK
    width: float = 0
    dashes: tuple[float, ...] = ()
    size: float = 0
    text: str = ""
    above: float = 0
    align: Literal["left", "center", "right"] = "center"
    font_size: float = 8
    bold: bool = False

    def svg(self, height: float) -> str:
        """As elements of an SVG of this height in pixels."""
        pixels = self.axes.transData.transform(np.column_stack([self.xs, self.ys])) if len(self.xs) else ()
        points = [(x, height - y) for x, y in pixels]
        if self.text:
            weight = "bold" if self.bold else "normal"
            (x, y), *_ = points
            return (
                f'<text x="{x:.1f}" y="{y - self.above * _POINT:.1f}" fill="{self.color}"'
                f' font-size="{self.font_size * _POINT:.1f}" font-weight="{weight}"'
                f' text-anchor="{_ANCHORS[self.align]}" dominant-baseline="central" paint-order="stroke"'
                f' stroke="white" stroke-width="4" stroke-linejoin="round">{escape(self.text)}</text>'
            )
        line, dots, pen = [], [], "M"
        for x, y in points:
            if x != x or y != y:
                pen = "M"
                continue
            line.append(f"{pen}{x:.1f} {y:.1f}")
            dots.append(f"M{x:.1f} {y:.1f}h0")  # a line of no length with round caps
            pen = "L"
        dashes = " ".join(f"{length * self.width * _POINT:.1f}" for length in self.dashes)
        attributes = f'fill="none" stroke="{self.color}"'
        drawn = f'<path d="{"".join(line)}" {attributes} stroke-width="{self.width * _POINT:.1f}"'
        drawn = f'{drawn} stroke-dasharray="{dashes}"/>' if self.width else ""
        if self.size:
            size = f'stroke-width="{self.size * _POINT:.1f}" stroke-linecap="round"'
            drawn += f'<path d="{"".join(dots)}" {attributes} {size}/>'
        return drawn

    def artists(self) -> list[Any]:
        """As artists on the axes."""
        if self.text:
            options: dict[str, Any] = {
                "color": self.color, "fontsize": self.font_size, "ha": self.align, "va": "center_baseline",
                "fontweight": "bold" if self.bold else "normal", "family": _FONT,
                "path_effects": [withStroke(linewidth=2.3, foreground="white")],
            }  # fmt: skip
            shift: dict[str, Any] = {"xytext": (0, self.above), "textcoords": "offset points"}
            return [self.axes.annotate(self.text, (self.xs[0], self.ys[0]), **shift, **options, zorder=9)]
        line: dict[str, Any] = {"color": self.color, "clip_on": False, "zorder": 8}
        line |= {"linewidth": self.width} if self.width else {"linestyle": "none"}
        line |= {"dashes": self.dashes} if self.dashes else {}
        line |= {"marker": "o", "markersize": self.size, "markeredgewidth": 0} if self.size else {}
        return list(self.axes.plot(self.xs, self.ys, **line))


def cursor(lam: float, *axes: Axes, size: float = 8) -> list[Mark]:
    """λ as a vertical line through some axes, named at the top of the first."""
    low, high = axes[0].get_xlim()
    margin, top = 0.08 * (high - low), axes[0].get_ylim()[1]
    lines = [Mark(one, [lam, lam], one.get_ylim(), width=1.1) for one in axes]
    x = min(max(lam, low + margin), high - margin)
    return [*lines, Mark(axes[0], [x], [top], text=f"λ = {lam:.2f}", above=-6, font_size=size, bold=True)]


class Canvas:
    """A figure and its marks. Draw the background, `freeze` it, and set `marks` for every frame.

    Attributes:
        background: the figure without marks, as PNG.
        marks: in drawing order.
    """

    def __init__(self, height: float) -> None:
        self.figure: Figure = style.new_figure(height, WIDTH)
        self.figure.set_dpi(DPI)
        self.background = b""
        self.marks: Sequence[Mark] = ()

    def freeze(self) -> None:
        """Fix layout and limits, and draw the background."""
        if (layout := self.figure.get_layout_engine()) is not None:
            layout.execute(self.figure)
            self.figure.set_layout_engine(None)
        for axes in self.figure.axes:
            axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())
        self.background = self._render()

    def svg(self) -> str:
        """The marks alone."""
        width, height = self.figure.bbox.size
        drawn = "".join(mark.svg(height) for mark in self.marks)
        return f'<svg viewBox="0 0 {width:g} {height:g}" font-family="{_FONT}, sans-serif">{drawn}</svg>'

    def png(self) -> bytes:
        """The background with the marks on it. From any thread."""
        with style.styled():
            artists = [artist for mark in self.marks for artist in mark.artists()]
            try:
                return self._render()
            finally:
                for artist in artists:
                    artist.remove()

    def _render(self) -> bytes:
        content = io.BytesIO()
        self.figure.savefig(content, format="png", dpi=DPI)
        return content.getvalue()


class Panel:
    """Controls above a picture and its numbers.

    Attributes:
        part: "recorded" or "live".
        css: the prefix of the CSS classes of the controls.
        still_note: below the still picture.
        rules: CSS of the numbers.
        widget: the root widget.
        picture, marks, numbers: what the root widget shows below the controls; the marks lie on the picture.
        canvas: of what is shown.
    """

    part: ClassVar[str]
    css: ClassVar[str]
    still_note: ClassVar[str]
    rules: ClassVar[str] = ""
    canvas: Canvas

    def __init__(self) -> None:
        # A widget has a margin of 2 pixels on each side.
        self.line = widgets.Layout(width=f"{PIXELS}px", max_width="calc(100% - 4px)")
        self.picture = widgets.Image(format="png", layout=widgets.Layout(width="100%"))
        self.marks = widgets.HTML()
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
        source = base64.b64encode(self.canvas.png()).decode()
        return (
            f"<style>{self.rules}</style>"
            f'<div class="dglib-static dglib-static-{self.part}"><img src="data:image/png;base64,{source}"'
            f' alt="{escape(self._alternative())}" width="{PIXELS}" style="max-width:100%;height:auto">'
            f"{self._html(self.still_note)}</div>"
        )

    def close(self) -> None:
        """Close all widgets."""
        _close(self.widget)

    def _paint(self, canvas: Canvas) -> None:
        self.canvas, self.picture.value, self.marks.value = canvas, canvas.background, canvas.svg()

    def _alternative(self) -> str:
        """What the picture shows, in words."""
        raise NotImplementedError

    def _html(self, note: str) -> str:
        """The numbers with a note."""
        raise NotImplementedError

    def _lay_out(self, rows: Sequence[Any]) -> None:
        """Fill the root widget with rows: widgets, or lists of widgets that wrap.

        A control's CSS class is its attribute's name.
        """
        for name, control in vars(self).items():
            if isinstance(control, widgets.DOMWidget):
                control.add_class(f"{self.css}-{name.replace('_', '-')}")
        stack = widgets.Box([self.picture, self.marks], layout=self.line)
        stack.add_class("dglib-stack")
        wrapped = widgets.Layout(flex_flow="row wrap", align_items="flex-start")
        shown = [widgets.HBox(row, layout=wrapped) if isinstance(row, list) else row for row in rows]
        rules = widgets.HTML(f"<style>{_STYLE % (self.part, self.part)}{self.rules}</style>")
        self.widget.children = [rules, *shown, stack, self.numbers]
        self.widget.add_class(f"dglib-{self.part}")


def _close(widget: Any) -> None:
    for child in getattr(widget, "children", ()):
        _close(child)
    widget.unobserve_all()
    widget.close()
