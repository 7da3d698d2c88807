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
# # What happens when you drag λ up, and back down?
#
# A network that is trained at a small λ makes few errors. Raise λ far enough and it collapses: it makes many. Lower λ again, to where
# all was well before, and the network does **not** come back at once: at the same λ it may have a low error or a high one,
# depending on where it came from. That is hysteresis. This notebook puts λ in your hand.
#
# **What counts as an answer:** two errors at one λ. The gap between them is the memory; the λ at which a network collapses on the
# way up (λ↑) and the lower one at which it recovers on the way down (λ↓) are the ends of the range in which it has one.

# %% [markdown]
# ## Parameters
#
# As it stands, the newest run below `base_dir` is shown, or else the small recorded runs that come with the project.

# %% tags=["parameters"]
base_dir: str = None  # Where the run directories lie; null: the Drive folder on Colab, elsewhere runs.
runs: str = None  # A run directory, a results file or a folder of runs to show; null: the newest run in base_dir.

# %%
import dglib.explorer

# %% [markdown]
# ## Recorded runs
#
# Drag **λ**. The black line is the cursor. Every dot on it is a seed: low dots came from below, high dots from above. Watch
# the gap open and close.
#
# Then drag **"Collapsed at or above"** or **"Recovered at or below"**: what counts as a collapse is a choice, and λ↑ and λ↓ move with it.
# A threshold that hardly moves when its limit does is a jump; one that slides along with it is a slope.

# %%
recorded = dglib.explorer.recorded(globals())
recorded.show()

# %% [markdown]
# **How to read it.** *a*: test error over λ, each seed thin and the median thick; arrows show which way λ was moved. *b*: where each
# seed's threshold lies, a bar from the last level without the event to the level at which it began; an arrow says that the event had not
# come by the last level, which is a result too. *c*: the same seeds over epochs; the large dots are the evaluations at the cursor's λ, so
# the same λ stands there at two places. *d*: λ over epochs, with the cursor across.
