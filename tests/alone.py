"""Functions called in a process of their own that has one thread, so that it may fork and be killed."""

import multiprocessing
import os
import traceback

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["numpy", "torch", "dglib.runs.seed", "dglib.training.data"])
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def alone(function, *arguments, seconds=300):
    """What a module's function returns when called in a fresh process; its failure fails the caller."""
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ |= _ONE_THREAD  # for the server that forks, which starts with the first call
    receiver, sender = _CONTEXT.Pipe(duplex=False)
    process = _CONTEXT.Process(target=_call, args=(sender, function, arguments))
    try:
        process.start()
        sender.close()
        assert receiver.poll(seconds), f"{function.__name__} gave nothing in {seconds} s"
        failure, result = receiver.recv()
    finally:
        receiver.close()
        if process.pid is not None:
            process.join(5)
            process.kill()
            process.join()
            process.close()
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
    assert failure is None, failure
    return result


def _call(sender, function, arguments):
    import torch

    torch.set_num_threads(1)
    try:
        sender.send((None, function(*arguments)))
    except BaseException:
        sender.send((traceback.format_exc(), None))


def forked(function, *arguments):
    """Start a fork of this process that calls a function and ends; its id. Call it from `alone`."""
    child = os.fork()
    if child:
        return child
    try:
        function(*arguments)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def ended(child):
    """Wait for a fork's end; its exit status, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
