"""The recorded loop that stands behind a live path."""

from __future__ import annotations

from dglib.explorer.runs import QUICK, Choice, Places, choices, load
from dglib.explorer.ways import Seed, seeds_of

_LOOKED_AT = 6  # runs that are opened to find one


def recorded_loop(places: Places) -> list[Seed]:
    """The newest of the runs chosen or kept in which λ was raised, else of the quick run; [] without any."""
    for choice in [*choices(places)[:_LOOKED_AT], Choice(QUICK, "")]:
        if choice.path.exists():
            seeds = seeds_of(load(choice))
            if any(way.branch.key == "T1-up" for seed in seeds for way in seed.ways):
                return seeds
    return []
