"""How many jobs this machine runs at a time, and which GPU each worker process sees."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from dglib.campaign.jobs import Plan
from dglib.errors import UserError


def worker_environments(workers: int | None, gpus: str | None, plans: Sequence[Plan]) -> list[dict[str, str]]:
    """The environment variables of each worker process.

    By default `seeds_at_once` workers for each GPU that torch would use. On CPUs one for each core that a
    run's threads leave, or `seeds_at_once` where that is more than one.

    Args:
        workers: how many were asked for, or None.
        gpus: those named by --gpus, as "0,1", with `seeds_at_once` workers each, or None.

    Raises:
        UserError: a GPU that is not there, a device that does not go with --gpus, or two numbers of jobs.
    """
    counts = {plan.parameters.seeds_at_once: plan.experiment for plan in plans}
    if len(counts) > 1:
        given = ", ".join(f"{value} for {name}" for value, name in counts.items())
        raise UserError(f"seeds_at_once = {given}: must be one for all experiments of a command")
    (at_once,) = counts
    if gpus is not None:
        if workers is not None:
            raise UserError(f"--gpus {gpus}: one worker for each GPU; leave out --workers")
        return [_environment(name) for name in _named_gpus(gpus, plans)] * at_once
    if workers is not None:
        if at_once > 1:
            raise UserError(
                f"--workers {workers}: seeds_at_once = {at_once}: both are the number of jobs at a time;"
                " leave one out"
            )
        return [{}] * workers
    devices = {plan.parameters.device for plan in plans}
    if devices != {"cpu"} and (found := visible()):
        if devices <= {"auto", "cuda"}:
            return [_environment(name) for name in found] * at_once
        return [{}] * at_once  # one of several was named as the device
    if at_once > 1:
        return [{}] * at_once
    return [{}] * max(1, _cores() // max(plan.parameters.threads for plan in plans))


def _named_gpus(gpus: str, plans: Sequence[Plan]) -> list[str]:
    where = f"--gpus {gpus}"
    for plan in plans:
        if plan.parameters.device not in ("auto", "cuda"):
            raise UserError(f"{where}: device = {plan.parameters.device!r}: must be auto or cuda with --gpus")
    known = visible()
    found = []
    for text in gpus.split(","):
        name = text.strip()
        if not (name.isascii() and name.isdigit()):
            raise UserError(f"{where}: {text!r}: must be numbers of GPUs with commas between them, as 0,1")
        if int(name) >= len(known):
            have = f"{len(known)} CUDA device(s)" if known else "no CUDA device"
            raise UserError(f"{where}: {name}: is not there: torch sees {have} here")
        found.append(known[int(name)])
    return found


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def visible() -> list[str]:
    """The GPUs that torch would use here, as CUDA_VISIBLE_DEVICES names them."""
    # Without a driver (the second path is that of WSL) torch need not be imported, which takes seconds.
    if not any(Path("/dev").glob("nvidia[0-9]*")) and not Path("/dev/dxg").exists():
        return []
    import torch

    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = None if given is None else [name.strip() for name in given.split(",")]
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return [str(number) if names is None else names[number] for number in range(count)]


def _environment(name: str) -> dict[str, str]:
    """The variables of a process that sees one GPU alone."""
    # In the order of nvidia-smi, from which people read the numbers; names of an environment are kept.
    order = {} if "CUDA_VISIBLE_DEVICES" in os.environ else {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    return {"CUDA_VISIBLE_DEVICES": name, **order}
