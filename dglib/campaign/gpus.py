"""How many jobs this machine runs at a time, and which GPU each worker sees."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from dglib.campaign.jobs import Plan
from dglib.errors import UserError


def worker_environments(arguments: argparse.Namespace, plans: Sequence[Plan]) -> list[dict[str, str]]:
    """The environment of each worker: as many as were asked for, or `seeds_at_once` for each named GPU.

    By default `seeds_at_once` for each GPU that torch would use. On CPUs one for each core that a run's
    threads leave, or `seeds_at_once` where that is more than one.

    Raises:
        UserError: a GPU that is not there, a device that does not go with --gpus, or two numbers of jobs.
    """
    at_once = seeds_at_once(plans)
    if arguments.gpus is not None:
        return [environment(name) for name in _named_gpus(arguments, plans)] * at_once
    if arguments.workers is not None:
        if at_once > 1:
            raise UserError(
                f"--workers {arguments.workers}: seeds_at_once = {at_once}: both say how many jobs are done"
                " at a time; leave one out"
            )
        return [{}] * arguments.workers
    if any(plan.parameters.device != "cpu" for plan in plans) and (found := visible()):
        if all(plan.parameters.device in ("auto", "cuda") for plan in plans):
            return [environment(name) for name in found] * at_once
        return [{}] * at_once  # one of several was named as the device
    if at_once > 1:
        return [{}] * at_once
    return [{}] * max(1, _cores() // max(plan.parameters.threads for plan in plans))


def seeds_at_once(plans: Sequence[Plan]) -> int:
    """The seeds that train at a time on one device, from 1.

    Raises:
        UserError: experiments differ in it, while the workers are the same for all.
    """
    found = {plan.parameters.seeds_at_once: plan.experiment for plan in plans}
    if len(found) > 1:
        told = ", ".join(f"{value} for {name}" for value, name in found.items())
        raise UserError(
            f"seeds_at_once = {told}: must be one for all experiments of a command, since its workers do the"
            " jobs of all"
        )
    return next(iter(found))


def _named_gpus(arguments: argparse.Namespace, plans: Sequence[Plan]) -> list[str]:
    where = f"--gpus {arguments.gpus}"
    if arguments.workers is not None:
        raise UserError(f"{where}: one worker for each GPU; leave out --workers")
    for plan in plans:
        if plan.parameters.device not in ("auto", "cuda"):
            raise UserError(
                f"{where}: device = {plan.parameters.device!r}: must be auto or cuda beside --gpus, which"
                " says what a worker sees"
            )
    known = visible()
    found = []
    for text in arguments.gpus.split(","):
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
    if not has_driver():  # torch takes seconds to import
        return []
    import torch

    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = None if given is None else [name.strip() for name in given.split(",")]
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return [str(number) if names is None else names[number] for number in range(count)]


def has_driver() -> bool:
    """Whether a driver for NVIDIA's GPUs is loaded; the second path is that of Windows' own Linux."""
    return any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/dxg").exists()


def environment(name: str) -> dict[str, str]:
    """The variables of a process that sees one GPU alone."""
    # In the order of nvidia-smi, from which people read the numbers; names of an environment are kept.
    order = {} if "CUDA_VISIBLE_DEVICES" in os.environ else {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    return {"CUDA_VISIBLE_DEVICES": name, **order}
