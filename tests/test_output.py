"""Output that cannot encode λ gets plain ASCII, with the same numbers, from every command."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dglib.output import plain

ROOT = Path(__file__).parents[1]
SMALL = "init_epochs=1 init_evaluate_every=1 init_error_max=1 sweep_lambdas=[0.5] epochs_per_level=1"
SMALL += " collapse_error=0 consecutive=1 return_sweep=false network_width=0.25 device=cpu"
T1 = ["--seeds", "0", "--base-dir", "runs", "--set", *SMALL.split(" ")]
COMMANDS = {
    "train": ["dglib", "run", "T1", *T1],
    "run": ["dglib", "run", "T1", *T1],
    "run that is wrong": ["dglib", "run", "T1", "--set", "λ=0.3"],
    "analyse": ["dglib", "analyse", "runs"],
    "compare": ["dglib", "compare", "runs", "runs"],
    "verify": ["dglib", "verify", "runs"],
    "report": ["run_all.py", "report", "--base-dir", "runs"],
    "benchmark": ["dglib.benchmark", "--quick", "--only", "λ"],
    "help": ["run_all.py", "--help"],
}
ENCODINGS = {
    "utf-8": {"PYTHONIOENCODING": "utf-8"},
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "cp1252": {"PYTHONIOENCODING": "cp1252"},
    "C": {"PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"},
}
# Runs each command as its own process would, in one process: torch is imported once.
DRIVER = """
import json, runpy, sys
root, commands = sys.argv[1], json.loads(sys.argv[2])
for name, (module, *words) in commands.items():
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="strict")
    print(f"== {name}", flush=True)
    sys.argv = [module, *words]
    try:
        if module.endswith(".py"):
            runpy.run_path(f"{root}/{module}", run_name="__main__")
        else:
            runpy.run_module(module, run_name="__main__")
    except SystemExit as end:
        print(f"-- {end.code}", flush=True)
"""


def run_process(words, directory, encoding, stdout=subprocess.PIPE):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **ENCODINGS[encoding]}
    return subprocess.run(
        [sys.executable, *words], cwd=directory, env=environment, stdout=stdout, stderr=subprocess.STDOUT
    )


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """What each command prints, by encoding, once the seed has been trained and summarised."""
    directory = tmp_path_factory.mktemp("encodings")
    found = {}
    words = ["-c", DRIVER, str(ROOT), json.dumps(COMMANDS)]
    for encoding in ("ascii", "utf-8"):
        done = run_process(words, directory, encoding)
        text = done.stdout.decode(encoding)
        assert done.returncode == 0, text
        # torch warns of a machine without CUDA, with the time and the process.
        text = "".join(line for line in text.splitlines(True) if not re.match(r"W\d{4} ", line))
        parts = (part.partition("\n") for part in text.split("== ")[1:])
        found[encoding] = {name: said for name, _, said in parts}
    return found


@pytest.mark.parametrize("encoding", ["ascii"])
@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "train"])
def test_every_command_prints_the_same_in_any_encoding_but_for_the_names_of_symbols(
    command, encoding, printed
):
    expected = printed["utf-8"][command]
    wrong = command in ("run that is wrong", "benchmark")
    assert expected.rstrip().endswith("-- 2" if wrong else "-- 0")
    assert plain(printed[encoding][command]) == plain(expected)


def test_the_answer_says_lambda_in_ascii(printed):
    assert "λ" in printed["utf-8"]["run"]
    assert "lambda" in printed["ascii"]["run"]


def test_a_campaign_in_a_c_locale_ends_well_and_its_logs_are_utf_8(tmp_path):
    done = run_process([str(ROOT / "run_all.py"), "--only", "T1", *T1], tmp_path, "C")
    assert done.returncode == 0, done.stdout
    assert "lambda" in done.stdout.decode("ascii")
    logs = list((tmp_path / "runs").rglob("*.log"))
    assert logs
    for log in logs:
        log.read_text(encoding="utf-8")
    status = run_process([str(ROOT / "run_all.py"), "status", "--base-dir", "runs"], tmp_path, "C")
    assert status.returncode == 0, status.stdout


def test_json_lines_are_the_same_data_in_any_encoding(tmp_path):
    words = [str(ROOT / "run_all.py"), "--only", "T1", "--dry-run", "--json", "--seeds", "0"]
    words += ["--set", "data_dir=λ"]
    lines = [json.loads(run_process(words, tmp_path, name).stdout) for name in ("utf-8", "cp1252")]
    assert lines[0]["parameters"]["data_dir"] == lines[1]["parameters"]["data_dir"]
    assert lines[0]["parameters"]["data_dir"].endswith("λ")


@pytest.mark.skipif(os.name == "nt", reason="names of files are text there")
def test_a_file_whose_name_is_no_text_is_recorded_as_it_was_typed(tmp_path):
    name = b"own\xff.yaml"
    Path(os.fsdecode(bytes(tmp_path) + b"/" + name)).write_text("lr: 0.05\n", encoding="utf-8")
    words = [b"-m", b"dglib", b"run", b"T1", b"-f", name, *(word.encode() for word in T1)]
    done = run_process(words, tmp_path, "utf-8")
    assert done.returncode == 0, done.stdout
    (manifest,) = tmp_path.glob("runs/*/*_manifest.json")
    assert os.fsdecode(name) in json.loads(manifest.read_bytes())["command"]


def test_numbers_survive_in_plain_text():
    said = "λ↑ = 0.65 ± 0.05, gap −0.12, 12 % ≤ 3×10², ‖θ‖ → ∞"
    assert plain(said).startswith("lambda_up = 0.65 +/- 0.05, gap -0.12, 12 % <= 3x10^2, ||theta|| -> ")
    assert plain(said).isascii()
