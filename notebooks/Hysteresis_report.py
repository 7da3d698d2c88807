# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,-all
#     formats: ipynb,py:percent
#     notebook_metadata_filter: kernelspec,jupytext,-jupytext.text_representation.jupytext_version
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # What did all runs together find?
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/dglib/dglib/blob/main/notebooks/Hysteresis_report.ipynb)
#
# This notebook trains nothing. It reads every run directory below `base_dir` and shows one report: what was asked, what came out,
# the hysteresis loop, each experiment with its figure and a table of its seeds, how it was run, and what it does not show.
#
# **What counts as an answer:** the thresholds λ↑ and λ↓, the width, the gap and the early signs, each with its interval, its
# dwell time and its learning rate. Runs under different parameters are shown apart.

# %%
# In Colab: get the project and install what is missing there. Anywhere else this cell does nothing.
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

if "google.colab" in sys.modules and getattr(importlib.util.find_spec("dglib"), "origin", None) is None:
    _content = Path(os.environ.get("DGLIB_CONTENT", "/content"))
    if not (_content / "drive/MyDrive").exists():
        from google.colab import drive

        try:
            drive.mount(str(_content / "drive"))
        except Exception as _problem:
            print("No Drive, so the results end with this runtime:", _problem)
    _project = _content / "drive/MyDrive/dual-gradient-learning/dglib"  # your own copy, if there is one
    if not (_project / "run_all.py").exists():
        _project = _content / "dual-gradient-learning"
    if not (_project / "run_all.py").exists():
        shutil.rmtree(_project, ignore_errors=True)  # a clone that was cut off
        _address = os.environ.get("DGLIB_REPOSITORY", "https://github.com/dglib/dglib")
        _clone = ["git", "clone", "--quiet", "--depth", "1", _address, str(_project)]
        _git = subprocess.run([*_clone, "--branch", "v0.1.0"], capture_output=True, text=True)
        if _git.returncode != 0:
            print(_git.stderr.strip().split("\n")[-1], "- taking the default branch instead")
            _git = subprocess.run(_clone, capture_output=True, text=True)
            assert _git.returncode == 0, _git.stderr
    sys.path.insert(0, str(_project))
    from dglib.colab import prepare

    print(prepare(_project))

# %% [markdown]
# ## Parameters
#
# Where the other notebooks, `run_all.py` or `python -m dglib run` left their results.

# %% tags=["parameters"]
base_dir: str = None  # Where the run directories lie; null: the Drive folder on Colab, elsewhere runs in the project.

# %%
from dglib.report.notebook import notebook_report

report = notebook_report(globals())

# %% [markdown]
# ## The report

# %%
report.show()

# %% [markdown]
# **How to read it.** Start with "What came out": a paragraph for each run. Every number has the seeds behind it in a table
# below its figure. "What this does not show" lists the limits of these very runs.
#
# The same as one file, to keep or to send:

# %%
print(report.write())
