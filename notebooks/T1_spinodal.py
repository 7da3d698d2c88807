# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # T1: at which λ does an ordered network collapse?
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/dglib/dglib/blob/main/notebooks/T1_spinodal.ipynb)
#
# Each step mixes two normalised gradients of one batch: that under noisy labels, with weight 1 − λ, and that under clean labels, up
# to K steps old, with weight λ. A network trained at a small λ is *ordered*: it makes few errors. λ is then raised level by level,
# until the test error stays at `collapse_error` or above for `consecutive` evaluations in a row.
#
# **What counts as an answer:** for each seed λ↑, the λ of the first of these evaluations, or that it did not collapse; and with
# `return_sweep` the λ at which it recovers when λ is lowered again.

# %%
# In Colab: mount Drive and get the project that this notebook was opened from. Anywhere else this cell does nothing.
import contextlib, importlib, json, os, re, shutil, subprocess, sys, urllib.parse, urllib.request
if "google.colab" in sys.modules and "DGLIB_HEADLESS" not in os.environ:
    _copies = ["/content/drive/MyDrive/dual-gradient-learning/dglib", "/content/dual-gradient-learning"]
    _sources = [(os.environ.get("DGLIB_REPOSITORY", "https://github.com/dglib/dglib"), "v0.2.0", "(the repository of this notebook is unknown or unreadable)")]
    with contextlib.suppress(Exception): os.path.isdir("/content/drive/MyDrive") or importlib.import_module("google.colab.drive").mount("/content/drive")
    with contextlib.suppress(Exception), urllib.request.urlopen(f"http://{os.environ.get('COLAB_JUPYTER_IP', '172.28.0.12')}:9000/api/sessions", timeout=5) as _open:
        _sources.insert(0, *{re.fullmatch(r"(?a)fileId=(https://github\.com/[\w-]+/[\w.-]+)/blob/(\w[\w./-]*)/notebooks/\w+\.ipynb", urllib.parse.unquote(_one["path"])).groups() for _one in json.load(_open)})
    for _url, _ref, *_note in _sources:
        any(os.path.isfile(f"{_copy}/run_all.py") for _copy in _copies) or shutil.rmtree(_copies[1], ignore_errors=True) or print("Cloning", _url, _ref, *_note, subprocess.run(["env", "GIT_TERMINAL_PROMPT=0", "git", "clone", "-q", "--depth=1", "-b", _ref, "--", _url, _copies[1]], capture_output=True, text=True).stderr.strip())
    sys.path[:0] = _copies
    importlib.import_module("dglib.colab").prepare()

# %% tags=["parameters"]
# A value left as it is follows the profile. `python -m dglib parameters T1` lists every other parameter: set it in a line of its own.
profile: str = 'quick'  # quick (digits, a minute or two), paper (as published), small (a fifth of CIFAR-10, for one Colab GPU).
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
init_lambda: float = 0.35  # λ of the training from scratch, 0 to 1.
init_epochs: int = 20  # Epochs at init_lambda, from 1.
# Sweep
epochs_per_level: int = 4  # Epochs at each λ of the sweep (the dwell time), from 1.
sweep_lr: float = 0.1  # Constant LR of the sweep, above 0; null: the rule published for the experiment.
sweep_lambdas: list = [0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85]  # Levels of λ, rising, init_lambda to 1, at least one.
return_sweep: bool = True  # Whether λ is lowered again after a collapse: true or false.
# Event
consecutive: int = 3  # Evaluations in a row beyond the threshold that make an event, from 1.
collapse_error: float = 0.4  # A network has collapsed at this error or above, 0 to 1.

# %%
import dglib

run = dglib.run(dglib.notebook_parameters("T1", globals()))

# %%
run.answer()

# %%
run.show()

# %%
run.width()  # λ↑ − λ↓, from the seeds of T1 and T2 that have finished

# %% [markdown]
# **How to read it.** Table: a threshold lies between two levels, [a, b], and its value is the middle; > or <: beyond the last level.
# *null*: the width of a path that is retraced exactly, since λ↑ and λ↓ are read at different errors. *p*: sign-flip test, paired by seed.
# Figure: *a*, seeds by the λ of their collapse; *b*, the share still ordered, with its 95 % interval; *c* and *d*, the test error of every
# seed, the level of a collapse dotted, the median broad and pale.
