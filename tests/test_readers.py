"""What is a run, and what is in it: every command gives the same answer about the same directory."""

from pathlib import Path

import pytest
from analysis_cases import published, t1, t2
from report_cases import published_in, run_of

from dglib.cli import main
from dglib.errors import UserError
from dglib.experiments.tables import load_records
from dglib.explorer.runs import choices, load, notebook_source
from dglib.report.analyse import analyse
from dglib.report.compare import compare
from dglib.report.page import collect
from dglib.runs.directories import is_run, runs_in
from dglib.runs.reading import find_records
from dglib.runs.verify import verify


def published_as(place: Path, kind: str) -> Path:
    path = published_in(place, "T1", [published(t1(0)), published(t1(1))]) / "T1-spinodal_results.json"
    return path.rename(place / f"T1-spinodal_{kind}.json").parent


RUNS = {
    "ours": lambda place: run_of(place, "T1", [t1(0), t1(1)]),
    "published": lambda place: published_as(place, "results"),
    "checkpoint alone": lambda place: published_as(place, "checkpoint"),
}
NO_RUNS = {
    "empty": lambda place: None,
    "figures alone": lambda place: (place / "figures").mkdir(),
    "another program's results": lambda place: (place / "other_results.json").write_text("[]"),
    "hidden": lambda place: published_in(place / ".ipynb_checkpoints", "T1", [t1(0)]),
}


@pytest.mark.parametrize("kind", RUNS)
@pytest.mark.parametrize("above", [False, True])
def test_every_reader_finds_the_same_seeds_in_a_run_and_in_a_folder_that_holds_it(kind, above, tmp_path):
    run = RUNS[kind](tmp_path / "base" / "exp_T_spinodal_20260101_000000")
    place = tmp_path / "base" if above and kind != "ours" else run.parent if above else run
    assert is_run(run)
    assert runs_in(place) == [run]
    assert [each["seed"] for each in analyse(place)["T1"]["seeds"]] == [0, 1]
    assert load_records(place).seeds["seed"].to_list() == [0, 1]
    assert [record["seed"] for record in collect(place).runs[0].records] == [0, 1]
    assert [item.name for item in compare(place, place)[0]] == ["T1"]
    shown = load(choices(*notebook_source({"runs": str(place)}))[0])
    assert [seed.seed for seed in shown.seeds] == [0, 1]
    assert not [each for each in verify(place) if each.severity == "wrong"]


@pytest.mark.parametrize("kind", NO_RUNS)
def test_every_reader_refuses_what_is_no_run(kind, tmp_path):
    NO_RUNS[kind](tmp_path)
    for read in (runs_in, collect, verify, analyse, lambda place: compare(place, place)):
        with pytest.raises(UserError, match=r"no run there|no records there"):
            read(tmp_path)
    with pytest.raises(UserError, match="no run there"):
        choices(*notebook_source({"runs": str(tmp_path)}))


def test_where_the_only_results_are_broken_every_command_reports_it_and_writes_nothing(tmp_path, capsys):
    (tmp_path / "T1-spinodal_results.json").write_text("[1, 2]")
    for command in (["analyse"], ["verify"], ["compare", str(tmp_path)]):
        assert main([*command, str(tmp_path)]) in (1, 2)
        printed = capsys.readouterr()
        assert "T1-spinodal_results.json" in printed.out + printed.err
    with pytest.raises(UserError, match=r"no records there; .*T1-spinodal_results\.json"):
        collect(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["T1-spinodal_results.json"]


def test_damaged_seeds_are_in_no_readers_numbers_although_the_view_still_has_them(tmp_path):
    run = run_of(tmp_path, "T2", [t2(0)])
    (seed,) = (run / "seeds").glob("*.json")
    seed.write_bytes(seed.read_bytes().replace(b"0.3", b"0.4", 1))
    found = find_records(run)
    assert (found.sources, [line.partition(":")[0] for line in found.damaged]) == ([], [str(seed)])
    assert (collect(run).runs[0].records, collect(run).damaged) == ((), found.damaged)
    with pytest.raises(UserError, match="no records there"):
        analyse(run)


def test_records_in_another_files_form_are_still_read_by_what_they_contain(tmp_path):
    path = published_in(tmp_path, "T1", [published(t1(0))]) / "T1-spinodal_results.json"
    copy = path.rename(tmp_path / "copy.json")
    assert [source.experiment for source in find_records(copy).sources] == ["T1"]
