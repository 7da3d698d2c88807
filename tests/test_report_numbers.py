"""Every number in the report's tables of seeds is that of its own record, recomputed without the analysis."""

import math
import re
from statistics import fmean

import pytest
from analysis_cases import diverged, failed_init, t1, t2, td1, td1_diverged, v3, v3_failed
from matplotlib.figure import Figure
from report_cases import run_of
from report_page import Page

from dglib.experiments import get
from dglib.experiments.width import Width
from dglib.report import runs
from dglib.report.page import write_report

NUMBER = re.compile(r"(?<![\w.])−?\d+(?:\.\d+)?(?![\w]|\.\d)")
DASH = "–"


def own(record, dead=0.1):
    """The record with values of its own in every field that is shown, so that a mix-up of seeds is seen."""
    seed = record["seed"]
    logs = [
        {"arm": arm, "phase": "sweep", "epoch": epoch, "weight_norm": 20.0 + seed + epoch / 7,
         "update_norm": 0.01 * (seed + 1) / epoch, "c_sv": math.sin(seed + epoch), "skipped_steps": 0}
        for arm in (("ordered", "collapse") if record["experiment"] == "V3" else ("main",))
        for epoch in range(1, 60)
    ]  # fmt: skip
    changed = record | {"time": 50.0 + 37 * seed, "epoch_log": logs, "skipped_steps": 3 * seed}
    for field in [name for name in record if name.endswith("trajectory")]:
        changed[field] = [
            entry | {"dead_channels": dead + 0.011 * seed + 0.001 * index}
            for index, entry in enumerate(record[field])
        ]
    return changed


def records():
    found = {
        "T1": [t1(0, 0.6, 0.35, True), t1(1, None), failed_init(t1(2)), diverged(t1(3)), t1(4, 0.5)],
        "T2": [t2(0), t2(1, None, trapped=True), t2(2, 0.30)],
        "V3": [v3(0), v3(1, 0.4), v3_failed(2)],
        "Td1": [td1(0, c_sv=0.28), td1(1, 0.5, 0.33), td1(2, 0.1), td1_diverged(3), td1(4, 0.93, 0.2)],
    }
    return {name: [own(record) for record in group] for name, group in found.items()}


@pytest.fixture
def show(tmp_path, monkeypatch):
    """From experiment -> records to the page, without figures."""
    figure = Figure((1, 1))
    monkeypatch.setattr(runs, "draw_all", lambda name, records: dict.fromkeys(get(name).figures(), figure))
    monkeypatch.setattr(Width, "draw", lambda self, *records: figure)

    def made(groups):
        for experiment, group in groups.items():
            run_of(tmp_path, experiment, group)
        return Page(write_report(tmp_path).read_text())

    return made


def plain(value, places=3):
    return DASH if value is None else f"{value:.{places}f}".replace("-", "−")


def seconds(value):
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def lies(record, fired):
    """Between the level of the event and the one before it, or beyond the last level."""
    if record["outcome"] in ("init_failed", "diverged"):
        return DASH
    visited = list(dict.fromkeys(e["lambda"] for e in record["trajectory"] if e["phase"] == "sweep"))
    if record[fired] is None:
        return f"{'>' if fired == 'lambda_up' else '<'} {visited[-1]:.2f}"
    before = visited[visited.index(record[fired]) - 1]
    return "{:.2f} to {:.2f}".format(*sorted((before, record[fired])))


def gap(record):
    if record["outcome"] != "complete":
        return None
    at = [
        next(e["error"] for e in record[f"{branch}_trajectory"] if e["lambda"] == 0.5)
        for branch in ("collapse", "ordered")
    ]
    return at[0] - at[1]


def early_cosine(record):
    rows = [row for row in record["step_logs"] if row["epoch"] <= 10 and math.isfinite(row["c_sv"])]
    return fmean(
        fmean(row["c_sv"] for row in rows if row["epoch"] == e) for e in {row["epoch"] for row in rows}
    )


def settled(record):
    """The first evaluation from which the class stays what it is at the end."""
    if record["final_error"] is None:
        return DASH
    classes = [(e["error"] >= 0.4) + (e["error"] >= 0.85) for e in record["error_trajectory"]]
    first = max((i + 1 for i, each in enumerate(classes) if each != classes[-1]), default=0)
    return str(record["error_trajectory"][first]["epoch"])


def final(record):
    return plain(record.get("final_error"))


def returned(record):
    """The level at which the run of three evaluations begins, and the one before it."""
    if record.get("return_lambda_down") is None:
        return DASH
    held = [(entry["lambda"], entry["error"] <= 0.2) for entry in record["return_trajectory"]]
    first = next(i for i in range(len(held)) if all(low for _, low in held[i : i + 3]))
    levels = list(dict.fromkeys(level for level, _ in held))
    return f"{held[first][0]:.2f} to {levels[levels.index(held[first][0]) - 1]:.2f}"


SHARED = {
    "Seed": lambda r: str(r["seed"]),
    "Time": lambda r: seconds(r["time"]),
    "Skipped steps": lambda r: str(r["skipped_steps"]),
    "Computed on": lambda r: "Test CPU, fp32",
}
SWEEP = {"Init error": lambda r: plain(r["init_error"]), "Final error": final}
CELLS = {
    "T1": SHARED | SWEEP | {"λ↑ lies": lambda r: lies(r, "lambda_up"), "λ↓ of the return": returned},
    "T2": SHARED | SWEEP | {"λ↓ lies": lambda r: lies(r, "lambda_down")},
    "V3": SHARED
    | {
        "Ordered init error": lambda r: plain(r["ordered_init"]),
        "Collapse init error": lambda r: plain(r["collapse_init"]),
        "Gap at λ = 0.50": lambda r: plain(gap(r)),
    },
    "Td1": SHARED
    | {
        "Final error": final,
        "Outcome settled from epoch": settled,
        "Mean c_sv, epochs 0 to 10": lambda r: plain(early_cosine(r)),
    },
}


def test_every_number_of_the_seed_tables_is_that_of_its_own_record(show):
    groups = records()
    shown = show(groups)
    checked = 0
    for (name, group), table in zip(groups.items(), shown.seeds, strict=True):
        head, *rows = table
        assert len(rows) == len(group)
        for record, row in zip(group, rows, strict=True):
            for column, value in zip(head, row, strict=True):
                claim = CELLS[name].get(column)
                assert claim or not NUMBER.search(value), f"{name}: nothing traces {column} = {value}"
                if claim:
                    assert value == claim(record), f"{name}, seed {record['seed']}: {column}"
                    checked += 1
    assert checked == sum(len(CELLS[name]) * len(group) for name, group in groups.items())
