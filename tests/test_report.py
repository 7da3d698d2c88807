"""The report: one file with everything that the records show, and nothing that they do not."""

import base64
import csv
import json
import os
import re
import shutil
from pathlib import Path
from urllib.parse import unquote

import papermill
import pytest
from analysis_cases import every_outcome, published, t1, t2, td1, v3
from matplotlib.figure import Figure
from report_cases import NUMERICS, published_in, run_of
from report_page import Page
from update_notebooks import write_paired

from dglib import cli
from dglib.base_dir import NOTEBOOKS
from dglib.errors import UserError
from dglib.experiments import get
from dglib.experiments.width import Width
from dglib.report import runs
from dglib.report.notebook import notebook_report
from dglib.report.page import write_report

RECORDS = every_outcome()
RECORDS["V3"][0]["own_trajectory"] = [{"epoch": 1, "sharpness": 0.5}]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A base directory with four experiments, and its page."""
    base = tmp_path_factory.mktemp("runs")
    for experiment, records in RECORDS.items():
        run_of(base, experiment, records)
    (base / "executed").mkdir()
    for name in ("T1_spinodal", "Td1_trapping"):
        (base / "executed" / f"{name}.ipynb").write_text("{}")
    return write_report(base)


@pytest.fixture
def plain(monkeypatch):
    """Small empty figures, where a test is not about them."""
    figure = Figure((1, 1))
    monkeypatch.setattr(runs, "draw_all", lambda name, records: dict.fromkeys(get(name).figures(), figure))
    monkeypatch.setattr(Width, "draw", lambda self, *records: figure)


def written(base: Path) -> Page:
    return Page(write_report(base).read_text())


# --- the file


def test_the_page_is_one_file_that_asks_for_nothing_else(whole):
    html = whole.read_text()
    found = Page(html)
    assert not re.search(r"https?:|file:|url\(|@import|//", re.sub(r'(src|href)="data:[^"]*"', "", html))
    assert not found.all("link", "script", "iframe", "object", "video")
    pictures = found.all("img")
    assert len(pictures) == 6  # the loop, four experiments and a metric
    for shown in pictures:
        kind, _, content = shown["src"].partition(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(content).startswith(b"\x89PNG")
        assert re.search(r"\. (T1|T2|V3|Tδ1|Hysteresis width).* \d seeds?", shown["alt"])


def test_links_lead_to_executed_notebooks_and_records_and_hold_what_every_figure_shows_as_a_csv(whole):
    found = Page(whole.read_text()).all("a")
    links = {link["href"] for link in found if "download" not in link}
    assert {"executed/T1_spinodal.ipynb", "executed/Td1_trapping.ipynb"} <= links
    assert "executed/V3_vgg11.ipynb" not in links
    assert sum(link.endswith("_results.json") for link in links) == 4
    assert all((whole.parent / link).is_file() for link in links)
    tables = {link["download"]: link["href"].partition(",") for link in found if "download" in link}
    assert (len(tables), {head for head, *_ in tables.values()}) == (6, {"data:text/csv;charset=utf-8"})
    rows = {name: list(csv.DictReader(unquote(text).splitlines())) for name, (*_, text) in tables.items()}
    assert [(row["seed"], row["metric"], row["value"]) for row in rows["T2-spinodal_analysis.csv"]] == [
        (str(record["seed"]), "error", str(entry["error"]))
        for record in RECORDS["T2"]
        for entry in record["trajectory"]
        if entry["finite"]
    ]
    assert {row["experiment"] for row in rows["hysteresis.csv"]} == {"T1", "T2"}


def test_the_same_records_give_the_same_bytes_and_nothing_but_the_page_is_written(tmp_path):
    run_of(tmp_path, "T1", [t1(0), t1(1)])
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    first = write_report(tmp_path).read_bytes()
    assert write_report(tmp_path).read_bytes() == first
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert after == before | {tmp_path / "report.html": first}


def test_text_from_files_cannot_become_markup(tmp_path, plain):
    evil = NUMERICS | {"device_name": "<script>alert(1)</script>"}
    run_of(tmp_path / "<b>", "V3", [v3(0)], numerics=evil)
    html = write_report(tmp_path / "<b>").read_text()
    assert "<script>" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html


# --- what it shows


def test_questions_answers_dwell_time_and_limits_are_on_the_page(whole):
    text = Page(whole.read_text()).text
    answers = text.partition("What came out")[2].partition("The hysteresis loop")[0]
    for start in ("T1, 4 seeds: ", "T2, 5 seeds: ", "V3, 5 seeds: ", "Tδ1, 4 seeds: ", "Hysteresis width: "):
        assert start in answers
    assert answers.count("LR 0.1") == 5
    assert "1 trapped and 1 partial seeds cannot give an early test a p below 1.00" in answers
    for part in ("What was asked", "What this does not show", "prove nothing about CIFAR-10"):
        assert part in text
    assert "Part of what a sweep shows as hysteresis is lag" in text
    assert "2 seeds began the falling sweep trapped" in text
    assert not re.search(r"\bNone\b|\bnan\b|\binf\b", text)


def test_runs_under_different_parameters_are_shown_apart_and_never_averaged(tmp_path, plain):
    for number, setting in enumerate(("epochs_per_level=4", "epochs_per_level=8")):
        run_of(tmp_path, "V3", [v3(number, 0.2 + 0.2 * number)], setting)
    found = written(tmp_path)
    assert [len(table) for table in found.seeds] == [2, 2]
    assert found.text.count("V3, 1 seed: two branches 1") == 4  # twice each: in the overview and with the run
    for part in ("Run 2 of 2", "Differs from run 1 in epochs_per_level: 4 → 8.", "never averaged"):
        assert part in found.text


def test_the_newest_run_alone_links_the_executed_notebook_and_marks_one_that_lacks_seeds(tmp_path, plain):
    run_of(tmp_path, "T1", [t1(0)], "lr=0.05")
    (record,) = run_of(tmp_path, "T1", [t1(0)]).glob("seeds/*.json")
    executed = tmp_path / "executed" / f"{get('T1').notebook}.ipynb"
    executed.parent.mkdir()
    executed.touch()
    for seconds, marked in ((1, False), (-1, True)):
        os.utime(executed, (0, record.stat().st_mtime + seconds))
        page = write_report(tmp_path).read_text()
        assert page.count(f'href="executed/{executed.name}"') == 1
        assert ("executed before the last seeds" in page) == marked


def test_a_damaged_record_is_named_a_seed_under_way_listed_and_neither_counted(tmp_path, plain):
    directory = run_of(tmp_path, "Td1", [td1(0), td1(1)])
    torn = directory / "seeds" / "Td1-seed01.json"
    torn.write_bytes(torn.read_bytes()[:-40])
    beat = {"experiment": "Td1", "seed": 7, "epochs_done": 12, "epochs_planned": 32}
    (directory / "heartbeats" / "Td1-seed07.json").write_text(json.dumps(beat))
    found = written(tmp_path)
    assert "Damaged files" in found.text
    assert f"{torn}: not a readable" in found.text
    assert [row[:1] for row in found.seeds[0][1:]] == [["0"], ["7"]]
    assert found.seeds[0][2][1] == "not finished: epoch 12 of 32"
    assert "Tδ1, 1 seed: trapped 1" in found.text
    assert "1 file was damaged and left out" in found.text
    assert "1 seed had not finished, and the numbers are without them" in found.text


def test_published_files_make_a_page_that_names_what_they_lack(tmp_path, plain):
    records = [published(t2(seed, None, trapped=seed > 2)) for seed in range(10)]
    found = written(published_in(tmp_path / "exp_T_spinodal_20260117_121637", "T2", records).parent)
    assert len(found.seeds[0]) == 11
    missing = "Parameters none on record; those of the published protocol are in params/paper/T2.yaml"
    for part in (missing, "Computed on not on record", "In T2 the learning rate of the sweep follows"):
        assert part in found.text


DASH = "–"
SHARED = {
    "Seed": ["0", "1", "2", "3", "4"],
    "Time": ["1 min 20 s", "1 min 57 s", "2 min 34 s", "3 min 11 s", "3 min 48 s"],
    "Skipped steps": ["0", "3", "6", "9", "12"],
    "Computed on": ["Test CPU, fp32"] * 5,
}
OWN = {
    "T1": {
        "Init error": ["0.111", "0.091", "0.080", "0.088"],
        "Final error": ["0.532", "0.096", DASH, DASH],
        "λ↑ lies": ["0.55 to 0.60", "> 0.70", DASH, DASH],
        "λ↓ of the return": ["0.35 to 0.40", DASH, DASH, DASH],
    },
    "T2": {
        "Init error": ["0.811", "0.791", "0.780", "0.788", "0.807"],
        "Final error": ["0.122", "0.900", "0.160", DASH, DASH],
        "λ↓ lies": ["0.35 to 0.40", "< 0.25", "0.30 to 0.35", DASH, DASH],
    },
    "V3": {
        "Ordered init error": ["0.120", "0.130", "0.140", "0.150", "0.160"],
        "Collapse init error": ["0.600", "0.610", "0.620", "0.630", "0.640"],
        "Gap at λ = 0.50": ["0.300", "0.400", "0.749", DASH, DASH],
    },
    "Td1": {
        "Final error": ["0.900", "0.500", "0.100", DASH],
        "Outcome settled from epoch": ["5", "5", "15", DASH],
        "Mean c_sv, epochs 0 to 10": ["0.300", "0.400", "0.500", "0.599"],
    },
}


def test_every_number_of_the_seed_tables_is_that_of_its_own_record(tmp_path, plain):
    groups = every_outcome()
    for name, group in groups.items():
        for seed, record in enumerate(group):
            record |= {"time": 80 + 37 * seed, "skipped_steps": 3 * seed}
            if name == "V3":
                record |= {"ordered_init": 0.12 + seed / 100, "collapse_init": 0.6 + seed / 100}
            for row in record.get("step_logs", ()):
                row["c_sv"] += seed / 10
        run_of(tmp_path, name, group)
    for (name, group), (head, *rows) in zip(groups.items(), written(tmp_path).seeds, strict=True):
        columns = dict(zip(head, map(list, zip(*rows, strict=True)), strict=True))
        expected = {column: values[: len(group)] for column, values in (SHARED | OWN[name]).items()}
        assert {column: columns.pop(column) for column in expected} == expected
        assert not re.search(r"\d", str(list(columns.values()))), f"nothing traces a number in {columns}"


# --- refused, and in a notebook


@pytest.mark.parametrize(
    ("words", "reason"),
    [("--base-dir none", "none: no such directory"), ("--base-dir .", ".: no run there")],
)
def test_run_all_report_refuses_in_one_line_and_writes_nothing(words, reason, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.run_all(["report", *words.split()]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n"), list(tmp_path.iterdir())) == ("", 1, [])
    assert err.startswith(f"run_all: error: {reason}")


def test_the_notebook_shows_the_same_page_and_writes_it(tmp_path, plain, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    run_of(tmp_path, "V3", [v3(0), v3(1)])
    report = notebook_report({"base_dir": str(tmp_path), "__name__": "__main__"})
    report.show()
    page_text = Page(report.write().read_text()).text
    (html,) = shown
    assert Page(html.data).text.replace("  ", " ") in page_text


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"base_dirr": "x"}, "base_dirr = 'x': the report has no such parameter, only base_dir;"),
        ({"base_dir": 3}, "base_dir = 3: must be text"),
        ({"base_dir": "none"}, "none: no such directory"),
    ],
)
def test_the_notebook_refuses_what_it_cannot_report_on(given, reason, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=re.escape(reason)):
        notebook_report(given)


def test_the_reports_notebook_is_a_pair_without_outputs_whose_one_parameter_papermill_lists(tmp_path):
    script = NOTEBOOKS / "Hysteresis_report.py"
    copy = Path(shutil.copy(script, tmp_path))
    write_paired(copy)
    assert copy.with_suffix(".ipynb").read_bytes() == script.with_suffix(".ipynb").read_bytes()
    listed = papermill.inspect_notebook(script.with_suffix(".ipynb"))
    assert list(listed) == ["base_dir"]
    assert listed["base_dir"]["help"].startswith("Where the run directories lie")
