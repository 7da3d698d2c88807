"""Measures cases one after the other, within the time that there is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F

from dglib.benchmark.baseline import plain_network
from dglib.benchmark.budget import Budget, fitting_batches
from dglib.benchmark.machine import cores, describe_machine, flop_per_image, parameter_count, peaks
from dglib.benchmark.measuring import Bench
from dglib.benchmark.rows import Row
from dglib.benchmark.settings import QUICK, Case, Scale, Setting
from dglib.benchmark.timing import now
from dglib.errors import UserError
from dglib.numerics import SWITCHES, Numerics, has_bf16_matrix_units

PROBE_BATCH = 8

Show = Callable[[Row | tuple[str, str]], None]


@dataclass
class Session:
    """A benchmark and what it has found so far.

    Args:
        cases: to measure, in this order.
        device, threads: as `Numerics.resolve` takes them.
        seconds: for all of it.
        named: whether the cases were asked for by name; some are only then.
        tell: gets lines on the progress.
    """

    scale: Scale
    cases: Sequence[Case]
    device: str
    threads: int
    seconds: float
    named: bool
    tell: Callable[[str], None]
    machine: dict[str, Any] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)

    def run(self, begin: Callable[[Mapping[str, object]], None], show: Show) -> None:
        """Measure all cases.

        Args:
            begin: gets the machine's description, before the first case.
            show: gets each row, or the name of a case left out with the reason.
        """
        began, quick = time.monotonic(), self.scale is QUICK
        settings = list(dict.fromkeys(case.setting for case in self.cases))
        numerics = {setting.label: self._resolved(setting) for setting in settings}
        some = numerics[settings[0].label]
        if not self.named:
            self.cases = [case for case in self.cases if self._applies(case, numerics[case.setting.label])]
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)  # the baseline's too
        try:
            self.machine.update(describe_machine(some))
            measured = peaks(some, quick=quick)
            self.machine["peak_tflops"] = {name: round(rate / 1e12, 4) for name, rate in measured.items()}
            per_pass = {s.label: _seconds_per_pass(s, some.torch_device) for s in settings}
            batches = {s.label: s.batch for s in settings}
            if some.torch_device.type == "cpu" and not self.scale.fixed_batch:
                batches = fitting_batches(self.cases, per_pass, self.seconds)
            flop = {s.label: flop_per_image(s) for s in settings}
            bench = Bench(self.scale, numerics, batches, flop, measured)
            budget = Budget(
                seconds=self.seconds,
                device=some.torch_device.type,
                per_pass=per_pass,
                batches=batches,
                epoch_images=self.scale.images,
                most_pairs=self.scale.pairs,
                set_up=bench.set_up,
                began=began,
            )
            if self.machine["busy"]:
                self.tell("others are computing here (load_average): these times are not to be relied on")
            begin(self.machine)
            with _many_networks() if some.compile else nullcontext():
                self._measure(bench, budget, show)
        finally:
            torch.set_num_threads(before)

    def _measure(self, bench: Bench, budget: Budget, show: Show) -> None:
        for number, case in enumerate(self.cases):
            rest = self.cases[number + 1 :]
            left = max(budget.left, 0.0) / 60
            self.tell(f"[{number + 1}/{len(self.cases)}] {case.name}, at most {left:.1f} min left")
            bench.release(keep=case.setting.label)
            try:
                reason = budget.refusal(case, rest)
                if reason:
                    raise UserError(reason)
                varied, note = self._varied(case, bench.numerics[case.setting.label])
                row = bench.measure(case, budget.allowance(case, rest), varied, note)
            except UserError as error:
                self.skipped.append((case.name, str(error)))
                show(self.skipped[-1])
            else:
                self.rows.append(row)
                show(row)
        bench.release()

    def _resolved(self, setting: Setting, precision: str = "auto", **switches: str) -> Numerics:
        return Numerics.resolve(
            self.device,
            self.threads,
            precision=precision,
            network_parameters=parameter_count(setting),
            **switches,  # type: ignore[arg-type]  # none of them is `exact`
        )

    def _applies(self, case: Case, usual: Numerics) -> bool:
        """Whether a case is another way than the default; of those that the user names none is left out."""
        if case.kind == "technique":
            way, name = case.option.split()
            return getattr(usual, name) is (way == "without")
        return case.kind != "precision" or case.option != usual.precision

    def _varied(self, case: Case, usual: Numerics) -> tuple[Numerics | None, str]:
        """The numerics of a technique's or precision's case, and what is to be said of them.

        Raises:
            UserError: there is no such case here, and why.
        """
        cuda = usual.torch_device.type == "cuda"
        if not self._applies(case, usual):
            raise UserError(f"that is the default for {case.setting.label} here")
        if case.kind == "at_once" and not cuda and cores() < int(case.option):
            raise UserError(f"{cores()} core(s) for {case.option} processes")
        switches = {name: "on" if getattr(usual, name) else "off" for name in SWITCHES}
        if case.kind == "precision":
            if case.option == "bf16" and not self.named and not _multiplies_bf16(usual.torch_device):
                raise UserError(
                    "no matrix units for bf16 here (AMX; a GPU from 8.0 on); --only measures it anyway"
                )
            return self._resolved(case.setting, precision=case.option, **switches), ""
        if case.kind != "technique":
            return None, ""
        way, name = case.option.split()
        if name == "autotune" and not cuda:
            raise UserError("cuDNN's, so on CUDA alone")
        if name == "compile" and not cuda and not self.named:
            raise UserError("compiling takes minutes on a CPU; --only measures it anyway")
        switches[name], note = "on" if way == "with" else "off", ""
        if name == "fused" and way == "without" and usual.cuda_graphs:
            switches["cuda_graphs"], note = "off", "without CUDA graphs, which need it"
        return self._resolved(case.setting, precision=usual.precision, **switches), note


def _multiplies_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return has_bf16_matrix_units()


@contextmanager
def _many_networks() -> Iterator[None]:
    """Dynamo stops compiling a function after a few networks, and this process builds many."""
    import torch._dynamo

    with torch._dynamo.config.patch(recompile_limit=64):
        yield


def _seconds_per_pass(setting: Setting, device: torch.device) -> float:
    """Of a forward and backward pass of one image, by the baseline's means, after one to warm up."""
    model = plain_network(setting).to(device)
    batch = PROBE_BATCH if device.type == "cpu" else setting.batch
    x = torch.zeros(batch, 3, setting.side, setting.side, device=device)
    labels = torch.zeros(batch, dtype=torch.int64, device=device)
    seconds = 0.0
    for _ in range(2):
        began = now(device)
        F.cross_entropy(model(x), labels).backward()  # type: ignore[no-untyped-call]
        seconds = now(device) - began
    return seconds / batch
