"""Trainer, captured steps and evaluations, and state on a device without memory, in a process of its own.

torch's fake tensors compute shapes, dtypes, strides and devices, no values. Seen so: a host read inside a
capture, tensors of two devices (another index is another device) in one operation, strides and dtypes that
fused SGD refuses. Not seen: numbers and memory, which `test_graphs.py` has on a CPU; streams, which it has on
a substitute of torch.cuda; what cuBLAS and cuDNN do in a capture; code generated for a GPU.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("fake_device.py")
TWO_DEVICES = "same device|two different devices"  # torch from 2.12, before
ALL = "^11 kinds captured$"  # eight of steps, three of evaluations
EXPECTED = {
    "small_cnn": ALL,
    "vgg11_bn": ALL,
    "resnet18": ALL,
    "unfused SGD": "no host read",
    "a host read in the mix": "item inside a captured step",
    "momentum in another layout": "strides",
    "the learning rate as float64": "float64",
    "labels through the host": "a copy between devices inside a captured step",
    "a log that sets the dropout back": "a generator's state inside a captured step",
    "the host asked whether a step is finite": "__bool__ inside a captured step",
    "the start of a batch on the host": "__int__ inside a captured step",
    "a host read in the evaluation": "item inside a captured step",
    "an evaluation's labels on the current device": TWO_DEVICES,
}


@pytest.mark.slow
def test_every_kind_of_step_is_captured_without_a_host_read_on_one_device_and_planted_mistakes_fail():
    done = subprocess.run([sys.executable, str(PROGRAM)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert found.keys() == EXPECTED.keys()
    assert {name: line for name, line in found.items() if not re.search(EXPECTED[name], line)} == {}
