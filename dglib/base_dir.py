"""Where the run directories lie."""

import os
from pathlib import Path

from dglib.errors import UserError

CONTENT = Path(os.environ.get("DGLIB_CONTENT", "/content"))  # Colab's own directory; tests have another
DRIVE = CONTENT / "drive" / "MyDrive"  # where the notebooks' first cell mounts a user's Drive


def base_directory(given: str | None, where: str = "") -> Path:
    """The directory that ``base_dir`` stands for; None: the Drive folder on Colab, elsewhere ``runs``.

    It need not exist, and nothing is created.

    Raises:
        UserError: it cannot be made or written to; the message begins with `where`, the place of the value.
    """
    base = _default() if given is None else Path(given).expanduser()
    nearest = base.absolute()
    while not os.path.lexists(nearest):
        nearest = nearest.parent
    if nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK):
        return base
    obstacle = "cannot be written to" if nearest.is_dir() else "is not a directory"
    place = f"{where}: " if where else ""
    raise UserError(
        f"{place}base_dir = {str(base)!r}: must be a directory to write in, but {nearest} {obstacle}"
    )


def _default() -> Path:
    return DRIVE / "dual-gradient-learning" / "Paper-A" if DRIVE.is_dir() else Path("runs")
