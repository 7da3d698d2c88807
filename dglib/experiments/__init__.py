"""The experiments: their parameters, protocols and names."""

from dglib.experiments.specs import (
    EXPERIMENTS,
    MACHINE,
    NOT_IDENTITY,
    NUMERICS,
    READING,
    TECHNIQUES,
    build_spec,
    read_under,
    reading_of,
    requested_numerics,
)

__all__ = [
    "EXPERIMENTS",
    "MACHINE",
    "NOT_IDENTITY",
    "NUMERICS",
    "READING",
    "TECHNIQUES",
    "build_spec",
    "read_under",
    "reading_of",
    "requested_numerics",
]
