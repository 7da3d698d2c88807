"""Where run directories and downloaded data are, and paths that a user gives.

The defaults are in the project: in its checkout, whatever directory a command or a notebook was started in.
Where dglib was installed without its checkout they are in the current directory. The environment variable
DGLIB_HOME names another directory. In Colab runs go to the user's Drive.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from dglib.errors import UserError

CONTENT = Path(os.environ.get("DGLIB_CONTENT", "/content"))  # Colab's own directory; tests have another
MOUNT = CONTENT / "drive"  # where the notebooks' first cell mounts a user's Drive
CHECKOUT = Path(__file__).absolute().parent.parent
NOTEBOOKS = CHECKOUT / "notebooks"


def user_path(given: str | Path, name: str = "") -> Path:
    """A path given by a user, with `~` for a home directory.

    Raises:
        UserError: there is no such home directory, or no file can have this name; the message begins with
            `name`, the parameter that it is the value of.
    """
    stated = f"{name} = {str(given)!r}" if name else repr(str(given))
    try:
        path = Path(given).expanduser()
        valid = b"\0" not in os.fsencode(path)
    except RuntimeError:
        home = Path(given).parts[0]
        raise UserError(f"{stated}: no home directory is known for {home}; give the path") from None
    except UnicodeEncodeError:
        valid = False
    if not valid:
        raise UserError(f"{stated}: no file can have this name")
    return path


def base_directory(given: str | None, where: str = "", field: str = "base_dir") -> Path:
    """The directory that `base_dir` names; None: in Colab a folder on Drive, elsewhere `runs` in the project.

    A relative path starts in the current directory. The directory need not exist, and nothing is created.
    `field` is the parameter's name for the message.

    Raises:
        UserError: it cannot be created or written to, or is on a Drive that is not mounted. The message
            begins with `where`, the source of the value.
    """
    start = f"{where}: " if where else ""
    base = _default() if given is None else user_path(given, f"{start}{field}")
    if on_drive(base) and not drive_is_mounted():
        raise UserError(
            f"{start}base_dir = {given!r}: is on Google Drive, which is not mounted at {MOUNT}; run the first"
            f" cell again, or set base_dir = '{CONTENT}/runs', which is lost when this runtime ends"
        )
    nearest = base.absolute()
    while not os.path.lexists(nearest) and nearest != nearest.parent:  # a drive may be missing
        nearest = nearest.parent
    if nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK):
        return base
    obstacle = "cannot be written to" if nearest.is_dir() else "is not a directory"
    raise UserError(
        f"{start}{field} = {str(base)!r}: must be a directory to write in, but {nearest} {obstacle}"
    )


def data_directory(given: str | Path | None) -> Path:
    """The directory that `data_dir` names; None: `data` in the project, or next to it if that is on Drive."""
    if given is not None:
        return user_path(given, "data_dir")
    home = _home()
    return (CONTENT if on_drive(home) else home) / "data"


def on_drive(path: Path) -> bool:
    """Whether a path is on Drive, mounted or not: in My Drive, in a shared drive, or behind a link."""
    return any(p.is_relative_to(MOUNT) for p in (path.absolute(), path.resolve()))


def drive_is_mounted() -> bool:
    return os.path.isdir(MOUNT / "MyDrive")  # noqa: PTH112  # False, too, for one that was cut off (errno 107)


def _default() -> Path:
    if drive_is_mounted() or _in_colab():
        return MOUNT / "MyDrive" / "dual-gradient-learning" / "Paper-A"
    return _home() / "runs"


def _in_colab() -> bool:
    """Whether this is Colab: a notebook, or a command that one or a terminal there started."""
    return "google.colab" in sys.modules or "COLAB_RELEASE_TAG" in os.environ


def _home() -> Path:
    if home := os.environ.get("DGLIB_HOME"):
        return user_path(home, "DGLIB_HOME")
    return CHECKOUT if (CHECKOUT / "run_all.py").is_file() else Path()
