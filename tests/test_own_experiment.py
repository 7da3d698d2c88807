"""An experiment in a user's own file goes from its YAML to the page, through commands alone."""

import ast
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from small import small_spec

import dglib
from dglib import experiments
from dglib.errors import UserError
from dglib.experiments import Experiment, Sweep, build_spec, get, names
from dglib.experiments.parameters import OneState
from dglib.experiments.profiles import load_profile, profile_layer
from dglib.protocol.spec import Arm

TESTS = Path(__file__).parent
PACKAGE = Path(dglib.__file__).parent
NEEDED = ("dataset", "augmentation", "network", "lr", "refresh_period", "noise_rate")
QUICK = """
init_epochs: 1
init_evaluate_every: 1
init_lambda: 0.2
sweep_lambdas: [0.3, 0.6]
return_lambdas: [0.5, 0.3]
epochs_per_level: 1
evaluate_every: 1
milestones: []
network_width: 0.25
batch_size: 256
seeds: 0-1
"""
GRID = "experiment: R1\ngrid: {noise_rate: [0.2, 0.4]}\nseeds: [0]\n"
OWN = ("--experiment-file", "my_loop.py", "--base-dir", "runs")


def command(here, *words, status=0, **variables):
    path = [str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, path))}
    done = subprocess.run(
        [sys.executable, *words], cwd=here, env=environment | variables, capture_output=True, text=True
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def run_all(here, *words, **more):
    return command(here, str(PACKAGE.parent / "run_all.py"), *words, **more)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A directory with the user's file and its profile, in which `run_all.py` has run it."""
    here = tmp_path_factory.mktemp("own")
    shutil.copy(TESTS / "users_loop.py", here / "my_loop.py")
    (here / "params" / "quick").mkdir(parents=True)
    shared = profile_layer("loop", "quick").values
    lines = [f"{name}: {json.dumps(shared[name])}" for name in NEEDED]
    (here / "params" / "quick" / "R1.yaml").write_text("\n".join(lines) + QUICK)
    (here / "grid.yaml").write_text(GRID)
    run_all(here, *OWN, "--workers", "1")
    return here


def test_its_records_notebook_summary_and_page_come_from_one_command(ran):
    (run,) = (ran / "runs").glob("exp_R1_*")
    assert len(list((run / "seeds").glob("R1-*.json"))) == 2
    assert (run / "figures" / "R1_sweeps.png").is_file()
    assert (ran / "runs" / "executed" / "R1.ipynb").is_file()
    page = (ran / "runs" / "report.html").read_text()
    for words in (
        "A loop of my own",
        "Does the error come back the way it went?",
        "R1, 2 seeds: complete 2",
        "Dwell time 1 epoch per level, LR ",
        "<dd>quick profile</dd>",
    ):
        assert words in page, words
    assert json.loads((ran / "runs" / "summary.json").read_text())["R1"]["outcomes"]["complete"] == 2


def test_it_is_resumed_and_read_by_name_file_module_and_environment(ran):
    assert re.fullmatch(r"(\d) jobs: \1 done\n", run_all(ran, "status", *OWN))
    for given in ("my_loop.py", "my_loop"):
        assert "resuming exp_R1_" in command(ran, "-m", "dglib", "run", given, "--base-dir", "runs")
    own, known = OWN[:2], {"DGLIB_EXPERIMENTS": str(ran / "my_loop.py")}
    (run,) = map(str, (ran / "runs").glob("exp_R1_*"))
    other = ("--experiment-file", f"../{ran.name}/my_loop.py")  # another spelling of the same file
    assert "R1, 2 seeds: complete 2" in command(ran, "-m", "dglib", "analyse", run, *other, **known)
    assert "final error" in command(ran, "-m", "dglib", "compare", run, run, *own)
    assert "1 run directory: all is well\n" in command(ran, "-m", "dglib", "verify", run, *own)
    script = f"import dglib; print(dglib.load_records({run!r}).seeds.outcome.tolist())"
    assert "['complete', 'complete']" in command(ran, "-c", script, **known)


def test_its_executed_notebook_loads_its_file_and_knows_the_lr_of_its_sweep(ran):
    code = "import json; cells = json.load(open('runs/executed/R1.ipynb'))['cells']\n"
    code += "exec(next(''.join(cell['source']) for cell in cells if cell['cell_type'] == 'code'))\n"
    code += "from dglib.experiments import get; print(get('R1').title)"
    assert "A loop of my own" in command(ran, "-c", code)
    assert "do not state the learning rate" not in (ran / "runs" / "report.html").read_text()


def test_a_mistake_in_its_summary_stops_no_campaign_and_is_named_with_its_line(ran, tmp_path):
    here = shutil.copytree(ran, tmp_path / "here")
    text = (here / "my_loop.py").read_text()
    own = "    def summarise(self, records):\n        return records[0]['finalerror']\n\n    def spec("
    (here / "my_loop.py").write_text(text.replace("    def spec(", own))
    shown = run_all(here, *OWN, "--workers", "1", status=1)
    why = r"experiment 'R1': summarise\(\) fails: KeyError: 'finalerror' \(.*my_loop\.py, line \d+\)"
    assert len(re.findall(rf"R1 seed \d: complete \({why}\)", shown)) == 2
    assert re.search(rf"\nR1: no answer: {why}\n", shown)
    assert "Traceback" not in shown


def test_without_its_file_its_records_are_refused_or_noted_with_the_option_that_reads_them(ran):
    (run,) = map(str, (ran / "runs").glob("exp_R1_*"))
    assert "give its file as --experiment-file" in command(ran, "-m", "dglib", "analyse", run, status=2)
    listed = command(ran, "-m", "dglib", "list", "--base-dir", "runs")
    assert "of no known experiment; if it is your own, give its file as --experiment-file" in listed
    found = command(ran, "-m", "dglib", "verify", run)
    assert "note: " in found
    assert "R1 is no known experiment" in found
    assert "nothing wrong, 1 to note" in found


def test_the_explorer_shows_its_sweeps(ran):
    (run,) = map(str, (ran / "runs").glob("exp_R1_*"))
    script = "from dglib.explorer import recorded as panel\n"
    script += f"print(panel({{'runs': {run!r}}}).still())"
    shown = command(ran, "-c", script, DGLIB_EXPERIMENTS=str(ran / "my_loop.py"))
    assert "R1: A loop of my own" in shown
    assert shown.count('data-branch="R1-up"') == 2


def test_a_grid_of_it_has_its_page(ran):
    run_all(ran, *OWN, "--grid", "grid.yaml", "--workers", "1")
    page = (ran / "runs" / "grid_grid" / "report.html").read_text()
    assert "R1: 2 of 2 cells have finished seeds" in page
    analysed = command(ran, "-m", "dglib", "analyse", "runs", *OWN[:2])
    assert "R1, 2 seeds: complete 2" in analysed
    assert re.search(r"runs/grid_grid: a grid, left aside", analysed)


def test_without_a_profile_one_to_fill_in_is_printed_and_what_is_missing_in_it_named_at_once(tmp_path):
    shutil.copy(TESTS / "users_loop.py", tmp_path / "my_loop.py")
    refused = command(tmp_path, "-m", "dglib", "run", "my_loop.py", status=2)
    assert "no quick/R1.yaml there: `python -m dglib parameters my_loop.py` prints one to fill in" in refused
    printed = command(tmp_path, "-m", "dglib", "parameters", "my_loop.py")
    profile = tmp_path / "params" / "quick" / "R1.yaml"
    profile.parent.mkdir(parents=True)
    profile.write_text(printed.replace("# noise_rate: ", "noise_rate: 0.4"))
    refused = command(tmp_path, "-m", "dglib", "run", "my_loop.py", status=2)
    assert re.search(r"R1\.yaml: seeds, dataset, .* are missing\n", refused)


class Failing(Experiment):
    name, title, question, parameters = "R9", "Failing", "Does it?", OneState

    def spec(self, parameters):
        return parameters.no_such_parameter


def test_a_users_spec_that_fails_is_one_line_and_a_bug_of_ours_a_traceback(monkeypatch):
    monkeypatch.setitem(experiments._registered, "R9", Failing())
    with pytest.raises(UserError, match=r"'R9': spec\(\) fails: AttributeError: .*experiment\.py, line"):
        build_spec("R9", object())
    monkeypatch.setattr(type(get("T2")), "spec", Failing.spec)
    with pytest.raises(AttributeError):
        build_spec("T2", object())


class Parameters(OneState):
    pass


def test_a_pen_or_trajectory_that_is_none_is_refused(monkeypatch):
    class Misspelt(get("loop").__class__):
        name, parameters, prefix = "R8", Parameters, "R8"
        sweeps = (Sweep("R8-up", "up", "up_trajectory", True, "orderly"),)

        def spec(self, p):
            return get("loop").spec(p)

    with pytest.raises(UserError, match="'R8': sweep 'R8-up': pen = 'orderly': must be one of ordered"):
        experiments.register(Misspelt())
    Misspelt.sweeps = (Sweep("R8-up", "up", "upp_trajectory", True),)
    monkeypatch.setitem(experiments._registered, "R8", Misspelt())
    with pytest.raises(UserError, match=r"trajectory = 'upp_trajectory': must be .* or up_trajectory or"):
        build_spec("R8", load_profile("loop", "quick"))


def test_evaluations_in_fields_of_ones_own_are_read_by_arm():
    class Jump(Experiment):
        name, parameters = "R7", Parameters

    def evaluated(phase, *points):
        return [{"phase": phase, "lambda": 0.6, "epoch": t, "error": error} for t, error in points]

    record = {
        "seed": 0,
        "outcome": "complete",
        "init_trajectory": evaluated("init", (1, 0.5)),
        "jump_trajectory": evaluated("jump", (2, 0.4), (3, 0.3)),
        "other_trajectory": evaluated("hold", (1, 0.9)),
        "epoch_log": [
            {"arm": arm, "phase": phase, "lambda": 0.6, "epoch": t}
            for arm, phase, t in (("a", "init", 1), ("a", "jump", 2), ("a", "jump", 3), ("b", "hold", 1))
        ],
    }
    assert [[entry["error"] for entry in arm] for arm in Jump().arms(record)] == [[0.5, 0.4, 0.3], [0.9]]
    assert Jump().summarise([record])["final_error"]["mean"] == 0.9


def test_a_phase_whose_evaluations_would_not_be_read_is_refused(monkeypatch):
    class Unread(Failing):
        def spec(self, p):
            phase = replace(small_spec("T1").arms[0].phases[0], trajectory="errors")
            return replace(small_spec("T1"), arms=(Arm("main", (phase,)),))

    monkeypatch.setitem(experiments._registered, "R9", Unread())
    with pytest.raises(UserError, match="'R9': a phase's trajectory = 'errors': must end with 'trajectory'"):
        build_spec("R9", object())


class Empty(Failing):
    def spec(self, parameters):
        return replace(small_spec("T1"), arms=(Arm("main", ()),))


def test_where_a_specification_is_refused_the_users_line_is_named(monkeypatch):
    monkeypatch.setitem(experiments._registered, "R9", Empty())
    line = f"({__file__}, line {inspect.getsourcelines(Empty.spec)[1] + 1})"
    with pytest.raises(UserError, match=re.escape(f"must hold at least one level {line}")):
        build_spec("R9", object())


def literals(path):
    """The texts in a module's code; docstrings, which give examples, are left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    first = [node.body[0] for node in ast.walk(tree) if isinstance(node, documented) and node.body]
    docs = {id(each.value) for each in first if isinstance(each, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.value


def test_no_file_outside_the_experiments_names_one():
    about = [get(name) for name in names()]
    words = {word for each in about for word in (each.name, each.symbol, each.prefix, each.title)}
    words -= {"loop"}  # an English word
    named = re.compile(rf"(?<![\w-])({'|'.join(map(re.escape, words))})(?!\w)")
    found = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if PACKAGE / "experiments" not in path.parents and any(map(named.search, literals(path)))
    }
    assert found == set()
