"""How much of the hysteresis is lag: width against dwell time at three LRs, with networks of equal age.

    python tests/dwell_campaign.py --base-dir runs/dwell

Runs T1 (with its return sweep) and T2 of the quick profile at five dwell times and three constant LRs of the
sweep. A longer dwell also makes older networks, so the control sweeps at a short dwell after an init so much
longer that λ↑ and λ↓ are met at the age that they have at the longest dwell. About an hour on two cores.
Stopped after `--minutes` or by Ctrl-C, the same command resumes. Writes the widths over all finished seeds to
`tests/results/dwell_campaign.json`, and the figure to `tests/results/dwell_campaign.png`.
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

from by_name import draw_dwell, lag, lag_answer
from hold_campaign import campaign_arguments, train

import dglib
from dglib.experiments.figures import save_figure
from dglib.experiments.width import setting_of

DWELLS = (2, 4, 8, 16, 32)
LRS = (0.1, 0.03, 0.01)
SHORT = 4  # the control's dwell
INIT_EPOCHS = {"T1": 20, "T2": 15}  # of the quick profile
LEVELS_BEFORE = {"T1": 3, "T2": 4}  # about so many whole levels before the threshold is met
RESULT = Path(__file__).parent / "results" / "dwell_campaign.json"


def planned() -> list[tuple[str, str, list[str]]]:
    """Directory below the base, experiment and settings of every run: the shorter dwells first."""
    runs = []
    for dwell in DWELLS:
        for lr in LRS:
            for name in INIT_EPOCHS:
                runs.append(("sweeps", name, [f"epochs_per_level={dwell}", f"sweep_lr={lr}"]))
                if dwell == SHORT:
                    age = INIT_EPOCHS[name] + LEVELS_BEFORE[name] * (DWELLS[-1] - SHORT)
                    settings = [f"epochs_per_level={dwell}", f"sweep_lr={lr}", f"init_epochs={age}"]
                    runs.append(("older", name, settings))
    return runs


def read(base: Path, result: Path) -> str:
    """The widths below `base`, of the sweeps and of the older networks, and the figure."""
    tables = {part: dglib.load_records(base / part) for part in ("sweeps", "older") if (base / part).is_dir()}
    records = {part: [table.records(name) for name in INIT_EPOCHS] for part, table in tables.items()}
    for table in tables.values():
        for problem in table.problems:
            print(problem, file=sys.stderr)
    found = {part: lag(*items) for part, items in records.items()}
    content = {
        "provenance": records["sweeps"][0][0].get("provenance"),
        "seeds": {part: len(table.seeds) for part, table in tables.items()},
        **{part: {key: item[key] for key in ("series", "still")} for part, item in found.items()},
    }
    text = json.dumps(content, ensure_ascii=False)
    result.write_text(text.replace('{"kind"', '\n{"kind"') + "\n")
    with tempfile.TemporaryDirectory() as folder:
        first = f"{LRS[0]:g}"  # at the others nothing collapses
        figure = draw_dwell(*([r for r in group if setting_of(r)[0] == first] for group in records["sweeps"]))
        shutil.copy(save_figure(figure, folder, result.stem)[0], result.with_suffix(".png"))
    parts = [f"{part}\n{lag_answer(*items).text()}" for part, items in records.items()]
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    campaign_arguments(parser, seeds="0-3", result=RESULT)
    asked = parser.parse_args()
    if not asked.only_read:
        profiles = [
            dglib.load_profile(
                name, "quick", [*settings, f"seeds={asked.seeds}", f"base_dir={asked.base_dir / part}"]
            )
            for part, name, settings in planned()
        ]
        train(profiles, asked.minutes)
    print(read(asked.base_dir, asked.result))


if __name__ == "__main__":
    main()
