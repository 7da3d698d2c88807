"""Every metric of a user's own against epoch, seeds as lines: a figure of any experiment's records."""

from collections.abc import Iterator
from typing import Any

from matplotlib.figure import Figure

from dglib.analysis import style
from dglib.analysis.fields import Records, number
from dglib.analysis.style import THIN
from dglib.protocol.records import EVALUATION_FIELDS


def metric_names(records: Records) -> list[str]:
    return sorted(
        {name for _, _, entry in _evaluations(records) for name in entry.keys() - EVALUATION_FIELDS}
    )


def draw_metrics(records: Records) -> Figure:
    """A panel per metric, one below the other; a line per seed and trajectory, in epochs of its arm."""
    names = metric_names(records)
    figure = style.new_figure(height=1.0 + 1.8 * len(names))
    for axes, name in zip(figure.subplots(len(names), 1, squeeze=False)[:, 0], names, strict=True):
        style.panel(axes, name, "Epoch", name)
        lines: dict[tuple[Any, str], list[tuple[float, float]]] = {}
        for seed, trajectory, entry in _evaluations(records):
            epoch, value = number(entry, "epoch"), number(entry, name)
            if epoch is not None and value is not None:
                lines.setdefault((seed, trajectory), []).append((epoch, value))
        for points in lines.values():
            axes.plot(*zip(*points, strict=True), linewidth=THIN, alpha=0.7)
        if not lines:
            style.note(axes, "no finite value on record")
    return figure


def _evaluations(records: Records) -> Iterator[tuple[Any, str, dict[str, Any]]]:
    for record in records:
        for field, value in record.items():
            if field.endswith("trajectory") and isinstance(value, list):
                for entry in value:
                    if isinstance(entry, dict):
                        yield record.get("seed"), field, entry
