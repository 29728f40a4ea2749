"""Arrays in and out without a copy: NumPy's own, torch tensors, anything else that speaks DLPack in the host's memory."""

import operator

import numpy as np

_GPU = None


def gpu(array):
    """The module that serves CUDA tensors, if the array is one."""
    if not getattr(array, "is_cuda", False):
        return None
    global _GPU
    if _GPU is None:
        from . import _cuda as _GPU
    return _GPU


def view(array, name, dtypes):
    """The array as NumPy sees it, its memory shared.

    Raises TypeError for what is no array or has another dtype, ValueError for memory that is elsewhere or not dense.
    """
    if isinstance(array, np.ndarray):
        found = array
    elif _is_torch(array):
        if array.device.type != "cpu":
            raise ValueError(f"{name} is on {array.device}: expected a CPU tensor")
        found = array.detach().numpy()
    elif hasattr(array, "__dlpack__"):
        found = np.from_dlpack(array)
    else:
        raise TypeError(f"{name} is a {type(array).__name__}: expected a NumPy array or a CPU torch tensor")
    if not any(found.dtype == np.dtype(dtype) for dtype in dtypes):
        wanted = " or ".join(np.dtype(dtype).name for dtype in dtypes)
        raise TypeError(f"{name} has dtype {found.dtype}: expected {wanted}")
    if not found.flags.c_contiguous:
        raise ValueError(f"{name} is not contiguous: pass a contiguous copy")
    if not found.flags.aligned:
        raise ValueError(f"{name} does not lie at a multiple of its item size: pass a copy")
    return found


def like(array, *results):
    """The results as the kind of array that the caller works with."""
    if not _is_torch(array) or array.is_cuda:
        return results
    import torch

    return tuple(torch.from_numpy(result) for result in results)


def integer(value, name, low, high):
    """The value as an int from low to high."""
    if type(value) is int and low <= value <= high:
        return value
    if isinstance(value, bool):
        raise TypeError(f"{name} is a bool: expected an integer")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is a {type(value).__name__}: expected an integer") from None
    if not low <= number <= high:
        raise ValueError(f"{name} is {number}: expected {low} to {high}")
    return number


def _is_torch(array):
    return type(array).__module__.partition(".")[0] == "torch" and hasattr(array, "detach")
