"""Output that cannot encode λ gets plain ASCII, with the same numbers, from every command."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dglib.files import to_json
from dglib.output import plain

ROOT = Path(__file__).parents[1]
SMALL = "init_epochs=1 init_evaluate_every=1 init_error_max=1 sweep_lambdas=[0.5] epochs_per_level=1"
SMALL += " collapse_error=0 consecutive=1 return_sweep=false network_width=0.25 device=cpu"
T1 = ["--seeds", "0", "--base-dir", "runs", "--set", *SMALL.split(" ")]
COMMANDS = {
    "campaign": (["run_all.py", "--only", "T1", *T1], 0),
    "run": (["dglib", "run", "T1", *T1], 0),
    "wrong run": (["dglib", "run", "T1", "--set", "λ=0.3"], 2),
    "analyse": (["dglib", "analyse", "runs"], 0),
    "compare": (["dglib", "compare", "runs", "runs"], 0),
    "report": (["run_all.py", "report", "--base-dir", "runs"], 0),
    "help": (["run_all.py", "--help"], 0),
}
# Runs each command as its own process would, in one process: torch is imported once.
DRIVER = """
import json, runpy, sys
root, commands = sys.argv[1], json.loads(sys.argv[2])
for name, ((module, *words), _) in commands.items():
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="strict")
    print(f"== {name}", flush=True)
    sys.argv = [module, *words]
    try:
        if module.endswith(".py"):
            runpy.run_path(f"{root}/{module}", run_name="__main__")
        else:
            runpy.run_module(module, run_name="__main__")
    except (SystemExit, UnicodeError) as end:
        print(f"-- {end}", flush=True)
"""


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """The output of each command in a C locale, whose encoding is ASCII, and the directory of the runs."""
    directory = tmp_path_factory.mktemp("locale")
    environment = {"PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(ROOT), json.dumps(COMMANDS)],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    text = done.stdout.decode("ascii")
    assert done.returncode == 0, text
    parts = (part.partition("\n") for part in text.split("== ")[1:])
    return {name: output for name, _, output in parts}, directory


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_ends_with_its_status_in_a_c_locale(command, printed):
    assert printed[0][command].rstrip().endswith(f"-- {COMMANDS[command][1]}")


def test_the_answer_spells_lambda_and_logs_are_utf_8(printed):
    outputs, directory = printed
    assert "lambda" in outputs["campaign"]
    assert "lambda" in outputs["run"]
    logs = list((directory / "runs").rglob("*.log"))
    assert logs
    for log in logs:
        log.read_text(encoding="utf-8")


def test_what_an_encoding_has_is_printed_as_it_is(printed):
    done = subprocess.run(
        [sys.executable, "-m", "dglib", "analyse", "runs"],
        cwd=printed[1],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "cp1252"},
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode("cp1252")
    assert "lambda_up" in text
    assert "[cell] ± SD" in text


def test_a_file_name_that_is_no_text_comes_back_from_json_as_it_was_given():
    name = os.fsdecode(b"own\xff.yaml")
    assert json.loads(to_json({"command": [name]})) == {"command": [name]}


def test_numbers_survive_in_plain_text():
    text = "λ↑ = 0.65 ± 0.05, gap −0.12, 12 % ≤ 3×10², ‖θ‖ → ∞"
    assert plain(text).startswith("lambda_up = 0.65 +/- 0.05, gap -0.12, 12 % <= 3x10^2, ||theta|| -> ")
    assert plain(text).isascii()
