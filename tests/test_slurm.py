"""A Slurm file: what its fields become in the job script, and what is refused."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from dglib.campaign.slurm import SlurmFile, jobqueue, read_slurm_file
from dglib.errors import UserError
from dglib.experiments.profiles import PARAMS

EXAMPLE = PARAMS / "slurm.example.yaml"
LEAST = {"jobs": 2, "walltime": "01:00:00", "memory": "16GB"}


def script(file: SlurmFile) -> list[str]:
    """The job script that Dask would submit, line by line. No Slurm is needed for it."""
    job = jobqueue().slurm.SLURMJob("tcp://10.0.0.1:4567", name="worker-0", **file.options())
    return str(job.job_script()).splitlines()


def read(tmp_path: Path, **fields: Any) -> SlurmFile:
    path = tmp_path / "slurm.yaml"
    path.write_text(yaml.safe_dump({name: value for name, value in fields.items() if value is not ...}))
    return read_slurm_file(path, where="slurm.yaml")


def test_ctrl_c_stays_a_keyboard_interrupt_though_dasks_module_takes_it_when_imported() -> None:
    code = (
        "import signal; from dglib.campaign.slurm import jobqueue; jobqueue();"
        " signal.raise_signal(signal.SIGINT)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == "KeyboardInterrupt"


def test_the_examples_job_script_asks_for_one_gpu_and_starts_one_worker_that_leaves_in_time() -> None:
    *head, command = filter(None, script(read_slurm_file(EXAMPLE, "example")))
    assert head == [
        "#!/usr/bin/env bash",
        "#SBATCH -J dglib",
        "#SBATCH -p gpu",
        "#SBATCH -A my-project",
        "#SBATCH -n 1",
        "#SBATCH --cpus-per-task=4",
        "#SBATCH --mem=15G",  # 16 GB in the binary units that sbatch reads
        "#SBATCH -t 08:00:00",
        "#SBATCH --gres=gpu:1",
    ]
    assert " -m distributed.cli.dask_worker tcp://10.0.0.1:4567 --name worker-0 --nthreads 1 " in command
    assert "--nanny" in command.split()
    assert command.endswith(" --resources GPU=1 --lifetime 28500s --lifetime-stagger 60s --memory-limit 0")


def test_every_field_reaches_the_job_script(tmp_path: Path) -> None:
    file = read(
        tmp_path,
        **LEAST,
        gpus=0,
        job_cpu=8,
        queue="long",
        account="me",
        interface="ib0",
        python="/opt/python",
        job_name="hysteresis",
        job_extra_directives=["--constraint=a100"],
        job_script_prologue=["module load cuda"],
        worker_extra_args=["--no-dashboard"],
        log_directory=str(tmp_path),
        local_directory="/scratch",
    )
    lines = script(file)
    for line in (
        "#SBATCH -J hysteresis",
        "#SBATCH -p long",
        "#SBATCH -A me",
        "#SBATCH --cpus-per-task=8",
        "#SBATCH -t 01:00:00",
        "#SBATCH --constraint=a100",
        f"#SBATCH -o {tmp_path}/hysteresis-%J.out",
        "module load cuda",
    ):
        assert line in lines
    assert lines.index("module load cuda") == len(lines) - 2
    assert lines[-1].startswith("/opt/python -m distributed.cli.dask_worker ")
    for words in ("--interface ib0", "--local-directory /scratch", "--no-dashboard", "--lifetime 3300s"):
        assert words in lines[-1]
    assert "GPU" not in "".join(lines)
    assert "gres" not in "".join(lines)


def test_the_example_names_every_field() -> None:
    assert set(yaml.safe_load(EXAMPLE.read_text())) == set(SlurmFile.model_fields)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"partition": "gpu"}, "partition = 'gpu': no such field; there are jobs, gpus, walltime"),
        ({"quue": "gpu"}, "quue = 'gpu': no such field; did you mean queue?"),
        ({"processes": 4}, "processes = 4: no such field"),
        ({"jobs": ...}, "jobs is missing; params/slurm.example.yaml says what it is"),
        ({"jobs": 0}, "jobs = 0: "),
        ({"jobs": "four"}, "jobs = 'four': "),
        ({"gpus": 4}, "gpus = 4: "),
        ({"memory": 16}, "memory = 16: "),
        ({"memory": "much"}, "memory = 'much': must be a number and a unit, as 16GB"),
        ({"walltime": 3600}, "walltime = 3600: "),
        ({"walltime": "8h"}, "walltime = '8h': must be HH:MM:SS or D-HH:MM:SS"),
        ({"walltime": "00:10:00"}, "walltime = '00:10:00': must be at least 0:15:00"),
        ({"job_script_prologue": "module load"}, "job_script_prologue = 'module load': "),
        ({"log_directory": "/nowhere/at/all"}, "log_directory = '/nowhere/at/all': must be a directory"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_wrong_field_is_refused_by_name_in_one_line(
    tmp_path: Path, fields: dict[str, Any], says: str
) -> None:
    with pytest.raises(UserError) as refused:
        read(tmp_path, **(LEAST | fields))
    assert str(refused.value).startswith(f"slurm.yaml: {says}")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [("- jobs", "must hold fields"), ("jobs: [", "is not YAML"), ("", "must hold fields")],
)
def test_a_file_without_fields_is_refused(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "slurm.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=f"x: {says}"):
        read_slurm_file(path, "x")
    with pytest.raises(UserError, match=r"x: cannot be read: .*; params/slurm.example.yaml is one to copy"):
        read_slurm_file(tmp_path / "none.yaml", "x")


def test_a_machine_without_slurm_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with (
        pytest.raises(UserError, match="--cluster x: there is no sbatch on this machine"),
        read(tmp_path, **LEAST).cluster("--cluster x"),
    ):
        pytest.fail("a cluster without Slurm")
