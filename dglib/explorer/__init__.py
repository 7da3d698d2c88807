"""λ in your hand: recorded runs under a cursor, and a small network that trains while λ is moved.

    import dglib.explorer
    recorded = dglib.explorer.recorded(globals())
    recorded.show()

The only part of dglib that needs ipywidgets, 7.7.1 or newer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dglib.explorer.recorded_panel import RecordedPanel


def recorded(globals_: Mapping[str, object]) -> RecordedPanel:
    """Recorded runs under a cursor, from a notebook's globals(): `base_dir` and `runs`.

    Raises:
        UserError: one line on what is wrong with the parameters, or that there is no run to look at.
    """
    from dglib.explorer.recorded_panel import recorded_panel

    return recorded_panel(globals_)
