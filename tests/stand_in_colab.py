"""A stand-in for Colab: a runtime as far as a notebook sees it, and, run as a program, that runtime's kernel.

The kernel has a fake `google.colab`, no dglib, and `/content`'s stand-in for its directory. It needs the
standard library and ipykernel alone, since the interpreter may be that of an environment like Colab's.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
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
    """A machine with a user's Drive, for one notebook.

    In the notebook's directory lies a module of the user's, `held`; while there is the file `hold`, a seed
    trains one epoch with its network and waits.

    Args:
        place: an empty directory for all of it.
        repository: the address that the first cell clones from.
    """

    def __init__(self, place: Path, repository: str) -> None:
        self.content, self.home, self.hold = place / "content", place / "home", place / "hold"
        self._out, cloud, kernel = place / "out", place / "cloud", place / "jupyter" / "kernels" / "colab"
        for directory in (self.content, self.home, self._out, cloud, kernel):
            directory.mkdir(parents=True)
        self.results = cloud / "dual-gradient-learning" / "Paper-A"
        argv = [sys.executable, str(Path(__file__).resolve()), "-f", "{connection_file}"]
        spec = {"argv": argv, "display_name": "Colab", "language": "python"}
        (kernel / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
        self._environment = {
            **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            "DGLIB_CONTENT": str(self.content),
            "DGLIB_REPOSITORY": repository,
            "COLAB_JUPYTER_IP": "127.0.0.1",  # where nothing lists the notebook
            "STAND_IN_CLOUD": str(cloud),
            "HOME": str(self.home),
            "MPLCONFIGDIR": str(place / "fonts"),  # finding all fonts takes a while
            "JUPYTER_PATH": str(place / "jupyter"),
            "OMP_NUM_THREADS": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "DGLIB_HOLD": str(self.hold),
        }
        shutil.copy(Path(__file__).with_name("held.py"), self.content)

    def start(self, notebook: Path, **parameters: Any) -> subprocess.Popen[str]:
        """Begin "Run all" of the notebook with other values in its parameters' cell."""
        given = self._out / "parameters.json"  # which is YAML
        given.write_text(json.dumps(parameters), encoding="utf-8")
        ours = self._out / "source.ipynb"
        ours.write_text(in_place(notebook.read_text(encoding="utf-8"), self.content), encoding="utf-8")
        words = [str(ours), str(self._out / "executed.ipynb"), "-f", str(given), "--kernel", "colab"]
        return subprocess.Popen(
            [sys.executable, "-m", "papermill", *words, "--no-progress-bar", "--start-timeout", "300"],
            cwd=self.content,
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def first_cell(self) -> list[str]:
        """What the first cell printed when the notebook was last run, line by line."""
        cells = json.loads((self._out / "executed.ipynb").read_text(encoding="utf-8"))["cells"]
        outputs = next(cell["outputs"] for cell in cells if "google.colab" in "".join(cell["source"]))
        return "".join("".join(output.get("text", "")) for output in outputs).strip().splitlines()

    def trained_by(self) -> int | None:
        """The process of a seed that has trained an epoch and has a checkpoint."""
        for path in self.home.glob(".cache/dglib/*/exp_*/heartbeats/*.json"):
            beat = json.loads(path.read_bytes())
            if (path.parent.parent / "checkpoints" / f"{path.stem}.ckpt").exists() and beat["epochs_done"]:
                return int(beat["pid"])
        return None


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
