"""Pieces of a step, run as they are or captured once and replayed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from typing import Any, Protocol, TypeVar

import torch

from dglib.state import TrainState

T = TypeVar("T")
WARM_UP = 3  # steps run as they are before a piece is captured: libraries settle their plans and workspaces


class Pieces(Protocol):
    """Runs functions of tensors by name."""

    fixed: bool  # whether a piece is run again on the very tensors that it was first given
    fallback: str

    def bind(self, state: TrainState) -> None:
        """Promise that from now on every piece works on this state's tensors."""

    def run(self, key: Hashable, function: Callable[[], T]) -> T:
        """What `function` gives. The same key means the same work on the same places."""


class Direct:
    """Every piece as it is."""

    fixed = False
    fallback = ""

    def bind(self, state: TrainState) -> None:
        pass

    def run(self, key: Hashable, function: Callable[[], T]) -> T:
        return function()


class Recorder(Protocol):
    """What captures a function."""

    def warm_up(self, function: Callable[[], T]) -> T:
        """Run it as it is, where that readies a later capture."""

    def capture(self, function: Callable[[], T], state: TrainState) -> tuple[Callable[[], None], T]:
        """Capture without running it: how to replay it, and the places where results then lie."""


class Captured:
    """Each piece runs as it is a few times, is then captured, and replayed from there on.

    The steps before the capture are real ones, so nothing has to be put back. Results lie where the capture
    left them and are overwritten by the next replay of the same piece. Where a capture fails, everything runs
    as it is from then on, and `fallback` says why.
    """

    fixed = True

    def __init__(self, recorder: Recorder) -> None:
        self.fallback = ""
        self._recorder = recorder
        self._replays: dict[Hashable, tuple[Callable[[], None], Any]] = {}
        self._calls: Counter[Hashable] = Counter()
        self._state: TrainState | None = None
        self._moves = -1

    def bind(self, state: TrainState) -> None:
        if self._state is None:
            self._state = state
        elif self._state is not state:
            raise ValueError("captured pieces belong to one state: make a new kernel for another")
        if state.moves != self._moves:
            if self._replays:  # they would work on memory that the state has left
                raise ValueError("the state's tensors have been replaced: make a new kernel for them")
            self._moves = state.moves

    def run(self, key: Hashable, function: Callable[[], T]) -> T:
        assert self._state is not None, "bind comes first"
        if self.fallback:
            return function()
        if key not in self._replays:
            self._calls[key] += 1
            if self._calls[key] <= WARM_UP:
                return self._recorder.warm_up(function)
            try:
                self._replays[key] = self._recorder.capture(function, self._state)
            except RuntimeError as error:  # capture runs nothing, so the step can still be taken
                self.fallback = f"CUDA graphs: {str(error).strip().splitlines()[0]}"
                self._replays.clear()
                return function()
        replay, results = self._replays[key]
        replay()
        found: T = results
        return found


class CudaRecorder:
    """CUDA graphs, each with its own memory, so that no order of replays can overwrite what another holds."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def warm_up(self, function: Callable[[], T]) -> T:
        """On a side stream, as capturing will be."""
        current = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            found = function()
        current.wait_stream(self._stream)
        return found

    def capture(self, function: Callable[[], T], state: TrainState) -> tuple[Callable[[], None], T]:
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(state.dropout)
        with torch.cuda.graph(graph, stream=self._stream):
            found = function()
        return graph.replay, found
