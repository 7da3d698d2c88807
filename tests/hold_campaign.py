"""Hold on digits: which λ has memory, which only a lag; 24 networks a side at five λ, 150 epochs.

    python tests/hold_campaign.py --base-dir runs/hold
    python tests/hold_campaign.py --profile small --seeds 0-2 --base-dir runs/small --set dataset=cifar10.npz

Runs Hold of the quick profile with more seeds, λ and epochs: about an hour and a half on one core; or of the
profile small as it is, on natural images. Stopped after `--minutes` or by Ctrl-C, the same command resumes.
Writes the answer over all finished seeds and the number of wrong test images at each evaluation to
`tests/results/hold_digits.json` or `hold_small.json`, and the figure to a `.png` next to it.
"""

import argparse
import json
import shutil
import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import dglib
from dglib.control import Control, Interrupted
from dglib.experiments import get
from dglib.experiments.figures import draw_all, save_figure
from dglib.protocol.records import Record

RESULTS = Path(__file__).parent / "results"
RESULT = {"quick": RESULTS / "hold_digits.json", "small": RESULTS / "hold_small.json"}
# No collapsed network began below an error of 0.51, so its criterion decides nothing: it is the runs' own.
SETTINGS = {
    "quick": ["hold_lambdas=[0.40,0.425,0.45,0.475,0.50]", "hold_epochs=150", "collapse_error_min=0.35"],
    "small": [],
}
IMAGES = {"quick": 397, "small": 10_000}  # of the test set


def train(planned: Iterable[Any], minutes: float) -> None:
    """Train one run after the other, until all seeds have finished or the time is up."""
    control = Control()
    timer = threading.Timer(60 * minutes, control.stop)
    timer.start()
    try:
        with control.listening():
            for parameters in planned:
                dglib.run(parameters, control=control)
    except Interrupted as stopped:
        print(stopped)
    finally:
        timer.cancel()


def campaign_arguments(parser: argparse.ArgumentParser, seeds: str, result: Path | None) -> None:
    parser.add_argument("--base-dir", type=Path, required=True)
    parser.add_argument("--seeds", default=seeds)
    parser.add_argument("--minutes", type=float, default=110.0, help="stop, to be resumed, after so long")
    parser.add_argument("--only-read", action="store_true", help="of what is there already")
    parser.add_argument("--result", type=Path, default=result)


def wrong_images(record: Record, images: int) -> dict[str, dict[str, list[int | None]]]:
    """Start -> λ -> wrong test images at each evaluation, the init's last one first."""
    found: dict[str, dict[str, list[int | None]]] = {}
    for start in ("ordered", "collapse"):
        init = record[f"{start}_init_trajectory"][-1:]
        for entry in record[f"{start}_trajectory"]:
            errors = found.setdefault(start, {}).setdefault(f"{entry['lambda']:g}", [count(*init, images)])
            errors.append(count(entry, images))
    return found


def count(entry: dict[str, Any], images: int) -> int | None:
    return None if entry["error"] is None else round(entry["error"] * images)


def write(base: Path, profile: str, settings: list[str], result: Path) -> str:
    """The answer over the finished seeds below `base`, and what it was made of."""
    records = dglib.load_records(base).records("Hold")
    summary = get("Hold").summarise(records)
    images = IMAGES[profile]
    keys = ("lambda", "held", "verdict", "memory", "starts")
    content = {
        "settings": [f"profile={profile}", *settings],
        "provenance": records[0]["provenance"],
        "levels": [{key: level[key] for key in keys} for level in summary["levels"]],
        "dose_response": summary["dose_response"],
        f"wrong_of_{images}": {str(record["seed"]): wrong_images(record, images) for record in records},
    }
    text = json.dumps(content, ensure_ascii=False)
    result.write_text(text.replace('"levels"', '\n"levels"').replace('{"lambda"', '\n{"lambda"') + "\n")
    with tempfile.TemporaryDirectory() as folder:
        figure = draw_all("Hold", records)["Hold_lifetimes"]
        shutil.copy(save_figure(figure, folder, result.stem)[0], result.with_suffix(".png"))
    return get("Hold").answer(records).text()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    campaign_arguments(parser, seeds="0-23", result=None)
    parser.add_argument("--profile", choices=SETTINGS, default="quick")
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", dest="more")
    asked = parser.parse_args()
    settings = [*SETTINGS[asked.profile], *asked.more]
    if not asked.only_read:
        where = [f"seeds={asked.seeds}", f"base_dir={asked.base_dir}"]
        train([dglib.load_profile("Hold", asked.profile, [*settings, *where])], asked.minutes)
    print(write(asked.base_dir, asked.profile, settings, asked.result or RESULT[asked.profile]))


if __name__ == "__main__":
    main()
