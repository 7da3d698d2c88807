"""Seeds as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dglib.experiments.parameters import LARGEST, MOST, parse_seeds


@pytest.mark.parametrize(
    ("written", "seeds"),
    [
        (3, [3]),
        ([0, 3], [0, 3]),
        ("[0, 3]", [0, 3]),
        ("0-9", list(range(10))),
        ("0-3,7", [0, 1, 2, 3, 7]),
        (" 7 , 0 - 1 ", [7, 0, 1]),
        (LARGEST, [LARGEST]),
    ],
)
def test_every_form_gives_its_seeds_in_the_order_written(written: object, seeds: list[int]) -> None:
    assert parse_seeds(written) == seeds


@pytest.mark.parametrize(
    ("written", "says"),
    [
        (True, "True is not a seed"),
        (-1, "-1 is not a seed"),
        ([0, 1.5], "1.5 is not a seed"),
        ([0, "1"], "'1' is not a seed"),
        ("", "'' is not a seed"),
        ("0,,1", "'' is not a seed"),
        ("٣", "'٣' is not a seed"),  # a digit to Python, but not to whoever reads the records
        ("9-0", "'9-0' runs backwards"),
        ([], "no seed is given"),
        ("0-3,2", "seed 2 appears twice"),
        (LARGEST + 1, "above the largest seed"),
    ],
)
def test_what_is_no_list_of_seeds_is_refused_in_words(written: object, says: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the words are compared below, as text
        parse_seeds(written)
    assert says in str(caught.value)


@given(st.lists(st.integers(0, LARGEST), min_size=1, max_size=20, unique=True))
def test_text_and_list_mean_the_same(seeds: list[int]) -> None:
    assert parse_seeds(",".join(map(str, seeds))) == parse_seeds(str(seeds)) == parse_seeds(seeds) == seeds


def test_a_slip_in_a_range_is_refused_before_it_fills_the_memory() -> None:
    assert len(parse_seeds(f"1-{MOST}")) == MOST
    for last in (MOST, 10**12):
        with pytest.raises(ValueError, match=f"too many seeds, at most {MOST} are allowed"):
            parse_seeds(f"0-{last}")
