"""What records say, as plain values under fixed names: no NaN, no infinity, null where there is nothing.

Always there: `n`, `events` (null where the protocol has no event), `failed_inits`, `diverged`, `outcomes`
(counts that add up to n), each of `quantities()` as `dglib.analysis.quantities.quantity` has it or null,
`measured` (seeds behind the quantity), `dwell`, `notes` (sentences on what is missing), `seeds`. More: see
the experiments' own `values`.
"""

from dglib.analysis.dwell import dwell
from dglib.analysis.fields import Records
from dglib.analysis.quantities import Plain, few
from dglib.experiments.registry import get, joints, names


def quantities() -> dict[str, str]:
    """Every experiment's quantities, and those of several experiments, with their symbols."""
    found: dict[str, str] = {}
    for name in names():
        found |= get(name).quantities
        found |= {joint.quantity: joint.symbol for joint in joints() if joint.experiments[-1] == name}
    return found


def experiment_values(experiment: str, records: Records) -> Plain:
    """One experiment's counts and quantities; those of several experiments are null here."""
    found = get(experiment).values(records)
    seeds = found.pop("seeds")
    notes = found.pop("notes", []) + _notes(found)
    common = {"n": len(records), "events": None, **dict.fromkeys(quantities())}
    return {**common, **found, "dwell": dwell(records), "notes": notes, "seeds": seeds}


def _notes(found: Plain) -> list[str]:
    outcomes, measured = found["outcomes"], found["measured"]
    n = sum(outcomes.values())
    if n and not measured:
        words = {"init_failed": "failed the init", "diverged": "diverged", "unfinished": "not finished"}
        counts = [f"{outcomes[kind]} {word}" for kind, word in words.items() if outcomes.get(kind)]
        if outcomes.get("init_failed") == n:
            return [f"all seeds failed ({n} of {n} the init): nothing was measured"]
        return [f"no seed was measured{': ' if counts else ''}{', '.join(counts)}"]
    return few(measured) if "shares" not in found else ["n = 1"] * (measured == 1)
