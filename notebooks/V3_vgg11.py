# ---
# jupyter:
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
# Per seed two networks with BatchNorm (VGG11) are trained under the same label noise: an *ordered* one at a small λ and a *collapsed*
# one at a large λ. Then λ is raised for the ordered and lowered for the collapsed one, over the same levels, and their test errors are
# compared.
#
# **What counts as an answer:** the gap at `gap_lambda`, the error of the collapsed minus that of the ordered branch, paired by seed.
# Two branches where its 95 % interval lies above `gap_error`, none where it lies below, else undecided; *frozen* where the LR is
# so small that a branch did not move at all: then the gap may be that of the inits.

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
# A value left as it is follows the profile. `python -m dglib parameters V3` lists every other parameter: set it in a line of its own.
profile: str = 'quick'  # quick (digits, a minute or two), paper (as published), small (a fifth of CIFAR-10, for one Colab GPU).
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
# From scratch
ordered_lambda: float = 0.35  # λ at which the ordered network is trained, 0 to 1.
ordered_epochs: int = 12  # Epochs at ordered_lambda, from 1.
collapse_lambda: float = 0.85  # λ at which the collapsed network is trained, 0 to 1.
collapse_epochs: int = 16  # Epochs at collapse_lambda, from 1.
# Sweep
epochs_per_level: int = 2  # Epochs at each λ of the sweep (the dwell time), from 1.
sweep_lr: float = None  # Constant LR of the sweep, above 0; null: the rule published for the experiment.
sweep_lambdas: list = [0.3, 0.5, 0.7]  # Levels of λ, rising, 0 to 1, at least one; the collapse branch takes them backwards.
# Comparison
gap_lambda: float = 0.5  # λ at which the branches are compared, 0 to 1.
gap_error: float = 0.1  # The branches are two if their errors differ by more than this, 0 to 1.

# %%
import dglib

run = dglib.run(dglib.notebook_parameters("V3", globals()))

# %%
run.answer()

# %%
run.show()

# %% [markdown]
# **How to read it.** Table: ±, SD over seeds; *events*, seeds with a gap above `gap_error`; *p*, sign-flip test, paired by seed.
# Figure: *a*, single seeds thin, means with SD thick, arrows in the direction of λ; *b*, the gap by seed and as a mean with its 95 %
# interval, wide for two or three seeds (an arrowhead: it continues). Mind the LR of the sweep: at a small one a branch may be frozen.
