"""One thread for every test (more change the bits and gain nothing here), and properties without a clock."""

import os
import signal

import hypothesis
import torch

hypothesis.settings.register_profile("steady", deadline=None, derandomize=True, print_blob=False)
hypothesis.settings.load_profile("steady")
torch.set_num_threads(1)
os.environ["DGLIB_HOME"] = "."  # the defaults of base_dir and data_dir lie in a test's own directory
# A shell leaves the first ignored to what runs in the background, nohup the second; tests raise both.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
