"""What is claimed of records read into tables: ours and published ones, whole, lacking and broken."""

import json
import math

import numpy as np
import pytest
from analysis_cases import every_outcome, failed_init, published, t1, t2, td1
from report_cases import published_in

import dglib
from dglib.errors import UserError
from dglib.experiments.tables import SEEDS, STEPS, TRAJECTORIES, load_records

ALL = every_outcome()


def test_a_folder_gives_a_row_per_seed_evaluation_and_logged_step_with_what_the_trajectory_shows(tmp_path):
    for experiment, records in ALL.items():
        published_in(tmp_path / "exp_T_spinodal_20260101_000000", experiment, records)
    tables = dglib.load_records(tmp_path)
    records = [record for experiment in sorted(ALL) for record in ALL[experiment]]
    assert (len(tables.seeds), tables.problems) == (len(records), ())
    evaluations = sum(len(v or ()) for r in records for k, v in r.items() if k.endswith("trajectory"))
    assert len(tables.trajectories) == evaluations
    assert len(tables.steps) == sum(len(record["step_logs"]) for record in ALL["Td1"])
    assert tables.records("V3") == json.loads(json.dumps(ALL["V3"]))
    assert tables.seeds["outcome"].to_list() == [record["outcome"] for record in records]
    seeds = tables.seeds.set_index(["experiment", "seed"])
    closed = seeds.loc["T1", 0]
    assert (closed["lower"], closed["upper"]) == (0.55, 0.6)
    assert (closed["return_level"], closed["width_lower"]) == (0.35, pytest.approx(0.15))
    assert (closed["epochs_per_level"], closed["lr"], closed["constant_lr"]) == (4, "0.1", True)
    assert (seeds.loc["T1", 1]["lower"], seeds.loc["T1", 1]["upper"]) == (0.70, math.inf)
    assert np.isnan(seeds.loc["T1", 2]["lower"])
    assert (seeds.loc["T2", 1]["start"], seeds.loc["V3", 2]["start"]) == ("trapped", "trapped")
    assert seeds.loc["V3", 0]["gap"] == pytest.approx(0.3)


def test_the_tables_have_their_columns_and_types_without_any_row(tmp_path):
    tables = load_records(tmp_path)
    found = (tables.seeds, tables.trajectories, tables.steps)
    for table, columns in zip(found, (SEEDS, TRAJECTORIES, STEPS), strict=True):
        assert list(table.columns) == list(columns)
        assert len(table) == 0
    full = load_records(published_in(tmp_path, "T1", [t1(0)]))
    assert (full.seeds.dtypes == tables.seeds.dtypes).all()
    assert tables.problems == (f"{tmp_path}: no records there",)


def test_a_stated_threshold_moves_the_event_or_censors_it_at_the_stop(tmp_path):
    path = published_in(tmp_path, "T1", [t1(0, 0.60), t1(1, None)])
    lax = load_records(path, collapse_error=0.05).seeds.iloc[0]
    assert (lax["level"], lax["event_error"], lax["recorded"]) == (0.40, 0.05, 0.60)
    assert lax.isna()["difference"]  # under its own rule record and trajectory agree
    strict = load_records(path, collapse_error=0.8).seeds
    assert strict["outcome"].to_list() == ["unfinished", "no_event"]
    assert strict["lower"].to_list() == [0.60, 0.70]
    assert load_records(path, consecutive=5).seeds["outcome"].to_list() == ["unfinished", "no_event"]
    with pytest.raises(UserError, match=r"^colapse_error = 0\.4: no experiment has such a parameter"):
        load_records(path, colapse_error=0.4)


def test_classes_are_recomputed_and_a_difference_from_the_recorded_ones_is_shown(tmp_path):
    # The first files called 0.40 to 0.55 ordered.
    path = published_in(tmp_path, "Td1", [td1(0, 0.5) | {"category": "ordered"}, td1(1)])
    seeds = load_records(path).seeds
    assert seeds["outcome"].to_list() == ["partial_collapse", "trapped_90"]
    assert seeds["difference"][0] == "category ordered on record, partial_collapse by final error"
    assert load_records(path, partial_error=0.55).seeds["outcome"][0] == "ordered"
    belied = td1(0, 0.5) | {"final_error": 0.1, "category": "ordered"}  # its trajectory ends at 0.5
    seeds = load_records(published_in(tmp_path / "belied", "Td1", [belied])).seeds
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
@pytest.mark.parametrize("experiment", ALL)
def test_what_is_missing_is_missing_and_nothing_fails(tmp_path, experiment, record):
    record = {k: v for k, v in record.items() if not k.startswith("experiment")}
    tables = load_records(published_in(tmp_path, experiment, [record]))
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
    published_in(tmp_path, "T2", [t2(0)])
    path = tmp_path / "T1-spinodal_results.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    tables = load_records(tmp_path)
    assert tables.seeds["experiment"].to_list() == ["T2"]
    (problem,) = tables.problems
    assert problem.startswith(f"{path}: ")
    assert "\n" not in problem
