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
# # What happens when you drag λ up, and back down?
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/dglib/dglib/blob/main/notebooks/Lambda_explorer.ipynb)
#
# A network that is trained at a small λ makes few errors. Raise λ far enough and it collapses: it makes many. Lower λ again, to where
# all was well before, and the network does **not** come back at once: at the same λ it may have a low error or a high one,
# depending on where it came from. That is hysteresis. In this notebook you move λ.
#
# **What counts as an answer:** two errors at one λ. The gap between them is the memory; the λ at which a network collapses on the
# way up (λ↑) and the lower one at which it recovers on the way down (λ↓) are the ends of the range in which it has one.

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
# As it stands, the newest run of T1 or T2 below `base_dir` is shown, as their sweeps end at a λ↑ or a λ↓; without one, the newest
# other run; without any, the small recorded runs that come with the project.

# %% tags=["parameters"]
base_dir: str = None  # Where the run directories lie; null: the Drive folder on Colab, elsewhere runs in the project.
runs: str = None  # A run directory, a results file or a folder of runs to show; null: those in base_dir.

# %%
import dglib.explorer

# %% [markdown]
# ## Recorded runs
#
# Drag **λ**. The black line is the cursor, and every dot on it is a seed: the same λ, reached from below or from above.
# Watch the gap between them open and close.
#
# Then drag **"Collapsed at or above"** or **"Recovered at or below"**. What counts as a collapse is a choice, and λ↑ and λ↓ move with it:
# where a threshold hardly moves, the error jumps; where it slides along with its limit, there is a slope and no jump.
#
# With Ctrl (or ⌘) or Shift several experiments, or some of the seeds, are chosen; seeds left out stay pale in the picture and out of
# every number.

# %%
recorded = dglib.explorer.recorded(globals())
recorded.show()

# %% [markdown]
# **How to read it.** *a*: test error over λ, each seed thin and the median thick; arrows show which way λ was moved. *b*: where each
# seed's threshold lies: a bar from the last level without the event to the level at which it began. An arrow says that the event had not
# come by the last level, which is a result too. V3's sweeps end at no event: it has no λ↑ and no λ↓, and *b* has the gap of each seed
# between its two branches instead; at its low learning rate a branch that hardly moves may be frozen. *c*: the same seeds over epochs;
# large dots are the evaluations at the cursor's λ, so one λ stands there at two places. *d*: λ over epochs, with the cursor across. The
# numbers are below the picture; every threshold holds for its dwell time and its learning rate.
#
# Where λ was held (Hold), *a* has the error at the end of each branch, *c* the branches at the cursor's λ, and the verdict stands at the gap.
# A run that was made since then is found by **"Look for runs again"**.

# %% [markdown]
# ## Live
#
# Now one network is yours: a small one on 8×8 digits, trained here while you watch. Three things to try:
#
# 1. **Start ordered.** Once it makes few errors, raise λ by a little, wait, raise it again. At which λ does the error pass 0.5?
# 2. Now lower λ to where you began to raise it. Does the error come back? How far down must you go?
# 3. The same again, but wait longer at each λ. A loop that narrows was lag; what stays is memory.
#
# A change of λ acts on the very next step. **"Save path"** writes what you did, epoch by epoch, as a CSV
# and a picture into `live_paths` below the base directory.

# %%
live = dglib.explorer.live(globals())
live.show()

# %% [markdown]
# **How to read it.** Left, error over epochs, with λ beneath; right, the path in the plane of λ and error, with the newest point marked and
# a recorded loop pale behind it. If your path returns on itself, there was no memory; if it goes round, there was. An error of about 0.9 is a
# network that predicts one class for everything: it is trapped, and may never come back, even at λ = 0.
