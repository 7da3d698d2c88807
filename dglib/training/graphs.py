"""Runs `dglib.training.step.step`: as it is, with compiled parts, or captured as CUDA graphs.

One graph per kind of step (batch size, refresh or not, logged or not). Where compiling or capturing fails,
the step runs as it is from then on, and `fallback` says why.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from dglib.errors import UserError
from dglib.protocol.spec import StepSpec
from dglib.training.compiled import Compiled, CompiledGradient
from dglib.training.networks import key_dropout
from dglib.training.numerics import Numerics
from dglib.training.state import TrainState
from dglib.training.step import (
    Batch,
    Kind,
    Method,
    Number,
    gradient,
    mixes,
    step,
    values,
)

T = TypeVar("T")
StepFunction = Callable[[TrainState, Batch, Number, Number, Kind, Method], Tensor | None]

WARM_UP = 3  # steps of a kind before it is captured: libraries choose their plans, buffers are made
SAFE_FROM = (2, 12)  # before it, torch's allocator and generator are left in capture where one fails


class StepRunner:
    """Takes steps of one state.

    Args:
        spec: refresh period, log cadence, mixing rule and value source.
        numerics: precision and techniques.
        log: gather the epoch's losses and the step log in the state. Changes no weight, buffer or draw.
        recorder: what captures; by default CUDA graphs, if `numerics` has them.
        function: another one in the place of `dglib.training.step.step`.
    """

    def __init__(
        self,
        spec: StepSpec,
        numerics: Numerics,
        *,
        log: bool = True,
        recorder: Recorder | None = None,
        function: StepFunction | None = None,
    ) -> None:
        self.spec, device = spec, numerics.torch_device
        self._step = step if function is None else function
        self.logs = log and spec.log_every > 0
        rule, value = mixes.get(spec.mix), values.get(spec.value)
        self._compiled = CompiledGradient() if numerics.compiled else None
        self._mix = Compiled(rule) if numerics.compiled else None
        if recorder is None and numerics.cuda_graphs:
            recorder = CudaRecorder(device)
        self._captured = None if recorder is None else CapturedSteps(recorder, device, self._step)
        # A GPU's generator cannot be set back while a graph is captured.
        self._log_dropout = torch.Generator(device) if device.type != "cpu" and self.logs else None
        self.method = Method(
            spec,
            numerics,
            self._mix or rule,
            value,
            self._compiled or gradient,
            log=log,
            log_dropout=self._log_dropout,
        )
        self._lam = torch.zeros((), dtype=torch.float64, device=device) if numerics.compiled else None

    @property
    def fallback(self) -> str:
        """Why it is slower than asked to be, or ""."""
        parts = (self._captured, self._compiled, self._mix)
        return "; ".join(dict.fromkeys(part.fallback for part in parts if part and part.fallback))

    def __call__(self, state: TrainState, batch: Batch, lam: float, lr: float) -> None:
        """One step at λ = `lam`; λ and the learning rate may change between steps at no cost."""
        refresh = state.t % self.spec.refresh_period == 0 or state.holds_none()
        kind = Kind(refresh, self.logs and state.t % self.spec.log_every == 0)
        if kind.logged and self._log_dropout is not None:
            self._log_dropout.manual_seed((state.dropout.initial_seed() + state.t + 1) % 2**63)
        if self._captured is not None:
            row = self._captured(state, batch, lam, lr, kind, self.method)
        else:
            weight = lam if self._lam is None else self._lam.fill_(lam)  # a number would be compiled in
            row = self._step(state, batch, weight, lr, kind, self.method)
        if row is not None:
            state.step_log.append((state.t, row.clone()))
        state.t += 1


class Recorder(Protocol):
    """What captures a function."""

    def warm_up(self, function: Callable[[], T], *, last: bool) -> T:
        """Run it as it is, where that readies a later capture.

        Raises:
            HostSync: after the last run, if a capture would fail. It carries the result.
        """

    def capture(
        self, function: Callable[[], T], state: TrainState, generators: Sequence[torch.Generator]
    ) -> tuple[Callable[[], None], T]:
        """Capture without running it: how to replay it, and the tensors that results then lie in.

        Args:
            generators: that the function draws from.

        Raises:
            RuntimeError: it cannot be captured. The process, the current stream and the state are usable.
        """


class HostSync(Exception):  # noqa: N818
    """A function asked the device for a value, which no graph can hold; it has run to its end."""

    def __init__(self, reason: str, result: Any) -> None:
        super().__init__(reason)
        self.result = result


class CapturedSteps:
    """Steps of one state, each kind run as it is a few times, then captured, and replayed from there on.

    What changes from step to step is copied into tensors of its own, which the graphs read. The steps before
    a capture are real ones, so nothing has to be put back.
    """

    def __init__(self, recorder: Recorder, device: torch.device, function: StepFunction) -> None:
        self.fallback, self._step = "", function
        self._recorder = recorder
        self._graphs: dict[Hashable, tuple[Callable[[], None], Tensor | None]] = {}
        self._calls: Counter[Hashable] = Counter()
        self._state: TrainState | None = None
        self._moves = -1
        self._batches: dict[int, Batch] = {}
        self._lam = torch.zeros((), dtype=torch.float64, device=device)
        self._lr = torch.zeros((), device=device)
        self._numbers: tuple[float, float] | None = None

    def __call__(
        self, state: TrainState, batch: Batch, lam: float, lr: float, kind: Kind, method: Method
    ) -> Tensor | None:
        """As `step`. The row is overwritten by the next step of this kind."""
        self._bind(state)
        held = self._held_batch(batch)
        self._hold_numbers(lam, lr)

        weight, rate = self._lam, self._lr

        def run() -> Tensor | None:
            return self._step(state, held, weight, rate, kind, method)

        key = len(batch.x), kind
        if self.fallback:
            return run()
        if key not in self._graphs:
            self._calls[key] += 1
            if self._calls[key] <= WARM_UP:
                try:
                    return self._recorder.warm_up(run, last=self._calls[key] == WARM_UP)
                except HostSync as sync:
                    self._give_up(sync)
                    row: Tensor | None = sync.result
                    return row
            try:
                drawn = [state.dropout, *filter(None, (method.log_dropout,))]
                self._graphs[key] = self._recorder.capture(run, state, drawn)
            except RuntimeError as error:  # a capture runs nothing, so the step can still be taken
                self._give_up(error)
                return run()
        replay, row = self._graphs[key]
        replay()
        return row

    def _give_up(self, error: Exception) -> None:
        self.fallback = f"CUDA graphs: {_first_line(error)}"
        self._graphs.clear()

    def _bind(self, state: TrainState) -> None:
        """Refuse another state, or one whose tensors were replaced: graphs work on the memory they saw."""
        if self._state is None:
            self._state = state
        elif self._state is not state:
            raise ValueError("captured steps belong to one state: make a new runner for another")
        if state.moves != self._moves:
            if self._graphs:
                raise ValueError("the state's tensors have been replaced: make a new runner for them")
            self._moves = state.moves

    def _held_batch(self, batch: Batch) -> Batch:
        held = self._batches.get(len(batch.x))
        if held is None:
            held = Batch(*(torch.empty_like(t) for t in (batch.x, batch.noisy, batch.clean)))
            self._batches[len(batch.x)] = held
        for ours, given in ((held.x, batch.x), (held.noisy, batch.noisy), (held.clean, batch.clean)):
            ours.copy_(given)
        return held

    def _hold_numbers(self, lam: float, lr: float) -> None:
        if (lam, lr) != self._numbers:
            self._lam.fill_(lam)
            self._lr.fill_(lr)
            self._numbers = lam, lr


_streams: dict[torch.device, Any] = {}  # one for each device: cuBLAS keeps a workspace for each stream


class CudaRecorder:
    """CUDA graphs, each with its own memory, so that no order of replays can overwrite what another holds."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        with torch.cuda.device(device):
            self._stream = _streams.setdefault(device, torch.cuda.Stream(device))  # type: ignore[no-untyped-call]

    def warm_up(self, function: Callable[[], T], *, last: bool) -> T:
        """On the side stream that captures; the last run looks for host syncs, which would fail a capture."""
        with torch.cuda.device(self._device):
            current = torch.cuda.current_stream(self._device)
            self._stream.wait_stream(current)
            with torch.cuda.stream(self._stream), warnings.catch_warnings(record=last) as caught:
                if last:
                    warnings.simplefilter("always")
                result = _warning_of_syncs(function) if last else function()
            current.wait_stream(self._stream)
        syncs = [w for w in caught or () if "synchronizing CUDA operation" in str(w.message)]
        for other in caught or ():
            if other not in syncs:
                warnings.warn_explicit(other.message, other.category, other.filename, other.lineno)
        if syncs:
            raise HostSync(f"the step waits for the device, at {syncs[0].filename}:{syncs[0].lineno}", result)
        return result

    def capture(
        self, function: Callable[[], T], state: TrainState, generators: Sequence[torch.Generator]
    ) -> tuple[Callable[[], None], T]:
        # Generators are registered on the current device, which need not be this one.
        with torch.cuda.device(self._device):
            stream, draws = torch.cuda.current_stream(self._device), state.dropout.get_state()
            graph = torch.cuda.CUDAGraph()
            try:
                for generator in generators:
                    graph.register_generator_state(generator)
                with torch.cuda.graph(graph, stream=self._stream):
                    result = function()
            except RuntimeError as error:
                _recover(error, stream, state, draws)
                raise
        return graph.replay, result


def _recover(error: Exception, stream: Any, state: TrainState, draws: Tensor) -> None:
    """After a capture that failed: torch leaves its stream current, and the generator in capture."""
    torch.cuda.set_stream(stream)
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < SAFE_FROM:
        version = ".".join(map(str, SAFE_FROM))
        raise UserError(
            f"CUDA graphs: {_first_line(error)}; torch {torch.__version__} cannot compute in this process any"
            f" more: set cuda_graphs=off, or use torch {version} or newer"
        ) from error
    state.dropout = torch.Generator(state.device)
    state.dropout.set_state(draws)
    key_dropout(state.model, state.dropout)


def _warning_of_syncs(function: Callable[[], T]) -> T:
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("warn")  # "error" would leave the step half done
    try:
        return function()
    finally:
        torch.cuda.set_sync_debug_mode(before)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "")
