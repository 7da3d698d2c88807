"""What a step log holds, named once for the trainer and the records."""

LOG_FIELDS = ("c_sv", "c_mc", "norm_s", "norm_v", "norm_mix", "loss_s", "loss_v")
