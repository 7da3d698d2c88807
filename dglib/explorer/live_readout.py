"""Where a live run stands, in words and numbers."""

from __future__ import annotations

from html import escape

from dglib.explorer.live_status import Status

STILL_NOTE = "A still picture: in a running notebook, or under Voilà, a network trains here while λ is moved."
_CSS = "font-family:'DejaVu Sans',sans-serif;font-size:13px;line-height:1.6"


def readout_html(status: Status, message: str = "") -> str:
    """One line on where the run stands, and one for what there is to say; values carry `data-value`."""
    preparing = status.state == "preparing"
    here = status.settings if preparing else status.wanted  # what the next step is taken with
    error = "–" if status.error is None else f"{status.error:.3f}"
    if status.state == "diverged":
        message = message or "the network has diverged: its logits are not finite; start anew, or reset"
    parts = [
        f"<b>{_value('state', status.state)}</b>",
        f"begun {_value('start', status.start.name)}",
        f"step {_value('step', str(status.steps))}",
        f"epoch {_value('epoch', str(status.epochs))}",
        f"λ {_value('lambda', f'{here.lam:.3f}')}",
        f"error {_value('error', error)}",
        f"LR {_value('lr', f'{here.lr:g}')}",
        f"K {_value('k', str(here.refresh_period))}",
        f"η {_value('eta', f'{here.noise_rate:.2f}')}",
    ]
    if not message and preparing:
        message = f"preparing at λ {status.start.lam:.2f} for {status.start.epochs} epochs"
        if status.wanted != status.settings:
            message += f"; what you have set (λ {status.wanted.lam:.2f}) acts then"
    told = _value("message", message)
    return f'<div style="{_CSS}">{" · ".join(parts)}<br>{told}&nbsp;</div>'


def _value(name: str, text: str) -> str:
    return f'<span data-value="{name}">{escape(text)}</span>'
