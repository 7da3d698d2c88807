"""One seed at a time runs on Windows. A simulation of what is missing there, see `like_windows`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dglib.base_dir import base_directory
from dglib.errors import UserError

TESTS = Path(__file__).parent
SMALL = "init_epochs=1 init_evaluate_every=1 init_error_max=1 sweep_lambdas=[0.5] epochs_per_level=1"
SMALL += " collapse_error=0 consecutive=1 return_sweep=false network_width=0.25 device=cpu"
# Each returns what is printed as JSON at the end.
SCRIPT = """
import json, pkgutil, sys
import like_windows
like_windows.install()
import dglib
from dglib.cli import main
from dglib.cli import run_all

small = sys.argv[1].split()
run = ["run", "T1", "--seeds", "0", "--base-dir", "runs", "--set", *small]
found = {}

from small import StopAfter
from dglib.control import Interrupted
given = dict(each.split("=") for each in small)
given = {name: json.loads(value) if value[0] in "[0123456789tf" else value for name, value in given.items()}
given |= {"profile": "quick", "base_dir": "runs", "seeds": [0]}
try:
    dglib.run(dglib.notebook_parameters("T1", given), control=StopAfter(30))
except Interrupted:
    found["interrupted"] = 30
found["resume"] = main(run)
found["verify"] = main(["verify", "runs"])
found["compare"] = main(["compare", "runs", "runs"])
found["analyse"] = main(["analyse", "runs", "--json", "analysis.json"])
found["report"] = run_all(["report", "--base-dir", "runs"])
found["run_all"] = run_all(["--only", "T1", "--base-dir", "other"])
found["many at once"] = main([*run, "seeds=[0,1]", "seeds_at_once=2", "--base-dir", "other"])
from dglib.explorer import recorded
found["explorer"] = len(recorded({"base_dir": "runs"}).still()) > 1000
for module in pkgutil.walk_packages(dglib.__path__, "dglib."):
    if not module.name.endswith("__main__"):
        __import__(module.name)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    """What a process on the simulated Windows found, its errors, and where it worked."""
    directory = tmp_path_factory.mktemp("windows")
    path = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, SMALL],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr, directory


def test_a_seed_is_stopped_resumed_and_read_by_every_command(there):
    found, _, directory = there
    assert found["interrupted"]
    (attempts,) = directory.glob("runs/*/attempts/*")
    assert '"found_step": 30' in attempts.read_text(encoding="utf-8")
    done = ("resume", "verify", "compare", "analyse", "report")
    assert {name: found[name] for name in done} == dict.fromkeys(done, 0)
    assert found["explorer"]
    assert (directory / "runs" / "report.html").stat().st_size > 10_000


def test_no_file_has_other_line_ends_there(there):
    written = [path for path in there[2].rglob("*") if path.suffix in (".json", ".jsonl", ".csv", ".html")]
    assert len(written) > 5
    assert not [path for path in written if b"\r\n" in path.read_bytes() and path.suffix != ".csv"]


@pytest.mark.parametrize(
    ("command", "message"),
    [("run_all", "run_all.py: needs a POSIX"), ("many at once", "seeds_at_once = 2: needs")],
)
def test_what_needs_worker_processes_is_refused_in_a_line_before_anything_is_written(command, message, there):
    found, errors, directory = there
    assert found[command] == 2
    assert [line for line in errors.splitlines() if message in line]
    assert not (directory / "other").exists()


def test_a_base_directory_on_a_drive_that_is_missing_is_refused(monkeypatch):
    monkeypatch.setattr(os.path, "lexists", lambda path: False)
    monkeypatch.setattr(Path, "is_dir", lambda path: False)
    with pytest.raises(UserError, match="base_dir = '/nowhere/x': must be a directory"):
        base_directory("/nowhere/x")
