"""The step made faster: its loss, and all behind its gradients, compiled by torch.compile; step and
evaluation captured as CUDA graphs.

One graph per kind of step (batch size, refresh or not, logged or not) and of evaluation, from the images of
an epoch to the weights. Where compiling or capturing fails, later calls run as they are, and `fallback` has
the reason. A run on a CPU needs none of this.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from dglib.errors import UserError
from dglib.training.networks import key_dropout
from dglib.training.numerics import Numerics
from dglib.training.state import Gradient, TrainState
from dglib.training.step import (
    BATCH_NORMS,
    BatchFunction,
    Method,
    Number,
    UpdateFunction,
    batch_loss,
    gradient,
    no_trace,
    update,
)

T = TypeVar("T")

WARM_UP = 3  # calls of a kind before it is captured: libraries choose their plans, buffers are made
SAFE_FROM = (2, 12)  # before it, torch's allocator and generator are left in capture where one fails


# ── compilation ──


def compiled(method: Method) -> Method:
    """The method with its loss and its update compiled."""
    return replace(method, gradient=CompiledGradient(), update=CompiledUpdate())


class CompiledUpdate:
    """`update` compiled as one, for each set of shapes; as it is once compiling has failed.

    As one graph (`fullgraph`), so that a failure comes before anything has moved.
    """

    def __init__(self) -> None:
        self.fallback = ""
        self._fast: UpdateFunction = torch.compile(update, dynamic=False, fullgraph=True)

    def __call__(
        self,
        state: TrainState,
        method: Method,
        g_s: Gradient,
        fresh: Gradient | None,
        lam: Number,
        lr: Number,
    ) -> list[Tensor]:
        if not self.fallback:
            # Numbers would be compiled in.
            device = state.device
            weight = (
                lam if isinstance(lam, Tensor) else torch.full((), lam, dtype=torch.float64, device=device)
            )
            rate = lr if isinstance(lr, Tensor) else torch.full((), lr, device=device)
            try:
                return self._fast(state, method, g_s, fresh, weight, rate)
            except Exception as error:  # whatever a compiler may raise; a true mistake is raised again below
                self.fallback = _reason(error)
        return update(state, method, g_s, fresh, lam, lr)


class CompiledGradient:
    """`gradient` with its loss compiled, for each batch size and momentum of BatchNorm.

    A failure may come after the forward (the backward is compiled too), which has then moved BatchNorm's
    statistics and drawn dropout: so each kind is tried once without a trace.
    """

    def __init__(self) -> None:
        self.fallback = ""
        self._loss = torch.compile(batch_loss, dynamic=False)
        self._kinds: set[tuple[int, frozenset[float | None]]] = set()

    def __call__(self, state: TrainState, x: Tensor, labels: Tensor, numerics: Numerics) -> Gradient:
        kind = len(x), frozenset(m.momentum for m in state.model.modules() if isinstance(m, BATCH_NORMS))
        if not self.fallback and kind not in self._kinds:
            try:
                with no_trace(state), warnings.catch_warnings():
                    # The tracer reads what comes before keyed dropout.
                    warnings.filterwarnings("ignore", message=r"The \.grad attribute of a Tensor")
                    gradient(state, x, labels, numerics, self._loss)
                self._kinds.add(kind)
            except Exception as error:
                self.fallback = _reason(error)
        return gradient(state, x, labels, numerics, batch_loss if self.fallback else self._loss)


def _reason(error: Exception) -> str:
    return f"torch.compile: {type(error).__name__}: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "")


# ── CUDA graphs ──


class HostSync(Exception):  # noqa: N818
    """A function asked the device for a value, which no graph can hold; it has run to its end."""

    def __init__(self, reason: str, result: Any) -> None:
        super().__init__(reason)
        self.result = result


class Recorder(Protocol):
    """What captures: `CudaRecorder`."""

    def warm_up(self, function: Callable[[], T], *, last: bool) -> T: ...

    def capture(self, function: Callable[[], T], state: TrainState) -> tuple[Callable[[], None], T]: ...


class Captured:
    """A function of one state, each kind of call run as it is a few times, then captured and replayed.

    Its numbers, and where its images start, are tensors of its own, which the graphs read. A call that goes
    on where the one before ended copies nothing: the graph itself has moved the start. The calls before a
    capture are real ones, so nothing has to be put back.

    Args:
        dtypes: of the numbers.
    """

    def __init__(
        self,
        function: BatchFunction,
        recorder: Recorder,
        device: torch.device,
        dtypes: Sequence[torch.dtype] = (),
    ) -> None:
        self.fallback = ""
        self._function, self._recorder = function, recorder
        self._graphs: dict[Hashable, tuple[Callable[[], None], Tensor | None]] = {}
        self._calls: Counter[Hashable] = Counter()
        self._state: TrainState | None = None
        self._moves = -1
        self._held = [torch.zeros((), dtype=dtype, device=device) for dtype in (torch.int64, *dtypes)]
        self._values: list[Number] = [0.0] * len(self._held)

    def __call__(
        self,
        state: TrainState,
        start: Number,
        size: int,
        numbers: Sequence[Number],
        kind: tuple[bool, ...],
    ) -> Tensor | None:
        """As the function. The result is overwritten by the next call of this kind."""
        self._bind(state)
        self._hold([start, *numbers])
        self._values[0] = start + size
        at, *held = self._held

        def run() -> Tensor | None:
            result = self._function(state, at, size, held, kind)
            at.add_(size)
            return result

        key = size, kind
        if self.fallback:
            return run()
        if key not in self._graphs:
            self._calls[key] += 1
            if self._calls[key] <= WARM_UP:
                try:
                    return self._recorder.warm_up(run, last=self._calls[key] == WARM_UP)
                except HostSync as sync:
                    self._give_up(sync)
                    done: Tensor | None = sync.result
                    return done
            try:
                self._graphs[key] = self._recorder.capture(run, state)
            except RuntimeError as error:  # a capture runs nothing, so the call can still be made
                self._give_up(error)
                return run()
        replay, result = self._graphs[key]
        replay()
        return result

    def _give_up(self, error: Exception) -> None:
        self.fallback = f"CUDA graphs: {_first_line(error)}"
        self._graphs.clear()

    def _bind(self, state: TrainState) -> None:
        """Refuse another state, or one whose tensors were replaced: graphs read the memory they captured."""
        if self._state is not None and self._state is not state:
            raise ValueError("captured steps belong to one state: make a new trainer for another")
        if state.moves != self._moves and self._graphs:
            raise ValueError("the state's tensors have been replaced: make a new trainer for them")
        self._state, self._moves = state, state.moves

    def _hold(self, values: Sequence[Number]) -> None:
        for number, value in enumerate(values):
            if value != self._values[number]:
                self._held[number].fill_(value)
                self._values[number] = value


_streams: dict[torch.device, Any] = {}  # one for each device: cuBLAS allocates a workspace per stream


class CudaRecorder:
    """CUDA graphs, each with its own memory, so that no order of replays can overwrite what another holds."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        with torch.cuda.device(device):
            if device not in _streams:
                _streams[device] = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._stream = _streams[device]

    def warm_up(self, function: Callable[[], T], *, last: bool) -> T:
        """Run it as it is, on the stream that captures.

        Raises:
            HostSync: after the last run, if it waits for the device: a capture would fail.
        """
        with torch.cuda.device(self._device):
            current = torch.cuda.current_stream(self._device)
            self._stream.wait_stream(current)
            with torch.cuda.stream(self._stream), warnings.catch_warnings(record=last) as caught:
                before = torch.cuda.get_sync_debug_mode()
                if last:
                    warnings.simplefilter("always")
                    torch.cuda.set_sync_debug_mode("warn")  # "error" would leave the step half done
                try:
                    result = function()
                finally:
                    torch.cuda.set_sync_debug_mode(before)
            current.wait_stream(self._stream)
        syncs = [w for w in caught or () if "synchronizing CUDA operation" in str(w.message)]
        for other in caught or ():
            if other not in syncs:
                warnings.warn_explicit(other.message, other.category, other.filename, other.lineno)
        if syncs:
            raise HostSync(f"waits for the device, at {syncs[0].filename}:{syncs[0].lineno}", result)
        return result

    def capture(self, function: Callable[[], T], state: TrainState) -> tuple[Callable[[], None], T]:
        """Capture without running it: how to replay it, and the tensors that results then lie in.

        Raises:
            RuntimeError: it cannot be captured. The process, the current stream and the state are usable.
            UserError: this torch cannot compute any more in this process.
        """
        # Generators are registered on the current device, which need not be this one.
        with torch.cuda.device(self._device):
            stream, draws = torch.cuda.current_stream(self._device), state.dropout.get_state()
            graph = torch.cuda.CUDAGraph()
            # An evaluation draws nothing; if it fails, graphs of the step still draw from these.
            drawn = [state.dropout, state.log_dropout] if state.model.training else []
            try:
                for generator in filter(None, drawn):
                    graph.register_generator_state(generator)
                with torch.cuda.graph(graph, stream=self._stream):
                    result = function()
            except RuntimeError as error:
                _recover(error, stream, state, draws if drawn else None)
                raise
        return graph.replay, result


def _recover(error: Exception, stream: Any, state: TrainState, draws: Tensor | None) -> None:
    """After a capture that failed: torch leaves its stream current, and registered generators in capture."""
    torch.cuda.set_stream(stream)
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < SAFE_FROM:
        version = ".".join(map(str, SAFE_FROM))
        raise UserError(
            f"CUDA graphs: {_first_line(error)}; torch {torch.__version__} cannot compute in this process any"
            f" more: set cuda_graphs=off, or use torch {version} or newer"
        ) from error
    if draws is not None:
        state.dropout = torch.Generator(state.device)
        state.dropout.set_state(draws)
        key_dropout(state.model, state.dropout)
        if state.log_dropout is not None:  # keyed anew before each use
            state.log_dropout = torch.Generator(state.device)
