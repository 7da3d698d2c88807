"""A stand-in for Colab: an interpreter with a fake `google.colab` and no dglib, and repositories to clone.

It needs the standard library alone, since the interpreter may be that of an environment like Colab's.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import types
from pathlib import Path


def in_place(source, content):
    """A notebook's source with another directory in place of Colab's /content."""
    return re.sub(r"(?<![\w.])/content\b", str(content), source)


def repository_of(project, place, *, tag):
    """A bare repository at `place` with the files of a project as its only commit; its address."""
    work = place.with_suffix(".work")
    work.mkdir(parents=True)
    for name in ("dglib", "notebooks", "params"):
        shutil.copytree(project / name, work / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "run_all.py"):
        shutil.copy(project / name, work)
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "all"], ["tag", tag]):
        subprocess.run(["git", *identity, "-C", str(work), *words], check=True)
    subprocess.run(["git", "clone", "--quiet", "--bare", str(work), str(place)], check=True)
    shutil.rmtree(work)
    return f"file://{place}"


def pretend():
    """Make this interpreter one of Colab's: with google.colab, and without dglib, however it finds it."""
    tests = str(Path(__file__).resolve().parent)
    sys.path[:] = [path for path in sys.path if not Path(path, "dglib").is_dir() and path != tests]
    sys.meta_path[:] = [f for f in sys.meta_path if "dglib" not in str(getattr(f, "__module__", ""))]
    google, colab, drive = (types.ModuleType(f"google{rest}") for rest in ("", ".colab", ".colab.drive"))
    drive.mount = _mount  # type: ignore[attr-defined]
    google.colab, colab.drive = colab, drive  # type: ignore[attr-defined]
    sys.modules |= {module.__name__: module for module in (google, colab, drive)}


def _mount(mountpoint):
    """As google.colab.drive.mount, where a user says yes, or no while REFUSE is set."""
    print("asked for", mountpoint)
    if "REFUSE" in os.environ:
        raise ValueError("mount failed")
    mounted = Path(mountpoint) / "MyDrive"
    if mounted.exists():
        raise SystemExit("a mounted Drive was mounted again")
    mounted.parent.mkdir(exist_ok=True)
    mounted.with_name("cloud").mkdir()
    mounted.symlink_to(mounted.with_name("cloud"))
