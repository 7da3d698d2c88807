"""What stands in a cell's output where no widget can: a picture and its reading, hidden where one can."""

from __future__ import annotations

import base64
from html import escape
from typing import Any

_VIEW = "application/vnd.jupyter.widget-view+json"


def static_html(part: str, png: bytes, alternative: str, reading: str, width: int) -> str:
    """A still picture with its reading below it.

    Args:
        part: "recorded" or "live"; `hiding` of the same part hides this.
        alternative: what the picture shows, for those who do not see it.
        reading: HTML.
        width: in CSS pixels.
    """
    source = base64.b64encode(png).decode()
    return (
        f'<div class="dglib-static dglib-static-{part}">'
        f'<img src="data:image/png;base64,{source}" alt="{escape(alternative)}" width="{width}" '
        f'style="max-width:100%;height:auto">{reading}</div>'
    )


def hiding(part: str) -> str:
    """HTML for a widget: where it is shown, the still picture is not."""
    return f"<style>.dglib-static-{part}{{display:none}}</style>"


def lay_out(still: str, widget: Any) -> None:
    """Display the still picture, then the widget, in a form that leaves nothing where none can be shown."""
    from IPython.display import HTML, display

    display(HTML(still))  # type: ignore[no-untyped-call]
    view = {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}
    display({_VIEW: view, "text/plain": ""}, raw=True)  # type: ignore[no-untyped-call]
