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
    any(os.path.exists(f"{_home}/run_all.py") for _home in _homes) or os.system('cd /content; rm -rf dual-gradient-learning; GIT_TERMINAL_PROMPT=0 git clone -q --depth 1 -b v0.1.0 "${DGLIB_REPOSITORY:-https://github.com/dglib/dglib}" dual-gradient-learning')
    from dglib.colab import prepare as _prepare
    _prepare()

# %% [markdown]
# ## Parameters
#
# The values below run on the embedded digits in a minute or two. `params/paper/Td1.yaml` holds the published ones.

# %% tags=["parameters"]
seeds: list = [0, 1, 2, 3, 4, 5]  # One run each: 3, [0, 3], 0-9 or 0-3,7; at least one, each once, 0 to 2³² − 1.
noise: str = 'symmetric'  # Label noise: symmetric, a registered name, module:attribute or a file of labels (.npy, .npz, .pt).
noise_rate: float = 0.4  # η, the fraction of training labels replaced by a wrong one, 0 to 0.9.
dataset: str = 'digits'  # digits, cifar10, the path of an .npz, a registered name or module:attribute.
data_dir: str = None  # Directory where downloaded data sets lie; null: data in the project.
pixel_mean: list = None  # Per channel, of pixels in 0 to 1, subtracted from the input; null: the data set's own.
pixel_std: list = None  # Per channel, above 0, of pixels in 0 to 1; divides the input; null: the data set's own.
augmentation: str = 'none'  # Of the training images: none or crop_flip.
crop_padding: int = 4  # Black pixels added on each side before the crop, from 0.
network: str = 'small_cnn'  # resnet18, resnet34, vgg11_bn, small_cnn, a registered name or module:attribute.
network_width: float = 0.5  # Factor on the network's channel counts, above 0.
batch_size: int = 64  # Images per step, from 2 (BatchNorm needs two).
lr: float = 0.1  # Learning rate at the start, above 0.
lr_decay: float = 0.1  # Factor on the LR at a milestone, above 0, at most 1.
momentum: float = 0.9  # Of SGD, from 0, below 1.
weight_decay: float = 0.0005  # Of SGD, from 0.
refresh_period: int = 32  # K: steps from one value gradient to the next, from 1.
mix: str = 'normalised'  # How the two gradients are mixed: a registered name or module:attribute.
value: str = 'clean'  # Images and labels behind the value gradient: a registered name or module:attribute.
metrics: list = []  # More numbers at each evaluation: registered names or module:attribute, see dglib.metrics.
base_dir: str = None  # Where the run directories lie; null: the Drive folder on Colab, elsewhere runs in the project.
device: str = 'auto'  # auto, cpu, cuda or cuda:N.
threads: int = 1  # CPU threads of a run, from 1; results on a CPU depend on them.
seeds_at_once: int = 1  # Seeds trained beside each other, each in a process of its own, from 1.
exact: bool = False  # Whether a seed may only be gone on with on the kind of device it began on: true or false.
precision: str = 'auto'  # Of forward and backward passes: fp32, tf32, bf16, fp16; auto: half where matrix units run it.
channels_last: str = 'auto'  # Images and convolutions in NHWC memory order: auto, on or off.
fused: str = 'auto'  # SGD as one kernel: auto (on CUDA), on or off.
compiled: str = 'auto'  # torch.compile of loss and mix: auto (on CUDA, for large networks), on or off.
cuda_graphs: str = 'auto'  # The step captured once and replayed: auto (on CUDA), on or off.
autotune: str = 'auto'  # cuDNN times its algorithms, at the price of other bits each run: auto (off), on or off.
checkpoint_epochs: int = 10  # A seed under way is saved at least every so many epochs, from 1.
checkpoint_minutes: float = 1.0  # And at least every so many minutes, above 0.
mirror: bool = False  # Whether to work in a local directory and copy to base_dir, as a Drive always is: true or false.
work_dir: str = None  # Where the work goes on then; null: a directory of base_dir's own below ~/.cache/dglib.
init_lambda: float = 0.6  # λ of the training from scratch, 0 to 1.
init_epochs: int = 32  # Epochs at init_lambda, from 1.
evaluate_every: int = 2  # Epochs from one evaluation to the next, from 1; before a sweep init_evaluate_every holds.
milestones: list = [16, 26]  # Epochs completed since scratch when the LR drops by lr_decay, rising, from 1; [] for never.
log_every: int = 5  # Steps from one log of the gradients to the next, from 1.
two_pass_statistics: bool = True  # Whether BatchNorm's running statistics move as by two passes on every step: true or false.
trapped_error: float = 0.85  # A seed is trapped at this final error or above, 0 to 1.
partial_error: float = 0.4  # Below that, a seed is a partial collapse at this final error or above, 0 to 1.
compare_epochs: list = [5, 10, 20]  # Epochs, counted from 0, rising, at which the classes are compared, at least one.
early_epochs: int = 10  # Last epoch, counted from 0, of the early comparison.
early_difference: float = 0.05  # The classes diverge early if their mean c_sv up to there differs by more than this, from 0.

# %%
import dglib

parameters = dglib.notebook_parameters("Td1", globals())

# %% [markdown]
# ## The run
#
# Seeds that have finished under these parameters are not run again; an interrupted one goes on where it stopped.

# %%
run = dglib.run(parameters)

# %% [markdown]
# ## The picture

# %%
run.show()

# %% [markdown]
# **How to read it.** Thin lines are seeds, thick ones the mean of a class by final error. Panels: the test error with the classes'
# limits; c_sv; c_mc; ‖g_s‖; the loss under clean labels; and c_sv in the first epochs, where an early sign
# would show. Second figure: (a) the early cosine against the end, by seed. (b) The planned tests of trapped against partial
# seeds: the area under the ROC curve (½: a coin) with its 95 % interval, filled if significant after correction for all of them; the
# black tick is what the test error tells by then, which a sign has to beat. (c) The same over all epochs, to explore. (b) and (c)
# need a seed of each class.

# %% [markdown]
# ## The answer

# %%
print(run.answer())
