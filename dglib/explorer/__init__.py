"""λ sliders: recorded runs under a cursor, and a small network that trains while λ is moved.

    import dglib.explorer
    recorded = dglib.explorer.recorded(globals())
    recorded.show()
    live = dglib.explorer.live(globals())
    live.show()

The only part of dglib that needs ipywidgets, 7.7.1 or newer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from dglib.runs import provenance

if TYPE_CHECKING:
    from dglib.explorer.live_panel import LivePanel
    from dglib.explorer.recorded_panel import RecordedPanel


def recorded(globals_: Mapping[str, object]) -> RecordedPanel:
    """Recorded runs under a cursor, from a notebook's globals(): `base_dir` and `runs`. Prints the versions.

    A panel that an earlier run of the cell left in the global `recorded` is closed.

    Raises:
        UserError: one line on what is wrong with the parameters, or that there is no run to show.
    """
    from dglib.explorer.recorded_panel import RecordedPanel
    from dglib.explorer.runs import notebook_source

    base, runs = notebook_source(globals_)
    RecordedPanel.close_earlier(globals_, "recorded")
    panel = RecordedPanel(base, runs)
    print(provenance.line(provenance.versions()))
    return panel


def live(globals_: Mapping[str, object]) -> LivePanel:
    """A small network in training, from a notebook's globals(), as `recorded`.

    Raises:
        UserError: one line on what is wrong with the parameters.
    """
    from dglib.explorer.live_panel import LivePanel
    from dglib.explorer.runs import notebook_source

    base, _ = notebook_source(globals_)
    LivePanel.close_earlier(globals_, "live")
    return LivePanel(base)
