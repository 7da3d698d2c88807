# ---
# jupyter:
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
# A network trained at a small λ makes few errors. Raise λ far enough and it collapses: it makes many. Lower λ again, and it does
# **not** come back at once: at the same λ its error is low or high, depending on where it came from. That is hysteresis.
#
# **What counts as an answer:** two errors at one λ. Drag **λ** below: every dot on the black line is a seed, at that λ, reached from
# below or from above. The λ of the collapse (λ↑) and of the recovery (λ↓) bound the range in which there are two.

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
base_dir: str = None  # Where the run directories lie; null: the Drive folder on Colab, elsewhere runs in the project.
runs: str = None  # A run directory, a results file or a folder of runs to show; null: those in base_dir.

# %%
import dglib.explorer

recorded = dglib.explorer.recorded(globals())
recorded.show()

# %% [markdown]
# **How to read it.** *a*: test error over λ, seeds thin, the median thick. *b*: where the threshold of each seed lies (an arrow: not up
# to the last level); for V3 the gap between its branches. *c*: the same over epochs, large dots at the λ of the cursor. *d*: λ over epochs.
# Drag **"Collapsed at or above"** or **"Recovered at or below"**: where λ↑ and λ↓ hardly move, the error jumps; where they slide along,
# there is a slope and no jump. Ctrl (⌘) or Shift chooses several experiments or seeds; execute the cell again to find newer runs.
# Where λ was held (Hold), *a* has the error at the end of each branch, *c* the branches at the cursor's λ, and the verdict is at the gap.
#
# ## Live
#
# A small network on 8×8 digits, trained here while you move λ; a change acts on the next step. **Start ordered**; once it makes few
# errors, raise λ little by little: where does the error pass 0.5? Lower λ to where you began: does the error come back? Repeat, and wait
# longer at each λ: a loop that narrows was lag; whether what stays is memory, only a held λ decides. **"Save path"** writes a CSV and a picture into `live_paths`.

# %%
live = dglib.explorer.live(globals())
live.show()

# %% [markdown]
# **How to read it.** Left, error and λ over epochs; right, error over λ, with the newest point marked and a recorded loop pale. An error
# of about 0.9 is a trapped network: one class for everything. It may never come back, even at λ = 0.
