"""Maps over two crossed parameters: where the seeds of each cell ended.

Colour runs from light to dark and repeats what the number in the cell says, so a grey print loses nothing.
"""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from dglib.analysis import style
from dglib.analysis.grid_wording import glyph, median_text, parameter_name, symbol, value_text
from dglib.analysis.phase_diagram import CellRecords, Measure, distinct, middle, summarise_cell
from dglib.analysis.style import COLUMN_WIDTH, FULL_WIDTH

MAX_MAPS = 6
_SHADES = matplotlib.colormaps["cividis_r"]
_HATCHED: dict[str, Any] = {"facecolor": "#F2F2F2", "edgecolor": "#B5B5B5", "hatch": "////", "linewidth": 0}

Cells = Sequence[CellRecords]
Summary = Mapping[str, Any]


def draw_maps(cells: Cells) -> Figure | None:
    """A map of the last two crossed parameters for each combination of the others; None for too many.

    The last parameter runs along the columns, the one before along the rows, upwards. In each cell: the
    median of the quantity over its seeds, and how many of them came to each end. Hatched: no seed has
    finished. Thick lines part cells whose `phase` differs. All cells are of one experiment.
    """
    *leading, rows, columns = cells[0].values
    facets = list(product(*(distinct(list(cells), name) for name in leading)))
    if len(facets) > MAX_MAPS:
        return None
    xs, ys = distinct(list(cells), columns), distinct(list(cells), rows)
    across = min(len(facets), max(1, 8 // max(len(xs), 1)))
    down = -(-len(facets) // across)
    width = min(FULL_WIDTH, max(COLUMN_WIDTH, 0.95 * len(xs) * across + 1.5))
    size = (width - 1.4) / (len(xs) * across)  # inches, of a cell
    figure = style.new_figure(height=down * (min(0.72, 0.9 * size) * len(ys) + 0.75) + 0.5, width=width)
    panels = figure.subplots(down, across, squeeze=False).flat
    told = [summarise_cell(cell) for cell in cells]
    measure = cells[0].measure
    shade = _scale(measure, told)
    for axes, facet in zip(panels, facets, strict=False):
        mine = [each for each in told if [each["values"][name] for name in leading] == list(facet)]
        named = zip(leading, facet, strict=True)
        title = ", ".join(f"{symbol(name)} = {value_text(value)}" for name, value in named)
        _map(axes, measure, mine, (xs, ys), (columns, rows), shade, min(1.0, size / 0.7))
        axes.set_title(title, loc="left")
    for axes in list(figure.axes)[len(facets) :]:
        axes.set_visible(False)
    bar = figure.colorbar(matplotlib.cm.ScalarMappable(shade, _SHADES), ax=figure.axes, pad=0.02, aspect=28)
    bounded = any(each["median"]["lower"] != each["median"]["upper"] for each in told)
    of_bounds = " (middle of its bounds)" if bounded else ""
    bar.set_label(f"Median {measure.symbol}{of_bounds}")
    bar.outline.set_visible(False)
    _key(figure, measure, told)
    return figure


def _scale(measure: Measure, told: Sequence[Summary]) -> Normalize:
    """Errors and gaps from 0 to 1; thresholds over the range that there is."""
    found = [value for each in told if (value := middle(each["median"])) is not None]
    if measure.in_unit_interval or not found:
        return Normalize(0, 1)
    return Normalize(min(found) - 0.05, max(found) + 0.05)


def _map(
    axes: Axes,
    measure: Measure,
    told: Sequence[Summary],
    values: tuple[Sequence[Any], Sequence[Any]],
    names: tuple[str, str],
    shade: Normalize,
    scale: float,
) -> None:
    (xs, ys), (columns, rows) = values, names
    places = {}
    for each in told:
        x, y = xs.index(each["values"][columns]), ys.index(each["values"][rows])
        places[x, y] = each
        _cell(axes, measure, (x, y), each, shade, scale)
    for (x, y), each in places.items():
        for dx, dy in ((1, 0), (0, 1)):
            other = places.get((x + dx, y + dy))
            if other and each["phase"] and other["phase"] and each["phase"] != other["phase"]:
                ends = ([x + 0.5, x + 0.5 - dy], [y + 0.5, y + 0.5 - dx])
                for color, width, order in (("white", 4.2, 3), (style.BLACK, 2.2, 4)):  # seen on any shade
                    line: dict[str, Any] = {"color": color, "linewidth": width, "zorder": order}
                    axes.plot(*ends, **line, solid_capstyle="projecting")
    axes.set_xlim(-0.5, len(xs) - 0.5)
    axes.set_ylim(-0.5, len(ys) - 0.5)
    axes.set_xticks(range(len(xs)), [value_text(x) for x in xs], fontsize=style.RC["xtick.labelsize"])
    axes.set_yticks(range(len(ys)), [value_text(y) for y in ys], fontsize=style.RC["ytick.labelsize"])
    axes.set_xlabel(parameter_name(columns))
    axes.set_ylabel(parameter_name(rows))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _cell(
    axes: Axes, measure: Measure, place: tuple[int, int], told: Summary, shade: Normalize, scale: float
) -> None:
    x, y = place
    corner, middle_ = (x - 0.5, y - 0.5), middle(told["median"])
    if not told["n"]:
        axes.add_patch(Rectangle(corner, 1, 1, **_HATCHED))
    elif middle_ is None:  # seeds, but none with the quantity
        axes.add_patch(Rectangle(corner, 1, 1, facecolor="#FFFFFF", edgecolor=style.GREY, linewidth=0.6))
    else:
        axes.add_patch(Rectangle(corner, 1, 1, facecolor=_SHADES(shade(middle_)), linewidth=0))
    for side in ("axvline", "axhline"):
        getattr(axes, side)((x if side == "axvline" else y) + 0.5, color="white", linewidth=1.0, zorder=2)
    ink = _ink(None if middle_ is None or not told["n"] else shade(middle_))
    lines = []
    if told["n"]:
        counts = "  ".join(
            f"{count}{glyph(measure, kind)}" for kind, count in told["counts"].items() if count
        )
        lines += [(median_text(told), 8.5), (counts, 6.5)]
    if told["running"]:
        lines.append((f"{told['running']} under way", 5.8))
    for index, (text, size) in enumerate(lines):
        height = y + 0.23 * ((len(lines) - 1) / 2 - index) * (2 / max(2, len(lines)) + 0.25)
        box = {"facecolor": "#F2F2F2", "edgecolor": "none", "pad": 1.0} if not told["n"] else None
        axes.text(
            x, height, text, ha="center", va="center", fontsize=size * scale, color=ink, zorder=5, bbox=box
        )


def _ink(shade: float | None) -> str:
    """Black or white, whichever the ground is further from."""
    if shade is None:
        return style.BLACK
    red, green, blue, _ = _SHADES(shade)
    return style.BLACK if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.46 else "white"


def _key(figure: Figure, measure: Measure, told: Sequence[Summary]) -> None:
    """What the marks stand for, of those that occur; the hatching and the line, where there are any."""
    handles: list[Any] = []
    for kind, words in measure.all_kinds.items():
        if any(each["counts"][kind] for each in told):
            marker = f"${glyph(measure, kind)}$"
            handles.append(
                Line2D([], [], linestyle="", marker=marker, color=style.BLACK, markersize=5, label=words)
            )
    if len({each["phase"] for each in told if each["phase"]}) > 1:
        label = "beyond it half of the seeds come to another end"
        handles.append(Line2D([], [], color=style.BLACK, linewidth=2.2, label=label))
    if any(not each["n"] for each in told):
        handles.append(Patch(**_HATCHED, label="no seed finished"))
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=len(handles) if figure.get_figwidth() > 6 else 2,
        frameon=False,
        handlelength=1.6,
        columnspacing=1.4,
    )
