"""Mutations: a function of ours with one piece of its source replaced, to show that a test would notice."""

import inspect
import textwrap


def mutate(monkeypatch, owner, name, old, new):
    """Put `new` in the place of the one occurrence of `old` in the source of `owner.name`."""
    function = inspect.unwrap(getattr(owner, name))
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(old) == 1, f"{old!r} occurs {source.count(old)} times in {name}"
    namespace = dict(function.__globals__)
    exec(compile(source.replace(old, new), inspect.getsourcefile(function), "exec"), namespace)
    monkeypatch.setattr(owner, name, namespace[name])
