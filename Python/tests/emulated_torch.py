"""As much of torch as the package uses, for machines without it: CUDA tensors that lie in the host's memory.

Tools/gpu/emulate gives such a machine a driver that runs kernels there.
"""

import contextlib
import ctypes
import types

import numpy as np


def is_emulated():
    """Whether the driver of this machine is the emulator."""
    try:
        return hasattr(ctypes.CDLL("libcuda.so.1"), "emulated_self")
    except OSError:
        return False


class Tensor(np.ndarray):
    """An array that says that it is on GPU 0."""

    is_cuda = True
    device = "cuda:0"
    _version = 0

    def get_device(self):
        return 0

    def data_ptr(self):
        return self.ctypes.data

    def numel(self):
        return self.size

    def is_contiguous(self):
        return self.flags.c_contiguous

    def detach(self):
        return self

    def cpu(self):
        return self

    def numpy(self):
        return self.view(np.ndarray)

    def to(self, dtype):
        return self.astype(dtype)

    def reshape(self, *shape):
        return super().reshape(*shape).view(Tensor)

    def copy_(self, other):
        self[...] = other

    def new_empty(self, shape, dtype):
        return empty(shape, dtype)


def empty(shape, dtype):
    """Uninitialised, as a caching allocator's memory: at a multiple of 16 bytes, full of something else."""
    count = int(np.prod(shape))
    memory = np.full(count * np.dtype(dtype).itemsize + 16, 0x5a, np.uint8)
    first = -memory.ctypes.data % 16
    return memory[first:first + count * np.dtype(dtype).itemsize].view(dtype).reshape(shape).view(Tensor)


def tensor(array):
    """A copy on the GPU."""
    result = empty(array.shape, array.dtype)
    result[...] = array
    return result


_current = ctypes.c_void_p()


class Stream:
    """A stream of the driver."""

    def __init__(self):
        self.handle = ctypes.c_void_p()
        ctypes.CDLL("libcuda.so.1").cuStreamCreate(ctypes.byref(self.handle), 1)


@contextlib.contextmanager
def stream(entered):
    """What runs inside is enqueued there."""
    global _current
    before, _current = _current, entered.handle
    try:
        yield
    finally:
        _current = before


class CUDAGraph:
    """A graph of the driver, captured on a stream of its own."""

    def __init__(self):
        self.driver, self.graph, self.stream = ctypes.CDLL("libcuda.so.1"), ctypes.c_void_p(), Stream()

    def replay(self):
        if self.driver.cuGraphLaunch(self.graph, _current) != 0:
            raise RuntimeError("the graph was not launched")


@contextlib.contextmanager
def graph(captured):
    """What runs inside is captured, as torch does: other work that could disturb a capture is forbidden to all threads."""
    captured.driver.cuStreamBeginCapture_v2(captured.stream.handle, 0)
    with stream(captured.stream):
        yield
    recorded = ctypes.c_void_p()
    captured.driver.cuStreamEndCapture(captured.stream.handle, ctypes.byref(recorded))
    captured.driver.cuGraphInstantiateWithFlags(ctypes.byref(captured.graph), recorded, ctypes.c_ulonglong(0))


def module():
    """A module `torch` of these; the caller puts it where imports look."""
    torch = types.ModuleType("torch")
    torch.__file__ = "/nowhere/torch/__init__.py"
    Tensor.__module__ = "torch"
    torch.Tensor = Tensor
    torch.int32, torch.int64, torch.uint32 = np.dtype(np.int32), np.dtype(np.int64), np.dtype(np.uint32)
    torch.float32, torch.float16, torch.bfloat16 = np.dtype(np.float32), np.dtype(np.float16), np.dtype("V2")
    torch.full = lambda shape, value, dtype, device: tensor(np.full(shape, value, dtype))
    torch.cat = lambda tensors: np.concatenate(tensors).view(Tensor)
    torch._C = types.SimpleNamespace(_cuda_getCurrentRawStream=lambda ordinal: _current.value or 0)
    torch.cuda = types.SimpleNamespace(
        Stream=Stream, stream=stream, CUDAGraph=CUDAGraph, graph=graph, synchronize=lambda: None)
    return torch
