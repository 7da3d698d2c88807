"""Does half precision change what the experiments find? T1, T2, Tδ1 of the quick profile, many seeds a side.

    python tests/precision_campaign.py --seeds 30 --precisions fp32 bf16 --json result.json

The first precision is the reference. Everything is run in run directories below --base; the same command
resumes after an interruption and runs no finished seed again. λ↑ is tested for equivalence within one level
of the sweep; outcomes are counted, with intervals. Exits with status 1 where equivalence is not shown.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from precision_comparison import compare, verdict

from dglib.runs import provenance

EXPERIMENTS = ("T1", "T2", "Td1")
STAGE = 10  # seeds that all sides finish before any begins the next: results at any time are of as many
SHORT = {  # for trying the script out
    "T1": [
        "init_epochs=2",
        "init_error_max=1.0",
        "epochs_per_level=1",
        "sweep_lambdas=[0.5, 0.55, 0.6]",
        "return_sweep=false",
    ],
    "T2": ["init_epochs=2", "init_error_min=0.0", "epochs_per_level=1", "sweep_lambdas=[0.5, 0.45, 0.4]"],
    "Td1": ["init_epochs=2", "milestones=[1]"],
}


def run_side(
    experiment: str, precision: str, seeds: int, base: Path, device: str, overrides: list[str]
) -> Path:
    """Run the seeds that are not finished; the run directory."""
    import dglib

    own = [f"seeds=[{', '.join(map(str, range(seeds)))}]", f"precision={precision}", f"device={device}"]
    parameters = dglib.load_profile(experiment, "quick", [*own, *overrides])
    return dglib.run(parameters.model_copy(update={"base_dir": str(base / precision)})).directory


def read_side(experiment: str, directory: Path, seeds: int) -> tuple[list[dict], dict]:
    """The records of seeds 0 to `seeds` - 1, and what the numbers were computed on."""
    from dglib.runs.store import read_records

    records = [record for record in read_records(directory, experiment) if record["seed"] < seeds]
    assert [record["seed"] for record in records] == list(range(seeds)), directory
    (manifest,) = directory.glob(f"{experiment}*_manifest.json")
    return records, json.loads(manifest.read_bytes())["numerics"]


def campaign(options: argparse.Namespace, tell: Any) -> dict[str, Any]:
    """Run all sides, in stages of seeds, and compare; what is found is written after every stage."""
    found: dict[str, Any] = {}
    for seeds in [*range(STAGE, options.seeds, STAGE), options.seeds]:
        done = {
            (name, p): run_side(
                name, p, seeds, options.base, options.device, SHORT[name] if options.short else []
            )
            for name in EXPERIMENTS
            for p in options.precisions
        }
        found = judged(done, options, seeds)
        if options.json is not None:
            options.json.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")
        for precision, part in found["compared"].items():
            tell(f"\n{seeds} seeds, {precision} against {options.precisions[0]}")
            tell("\n".join(part["verdict"]))
    return found


def judged(done: dict[tuple[str, str], Path], options: argparse.Namespace, seeds: int) -> dict[str, Any]:
    """The result file's content, from the run directories."""
    read = {side: read_side(side[0], directory, seeds) for side, directory in done.items()}
    records = {p: {name: read[name, p][0] for name in EXPERIMENTS} for p in options.precisions}
    reference = options.precisions[0]
    compared = {}
    for precision in options.precisions[1:]:
        part = compare(records[reference], records[precision])
        compared[precision] = {"verdict": verdict(precision, reference, part), **part}
    everything = {p: [r for side in records[p].values() for r in side] for p in options.precisions}
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {
            "cores": os.cpu_count(),
            "system": platform.system(),
            "python": platform.python_version(),
        },
        "command": f"python tests/precision_campaign.py --seeds {seeds} --precisions"
        f" {' '.join(options.precisions)} --device {options.device}",
        "made_by": provenance.versions(),
        "profile": "quick, shortened" if options.short else "quick",
        "seeds": seeds,
        "reference": reference,
        "numerics": {p: read["T1", p][1] for p in options.precisions},
        "minutes": {p: round(sum(r["time"] for r in every) / 60, 1) for p, every in everything.items()},
        "skipped_steps": {p: sum(r["skipped_steps"] for r in every) for p, every in everything.items()},
        "compared": compared,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=30, help="0 to this less one")
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"], help="the reference first")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--base", type=Path, default=Path("runs/precision"), help="of the run directories")
    parser.add_argument("--json", type=Path, help="where the numbers go")
    parser.add_argument("--short", action="store_true", help="a minute of training, to try the script out")
    options = parser.parse_args()
    try:
        found = campaign(options, lambda line: print(line, flush=True))
    except KeyboardInterrupt:
        print("stopped; the same command resumes here", file=sys.stderr)
        return 130
    shown = all(part["T1"]["equivalent"] for part in found["compared"].values())
    return 0 if shown else 1


if __name__ == "__main__":
    sys.exit(main())
