"""The places at which this machine does jobs: how many at a time, and which GPU each sees."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from dglib.campaign import gpus
from dglib.campaign.jobs import Plan
from dglib.errors import UserError


def slots(arguments: argparse.Namespace, plans: Sequence[Plan]) -> list[dict[str, str]]:
    """The environment of each worker: as many as were asked for, or `seeds_at_once` for each named GPU.

    By default `seeds_at_once` for each GPU that torch would use. On CPUs one for each core that a run's
    threads leave, or `seeds_at_once` where that is more than one.

    Raises:
        UserError: a GPU that is not there, a device that does not go with --gpus, or two numbers of jobs.
    """
    at_once = seeds_at_once(plans)
    if arguments.gpus is not None:
        return [gpus.environment(name) for name in _named_gpus(arguments, plans)] * at_once
    if arguments.workers is not None:
        if at_once > 1:
            raise UserError(
                f"--workers {arguments.workers}: seeds_at_once = {at_once}: both say how many jobs are done"
                " at a time; leave one out"
            )
        return [{}] * arguments.workers
    if any(plan.parameters.device != "cpu" for plan in plans) and (found := gpus.visible()):
        if all(plan.parameters.device in ("auto", "cuda") for plan in plans):
            return [gpus.environment(name) for name in found] * at_once
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
    known = gpus.visible()
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
