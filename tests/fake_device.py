"""Run trainer, captured steps and evaluations, and state on a fake GPU: `python tests/fake_device.py`.

A renamed PrivateUse1 device under FakeTensorMode; "cuda" itself needs a GPU even there. Replaced: fused SGD
by a checker of what its CUDA kernel requires, `Module.to` (which swaps tensors), generators, and host reads,
which are answered outside of a captured step and refused inside. Prints a line for each network and for each
planted mistake.
"""

import sys
import warnings
from contextlib import contextmanager

import numpy as np
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

from dglib.protocol.spec import DataSpec, NetworkSpec, StepSpec
from dglib.training import graphs
from dglib.training.batches import DeviceData
from dglib.training.data import Dataset
from dglib.training.evaluation import epoch_stats
from dglib.training.numerics import Numerics
from dglib.training.randomness import Streams
from dglib.training.state import TrainState
from dglib.training.step import mix, mixes, values
from dglib.training.trainer import Trainer

NAME, CLASSES = "fakegpu", 10
DEVICE = f"{NAME}:1"  # another than the current one
BATCH, IMAGES = 8, 8 * 2 + 3  # three steps an epoch, the last one smaller
TESTED = 50  # images, in batches of 20
K, LOG_EVERY = 2, 5  # each kind of step comes once in 30 steps, and is captured at its second
capturing = [False]


class Module(_DummyBackendModule):
    """What torch asks of a backend."""

    def get_amp_supported_dtype(self):
        return [torch.float16, torch.bfloat16, torch.float32]

    def is_autocast_enabled(self):
        return False

    def device_count(self):
        return 2

    def set_device(self, device):
        pass

    def get_rng_state(self, device=None):
        return torch.zeros(16, dtype=torch.uint8)

    def set_rng_state(self, state, device=None):
        pass


class Generator(torch.Generator):
    """On the host, whatever the device; not to be read or set while a graph is captured."""

    def __new__(cls, device="cpu"):
        return super().__new__(cls)

    def get_state(self):
        refuse("a generator's state")
        return super().get_state()

    def set_state(self, state):
        refuse("a generator's state")
        return super().set_state(state)


class Recorder:
    """Captures by running once with host reads refused. A replay does nothing: shapes stay the same."""

    def __init__(self):
        self.kinds = 0

    def warm_up(self, function, *, last):
        return function()

    def capture(self, function, state):
        self.kinds += 1
        with reads_refused():
            found = function()
        return (lambda: None), found


@contextmanager
def reads_refused():
    capturing[0] = True
    yield
    capturing[0] = False  # after an error main() sets it back


def refuse(what):
    if capturing[0]:
        raise AssertionError(f"{what} inside a captured step")


def register():
    """The device, with autocast for the two operations of CUDA's list that dglib's networks have."""
    _setup_privateuseone_for_python_backend(NAME, Module())
    key = torch._C.DispatchKey.AutocastPrivateUse1
    rest = torch.library.Library("_", "IMPL", "AutocastPrivateUse1")
    rest.fallback(torch.library.fallthrough_kernel)
    casts = torch.library.Library("aten", "IMPL", "AutocastPrivateUse1")

    def half(operation):
        def call(*given):
            cast = [t.half() if isinstance(t, torch.Tensor) and t.is_floating_point() else t for t in given]
            with torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(key)):
                return operation(*cast)

        return call

    for name in ("conv2d", "linear"):
        casts.impl(name, half(getattr(torch.ops.aten, name).default))
    return rest, casts


def replace_what_fake_tensors_lack():
    tensor = torch.Tensor
    answers = {"__bool__": True, "__float__": 1.0, "__int__": 1, "item": 1.0}
    real_reads = {name: getattr(tensor, name) for name in (*answers, "tolist")}
    for name, real in real_reads.items():

        def read(self, *, real=real, name=name):
            if not isinstance(self, FakeTensor):
                return real(self)
            refuse(name)
            return np.ones(tuple(self.shape)).tolist() if name == "tolist" else answers[name]

        setattr(tensor, name, read)
    real_to = tensor.to

    def to(self, *given, **options):
        moved = real_to(self, *given, **options)
        if moved.device != self.device:
            refuse("a copy between devices")
        return moved

    tensor.to = to

    def module_to(self, device=None, memory_format=None):
        for module in self.modules():
            for name, p in module._parameters.items():
                if p is not None:
                    moved = p.detach().to(device or p.device)
                    form = memory_format if memory_format and p.dim() == 4 else torch.preserve_format
                    moved = moved if form is torch.preserve_format else moved.contiguous(memory_format=form)
                    module._parameters[name] = torch.nn.Parameter(moved)
            for name, b in module._buffers.items():
                if b is not None:
                    module._buffers[name] = b.to(device or b.device)
        return self

    torch.nn.Module.to = module_to
    torch.Generator = Generator

    def fused_sgd(params, grads, buffers, *, lr, grad_scale, found_inf, momentum, **_):
        """What _fused_sgd_kernel_cuda_ and ForeachUtils.h check, and what the kernel reads as float*."""
        for group in zip(params, grads, buffers, strict=True):
            if len({(t.dtype, t.device, t.shape, t.stride()) for t in group}) > 1:
                raise AssertionError(f"fused SGD: strides {[t.stride() for t in group]}")
        for one in (lr, grad_scale, found_inf):
            if isinstance(one, torch.Tensor) and (one.dtype, one.device, one.numel()) != (
                torch.float32,
                params[0].device,
                1,
            ):
                raise AssertionError(f"fused SGD: a scalar is {one.dtype} on {one.device}")

    torch._fused_sgd_ = fused_sgd


