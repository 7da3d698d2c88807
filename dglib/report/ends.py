"""A compact table of what the networks look like at the end, by class, where the records tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dglib.analysis import wording
from dglib.analysis.cells import NONE
from dglib.analysis.diagnostics import LATE, sentence, summarise_diagnostics
from dglib.analysis.style import styled
from dglib.experiments import get
from dglib.report.collect import Found
from dglib.report.pictures import Picture, picture
from dglib.report.tables import Table

# quantity -> (column head, factor, places, unit)
_COLUMNS = {
    "dead": ("Dead channels", 100.0, 0, " %"),
    "entropy": ("Entropy of predicted classes", 1.0, 2, ""),
    "weight_norm": ("‖θ‖", 1.0, 1, ""),
    "update_norm": ("‖last update‖", 1.0, 4, ""),
    "c_sv": ("Late c_sv", 1.0, 2, ""),
}
READING = (
    "What the networks look like at the end of the sweep, of each branch, or of training: n networks, their"
    " mean, in brackets least and greatest. Dead: channels that no image of the first test batch activated."
    " Entropy: 0 where one class is predicted for everything, 1 where all equally often. Late c_sv: cos(g_s,"
    f" g_v) at refreshes, over the last {LATE} such epochs."
)


@dataclass(frozen=True)
class Ends:
    """The finding in a sentence, a row per class, and a figure where the experiment has one."""

    sentence: str
    table: Table
    picture: Picture | None


def ends_of(found: Found) -> Ends | None:
    """None where no record tells of dead channels or predicted classes, as in published files."""
    experiment = get(found.experiment)
    summary = summarise_diagnostics(found.records, experiment.ends, experiment.end_unit)
    if not summary["recorded"]:
        return None
    shown = [name for name in _COLUMNS if any(each[name] for each in summary["classes"])]
    head = [
        experiment.end_head,
        "n",
        "One class predicted",
        *(_COLUMNS[name][0] for name in shown),
    ]
    rows = [
        [
            each["name"],
            str(each["n"]),
            f"{each['constant']} of {each['n_predicted']}" if each["n_predicted"] else NONE,
            *(_spread(name, each[name]) for name in shown),
        ]
        for each in summary["classes"]
    ]
    return Ends(sentence(summary), Table(head, rows), _drawn(found) if "dead" in shown else None)


def _drawn(found: Found) -> Picture | None:
    with styled():
        drawn = get(found.experiment).draw_ends(found.records)
        return drawn and picture(drawn[1], drawn[0])


def _spread(quantity: str, values: Mapping[str, Any] | None) -> str:
    """ "62 % (52 to 66)"; of one network, its value."""
    if values is None:
        return NONE
    _, factor, places, unit = _COLUMNS[quantity]
    mean, least, most = (wording.decimal(factor * values[end], places) for end in ("mean", "min", "max"))
    return f"{mean}{unit}" if values["n"] == 1 else f"{mean}{unit} ({least} to {most})"
