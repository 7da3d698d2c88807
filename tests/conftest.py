"""One thread for every test (more change the bits and gain nothing here), and properties without a clock."""

import hypothesis
import torch

hypothesis.settings.register_profile("steady", deadline=None, derandomize=True, print_blob=False)
hypothesis.settings.load_profile("steady")
torch.set_num_threads(1)
