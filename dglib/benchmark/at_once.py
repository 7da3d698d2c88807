"""Several seeds at once: processes of the training loop beside each other, against one alone."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from threading import BrokenBarrierError

from dglib.benchmark.sides import Training, Work
from dglib.benchmark.timing import Allowance, Pairs, more_pairs
from dglib.dataset import Dataset
from dglib.errors import UserError
from dglib.numerics import Numerics

WAIT_SECONDS = 300.0  # for the others at a barrier
GO_ON = "go on"

_CONTEXT = multiprocessing.get_context("spawn")  # a fork of a process that has used CUDA cannot


def measure_at_once(
    work: Work, data: Dataset, numerics: Numerics, processes: int, allowance: Allowance
) -> Pairs:
    """Seconds per image of `processes` together (ours) and of one alone with all the threads (other).

    All are started and warmed up first. In each pair of blocks one of them runs alone while the others wait,
    and then all run, from a barrier on to the end of the slowest.

    Raises:
        UserError: a process failed.
    """
    with _started(work, data, numerics, processes) as pipes:
        for pipe in pipes:
            _received(pipe, allowance.deadline)
        alone, together = list[float](), list[float]()
        began, images = time.monotonic(), 0
        while more_pairs(len(alone), began, allowance):
            for active in (1, processes):
                for pipe in pipes:
                    pipe.send((GO_ON, active))
                spans = [_received(pipe, allowance.deadline) for pipe in pipes[:active]]
                images = spans[0][2]
                seconds = max(end for _, end, _ in spans) - min(start for start, _, _ in spans)
                (alone if active == 1 else together).append(seconds / (active * images))
        for pipe in pipes:
            pipe.send(("stop", 0))
    return Pairs(tuple(together), tuple(alone))


@contextmanager
def _started(work: Work, data: Dataset, numerics: Numerics, processes: int) -> Iterator[list[Connection]]:
    barrier = _CONTEXT.Barrier(processes)
    pipes, children = list[Connection](), []
    try:
        for index in range(processes):
            ours, theirs = _CONTEXT.Pipe()
            arguments = (work, data, numerics, processes, index, barrier, theirs)
            child = _CONTEXT.Process(target=_train, args=arguments, daemon=True)
            child.start()
            theirs.close()
            pipes.append(ours)
            children.append(child)
        yield pipes
    finally:
        for pipe in pipes:
            pipe.close()
        for child in children:
            child.join(2.0)
            child.kill()
            child.join()
            child.close()


def _received(pipe: Connection, deadline: float) -> tuple[float, float, int]:
    try:
        if not pipe.poll(max(deadline - time.monotonic(), 0.0)):
            raise UserError("the time was over before the processes were ready, or had run a block")
        answer = pipe.recv()
    except (EOFError, OSError) as error:
        raise UserError("a process ended without a word, as for want of memory") from error
    if isinstance(answer, str):
        raise UserError(answer)
    found: tuple[float, float, int] = answer
    return found


def _train(
    work: Work,
    data: Dataset,
    numerics: Numerics,
    processes: int,
    index: int,
    barrier: Barrier,
    pipe: Connection,
) -> None:
    """A process: warms up with its part of the threads, then runs blocks as it is told."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it
    try:
        shared = max(1, numerics.threads // processes)
        training = Training(work, data, replace(numerics, threads=shared))
        training.warm_up()
        pipe.send((0.0, 0.0, 0))
        while True:
            word, active = pipe.recv()
            if word != GO_ON:
                return
            training.with_threads(numerics.threads if active == 1 else shared)
            barrier.wait(WAIT_SECONDS)
            if index < active:
                start = time.monotonic()
                training.block()
                pipe.send((start, time.monotonic(), training.images))
    except (EOFError, BrokenBarrierError, BrokenPipeError):
        return  # the parent has ended, or another process has failed and said so
    except Exception as error:
        barrier.abort()
        with suppress(OSError):
            pipe.send(f"a process failed: {type(error).__name__}: {error}")
