"""Where a cluster's workers are and how to reach them: this machine, a scheduler's address, Slurm's queue.

- `local:2`: two worker processes on this machine, one per GPU where it has any;
- `tcp://host:8786`: the workers of a scheduler that somebody has started;
- `slurm:FILE.yaml`: workers that Slurm is asked for, as the file says.
"""

from __future__ import annotations

import logging
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

from dglib.campaign import gpus
from dglib.campaign.slurm import SlurmFile, read_slurm_file
from dglib.errors import UserError
from dglib.files import user_path
from dglib.training.registry import module_path

if TYPE_CHECKING:
    from distributed import Client

INSTALL = "pip install -e .[cluster]"
CONNECT_SECONDS = 10.0
RENEW_SECONDS = 30.0
QUIET = {"TQDM_DISABLE": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}


class Cluster(Protocol):
    """A cluster. `text` is what the user gave; `patience` how many seconds its first worker may take."""

    text: str
    patience: float

    @property
    def workers(self) -> int | None:
        """How many it has at most; None: its scheduler knows."""

    def connected(self) -> AbstractContextManager[Client]:
        """A client of its scheduler; what was started for it is ended with it.

        Raises:
            UserError: it cannot be had.
        """

    def renew(self) -> None:
        """Called a few times a second, to replace workers whose time was up."""


def cluster_of(text: str, *, on_gpus: bool = True) -> Cluster:
    """The cluster that `text` names. Nothing is started or asked.

    Args:
        on_gpus: whether the jobs use GPUs where there are any.

    Raises:
        UserError: it names none, its file is wrong, it has more workers than this machine has GPUs, or what
            it takes is not installed here.
    """
    kind, colon, rest = text.partition(":")
    if kind == "local" and colon:
        if not re.fullmatch(r"[1-9]\d{0,3}", rest, re.ASCII):
            raise UserError(f"--cluster {text}: {rest!r} must be a whole number of workers from 1")
        found = gpus.visible() if on_gpus else []
        if 0 < len(found) < int(rest):
            raise UserError(
                f"--cluster {text}: each worker has a GPU of its own, and torch sees {len(found)} here"
            )
        made: Cluster = Local(text, int(rest), found)
    elif kind in ("tcp", "tls") and colon:
        address = re.fullmatch(r"//(\[[0-9A-Fa-f:.]+\]|[^/:\s]+):(\d{1,5})/?", rest, re.ASCII)
        if address is None or not 0 < int(address[2]) < 2**16:
            raise UserError(f"--cluster {text}: a scheduler's address is {kind}://HOST:PORT")
        made = Address(text, f"{kind}://{address[1]}:{address[2]}")
    elif kind == "slurm" and colon:
        made = Slurm(text, read_slurm_file(user_path(rest, "--cluster"), where=f"--cluster {text}"))
    else:
        raise UserError(f"--cluster {text}: must be local:N, tcp://HOST:PORT or slurm:FILE.yaml")
    for module in ("distributed", "dask_jobqueue") if kind == "slurm" else ("distributed",):
        if find_spec(module) is None:
            raise UserError(f"--cluster {text}: needs {module}, which is not installed: {INSTALL}")
    return made


@dataclass
class Local:
    """Workers on this machine, which end with this process, whatever ends it."""

    text: str
    workers: int
    gpus: list[str]  # of each worker, or none
    patience: float = 120.0

    @contextmanager
    def connected(self) -> Iterator[Client]:
        import dask
        from distributed import Client, Nanny, Scheduler, SpecCluster

        with ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="dglib-workers-"))
            # Dask would have OMP_NUM_THREADS=1 and the like set here, and the jobs' environment is ours.
            stack.enter_context(dask.config.set({"distributed.nanny.pre-spawn-environ": {}}))
            options: dict[str, Any] = {
                "nthreads": 1,
                "memory_limit": 0,  # none: a worker must not be killed for the size of a data set
                "local_directory": folder,
                "preload": ["dglib.campaign.cluster_worker"],
                "silence_logs": logging.CRITICAL,
                "death_timeout": self.patience,
            }
            env = QUIET | {"PYTHONPATH": module_path()}
            workers = {
                number: {
                    "cls": Nanny,
                    "options": {
                        **options,
                        "env": {**env, **gpus.environment(self.gpus[number])} if self.gpus else env,
                        "resources": {"GPU": 1} if self.gpus else {},
                    },
                }
                for number in range(self.workers)
            }
            scheduler = {
                "cls": Scheduler,
                "options": {"host": "127.0.0.1", "port": 0, "dashboard_address": "127.0.0.1:0"},
            }
            stack.enter_context(_quiet())
            cluster = stack.enter_context(SpecCluster(workers=workers, scheduler=scheduler))
            yield stack.enter_context(Client(cluster, set_as_default=False))

    def renew(self) -> None:
        """The nannies do."""


@dataclass
class Address:
    """The workers of a scheduler that runs somewhere; they outlive us."""

    text: str
    address: str
    patience: float = 60.0
    workers: None = None

    @contextmanager
    def connected(self) -> Iterator[Client]:
        from distributed import Client

        with _quiet():
            try:
                client = Client(self.address, timeout=CONNECT_SECONDS, set_as_default=False)
            except (OSError, ValueError) as error:
                reason = " ".join(str(error).split()) or type(error).__name__
                raise UserError(f"--cluster {self.text}: no scheduler answers there ({reason})") from None
            with client:
                yield client

    def renew(self) -> None:
        """Whoever started them does."""


@dataclass
class Slurm:
    """Workers that Slurm starts when their turn comes, and starts again when their time is up."""

    text: str
    file: SlurmFile
    patience: float = float("inf")
    _cluster: Any = None
    _renewed: float = float("-inf")

    @property
    def workers(self) -> int:
        return self.file.jobs

    @contextmanager
    def connected(self) -> Iterator[Client]:
        from distributed import Client

        with (
            _quiet(),
            self.file.cluster(f"--cluster {self.text}") as self._cluster,
            Client(self._cluster, set_as_default=False) as client,
        ):
            yield client

    def renew(self) -> None:
        if time.monotonic() - self._renewed >= RENEW_SECONDS:
            self._renewed = time.monotonic()
            self._cluster.scale(jobs=self.file.jobs)


@contextmanager
def _quiet() -> Iterator[None]:
    """Dask's own lines on lost connections kept back: ours say what they mean for the jobs."""
    import distributed  # which sets the levels when it is imported

    loggers = [logging.getLogger(f"{distributed.__name__}{part}") for part in ("", ".client")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
