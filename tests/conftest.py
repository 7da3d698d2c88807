"""One thread for every test (more change the bits and gain nothing here), and properties without a clock."""

import signal

import hypothesis
import torch

hypothesis.settings.register_profile("steady", deadline=None, derandomize=True, print_blob=False)
hypothesis.settings.load_profile("steady")
torch.set_num_threads(1)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell leaves it to what runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)
