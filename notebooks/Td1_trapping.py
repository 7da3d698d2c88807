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
# # Tδ1: what marks, early, the seeds that end trapped?
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/dglib/dglib/blob/main/notebooks/Td1_trapping.ipynb)
#
# Networks trained from scratch at one λ end in different states: *ordered*, *partially collapsed*, or *trapped* at
# chance level, where one class is predicted for everything. Every `log_every` steps the structure gradient g_s, a
# value gradient g_v fresh on the same batch, and the mix are compared: their norms, the cosines
# c_sv = cos(g_s, g_v) and c_mc = cos(g_mix, g_v), and both losses.
#
# **What counts as an answer:** how many seeds ended in which class, and whether the classes differ in these
# quantities at the epochs `compare_epochs`, long before the end.

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
# `params/paper/Td1.yaml`, for all that is left as it is below. Any other parameter, such as `base_dir` or `device`, can be set in a
# line of its own here, or with papermill's `-p`; `python -m dglib parameters Td1` lists all with their meanings.

# %% tags=["parameters"]
profile: str = 'quick'  # quick or paper or small; a value below that is left as it is comes from there, and so does any other parameter.
# Run
seeds: list = [0, 1, 2, 3, 4, 5]  # One run each, by number: 3 (seed 3 alone), [0, 3], 0-9 or 0-3,7; each once, 0 to 2³² − 1.
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
init_lambda: float = 0.6  # λ of the training from scratch, 0 to 1.
init_epochs: int = 32  # Epochs at init_lambda, from 1.
milestones: list = [16, 26]  # Epochs completed since scratch when the LR drops by lr_decay, rising, from 1; [] for never.
evaluate_every: int = 2  # Epochs from one evaluation to the next, from 1; before a sweep init_evaluate_every holds.
log_every: int = 5  # Steps from one log of the gradients to the next, from 1.
# Classes by final error
trapped_error: float = 0.85  # A seed is trapped at this final error or above, 0 to 1.
partial_error: float = 0.4  # Below that, a seed is a partial collapse at this final error or above, 0 to 1.

# %%
import dglib

parameters = dglib.notebook_parameters("Td1", globals())

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
# **How to read it.** Thin lines are seeds, thick ones the mean of a class by final error. Panels: the test error with the classes'
# limits; c_sv; c_mc; ‖g_s‖; the loss under clean labels; and c_sv in the first epochs, where an early sign
# would show.

# %% [markdown]
# ## The answer

# %%
run.answer()

# %% [markdown]
# **How to read it.** Below the shares, the class means at single epochs. *AUC*: the area under the ROC curve (½: a coin);
# *AUC of error*: that of the test error by then, which a sign has to beat. *p*: exact, corrected for all tests. In sentences:

# %%
print(run.answer().sentences)
