"""A stand-in for Colab: a runtime as far as a notebook sees it, and, run as a program, that runtime's kernel.

The kernel has a fake `google.colab`, no dglib, and `/content`'s stand-in for its directory. It needs the
standard library and ipykernel alone, since the interpreter may be that of an environment like Colab's.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import types
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CODE = (
    "dglib",
    "notebooks",
    "params",
    "LICENSE",
    "README.md",
    "pyproject.toml",
    "requirements.txt",
    "run_all.py",
)


class Runtime:
    """A machine with a user's Drive.

    In the notebooks' directory lies a module of the user's, `held`; while there is the file `hold`, a seed
    trains one epoch with its network and waits.

    Args:
        place: an empty directory for all of it.
        repository: the address that the first cell clones from.
        python: of the kernel's environment.
    """

    def __init__(self, place: Path, repository: str, python: str | Path = sys.executable) -> None:
        self.content, self.home = place / "content", place / "home"
        self._cloud, self._specs, self._out = place / "cloud", place / "jupyter", place / "out"
        self.hold = place / "hold"
        for directory in (self._cloud, self._out):
            directory.mkdir(parents=True)
        spec = self._specs / "kernels" / "colab"
        spec.mkdir(parents=True)
        argv = [str(python), str(Path(__file__).resolve()), "-f", "{connection_file}"]
        kernel = {"argv": argv, "display_name": "Colab", "language": "python"}
        (spec / "kernel.json").write_text(json.dumps(kernel), encoding="utf-8")
        self._environment = {
            **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            "DGLIB_CONTENT": str(self.content),
            "DGLIB_REPOSITORY": repository,
            "COLAB_JUPYTER_IP": "127.0.0.1",  # where nothing lists the notebook
            "STAND_IN_CLOUD": str(self._cloud),
            "HOME": str(self.home),
            "MPLCONFIGDIR": str(place / "fonts"),  # finding all fonts takes a while
            "JUPYTER_PATH": str(self._specs),
            "OMP_NUM_THREADS": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "DGLIB_HOLD": str(self.hold),
        }
        for directory in (self.content, self.home):
            directory.mkdir()
        shutil.copy(Path(__file__).with_name("held.py"), self.content)

    @property
    def results(self) -> Path:
        """Where the notebooks leave results by themselves."""
        return self._cloud / "dual-gradient-learning" / "Paper-A"

    def start(self, notebook: Path, **parameters: Any) -> subprocess.Popen[str]:
        """Begin "Run all" of a notebook with other values in its parameters' cell."""
        given = self._out / "parameters.json"  # which is YAML
        given.write_text(json.dumps(parameters), encoding="utf-8")
        ours = self._out / f"{notebook.stem}.source.ipynb"
        ours.write_text(in_place(notebook.read_text(encoding="utf-8"), self.content), encoding="utf-8")
        words = [str(ours), str(self._executed(notebook)), "-f", str(given), "--kernel", "colab"]
        return subprocess.Popen(
            [sys.executable, "-m", "papermill", *words, "--no-progress-bar", "--start-timeout", "300"],
            cwd=self.content,
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run_all(self, notebook: Path, **parameters: Any) -> list[str]:
        """Run a notebook to its end. Returns what each of its cells printed, in order, "" included.

        Raises:
            RuntimeError: a cell failed.
        """
        process = self.start(notebook, **parameters)
        _, problem = process.communicate()
        if process.returncode != 0:
            raise RuntimeError(f"{notebook.name}: {problem}")
        return self.printed(notebook)

    def printed(self, notebook: Path) -> list[str]:
        """What the code cells of a notebook printed when it was last run, papermill's own left out."""
        cells = json.loads(self._executed(notebook).read_text(encoding="utf-8"))["cells"]
        own = ("injected-parameters", "papermill-error-cell-tag")
        return [
            "".join("".join(output.get("text", "")) for output in cell["outputs"])
            for cell in cells
            if cell["cell_type"] == "code" and not set(own) & set(cell["metadata"].get("tags", []))
        ]

    def kill_in_a_seed(self, process: subprocess.Popen[str], *, epochs: int, seconds: float = 600.0) -> str:
        """SIGKILL the kernel once a seed has trained some epochs and has a checkpoint; "T2 seed 1, epoch 6".

        Raises:
            RuntimeError: the notebook ended before.
        """
        deadline = time.monotonic() + seconds
        while process.poll() is None and time.monotonic() < deadline:
            for path in self.home.glob(".cache/dglib/*/exp_*/heartbeats/*.json"):
                beat = json.loads(path.read_bytes())
                saved = path.parent.parent / "checkpoints" / f"{path.stem}.ckpt"
                if beat["epochs_done"] >= epochs and "outcome" not in beat and saved.exists():
                    os.kill(beat["pid"], signal.SIGKILL)
                    process.communicate()
                    return f"{beat['experiment']} seed {beat['seed']}, epoch {beat['epochs_done']}"
            time.sleep(0.05)
        process.kill()
        raise RuntimeError(f"no seed was under way: {process.communicate()[1]}")

    def _executed(self, notebook: Path) -> Path:
        return self._out / notebook.name


def in_place(source: str, content: Path) -> str:
    """A notebook's source with another directory in place of Colab's /content."""
    return re.sub(r"(?<![\w.])/content\b", str(content), source)


def repository_of(project: Path, place: Path, *, tag: str) -> str:
    """A bare repository at `place` with the files of a project as its only commit; its address."""
    work = place.with_suffix(".work")
    work.mkdir(parents=True)
    for name in CODE:
        if (project / name).is_dir():
            shutil.copytree(project / name, work / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(project / name, work)
    commit(work, "main")
    subprocess.run(["git", "-C", str(work), "tag", tag], check=True)
    subprocess.run(["git", "clone", "--quiet", "--bare", str(work), str(place)], check=True)
    shutil.rmtree(work)
    return f"file://{place}"


def commit(work: Path, branch: str) -> None:
    """A repository of the files of a directory, there, as the only commit of a branch."""
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    for words in (["init", "--quiet", "-b", branch], ["add", "."], ["commit", "--quiet", "-m", "all"]):
        subprocess.run(["git", *identity, "-C", str(work), *words], check=True)


def pretend() -> None:
    """Make this interpreter one of Colab's: with google.colab, and without dglib, however it finds it."""
    sys.path[:] = [
        path for path in sys.path if not Path(path, "dglib").is_dir() and path != str(ROOT / "tests")
    ]
    sys.meta_path[:] = [f for f in sys.meta_path if "dglib" not in str(getattr(f, "__module__", ""))]
    google, colab, drive = (types.ModuleType(f"google{rest}") for rest in ("", ".colab", ".colab.drive"))
    drive.mount = _mount  # type: ignore[attr-defined]
    google.colab, colab.drive = colab, drive  # type: ignore[attr-defined]
    sys.modules |= {module.__name__: module for module in (google, colab, drive)}


def _mount(mountpoint: str) -> None:
    """As google.colab.drive.mount, where a user says yes, or no while REFUSE is set."""
    print("asked for", mountpoint)
    if "REFUSE" in os.environ:
        raise ValueError("mount failed")
    mounted = Path(mountpoint) / "MyDrive"
    if mounted.exists():
        raise SystemExit("a mounted Drive was mounted again")
    mounted.parent.mkdir(exist_ok=True)
    cloud = Path(os.environ.get("STAND_IN_CLOUD", mounted.with_name("cloud")))
    cloud.mkdir(exist_ok=True)
    mounted.symlink_to(cloud)


if __name__ == "__main__":
    pretend()
    from importlib.util import find_spec

    from ipykernel.kernelapp import launch_new_instance

    assert find_spec("dglib") is None, find_spec("dglib")
    launch_new_instance()
