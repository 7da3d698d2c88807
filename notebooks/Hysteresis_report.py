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
# In Colab: mount Drive, get the project and install what is missing. Anywhere else this cell does nothing.
import os, sys
if "google.colab" in sys.modules and "DGLIB_HEADLESS" not in os.environ:
    try:
        from google.colab import drive as _drive
        os.path.isdir("/content/drive/MyDrive") or _drive.mount("/content/drive")
    except Exception as _problem:
        print("Drive is not mounted:", _problem)
    sys.path[:0] = _homes = ["/content/drive/MyDrive/dual-gradient-learning/dglib", "/content/dual-gradient-learning"]
    any(os.path.exists(f"{_home}/run_all.py") for _home in _homes) or os.system('cd /content; rm -rf dual-gradient-learning; GIT_TERMINAL_PROMPT=0 git clone -q --depth 1 -b v0.2.0 "${DGLIB_REPOSITORY:-https://github.com/dglib/dglib}" dual-gradient-learning')
    from dglib.colab import prepare as _prepare
    _prepare()

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
