"""Routing on CUDA tensors: torch owns memory and stream, the library enqueues one launch there, and nobody waits.

Imported with the first CUDA tensor.
"""

import ctypes
import importlib.util
import os
import threading
from pathlib import Path

import torch

from ._arrays import view

_VERSION = 1
_MESSAGE_SIZE = 2048
_ERRORS = {-1: ValueError, -2: MemoryError}
_ID_TYPES = {torch.int32} | ({torch.uint32} if hasattr(torch, "uint32") else set())
_LOGIT_TYPES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}


class _GateRule(ctypes.Structure):
    _fields_ = [
        ("experts", ctypes.c_int32),
        ("top_k", ctypes.c_int32),
        ("sigmoid", ctypes.c_bool),
        ("renormalize", ctypes.c_bool),
        ("has_bias", ctypes.c_bool),
        ("groups", ctypes.c_int32),
        ("groups_kept", ctypes.c_int32),
        ("scale", ctypes.c_float),
        ("shared_copies", ctypes.c_int32),
        ("shared_weight", ctypes.c_float),
        ("logit_type", ctypes.c_int32),
    ]


def _open():
    path = Path(os.environ.get("SWITCHYARD_CUDA_LIBRARY") or Path(__file__).parent / "libswitchyard_cuda.so")
    if not path.exists():
        raise ImportError(f"no {path}, which CUDA tensors need: run Python/build-library, then install again")
    library = ctypes.CDLL(str(path))
    found = library.switchyard_cuda_version()
    if found != _VERSION:
        raise ImportError(f"{path} has interface version {found}, this package needs {_VERSION}: run Python/build-library again")
    handle, address, number = ctypes.c_void_p, ctypes.c_uint64, ctypes.c_int64
    message = [ctypes.c_char_p, ctypes.c_size_t]
    result = ctypes.POINTER(ctypes.c_void_p)
    library.switchyard_cuda_open.argtypes = [ctypes.c_int32, ctypes.c_char_p, result, *message]
    library.switchyard_cuda_alignment_create.argtypes = [
        handle, ctypes.c_int32, ctypes.c_int32, ctypes.c_bool, ctypes.c_char_p, result, *message]
    library.switchyard_cuda_align.argtypes = [
        handle, handle, address, number, address, number, address, number, address, *message]
    library.switchyard_cuda_gate_create.argtypes = [handle, ctypes.POINTER(_GateRule), result, *message]
    library.switchyard_cuda_choose.argtypes = [
        handle, handle, address, number, address, address, address, address, *message]
    return library


_LIBRARY = _open()
_ALIGN, _CHOOSE = _LIBRARY.switchyard_cuda_align, _LIBRARY.switchyard_cuda_choose


class _Thread(threading.local):
    def __init__(self):
        self.message = ctypes.create_string_buffer(_MESSAGE_SIZE)


_THREAD = _Thread()


def _check(status):
    if status != 0:
        raise _ERRORS.get(status, RuntimeError)(_THREAD.message.value.decode("utf-8", "replace"))


def _make(create, *arguments):
    result = ctypes.c_void_p()
    _check(create(*arguments, ctypes.byref(result), _THREAD.message, _MESSAGE_SIZE))
    return result.value


# What is made lives as long as the process: a captured graph may need it.
_DEVICES, _ALIGNMENTS, _GATES = {}, {}, {}


def _device(ordinal):
    if ordinal not in _DEVICES:
        path = nvrtc()
        _DEVICES[ordinal] = _make(_LIBRARY.switchyard_cuda_open, ordinal, path and str(path).encode())
    return _DEVICES[ordinal]


def nvrtc():
    """NVRTC as pip's wheels bring it along with torch, or None."""
    spec = importlib.util.find_spec("nvidia")
    folders = [Path(folder) for folder in (spec.submodule_search_locations if spec else None) or []]
    folders = [place / "lib" for folder in folders for place in (*sorted(folder.glob("cu[0-9]*"))[::-1], folder / "cuda_nvrtc")]
    folders.append(Path(torch.__file__).parent / "lib")
    for folder in folders:
        for found in sorted(folder.glob("libnvrtc[.-]*so.*")):
            if not found.name.startswith(("libnvrtc-builtins", "libnvrtc.alt")):
                return found
    return None


def _current_stream(ordinal):
    return torch.cuda.current_stream(ordinal).cuda_stream


# The same without a Stream object; torch's compilers call it too.
_stream = getattr(torch._C, "_cuda_getCurrentRawStream", _current_stream)


def dense(tensor, name, dtypes):
    """Refuses a tensor that the kernels cannot read as it is."""
    if tensor.dtype not in dtypes:
        wanted = " or ".join(sorted(map(str, dtypes)))
        raise TypeError(f"{name} has dtype {tensor.dtype}: expected {wanted} on a GPU")
    if not tensor.is_contiguous():
        raise ValueError(f"{name} is not contiguous: pass a contiguous copy")


