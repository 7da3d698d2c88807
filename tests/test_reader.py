"""Commands whose output nobody reads to its end: `run_all.py --dry-run | head -1`."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import psutil
import pytest

from dglib import cli
from dglib.campaign import dry_run
from dglib.experiments.profiles import PARAMS
from dglib.output import UNREAD, exits_when_unread

RUN_ALL = PARAMS.parent / "run_all.py"
RECORD = """{"key": "1", "kind": "seed", "experiment": "T2", "seed": 0, "seed_id": null, "cell": "", "status":
"failed", "began": 1, "ended": 2, "owner": {"host": "h", "pid": 1}, "process": {}, "log": "l", "reason": "r",
"attempts": 1, "base": ".", "directory": null}"""


@contextmanager
def unread() -> Iterator[None]:
    """stdout is a pipe at whose other end nobody is."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as pipe, redirect_stdout(pipe):  # noqa: PTH123
        yield


@pytest.mark.parametrize(
    ("main", "words"),
    [
        (cli.run_all, ["status", "--base-dir", "."]),
        (cli.run_all, ["--only", "T2", "--seeds", "0-3", "--dry-run", "--json"]),
        (cli.main, ["verify", "."]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_command_ends_quietly_when_its_reader_has_gone(main, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("jobs").mkdir()
    Path("jobs/1.json").write_text(RECORD)
    monkeypatch.setattr(dry_run.Estimator, "seconds", lambda *_: 60.0)
    monkeypatch.setattr(cli, "_verify", lambda *_: print("what is wrong") or 0)
    with unread():
        assert main(words) == UNREAD
        sys.stdout.flush()  # as the interpreter does at its end
    assert capsys.readouterr().err == ""


def test_a_pipe_of_another_kind_that_breaks_stays_an_error() -> None:
    @exits_when_unread
    def main(argv: list[str] | None) -> int:
        raise BrokenPipeError("a worker's")

    with pytest.raises(BrokenPipeError, match="a worker's"):
        main([])


@pytest.mark.slow
def test_a_campaign_whose_reader_goes_saves_its_seeds_and_leaves_no_process(tmp_path: Path) -> None:
    tiny = ["network_width=0.25", "init_epochs=500", "epochs_per_level=1", "sweep_lambdas=[0.5]"]
    words = ["--only", "T2", "--seeds", "0-1", "--workers", "1", "--json", "--base-dir", str(tmp_path)]
    command = [sys.executable, str(RUN_ALL), *words, "--set", *tiny]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        while json.loads(process.stdout.readline())["event"] != "epoch":
            pass
        family = psutil.Process(process.pid).children(recursive=True)
        process.stdout.close()
        err = process.stderr.read()
    assert process.returncode == UNREAD
    assert "Traceback" not in err
    assert err.splitlines()[-1].endswith("nobody reads its output any more; the same command resumes")
    assert psutil.wait_procs(family, timeout=120)[1] == []
    assert len(list(tmp_path.glob("exp_T_spinodal_*/checkpoints/T2-spinodal-000.ckpt"))) == 1
    statuses = sorted(json.loads(path.read_text())["status"] for path in tmp_path.glob("jobs/*.json"))
    assert statuses == ["stopped", "waiting", "waiting"]
