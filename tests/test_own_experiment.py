"""An experiment in a user's own file goes from its YAML to the page, through commands alone."""

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
from dglib.experiments import Experiment, Sweep, build_spec, get
from dglib.experiments.parameters import OneState
from dglib.experiments.profiles import load_profile, profile_layer
from dglib.protocol.spec import Arm

TESTS = Path(__file__).parent
PACKAGE = Path(dglib.__file__).parent
NEEDED = ("dataset", "augmentation", "network", "lr", "refresh_period", "noise_rate")
QUICK = (
    "init_epochs=1 init_evaluate_every=1 init_lambda=0.2 sweep_lambdas=[0.3,0.6] return_lambdas=[0.5,0.3]"
    " epochs_per_level=1 evaluate_every=1 milestones=[] network_width=0.25 batch_size=256 seeds=0-1"
)
OWN = ("--experiment-file", "my_loop.py", "--base-dir", "runs")


def command(here, *words, status=0, **variables):
    path = os.pathsep.join(filter(None, [str(PACKAGE.parent), os.environ.get("PYTHONPATH")]))
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path, **variables}
    done = subprocess.run([sys.executable, *words], cwd=here, env=env, capture_output=True, text=True)
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
    lines = [
        *(f"{name}: {json.dumps(shared[name])}" for name in NEEDED),
        *(word.replace("=", ": ") for word in QUICK.split()),
    ]
    (here / "params" / "quick" / "R1.yaml").write_text("\n".join(lines))
    run_all(here, *OWN, "--workers", "1")
    return here


def test_its_records_notebook_summary_and_page_come_from_one_command(ran):
    (run,) = (ran / "runs").glob("exp_R1_*")
    assert len(list((run / "seeds").glob("R1-*.json"))) == 2
    assert (run / "figures" / "R1_sweeps.png").is_file()
    page = (ran / "runs" / "report.html").read_text()
    for words in (
        "A loop of my own",
        "Does the error come back the way it went?",
        "R1, 2 seeds: complete 2",
        "Dwell time 1 epoch per level, LR ",
        "<dd>quick profile</dd>",
    ):
        assert words in page, words
    assert "do not state the learning rate" not in page
    assert json.loads((ran / "runs" / "summary.json").read_text())["R1"]["outcomes"]["complete"] == 2
    cells = json.loads((ran / "runs" / "executed" / "R1.ipynb").read_text())["cells"]
    first = next("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    code = first + "\nfrom dglib.experiments import get; print(get('R1').title)"
    assert "A loop of my own" in command(ran, "-c", code)


def test_it_is_resumed_and_read_by_file_module_and_environment(ran):
    own, known = OWN[:2], {"DGLIB_EXPERIMENTS": str(ran / "my_loop.py")}
    (run,) = map(str, (ran / "runs").glob("exp_R1_*"))
    assert re.fullmatch(r"(\d) jobs: \1 done\n", run_all(ran, "status", *OWN))
    assert "resuming exp_R1_" in command(ran, "-m", "dglib", "run", "my_loop", "--base-dir", "runs")
    other = ("--experiment-file", f"../{ran.name}/my_loop.py")  # another spelling of the same file
    assert "R1, 2 seeds: complete 2" in command(ran, "-m", "dglib", "analyse", run, *other, **known)
    assert "final error" in command(ran, "-m", "dglib", "compare", run, run, *own)
    script = f"from dglib.explorer import recorded; print(recorded({{'runs': {run!r}}}).still())"
    shown = command(ran, "-c", script, **known)
    assert "R1: A loop of my own" in shown
    assert shown.count('data-branch="R1-up"') == 2


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


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "cannot be loaded: no such file"),
        ("1 / 0", "cannot be loaded: ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit(3)", "cannot be loaded: SystemExit: 3"),
        ("x = 1", "registers no experiment; end it with register"),
    ],
)
def test_a_file_that_gives_no_experiment_is_one_line(content, why, tmp_path):
    path = tmp_path / f"none_{len(why)}.py"  # modules of one name are loaded once
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=f"^experiment file {re.escape(str(path))}: {why}"):
        experiments.load(str(path))


class Failing(Experiment):
    name, title, question, parameters = "R9", "Failing", "Does it?", OneState

    def spec(self, parameters):
        return parameters.no_such_parameter


def unread(self, parameters):
    phase = replace(small_spec("T1").arms[0].phases[0], trajectory="errors")
    return replace(small_spec("T1"), arms=(Arm("main", (phase,)),))


def empty(self, parameters):
    return replace(small_spec("T1"), arms=(Arm("main", ()),))


def test_a_users_spec_that_fails_is_one_line_with_its_place_and_a_bug_of_ours_a_traceback(monkeypatch):
    line = f"({__file__}, line {inspect.getsourcelines(empty)[1] + 1})"
    for spec, why in {
        Failing.spec: r"'R9': spec\(\) fails: AttributeError: .*experiment\.py, line",
        unread: "'R9': a phase's trajectory = 'errors': must end with 'trajectory'",
        empty: re.escape(f"must hold at least one level {line}"),
    }.items():
        experiment = type("R9", (Failing,), {"spec": spec})()
        monkeypatch.setitem(experiments._registered, "R9", experiment)
        with pytest.raises(UserError, match=why):
            build_spec("R9", object())
    monkeypatch.setattr(type(get("T2")), "spec", lambda self, parameters: parameters.no_such_parameter)
    with pytest.raises(AttributeError):
        build_spec("T2", object())


def test_a_sweeps_pen_or_trajectory_that_is_none_is_refused(monkeypatch):
    class Misspelt(type(get("loop"))):
        name, parameters, prefix = "R8", type("Parameters", (OneState,), {}), "R8"
        sweeps = (Sweep("R8-up", "up", "up_trajectory", True, "orderly"),)

    with pytest.raises(UserError, match="'R8': sweep 'R8-up': pen = 'orderly': must be one of ordered"):
        experiments.register(Misspelt())
    Misspelt.sweeps = (Sweep("R8-up", "up", "upp_trajectory", True),)
    monkeypatch.setitem(experiments._registered, "R8", Misspelt())
    with pytest.raises(UserError, match=r"trajectory = 'upp_trajectory': must be .* or up_trajectory or"):
        build_spec("R8", load_profile("loop", "quick"))


def test_evaluations_in_fields_of_ones_own_are_read_by_arm():
    epochs = [("a", "init", 1, 0.5), ("a", "jump", 2, 0.4), ("a", "jump", 3, 0.3), ("b", "hold", 1, 0.9)]
    rows = [{"arm": a, "phase": p, "lambda": 0.6, "epoch": t, "error": e} for a, p, t, e in epochs]
    record = {"seed": 0, "outcome": "complete", "epoch_log": rows}
    record |= {
        f"{p}_trajectory": [row for row in rows if row["phase"] == p] for p in ("init", "jump", "hold")
    }
    assert [[entry["error"] for entry in arm] for arm in Failing().arms(record)] == [[0.5, 0.4, 0.3], [0.9]]
    assert Failing().summarise([record])["final_error"]["mean"] == 0.9