def _beside(tensor, name, dtypes, shape, ordinal):
    """The address of a further tensor, which must be on the same GPU."""
    if not getattr(tensor, "is_cuda", False) or tensor.get_device() != ordinal:
        raise ValueError(f"{name} is not on cuda:{ordinal}, where the other tensors are")
    dense(tensor, name, dtypes)
    if tuple(tensor.shape) != shape:
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}: expected {list(shape)}")
    return tensor.data_ptr()


def count(topk_ids):
    """How many ids there are, if they are such as the kernels read."""
    dense(topk_ids, "topk_ids", _ID_TYPES)
    return topk_ids.numel()


def align(ids, block_size, num_experts, expert_map, drop, rows):
    """The three tensors, with room for `rows` rows, or for whatever the ids may need if that is more."""
    ordinal, n, drop = ids.get_device(), ids.numel(), bool(drop)
    rows = max(rows, min(n + (num_experts + (not drop)) * (block_size - 1), n * block_size))
    blocks = -(-rows // block_size)
    key = (ordinal, num_experts, block_size, drop, None if expert_map is None else _contents(expert_map, num_experts))
    handle = _ALIGNMENTS.get(key)
    if handle is None:
        handle = _make(_LIBRARY.switchyard_cuda_alignment_create, _device(ordinal), num_experts, block_size, drop, key[4])
        _ALIGNMENTS[key] = handle
    if rows > 0x7fffffff:
        raise ValueError(
            f"{n} ids of {num_experts} experts in blocks of {block_size} exceed 32-bit indices: "
            "use smaller blocks or fewer ids at once")
    int32 = torch.int32
    sorted_ids = ids.new_empty(rows, dtype=int32)
    expert_ids = ids.new_empty(blocks, dtype=int32)
    padded = ids.new_empty(1, dtype=int32)
    status = _ALIGN(
        handle, _stream(ordinal), ids.data_ptr(), n, sorted_ids.data_ptr(), rows, expert_ids.data_ptr(), blocks,
        padded.data_ptr(), _THREAD.message, _MESSAGE_SIZE)
    if status:
        _check(status)
    return sorted_ids, expert_ids, padded


def _contents(expert_map, num_experts):
    """The map's bytes. One on a GPU is waited for when it is first seen and when it has changed."""
    if not getattr(expert_map, "is_cuda", False):
        table = view(expert_map, "expert_map", ["int32"])
        if table.shape != (num_experts,):
            raise ValueError(f"expert_map has shape {table.shape}: expected [{num_experts}]")
        return table.tobytes()
    _beside(expert_map, "expert_map", {torch.int32}, (num_experts,), expert_map.get_device())
    try:
        version = expert_map._version
    except RuntimeError:  # made in inference mode, where torch does not count changes
        return expert_map.cpu().numpy().tobytes()
    known = getattr(expert_map, "_switchyard_contents", None)
    if known is None or known[0] != version:
        known = expert_map._switchyard_contents = (version, expert_map.cpu().numpy().tobytes())
    return known[1]


def leading(expert_ids, padded, block_size):
    """[padded, the number of leading blocks of expert -1]. The tail is -1 too."""
    blocks = (expert_ids == -1).sum() - expert_ids.numel() + padded // block_size
    return torch.cat((padded, blocks.to(torch.int32)))


def choose(
    logits, topk, *, sigmoid, renormalize, groups, groups_kept, bias, scale, shared_copies, shared_weight, real_tokens,
):
    """Weights and ids."""
    dense(logits, "router_logits", _LOGIT_TYPES)
    ordinal = logits.get_device()
    tokens, experts = logits.shape
    key = (ordinal, experts, topk, sigmoid, renormalize, bias is not None, groups, groups_kept, scale, shared_copies,
           shared_weight, _LOGIT_TYPES[logits.dtype])
    gate = _GATES.get(key)
    if gate is None:
        gate = _make(_LIBRARY.switchyard_cuda_gate_create, _device(ordinal), _GateRule(*key[1:]))
        _GATES[key] = gate
    bias = 0 if bias is None else _beside(bias, "correction_bias", {torch.float32}, (experts,), ordinal)
    real = 0
    if real_tokens is not None:
        if not getattr(real_tokens, "is_cuda", False):
            real_tokens = torch.full((1,), real_tokens, dtype=torch.int32, device=logits.device)
        real = _beside(real_tokens.reshape(-1), "num_token_non_padded", {torch.int32}, (1,), ordinal)
    shape = (tokens, topk + (1 if shared_copies else 0))
    weights = logits.new_empty(shape, dtype=torch.float32)
    ids = logits.new_empty(shape, dtype=torch.int32)
    status = _CHOOSE(
        gate, _stream(ordinal), logits.data_ptr(), tokens, bias, real, weights.data_ptr(), ids.data_ptr(),
        _THREAD.message, _MESSAGE_SIZE)
    if status:
        _check(status)
    return weights, ids
