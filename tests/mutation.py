"""Mutations: a function of ours with one piece of its source replaced, to show that a test would notice."""

import inspect
import textwrap


def mutate(monkeypatch, function, old, new, owner=None):
    """Put `new` in the place of the one occurrence of `old` in the source of a function or method.

    `owner` is the module that uses the function, if it is not the one that defines it.
    """
    owner, function = owner or inspect.getmodule(function), inspect.unwrap(function)
    *classes, name = function.__qualname__.split(".")
    for part in classes:
        owner = getattr(owner, part)
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(old) == 1, f"{old!r} occurs {source.count(old)} times in {name}"
    namespace = dict(function.__globals__)
    exec(compile(source.replace(old, new), inspect.getsourcefile(function), "exec"), namespace)
    monkeypatch.setattr(owner, name, namespace[name])
