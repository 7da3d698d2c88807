"""Mistakes in what was given, told in one line."""


class UserError(Exception):
    """What was given cannot be used: the message says what, where, and what is allowed.

    The command line prints the message and exits with status 2; a notebook shows the message alone.
    """

    def _render_traceback_(self) -> list[str]:
        """The one line that IPython shows in place of a traceback."""
        return [f"{type(self).__name__}: {self}"]
