# ---
# jupyter:
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
# Networks trained from scratch at one λ end *ordered*, *partially collapsed* or *trapped* (one class predicted for everything). Every
# `log_every` steps g_s (noisy labels), g_v (clean labels) and their mix are compared: norms, c_sv = cos(g_s, g_v), c_mc = cos(g_mix, g_v).
#
# **What counts as an answer:** how many seeds ended in which class, and whether the classes differ in these quantities at the epochs
# `compare_epochs`, long before the end.

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
# A value left as it is follows the profile. `python -m dglib parameters Td1` lists every other parameter: set it in a line of its own.
profile: str = 'quick'  # quick (digits, a minute or two), paper (as published), small (a fifth of CIFAR-10, for one Colab GPU).
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

run = dglib.run(dglib.notebook_parameters("Td1", globals()))

# %%
run.answer()

# %%
run.show()

# %% [markdown]
# **How to read it.** Table: the shares, then the class means at single epochs. *AUC*: area under the ROC curve (½: a coin); *AUC of
# error*: that of the test error by then, which a sign has to beat. *p*: exact, corrected for all tests. Figure: seeds thin, the mean of
# a class thick; the test error with the limits of the classes, c_sv, c_mc, ‖g_s‖, the loss under clean labels, and c_sv at the start.
