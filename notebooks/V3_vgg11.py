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
# # V3: does another architecture have two branches as well?
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/dglib/dglib/blob/main/notebooks/V3_vgg11.ipynb)
#
# A VGG11 with BatchNorm in place of T1's and T2's network. Per seed two networks are trained, with the same label
# noise: an *ordered* one at a small λ and a *collapsed* one at a large λ. Then both are led over the same λ levels,
# the ordered one upward, the collapsed one downward, and their test errors are compared at each λ.
#
# **What counts as an answer:** the gap at `gap_lambda`, that is the error on the collapse branch minus the error on
# the ordered branch, paired by seed. If its 95 % interval lies above `gap_error` there are two branches, and the state
# depends on the history; if it lies below, there are not; else the question stays undecided.

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
# `params/paper/V3.yaml`, for all that is left as it is below. Any other parameter, such as `base_dir` or `device`, can be set in a
# line of its own here, or with papermill's `-p`; `python -m dglib parameters V3` lists all with their meanings.

# %% tags=["parameters"]
profile: str = 'quick'  # quick or paper or small; a value below that is left as it is comes from there, and so does any other parameter.
# Run
seeds: list = [0, 1, 2]  # One run each, by number: 3 (seed 3 alone), [0, 3], 0-9 or 0-3,7; each once, 0 to 2³² − 1.
# Data
dataset: str = 'digits'  # digits, cifar10, the path of an .npz, a registered name or module:attribute.
noise: str = 'symmetric'  # Label noise: symmetric, a registered name, module:attribute or a file of labels (.npy, .npz, .pt).
noise_rate: float = 0.4  # η, the fraction of training labels replaced by a wrong one, 0 to 0.9.
# Network and optimizer
network: str = 'vgg11_bn'  # resnet18, resnet34, vgg11_bn, small_cnn, a registered name or module:attribute.
network_width: float = 0.125  # Factor on the network's channel counts, above 0.
batch_size: int = 128  # Images per step, from 2 (BatchNorm needs two).
lr: float = 0.05  # Learning rate at the start, above 0.
refresh_period: int = 16  # K: steps from one value gradient to the next, from 1.
mix: str = 'normalised'  # How the two gradients are mixed: a registered name or module:attribute.
# Sweep
epochs_per_level: int = 2  # Epochs at each λ of the sweep (the dwell time), from 1.
sweep_lr: float = None  # Constant LR of the sweep, above 0; null: the rule published for the experiment.
sweep_lambdas: list = [0.3, 0.5, 0.7]  # Levels of λ, rising, 0 to 1, at least one; the collapse branch takes them backwards.
# From scratch
ordered_lambda: float = 0.35  # λ at which the ordered network is trained, 0 to 1.
ordered_epochs: int = 12  # Epochs at ordered_lambda, from 1.
collapse_lambda: float = 0.85  # λ at which the collapsed network is trained, 0 to 1.
collapse_epochs: int = 16  # Epochs at collapse_lambda, from 1.
# Comparison
gap_lambda: float = 0.5  # λ at which the branches are compared, 0 to 1.
gap_error: float = 0.1  # The branches are two if their errors differ by more than this, 0 to 1.

# %%
import dglib

parameters = dglib.notebook_parameters("V3", globals())

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
# **How to read it.** *a*: the thick lines are means over seeds with one standard deviation, the thin ones single seeds,
# arrows show which way λ was moved, and the dotted line is the error that counts as a collapse in T1. *b*: the gap
# between the branches, by seed and as a mean with its 95 % interval, which with two or three seeds may be nearly as
# wide as all gaps there can be; an arrowhead means that it goes on. Where the two branches lie apart at the same λ,
# the network remembers where it came from. Mind the learning rate of the sweep in the answer below: at a small one a
# branch may just be frozen.

# %% [markdown]
# ## The answer

# %%
run.answer()

# %% [markdown]
# **How to read it.** A row for each quantity and start state; ±: SD over seeds. *events*: seeds whose gap exceeds `gap_error`.
# *p*: sign-flip test, paired by seed. In sentences:

# %%
print(run.answer().sentences)
