"""Which warnings end a test: those that this project causes, not those inside another package."""

import warnings

import pytest


def warned_by(module, category):
    """A warning that Python attributes to `module`: raised there, or by a function that it calls."""
    with warnings.catch_warnings(record=True):
        exec(
            "warn('going away', category)", {"__name__": module, "warn": warnings.warn, "category": category}
        )


@pytest.mark.parametrize("module", ["dglib.analysis.intervals", "run_all", "test_step", "small"])
@pytest.mark.parametrize("category", [DeprecationWarning, FutureWarning, UserWarning])
def test_any_warning_of_ours_is_an_error(module, category):
    with pytest.raises(category, match="going away"):
        warned_by(module, category)


@pytest.mark.parametrize("module", ["torch.nn.modules.module", "jupyter_client.connect", "smallest"])
@pytest.mark.parametrize("category", [DeprecationWarning, PendingDeprecationWarning, FutureWarning])
def test_a_deprecation_inside_another_package_is_not(module, category):
    warned_by(module, category)


def test_what_another_test_left_open_ends_no_test_in_which_it_is_collected():
    warned_by("test_step", ResourceWarning)


def test_an_empty_mean_is_an_error_although_numpy_warns():
    with pytest.raises(RuntimeWarning):
        warned_by("numpy._core._methods", RuntimeWarning)
