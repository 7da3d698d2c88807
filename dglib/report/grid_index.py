"""What a grid directory was made for, as a file in it, ``grid.json``: so cells still to be run are known.

It names the crossed parameters and every cell with its directory, seeds and the fingerprint of its runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dglib.errors import UserError
from dglib.runs.identity import asked, fingerprint

NAME = "grid.json"


@dataclass(frozen=True)
class IndexedCell:
    """One experiment at one combination of values.

    Attributes:
        directory: below the grid's directory.
        run: what `run_of` gives for its manifests.
    """

    experiment: str
    name: str
    directory: str
    values: Mapping[str, Any]
    seeds: tuple[int, ...]
    run: str


@dataclass(frozen=True)
class Index:
    """A grid as it was last run: its name, the crossed parameters with their values, and its cells."""

    name: str
    axes: Mapping[str, tuple[Any, ...]]
    cells: tuple[IndexedCell, ...]

    @property
    def experiments(self) -> list[str]:
        return list(dict.fromkeys(cell.experiment for cell in self.cells))


def read_index(directory: Path) -> Index | None:
    """The index in a directory; None where there is none.

    Raises:
        UserError: it is torn or something else; the message begins with the path.
    """
    path = directory / NAME
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_bytes())
        cells = [IndexedCell(**{**cell, "seeds": tuple(cell["seeds"])}) for cell in content["cells"]]
        axes = {str(name): tuple(values) for name, values in content["axes"].items()}
        if not cells or not axes or any(list(cell.values) != list(axes) for cell in cells):
            raise ValueError("cells must have a value of each crossed parameter")
        return Index(str(content["grid"]), axes, tuple(cells))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a readable index of a grid ({type(error).__name__}: {error})") from None


def run_of(manifest: Mapping[str, Any]) -> str:
    """What identifies a manifest's run but for its data, which only a run itself has read."""
    return fingerprint(asked(manifest))
