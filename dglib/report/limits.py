"""What the runs of a report do not show."""

from __future__ import annotations

from collections.abc import Sequence

from dglib.analysis import wording
from dglib.experiments import get, joints
from dglib.report.collect import Found
from dglib.report.provenance import data_name

FEW = 10


def limits(found: Sequence[Found], damaged: Sequence[str], unit: str = "experiment") -> list[str]:
    """A sentence or two per limit that applies to these runs; `unit`: experiment or cell."""
    read = [run for run in found if run.records]
    if not read:
        return []
    names = {run.experiment: get(run.experiment) for run in read}
    lines = [_few_seeds(read, unit), *_data(read)]
    swept = [run for run in read if names[run.experiment].sweeps]
    if swept:
        lines += [_lag(swept), *_frozen(swept)]
    lines += [
        joint.limitation for joint in joints() if joint.limitation and names.keys() >= set(joint.experiments)
    ]
    trapped = sum((run.summary.get("start") or {}).get("trapped", 0) for run in read)
    if trapped:
        lines.append(
            f"{wording.seeds(trapped)} began the falling sweep trapped, with one class predicted for"
            " everything. That is another state than the collapsed one, and its λ↓ or gap answers another"
            " question."
        )
    if unit == "experiment":  # a grid asks for ends alone
        lines += [about.limitation for about in names.values() if about.limitation]
    moved = sum(record.get("bitwise") is False for run in read for record in run.records)
    if moved:
        lines.append(
            f"{wording.seeds(moved)} resumed under other numerics (machine, torch version or thread count)"
            " than before: as trustworthy as the others, but not reproducible bit for bit."
        )
    if damaged:
        files = "1 file was" if len(damaged) == 1 else f"{len(damaged)} files were"
        lines.append(f"{files} damaged and left out; the numbers here are without them.")
    under_way = sum(len(run.heartbeats) for run in read)
    if under_way:
        lines.append(f"{wording.seeds(under_way)} had not finished, and the numbers are without them.")
    return lines


def _few_seeds(read: Sequence[Found], unit: str) -> str:
    counts = [len(run.records) for run in read]
    least, most = min(counts), max(counts)
    number = wording.seeds(most) if least == most else f"{least} to {most} seeds"
    if most >= FEW:
        return f"Each {unit} has {number}. Its intervals show how far these determine the numbers."
    return (
        f"Each {unit} has {number}. So few show an effect only if it is large, and one that is not found"
        " with them may still be there; the intervals show how far they determine the numbers."
    )


def _data(read: Sequence[Found]) -> list[str]:
    lines, sets = [], sorted({data_name(run) for run in read})
    if any("digits" in name for name in sets):
        lines.append(
            "Small networks on 8×8 digits were trained here. They show the phenomenon in minutes, and"
            " prove nothing about CIFAR-10 or larger networks."
        )
    if any("JPEG-75" in name for name in sets):
        lines.append(
            "The images are a copy of CIFAR-10 that went through JPEG at quality 75, so errors are not those"
            " of CIFAR-10 itself."
        )
    if len(sets) > 1:
        used = wording.listing(sets)
        lines.append(f"Not all runs used the same data ({used}); numbers across them do not compare.")
    return lines


def _lag(swept: Sequence[Found]) -> str:
    times = sorted({time for run in swept for time in run.summary["dwell"]["epochs_per_level"]})
    here = f" (here {wording.per_level(*times)})" if times else ""
    return (
        f"Part of what a sweep shows as hysteresis is lag: the network has a limited time at each λ{here},"
        " and with more time the loop narrows. How much is lag only runs at several dwell times can show."
    )


def _frozen(swept: Sequence[Found]) -> list[str]:
    held = {(run.experiment, run.summary["dwell"]["constant_lr"]) for run in swept}
    falling = sorted(name for name, constant in held if constant is False)
    unknown = sorted(name for name, constant in held if constant is None)
    lines = []
    if falling:
        lines.append(
            f"In {wording.listing(falling)} the learning rate of the sweep is not held but follows the"
            " schedule, and is low there: a state that stays may be frozen and not stable."
        )
    if unknown:
        lines.append(
            f"The files of {wording.listing(unknown)} do not state the learning rate of the sweep. In the"
            " published protocol it drops as the sweep begins, so a state that stays may be frozen and not"
            " stable."
        )
    return lines
