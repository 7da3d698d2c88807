# ---
# jupyter:
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
# A width λ↑ − λ↓ may be memory, or the lag of a sweep that did not wait. Here λ waits: from an *ordered* and a *collapsed* network,
# trained as in T1 and T2, branches jump to every λ of `hold_lambdas` and stay for `hold_epochs`. A branch has left its state once the
# test error is on the other side of `threshold` for `consecutive` evaluations in a row.
#
# **What counts as an answer:** a verdict at each λ. *Bistable*: most branches from *both* starts keep their state. *Lag*: both end in
# one state, but later than within a dwell of the sweeps. Fewer than six seeds decide nothing.

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
# A value left as it is follows the profile. `python -m dglib parameters Hold` lists every other parameter: set it in a line of its own.
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

run = dglib.run(dglib.notebook_parameters("Hold", globals()))

# %%
run.answer()

# %%
run.show()

# %% [markdown]
# **How to read it.** Table: for each λ the gap between the two starts in the last third of the hold, with the verdict; for each start
# the branches that left, of n, their share with its exact 95 % interval, and the states at the end. Figure: *top*, the test error of
# every branch and the medians, the threshold dotted; *left*, the shares that never left, after Kaplan and Meier; *right*, the states at
# the end, by the last quarter of the hold, with the number of branches.
