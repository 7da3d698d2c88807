"""What the runs of a report do not show, said as plainly as what they do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dglib.analysis import wording
from dglib.experiments import get, joints
from dglib.report.collect import Collection, Found
from dglib.report.provenance import data

FEW = 10

Read = Sequence[tuple[Found, Mapping[str, Any]]]


def limits(collection: Collection, read: Read, unit: str = "experiment") -> list[str]:
    """A sentence or two per limit that applies to these runs; `read`: each with its summary.

    `unit`: what one of them is called: an experiment, or a cell of a grid.
    """
    read = [(each, summary) for each, summary in read if each.records]
    if not read:
        return []
    found = [each for each, _ in read]
    names = {each.experiment for each in found}
    said = [_few_seeds(found, unit), *_data(found)]
    if any(get(name).sweeps for name in names):
        said += [_lag(read), *_frozen(read)]
    said += [each.limitation for each in joints() if each.limitation and names >= set(each.experiments)]
    said += _trapped(read)
    if unit == "experiment":  # a grid asks for ends alone
        own = dict.fromkeys(each.experiment for each in found)
        said += [text for name in own if (text := get(name).limitation)]
    said += _numerics(found)
    lost = len(collection.damaged)
    if lost:
        files = "1 file was" if lost == 1 else f"{lost} files were"
        said.append(f"{files} damaged and left out; what was in them is not in any number here.")
    under_way = sum(len(each.heartbeats) for each in found)
    if under_way:
        said.append(f"{wording.seeds(under_way)} had not finished, and the numbers are without them.")
    return said


def _few_seeds(found: Sequence[Found], unit: str) -> str:
    counts = [len(each.records) for each in found]
    least, most = min(counts), max(counts)
    number = wording.seeds(most) if least == most else f"{least} to {most} seeds"
    if most >= FEW:
        return f"Each {unit} has {number}. Its intervals say how far these determine the numbers."
    return (
        f"Each {unit} has {number}. So few show an effect only if it is large, and one that is not found"
        " with them may still be there; the intervals say how far they determine the numbers."
    )


def _data(found: Sequence[Found]) -> list[str]:
    said = []
    sets = {data(each).partition(";")[0] for each in found}
    if any("digits" in name for name in sets):
        said.append(
            "Small networks on 8×8 digits were trained here. They show the phenomenon in minutes, and"
            " prove nothing about CIFAR-10 or larger networks."
        )
    if any("JPEG-75" in name for name in sets):
        said.append(
            "The images are a copy of CIFAR-10 that went through JPEG at quality 75, so errors are not those"
            " of CIFAR-10 itself."
        )
    if len(sets) > 1:
        named = wording.listing(sorted(sets))
        said.append(f"Not all runs used the same data ({named}); numbers across them do not compare.")
    return said


def _lag(read: Read) -> str:
    times = sorted(
        {t for found, s in read if get(found.experiment).sweeps for t in s["dwell"]["epochs_per_level"]}
    )
    named = (
        f" (here {wording.listing([str(time) for time in times], 'or')} epochs per level)" if times else ""
    )
    return (
        f"Part of what a sweep shows as hysteresis is lag: the network has a limited time at each λ{named},"
        " and with more time the loop narrows. How much is lag only runs at several dwell times can tell."
    )


def _frozen(read: Read) -> list[str]:
    swept = [(f.experiment, s["dwell"]["constant_lr"]) for f, s in read if get(f.experiment).sweeps]
    falling = [name for name, constant in swept if constant is False]
    unknown = [name for name, constant in swept if constant is None]
    said = []
    if falling:
        said.append(
            f"In {wording.listing(sorted(set(falling)))} the learning rate of the sweep is not held but"
            " follows the schedule, and is low there: a state that stays may be frozen and not stable."
        )
    if unknown:
        said.append(
            f"The files of {wording.listing(sorted(set(unknown)))} do not say which learning rate the sweep"
            " had. In the published protocol it drops as the sweep begins, so a state that stays may be"
            " frozen and not stable."
        )
    return said


def _trapped(read: Read) -> list[str]:
    count = sum((s.get("start") or {}).get("trapped", 0) for _, s in read)
    if not count:
        return []
    return [
        f"{wording.seeds(count)} began the way down trapped, with one class predicted for everything. That"
        " is another state than the collapsed one, and its λ↓ or gap answers another question."
    ]


def _numerics(found: Sequence[Found]) -> list[str]:
    moved = sum(record.get("bitwise") is False for each in found for record in each.records)
    if not moved:
        return []
    return [
        f"{wording.seeds(moved)} went on under other numerics (machine, torch version or thread count) than"
        " they began with: as trustworthy as the others, but not to be had again bit for bit."
    ]
