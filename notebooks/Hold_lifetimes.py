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
# # Hold: does a network keep the state in which it came?
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/dglib/dglib/blob/main/notebooks/Hold_lifetimes.ipynb)
#
# A width between λ↑ and λ↓ may be memory, or only a lag of a sweep that did not wait. Here λ waits. One *ordered* and one
# *collapsed* network are trained from scratch, as in T1 and T2. From the state of each, branches jump to every λ of
# `hold_lambdas` and stay there for `hold_epochs`. A branch has left the state of its start once its test error is on the
# other side of `threshold` for `consecutive` evaluations in a row.
#
# **What counts as an answer:** at each λ a verdict, from exact bounds of the shares of branches that left and of their states
# at the end. Only where most branches from *both* starts keep their state through the hold is the start remembered
# (*bistable*). Where both end in one state, later than within a dwell of the sweeps, it was a lag. Fewer than six seeds
# decide nothing.

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
# `params/paper/Hold.yaml`, for all that is left as it is below. Any other parameter, such as `base_dir` or `device`, can be set in a
# line of its own here, or with papermill's `-p`; `python -m dglib parameters Hold` lists all with their meanings.

# %% tags=["parameters"]
profile: str = 'quick'  # quick or paper or small; a value below that is left as it is comes from there, and so does any other parameter.
# Run
seeds: list = [0, 1, 2, 3]  # One run each, by number: 3 (seed 3 alone), [0, 3], 0-9 or 0-3,7; each once, 0 to 2³² − 1.
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
ordered_lambda: float = 0.35  # λ at which the ordered network is trained, 0 to 1.
ordered_epochs: int = 20  # Epochs at ordered_lambda, from 1.
collapse_lambda: float = 0.55  # λ at which the collapsed network is trained, 0 to 1.
collapse_epochs: int = 15  # Epochs at collapse_lambda, from 1.
# Hold
hold_lambdas: list = [0.4, 0.45]  # λ of the branches, rising, 0 to 1, at least one.
hold_epochs: int = 24  # Epochs of each branch, from 1.
hold_lr: float = 0.1  # Constant LR of the branches, above 0; null: the milestones hold there too.
# Event
threshold: float = 0.4  # Error between ordered (below) and collapsed (at or above), 0 to 1.
consecutive: int = 3  # Evaluations in a row beyond the threshold by which a branch has left its start, from 1.

# %%
import dglib

parameters = dglib.notebook_parameters("Hold", globals())

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
# **How to read it.** *Top*: the test error of every branch at each λ, from the ordered and from the collapsed start; the dotted
# line is the threshold. *Left*: the share of branches that never left the state of their start, after Kaplan and Meier. *Right*:
# the states at the end, by the last quarter of the hold, with the number of branches.

# %% [markdown]
# ## The answer
#
# A row for each λ and start: the branches that left, of n, with the exact 95 % interval of their share, the verdict on that λ
# and the states at the end.

# %%
run.answer()

# %% [markdown]
# The same in sentences:

# %%
print(run.answer().sentences)
