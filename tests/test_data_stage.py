"""A download under the commands: interrupted, and seen from outside. The server is a simulated one."""

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from archive_server import ArchiveServer

from dglib.campaign.monitor import Lines
from dglib.cli import run_all
from dglib.training.download import part_of

ROOT = Path(__file__).resolve().parents[1]
RUN = [sys.executable, "-m", "dglib", "run", "T1"]
CAMPAIGN = [sys.executable, str(ROOT / "run_all.py"), "--only", "T1", "--workers", "1"]


@pytest.fixture
def started(tmp_path, monkeypatch):
    """Start a command that downloads CIFAR-10 from a server that hangs after the first kilobytes."""
    monkeypatch.chdir(tmp_path)
    with ArchiveServer(b"\x1f\x8b" + bytes(100_000)).serving() as server:
        server.mode, server.piece = "hang", 5000
        processes = []

        def start(command):
            words = ["--base-dir", "runs", "--seeds", "0", "--set", "dataset=cifar10", "data_dir=data"]
            process = subprocess.Popen(
                [*command, *words],
                env=os.environ | {"DGLIB_CIFAR10_URL": server.url, "PYTHONPATH": str(ROOT)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            processes.append(process)
            part = part_of(tmp_path / "data" / "cifar-10-python.tar.gz")
            while process.poll() is None and not (part.exists() and part.stat().st_size == server.piece):
                time.sleep(0.05)
            assert process.poll() is None, process.communicate()
            return process

        yield start
        for process in processes:
            process.kill()
            process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "number"), [(RUN, signal.SIGINT), (CAMPAIGN, signal.SIGTERM)], ids=["run", "run_all"]
)
def test_an_interrupt_during_the_download_ends_a_command_and_leaves_a_part_to_resume(
    command, number, started, tmp_path
):
    process = started(command)
    process.send_signal(number)
    out, err = process.communicate()
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert err.strip().splitlines()[-1].endswith("stopped; the same command resumes")
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["cifar-10-python.tar.gz.part"]
    assert list(tmp_path.glob("runs/exp_*")) == []
    assert command is RUN or out.startswith(f"T1 into {tmp_path / 'runs'}: ")


@pytest.mark.slow
def test_a_download_shows_in_the_jobs_log_and_in_status(started, capsys):
    started(CAMPAIGN)
    (log,) = Path("runs", "jobs").glob("*.log")
    assert "cifar10: downloading http://127.0.0.1" in log.read_text()
    assert run_all(["status", "--base-dir", "runs"]) == 0
    assert "T1 seed 0: running: cifar10: downloading http://127.0.0.1" in capsys.readouterr().out


def test_what_a_job_says_before_its_first_heartbeat_stands_in_a_campaigns_lines(tmp_path, monkeypatch):
    monkeypatch.setattr("dglib.campaign.monitor.LINE_SECONDS", 0.0)

    class Job:
        name, status, is_over, began, log = "T1 seed 0", "running", False, time.time() - 1, tmp_path / "log"

    for lines, shown in (("-- begun", ""), ("cifar10: 3 of 170 MB", "; T1 seed 0 cifar10: 3 of 170 MB")):
        Job.log.write_text(f"-- begun before\n{lines}\n")
        Lines([Job], out := io.StringIO()).progress({})
        assert out.getvalue() == f"0 of 1 jobs{shown}\n"
    os.utime(Job.log, (0, 0))
    Lines([Job], out := io.StringIO()).progress({})
    assert out.getvalue() == "0 of 1 jobs\n", "a line of an attempt before is none"
