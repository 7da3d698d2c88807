"""How fast training is here, beside what one would otherwise run: `python -m dglib.benchmark --help`.

The baseline (`baseline`) is the published loop as one would write it: a DataLoader with four workers,
torchvision's transforms, gradients as flat vectors, torch's default arithmetic. Ours is what an experiment
runs. The two take turns in one process, block by block, each with its data pipeline, and rows give the median
and spread over the pairs. Speed does not depend on the pixels, so the images are random ones of CIFAR-10's
shape, and nothing is downloaded.
"""
