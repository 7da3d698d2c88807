"""Seeds as people write them: ``3``, ``[0, 3]``, ``0-9``, ``0-3,7``."""

import re
from collections.abc import Iterable, Iterator, Sequence

FORMS = "give whole numbers from 0, such as 3, [0, 3], 0-9 or 0-3,7"
LARGEST = 2**32 - 1  # of NumPy's legacy generator, which draws the label noise
MOST = 10_000  # so that a slip in a range (0-1000000000) does not fill the memory

_TERM = re.compile(r"(\d+)(?:\s*-\s*(\d+))?", re.ASCII)


def parse_seeds(given: object) -> list[int]:
    """The seeds that `given` stands for: in its order, each once, at least one, each 0 to 2³² − 1.

    Args:
        given: an int; a list, tuple or range of ints; or text: seeds and ranges ``first-last`` (both ends
            included) with commas between them, with or without square brackets.

    Raises:
        ValueError: in words for the user, without the name of the field.
    """
    seeds: list[int] = []
    for seed in _terms(given):
        if seed > LARGEST:
            raise ValueError(f"{seed} is above the largest seed, {LARGEST}")
        if len(seeds) == MOST:
            raise ValueError(f"too many seeds, at most {MOST} are allowed")
        seeds.append(seed)
    if not seeds:
        raise ValueError(f"no seed is given; {FORMS}")
    if len(set(seeds)) < len(seeds):
        twice = next(seed for seed in seeds if seeds.count(seed) > 1)
        raise ValueError(f"seed {twice} appears twice; give each once")
    return seeds


def spelled(seeds: Iterable[int]) -> str:
    """The seeds in ascending order as `parse_seeds` reads them: "0-2, 7"."""
    runs: list[list[int]] = []
    for seed in sorted(set(seeds)):
        if runs and seed == runs[-1][-1] + 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def beyond_asked(found: Sequence[int], asked: Iterable[int]) -> str:
    """A sentence, after a space, where an answer covers more seeds than were asked for; else nothing."""
    asked = set(asked)
    if set(found) <= asked:
        return ""
    count = f"{len(found)} seed{'s' * (len(found) > 1)} ({spelled(found)})"
    return f" This covers the {count} in the run directory; the command asked for {spelled(asked)}."


def _terms(given: object) -> Iterator[int]:
    if isinstance(given, str):
        text = given.strip()
        text = text[1:-1] if text.startswith("[") and text.endswith("]") else text
        for term in map(str.strip, text.split(",")):
            match = _TERM.fullmatch(term)
            if match is None:
                raise ValueError(f"{term!r} is not a seed; {FORMS}")
            first, last = int(match[1]), int(match[2] or match[1])
            if last < first:
                raise ValueError(f"{term!r} runs backwards; {FORMS}")
            yield from range(first, last + 1)
        return
    items: Iterable[object] = given if isinstance(given, list | tuple | range) else [given]
    for item in items:
        if not isinstance(item, int) or isinstance(item, bool) or item < 0:
            raise ValueError(f"{item!r} is not a seed; {FORMS}")
        yield item