def run(network, width, prepare=lambda trainer, state: None, fused=True, **rules):
    """60 steps and two evaluations, every kind captured if SGD is fused; the state saved and loaded."""
    settled = Numerics(DEVICE, 1, "fp16", channels_last=True, fused=fused)
    constants = StepSpec(BATCH, K, two_pass_statistics=True, log_every=LOG_EVERY, **rules)
    data = DataSpec("random", noise_rate=0.4, augmentation="crop_flip")
    rng, shape, device = np.random.default_rng(0), (3, 32, 32), torch.device(DEVICE)
    arrays = [
        a
        for n in (IMAGES, TESTED)
        for a in (rng.integers(0, 256, (n, *shape), np.uint8), np.arange(n) % CLASSES)
    ]
    pixels = {"scale": 255.0, "mean": (0.5,) * 3, "std": (0.2,) * 3}
    with FakeTensorMode(), settled.applied():
        placed = DeviceData(Dataset("r", *arrays, classes=CLASSES, **pixels), data, 0, device)
        wanted = NetworkSpec(network, width)
        state = TrainState.create(wanted, constants, shape, CLASSES, settled, seed=0)
        trainer, recorder = Trainer(constants, placed, Streams(0, "x"), settled), Recorder()
        trainer.evaluate._size = 20
        if fused:
            trainer.capture(recorder)
        else:
            step = trainer.step
            trainer.step = lambda *given: reads_refused()(step)(*given)
        prepare(trainer, state)
        for epoch in range(20):
            trainer.advance(state, 0.3 if epoch % 2 else 0.5, 0.1, trainer.steps_per_epoch)
        assert not trainer.fallback, trainer.fallback
        for _ in range(2):
            trainer.evaluate(state)
        epoch_stats(state, 0.1)
        state.load_state_dict(state.state_dict())
        buffers = dict(state.model.named_buffers())
        for tensor in (*state.params, *buffers.values(), *state.momentum(), *state.g_v, state.g_v.norm):
            assert tensor.device == device, tensor
        for tensors in zip(state.params, state.momentum(), state.g_v, strict=True):
            assert len({t.stride() for t in tensors}) == 1
    return f"{recorder.kinds} kinds captured" if fused else "no host read"


@mixes.register("host read")
def host_read(g_s, g_v, lam):
    return mix(g_s, g_v, lam.item())


@values.register("through the host")
def through_the_host(batch):
    return batch.x, batch.clean.cpu().to(DEVICE)


def contiguous_momentum(trainer, state):
    state.momentum_buffers = [torch.zeros(p.shape, device=p.device) for p in state.params]


def double_rate(trainer, state):
    trainer.step._held[2] = torch.zeros((), dtype=torch.float64, device=DEVICE)


def start_on_the_host(trainer, state):
    batch = trainer._batch
    trainer._batch = lambda start, size: batch(int(start), size)


def masks_of_the_state(trainer, state):
    """A log's own pass sets the state's generator back, instead of drawing from another."""
    state.log_dropout = None


def labels_on_the_current_device(trainer, state):
    trainer.data.y_test = torch.zeros(TESTED, dtype=torch.int64, device=NAME)


def a_read_in_the_evaluation(trainer, state):
    score = trainer.evaluate.score._function
    trainer.evaluate.score._function = lambda *given: score(*given).tolist()


def asked_whether_finite(trainer, state):
    """As on a CPU, where the host decides whether the step is taken."""
    state.device = torch.device("cpu")


MISTAKES = {
    "a host read in the mix": {"mix": "host read"},
    "labels through the host": {"value": "through the host"},
    "momentum in another layout": {"prepare": contiguous_momentum},
    "the learning rate as float64": {"prepare": double_rate},
    "a log that sets the dropout back": {"prepare": masks_of_the_state},
    "the host asked whether a step is finite": {"prepare": asked_whether_finite, "fused": False},
    "the start of a batch on the host": {"prepare": start_on_the_host},
    "a host read in the evaluation": {"prepare": a_read_in_the_evaluation},
    "an evaluation's labels on the current device": {"prepare": labels_on_the_current_device},
}


def main():
    libraries = register()
    replace_what_fake_tensors_lack()
    import torch._dynamo  # noqa: F401  before a mode is on

    FakeTensorMode.avoid_device_init = True
    graphs.WARM_UP = 1
    for network, width in (("small_cnn", 1.0), ("vgg11_bn", 0.125), ("resnet18", 1.0)):
        print(f"{network}: {run(network, width)}", flush=True)
    print(f"unfused SGD: {run('small_cnn', 0.25, fused=False)}", flush=True)
    for name, given in MISTAKES.items():
        try:
            outcome = "not seen: " + run("small_cnn", 0.25, **given)
        except Exception as error:
            outcome = " ".join(str(error).split())
        capturing[0] = False
        print(f"{name}: {outcome}", flush=True)
    del libraries


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.exit(main())
