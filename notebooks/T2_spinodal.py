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
# # T2: at which λ does a collapsed network recover?
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/dglib/dglib/blob/main/notebooks/T2_spinodal.ipynb)
#
# The mirror image of T1. A network trained from scratch at a large λ ends *collapsed* (high error) or *trapped*
# (one class predicted for everything). Here λ is lowered level by level until the test error stays at
# `recovery_error` or below for `consecutive` evaluations in a row. The λ of the first of them is **λ↓**. Where it lies
# below T1's λ↑, the difference is the width λ↑ − λ↓; how much of that is memory, and how much a lag, Hold tells apart.
#
# **What counts as an answer:** λ↓ of each seed, or the statement that a seed did not recover down to the last level;
# trapped seeds told apart from collapsed ones; and the width, as far as T1's and T2's records bound it.

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
# As it stands, the notebook runs on the embedded digits in a minute or two. `profile = "small"` takes a small network on a
# fifth of CIFAR-10, within an hour on a free Colab GPU by the count of operations; `profile = "paper"` the published values,
# `params/paper/T2.yaml`, for all that is left as it is below. Any other parameter, such as `base_dir` or `device`, can be set in a
# line of its own here, or with papermill's `-p`; `python -m dglib parameters T2` lists all with their meanings.

# %% tags=["parameters"]
profile: str = 'quick'  # quick or paper or small; a value below that is left as it is comes from there, and so does any other parameter.
# Run
seeds: list = [0, 1, 2, 3, 4]  # One run each, by number: 3 (seed 3 alone), [0, 3], 0-9 or 0-3,7; each once, 0 to 2³² − 1.
# Data
dataset: str = 'digits'  # digits, cifar10, the path of an .npz, a registered name or module:attribute.
noise: str = 'symmetric'  # Label noise: symmetric, a registered name, module:attribute or a file of labels (.npy, .npz, .pt).
noise_rate: float = 0.4  # η, the fraction of training labels replaced by a wrong one, 0 to 0.9.
# Network and optimizer
network: str = 'small_cnn'  # resnet18, resnet34, vgg11_bn, small_cnn, a registered name or module:attribute.
network_width: float = 0.5  # Factor on the network's channel counts, above 0.
batch_size: int = 64  # Images per step, from 2 (BatchNorm needs two).
lr: float = 0.1  # Learning rate at the start, above 0.
refresh_period: int = 32  # K: steps from one value gradient to the next, from 1.
mix: str = 'normalised'  # How the two gradients are mixed: a registered name or module:attribute.
# From scratch
init_lambda: float = 0.55  # λ of the training from scratch, 0 to 1.
init_epochs: int = 15  # Epochs at init_lambda, from 1.
# Sweep
epochs_per_level: int = 4  # Epochs at each λ of the sweep (the dwell time), from 1.
sweep_lr: float = 0.1  # Constant LR of the sweep, above 0; null: the rule published for the experiment.
sweep_lambdas: list = [0.55, 0.5, 0.45, 0.4, 0.35, 0.3, 0.25, 0.2, 0.15, 0.1]  # Levels of λ, falling, init_lambda to 0, at least one.
# Event
consecutive: int = 3  # Evaluations in a row beyond the threshold that make an event, from 1.
recovery_error: float = 0.2  # A network has recovered at this error or below, 0 to 1.

# %%
import dglib

parameters = dglib.notebook_parameters("T2", globals())

# %% [markdown]
# ## The run
#
# Seeds that have finished under these parameters are not run again; an interrupted one resumes.

# %%
run = dglib.run(parameters)

# %% [markdown]
# ## The picture

# %%
run.show()

# %% [markdown]
# **How to read it.** *a*: how many seeds recovered first at which λ; those that never did stand apart. *b*: the share of
# seeds not yet recovered after each level, with its 95 % interval, apart for those that began the sweep collapsed and
# trapped; read it from right to left, as λ is lowered. *c* and *d*: the test error of every seed during the sweep,
# against λ and against epochs, where every second level is shaded; the dotted line is the error that counts as a
# recovery, the broad pale one the median. A flat line at chance level is a trapped network.

# %% [markdown]
# ## The answer

# %%
run.answer()

# %% [markdown]
# **How to read it.** A row for each quantity and start state. A threshold lies between two levels, [a, b], and its value is
# the middle; > or <: beyond the last level. *null*: the width that the rising sweep alone would have if its path were
# retraced exactly, since λ↑ and λ↓ are read at different errors. *p*: sign-flip test, paired by seed. In sentences:

# %%
print(run.answer().sentences)

# %% [markdown]
# And the hysteresis width, from the seeds of T1 and T2 that have finished so far:

# %%
run.width()
