"""Measures cases one after the other, within the time that there is."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F

from dglib.benchmark.baseline import plain_network
from dglib.benchmark.budget import Budget, Rate, fitting_batches
from dglib.benchmark.images import first, random_images
from dglib.benchmark.machine import cores, describe_machine, flop_per_image, parameter_count, peaks
from dglib.benchmark.measuring import Bench
from dglib.benchmark.rows import Row
from dglib.benchmark.settings import QUICK, REFRESH_PERIOD, Case, Scale, Setting
from dglib.benchmark.sides import Training, Work
from dglib.benchmark.timing import now
from dglib.errors import UserError
from dglib.numerics import SWITCHES, Numerics, has_bf16_matrix_units

PROBE_BATCH = 8  # to estimate costs: images of larger batches cost a little less

Show = Callable[[Row | tuple[str, str]], None]
Plan = dict[Case, tuple[Numerics | None, str]]


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
            if self.machine["busy"]:
                self.tell("others are computing here (load_average): these times are not to be relied on")
            begin(self.machine)
            plan = self._possible(numerics, show)
            rates = {s.label: self._rate(s, numerics[s.label]) for s in settings}
            batches = {case.name: case.setting.batch for case in plan}
            if some.torch_device.type == "cpu" and not self.scale.fixed_batch:
                batches = fitting_batches(list(plan), rates, self.seconds, equally=self.named)
            flop = {s.label: flop_per_image(s) for s in settings}
            bench = Bench(self.scale, numerics, batches, flop, measured)
            budget = Budget(
                seconds=self.seconds,
                device=some.torch_device.type,
                rates=rates,
                batches=batches,
                epoch_images=self.scale.images,
                most_pairs=self.scale.pairs,
                set_up=bench.set_up,
                began=began,
            )
            self._measure(plan, bench, budget, show)
        finally:
            torch.set_num_threads(before)

    def _possible(self, numerics: Mapping[str, Numerics], show: Show) -> Plan:
        """The cases that this machine can run, with their numerics; the others are left out here."""
        plan: Plan = {}
        for case in self.cases:
            try:
                plan[case] = self._varied(case, numerics[case.setting.label])
            except UserError as error:
                self._leave_out(case, str(error), show)
        return plan

    def _measure(self, plan: Plan, bench: Bench, budget: Budget, show: Show) -> None:
        for number, case in enumerate(plan):
            rest = list(plan)[number + 1 :]
            left = max(budget.left, 0.0) / 60
            self.tell(f"[{number + 1}/{len(plan)}] {case.name}, at most {left:.1f} min left")
            bench.release(keep=case.setting.label)
            try:
                reason = budget.refusal(case, rest)
                if reason:
                    raise UserError(reason)
                row = bench.measure(case, budget.allowance(case, rest), *plan[case])
            except UserError as error:
                self._leave_out(case, str(error), show)
            else:
                self.rows.append(row)
                show(row)
        bench.release()

    def _leave_out(self, case: Case, reason: str, show: Show) -> None:
        self.skipped.append((case.name, reason))
        show(self.skipped[-1])

    def _rate(self, setting: Setting, numerics: Numerics) -> Rate:
        """From a step of each side, after one to warm up."""
        device = numerics.torch_device
        batch = PROBE_BATCH if device.type == "cpu" else setting.batch
        ours = math.inf
        if device.type == "cpu":  # on CUDA the first steps compile, and time is not short
            data = first(random_images(self.scale, setting), REFRESH_PERIOD * batch, 1)
            probe = Training(Work(setting, batch, steps=1), data, numerics)
            probe.warm_up()
            probe.block()  # a refresh
            ours = probe.block()
        baseline = _seconds_of_a_pass(setting, batch, device)
        return Rate(min(ours, baseline) / batch, baseline / batch)

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
        if name == "compiled" and not cuda and not self.named:
            raise UserError("compiling takes minutes on a CPU; --only measures it anyway")
        switches[name], note = "on" if way == "with" else "off", ""
        if name == "fused" and way == "without" and usual.cuda_graphs:
            switches["cuda_graphs"], note = "off", "without CUDA graphs, which need it"
        return self._resolved(case.setting, precision=usual.precision, **switches), note


def _multiplies_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return has_bf16_matrix_units()


def _seconds_of_a_pass(setting: Setting, batch: int, device: torch.device) -> float:
    """Of a forward and backward pass of a batch by the baseline's means, after one to warm up."""
    model = plain_network(setting).to(device)
    x = torch.zeros(batch, 3, setting.side, setting.side, device=device)
    labels = torch.zeros(batch, dtype=torch.int64, device=device)
    seconds = 0.0
    for _ in range(2):
        began = now(device)
        F.cross_entropy(model(x), labels).backward()  # type: ignore[no-untyped-call]
        seconds = now(device) - began
    return seconds
