"""What is claimed of records read into tables: ours and published ones, whole, lacking and broken."""

import json
import math

import numpy as np
import pytest
from analysis_cases import (
    diverged,
    failed_init,
    published,
    t1,
    t2,
    td1,
    td1_diverged,
    v3,
    v3_diverged,
    v3_failed,
)

import dglib
from dglib.experiments.tables import SEEDS, STEPS, TRAJECTORIES, load_records

ALL = {
    "T1-spinodal": [t1(0, 0.6, 0.35, True), t1(1, None), failed_init(t1(2)), diverged(t1(3))],
    "T2-spinodal": [t2(0), t2(1, None, trapped=True), diverged(t2(2)), published(t2(3))],
    "V3": [v3(0), v3(1, trapped=True), v3_failed(2), v3_diverged(3)],
    "Td1": [td1(0), td1(1, 0.5), td1(2, 0.1), td1_diverged(3)],
}


def write(directory, name, content):
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / name
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def run(tmp_path):
    for prefix, records in ALL.items():
        write(tmp_path / "exp_T_spinodal_20260101_000000", f"{prefix}_results.json", records)
    return tmp_path


def test_a_folder_gives_a_row_per_seed_evaluation_and_logged_step(run):
    tables = dglib.load_records(run)
    assert len(tables.seeds) == 16
    records = [record for prefix in ALL for record in ALL[prefix]]
    evaluations = sum(len(v or ()) for r in records for k, v in r.items() if k.endswith("trajectory"))
    assert len(tables.trajectories) == evaluations
    assert len(tables.steps) == sum(len(record["step_logs"]) for record in ALL["Td1"])
    assert tables.problems == ()
    assert tables.records("V3") == json.loads(json.dumps(ALL["V3"]))


def test_a_seeds_row_is_what_its_trajectory_says(run):
    seeds = load_records(run).seeds.set_index(["experiment", "seed"])
    closed = seeds.loc["T1", 0]
    assert (closed["outcome"], closed["lower"], closed["upper"]) == ("collapsed", 0.55, 0.6)
    assert (closed["return_level"], closed["width_lower"]) == (0.35, pytest.approx(0.15))
    assert (closed["epochs_per_level"], closed["lr"], closed["constant_lr"]) == (4, "0.1", True)
    censored = seeds.loc["T1", 1]
    assert (censored["lower"], censored["upper"]) == (0.70, math.inf)
    assert seeds["outcome"].to_list() == [
        *("collapsed", "no_event", "init_failed", "diverged"),
        *("recovered", "no_event", "diverged", "recovered"),
        *("trapped_90", "partial_collapse", "ordered", "diverged"),
        *("complete", "complete", "init_failed", "diverged"),
    ]
    assert (seeds.loc["T2", 1]["start"], seeds.loc["V3", 1]["start"]) == ("trapped", "trapped")
    assert seeds.loc["V3", 0]["gap"] == pytest.approx(0.3)
    assert np.isnan(seeds.loc["T1", 2]["lower"])


def test_the_tables_have_their_columns_and_types_without_any_row(tmp_path):
    tables = load_records(tmp_path)
    for table, columns in (
        (tables.seeds, SEEDS),
        (tables.trajectories, TRAJECTORIES),
        (tables.steps, STEPS),
    ):
        assert list(table.columns) == list(columns)
        assert len(table) == 0
    full = load_records(write(tmp_path, "T1-spinodal_results.json", [t1(0)]))
    assert (full.seeds.dtypes == tables.seeds.dtypes).all()
    assert tables.problems == (f"{tmp_path}: no records there",)


def test_a_stated_threshold_moves_the_event_or_censors_it_at_the_stop(tmp_path):
    path = write(tmp_path, "T1-spinodal_results.json", [t1(0, 0.60), t1(1, None)])
    lax = load_records(path, collapse_error=0.05).seeds.iloc[0]
    assert (lax["level"], lax["event_error"], lax["recorded"]) == (0.40, 0.05, 0.60)
    assert lax.isna()["difference"]  # under its own rule record and trajectory agree
    strict = load_records(path, collapse_error=0.8).seeds
    assert strict["outcome"].to_list() == ["unfinished", "no_event"]
    assert strict["lower"].to_list() == [0.60, 0.70]
    assert load_records(path, consecutive=5).seeds["outcome"].to_list() == ["unfinished", "no_event"]


def test_classes_are_recomputed_and_a_difference_from_the_recorded_ones_is_shown(tmp_path):
    # The first files called 0.40 to 0.55 ordered.
    path = write(tmp_path, "Td1_results.json", [td1(0, 0.5) | {"category": "ordered"}, td1(1)])
    seeds = load_records(path).seeds
    assert seeds["outcome"].to_list() == ["partial_collapse", "trapped_90"]
    assert seeds["difference"][0] == "category ordered on record, partial_collapse by final error"
    assert load_records(path, partial_error=0.55).seeds["outcome"][0] == "ordered"
    belied = td1(0, 0.5) | {"final_error": 0.1, "category": "ordered"}  # its trajectory ends at 0.5
    seeds = load_records(write(tmp_path / "belied", "Td1_results.json", [belied])).seeds
    assert (seeds["outcome"][0], seeds["difference"].isna()[0]) == ("partial_collapse", False)
    assert set(load_records(path).steps["category"]) == {"partial_collapse", "trapped_90"}


BARE = [
    {"seed": 0},
    {"seed": 0, "trajectory": None, "lambda_up": None},
    {"seed": 0, "trajectory": [], "collapsed": False},
    {"seed": 0, "trajectory": [{}, {"phase": "sweep"}, {"phase": "sweep", "lambda": 0.5, "error": math.nan}]},
    {"seed": 0, "ordered_trajectory": [{"lambda": 0.5, "error": 0.1}], "collapse_trajectory": []},
    {"seed": 0, "step_logs": [{"epoch": 1, "c_sv": None}, {}], "final_error": math.inf},
    {"seed": 0, "parameters": None, "lambda_up": 0.62, "outcome": 3, "init_success": "yes", "eta": "0.4"},
    published(failed_init(t1(0))),
]


@pytest.mark.parametrize("record", BARE)
@pytest.mark.parametrize("prefix", list(ALL))
def test_what_is_missing_is_missing_and_nothing_fails(tmp_path, prefix, record):
    record = {k: v for k, v in record.items() if not k.startswith("experiment")}
    tables = load_records(write(tmp_path, f"{prefix}_results.json", [record]))
    assert (len(tables.seeds), tables.problems) == (1, ())


BROKEN = {
    "no JSON": "{", "no list": "{}", "no mapping": "[3]", "no seed": '[{"lambda_up": null}]',
    "a seed that is none": '[{"seed": true}]',
    "a trajectory that is none": '[{"seed": 0, "trajectory": "x"}]',
    "entries that are none": '[{"seed": 0, "trajectory": [0.1]}]',
    "parameters that are none": '[{"seed": 0, "parameters": [1]}]',
    "another experiment": '[{"seed": 0, "experiment_id": "R1-000"}]', "not text": "\udcff",
}  # fmt: skip


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in BROKEN.items()])
def test_what_cannot_be_read_is_named_and_the_rest_is_read(tmp_path, text):
    write(tmp_path, "T2-spinodal_results.json", [t2(0)])
    path = tmp_path / "T1-spinodal_results.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    tables = load_records(tmp_path)
    assert tables.seeds["experiment"].to_list() == ["T2"]
    (problem,) = tables.problems
    assert problem.startswith(f"{path}: ")
    assert "\n" not in problem
