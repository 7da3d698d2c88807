"""The report: one file that says everything the records say, and nothing that they do not."""

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
from analysis_cases import diverged, failed_init, published, t1, t2, td1, td1_diverged, v3, v3_failed
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

RECORDS = {
    "T1": [t1(0, 0.6, 0.35, True), t1(1, None), failed_init(t1(2)), diverged(t1(3))],
    "T2": [t2(0), t2(1, None, trapped=True), t2(2, 0.30)],
    "V3": [v3(0), v3(1, 0.4), v3_failed(2) | {"own_trajectory": [{"epoch": 1, "sharpness": 0.5}]}],
    "Td1": [td1(0), td1(1, 0.5), td1(2, 0.1), td1_diverged(3)],
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A base directory with all four experiments, and its page."""
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


def test_links_lead_to_executed_notebooks_and_records_from_where_the_page_lies(whole):
    links = [link["href"] for link in Page(whole.read_text()).all("a")]
    links = [link for link in links if not link.startswith("data:")]
    assert {"executed/T1_spinodal.ipynb", "executed/Td1_trapping.ipynb"} <= set(links)
    assert "executed/V3_vgg11.ipynb" not in links
    assert sum(link.endswith("_results.json") for link in links) == 4
    for link in links:
        assert (whole.parent / link).is_file()


def test_every_figure_has_the_evaluations_that_it_shows_as_a_csv_in_the_page(whole):
    links = {
        link["download"]: link["href"] for link in Page(whole.read_text()).all("a") if "download" in link
    }
    assert len(links) == 6
    head, content = links["T2-spinodal_analysis.csv"].split(",", 1)
    assert head == "data:text/csv;charset=utf-8"
    rows = [
        (row["seed"], row["metric"], row["value"]) for row in csv.DictReader(unquote(content).splitlines())
    ]
    assert rows == [
        (str(record["seed"]), "error", str(entry["error"]))
        for record in RECORDS["T2"]
        for entry in record["trajectory"]
    ]
    loop = csv.DictReader(unquote(links["hysteresis.csv"].split(",", 1)[1]).splitlines())
    assert {row["experiment"] for row in loop} == {"T1", "T2"}


def test_the_same_records_give_the_same_bytes_and_nothing_but_the_page_is_written(tmp_path):
    run_of(tmp_path, "T1", [t1(0), t1(1)])
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    first = write_report(tmp_path).read_bytes()
    second = write_report(tmp_path).read_bytes()
    assert first == second
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert after.pop(tmp_path / "report.html") == first
    assert after == before


def test_text_from_files_cannot_become_markup(tmp_path, plain):
    evil = NUMERICS | {"device_name": "<script>alert(1)</script>"}
    run_of(tmp_path / "<b>", "V3", [v3(0)], numerics=evil)
    html = write_report(tmp_path / "<b>").read_text()
    assert "<script>" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html


# --- what it says


def test_questions_answers_dwell_time_and_limits_stand_on_the_page(whole):
    text = Page(whole.read_text()).text
    for heading in ("What was asked", "What came out", "The hysteresis loop", "What this does not show"):
        assert heading in text
    answers = text.partition("What came out")[2].partition("The hysteresis loop")[0]
    for start in ("T1, 4 seeds: ", "T2, 3 seeds: ", "V3, 3 seeds: ", "Tδ1, 4 seeds: ", "Hysteresis width: "):
        assert start in answers
    assert answers.count("LR 0.1") == 5
    assert "1 trapped and 1 partial seeds cannot give an early test a p below 1.00" in answers
    assert "prove nothing about CIFAR-10" in text
    assert "Part of what a sweep shows as hysteresis is lag" in text
    assert "1 seed began the falling sweep trapped" in text
    assert not re.search(r"\bNone\b|\bnan\b|\binf\b", text)


def test_runs_under_different_parameters_are_shown_apart_and_never_averaged(tmp_path, plain):
    for number, setting in enumerate(("epochs_per_level=4", "epochs_per_level=8")):
        run_of(tmp_path, "V3", [v3(number, 0.2 + 0.2 * number)], setting)
    found = written(tmp_path)
    assert [len(table) for table in found.seeds] == [2, 2]
    assert found.text.count("V3, 1 seed: two branches 1") == 4  # twice each: in the overview and with the run
    assert "Run 2 of 2" in found.text
    assert "Differs from run 1 in epochs_per_level: 4 → 8." in found.text
    assert "never averaged" in found.text


def test_the_newest_run_alone_links_the_executed_notebook_and_marks_one_that_lacks_seeds(tmp_path, plain):
    run_of(tmp_path, "T1", [t1(0)], "lr=0.05")
    (record,) = run_of(tmp_path, "T1", [t1(0)]).glob("seeds/*.json")
    executed = tmp_path / "executed" / f"{get('T1').notebook}.ipynb"
    executed.parent.mkdir()
    executed.touch()
    late = "executed before the last seeds"
    for seconds, marked in ((1, False), (-1, True)):
        os.utime(executed, (0, record.stat().st_mtime + seconds))
        page = write_report(tmp_path).read_text()
        assert page.count(f'href="executed/{executed.name}"') == 1
        assert (late in page) == marked


def test_a_damaged_record_is_named_and_the_others_are_shown(tmp_path, plain):
    directory = run_of(tmp_path, "V3", [v3(0), v3(1)])
    torn = directory / "seeds" / "V3-s1.json"
    torn.write_bytes(torn.read_bytes()[:-40])
    found = written(tmp_path)
    assert "Damaged files" in found.text
    assert f"{torn}: not a readable" in found.text
    assert [row[0] for row in found.seeds[0][1:]] == ["0"]
    assert "1 file was damaged and left out" in found.text


def test_a_seed_under_way_is_listed_and_not_counted(tmp_path, plain):
    directory = run_of(tmp_path, "Td1", [td1(0)])
    beat = {"experiment": "Td1", "seed": 7, "epochs_done": 12, "epochs_planned": 32}
    (directory / "heartbeats" / "Td1-seed07.json").write_text(json.dumps(beat))
    found = written(tmp_path)
    assert found.seeds[0][2][:2] == ["7", "not finished: epoch 12 of 32"]
    assert "Tδ1, 1 seed: trapped 1" in found.text
    assert "1 seed had not finished, and the numbers are without them" in found.text


def test_published_files_make_a_page_that_says_what_they_lack(tmp_path, plain):
    records = [published(t2(seed, None, trapped=seed > 2)) for seed in range(10)]
    published_in(tmp_path / "exp_T_spinodal_20260117_121637", "T2", records)
    found = written(tmp_path)
    assert len(found.seeds[0]) == 11
    assert (
        "Parameters none on record; those of the published protocol are in params/paper/T2.yaml" in found.text
    )
    assert "Computed on not on record" in found.text
    assert "In T2 the learning rate of the sweep follows the schedule, or is not on record" in found.text


# --- by run_all.py


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--base-dir none", "none: no such directory"),
        ("--base-dir empty", "empty: no run there"),
        ("--workers 2", "unrecognized arguments: --workers 2"),
    ],
)
def test_run_all_report_refuses_in_one_line_and_writes_nothing(words, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert cli.run_all(["report", *words.split()]) == 2
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert out == ""
    assert line.startswith(f"run_all: error: {says}")
    assert not list(tmp_path.rglob("report.html"))


# --- in a notebook


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
    ("given", "says"),
    [
        ({"base_dirr": "x"}, "base_dirr = 'x': the report has no such parameter, only base_dir;"),
        ({"base_dir": 3}, "base_dir = 3: must be text"),
        ({"base_dir": "none"}, "none: no such directory"),
    ],
)
def test_the_notebook_refuses_what_it_cannot_report_on(given, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=re.escape(says)):
        notebook_report(given)


def test_the_reports_notebook_is_a_pair_without_outputs_whose_one_parameter_papermill_lists(tmp_path):
    script = NOTEBOOKS / "Hysteresis_report.py"
    copy = Path(shutil.copy(script, tmp_path))
    write_paired(copy)
    assert copy.with_suffix(".ipynb").read_bytes() == script.with_suffix(".ipynb").read_bytes()
    listed = papermill.inspect_notebook(script.with_suffix(".ipynb"))
    assert list(listed) == ["base_dir"]
    assert listed["base_dir"]["help"].startswith("Where the run directories lie")
