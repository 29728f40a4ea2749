"""The library behind the package: found, opened, its version checked, its errors raised."""

import ctypes
import os
import threading
import weakref
from pathlib import Path

_VERSION = 1
_MESSAGE_SIZE = 512
TOO_SMALL = -2


class AlignRequest(ctypes.Structure):
    _fields_ = [
        ("ids", ctypes.c_void_p),
        ("count", ctypes.c_int64),
        ("id_bytes", ctypes.c_int32),
        ("experts", ctypes.c_int32),
        ("block_size", ctypes.c_int32),
        ("drop_foreign", ctypes.c_bool),
        ("expert_map", ctypes.c_void_p),
        ("sorted_pairs", ctypes.c_void_p),
        ("sorted_capacity", ctypes.c_int64),
        ("block_experts", ctypes.c_void_p),
        ("block_capacity", ctypes.c_int64),
        ("counts", ctypes.c_void_p),
    ]


class TopKRequest(ctypes.Structure):
    _fields_ = [
        ("logits", ctypes.c_void_p),
        ("tokens", ctypes.c_int64),
        ("experts", ctypes.c_int32),
        ("top_k", ctypes.c_int32),
        ("sigmoid", ctypes.c_bool),
        ("renormalize", ctypes.c_bool),
        ("groups", ctypes.c_int32),
        ("groups_kept", ctypes.c_int32),
        ("scale", ctypes.c_float),
        ("bias", ctypes.c_void_p),
        ("real_tokens", ctypes.c_int64),
        ("shared_copies", ctypes.c_int32),
        ("shared_weight", ctypes.c_float),
        ("weights", ctypes.c_void_p),
        ("ids", ctypes.c_void_p),
    ]


class PlanRequest(ctypes.Structure):
    _fields_ = [
        ("load", ctypes.c_void_p),
        ("layers", ctypes.c_int32),
        ("experts", ctypes.c_int32),
        ("slots", ctypes.c_int32),
        ("groups", ctypes.c_int32),
        ("nodes", ctypes.c_int32),
        ("gpus", ctypes.c_int32),
        ("compatible", ctypes.c_bool),
        ("physical_to_logical", ctypes.c_void_p),
    ]


def _open():
    folder = Path(__file__).parent
    names = [folder / "libswitchyard_experts.so", folder / "libswitchyard_experts.dylib"]
    override = os.environ.get("SWITCHYARD_EXPERTS_LIBRARY")
    path = Path(override) if override else next((name for name in names if name.exists()), None)
    if path is None:
        raise ImportError(f"no libswitchyard_experts in {folder}: run Python/build-library, then install again")
    library = ctypes.CDLL(str(path))
    library.switchyard_workspace_create.restype = ctypes.c_void_p
    library.switchyard_workspace_destroy.argtypes = [ctypes.c_void_p]
    found = library.switchyard_experts_version()
    if found != _VERSION:
        raise ImportError(f"{path} has interface version {found}, this package needs {_VERSION}: run Python/build-library again")
    message = [ctypes.c_char_p, ctypes.c_size_t]
    library.switchyard_align.argtypes = [
        ctypes.c_void_p, ctypes.POINTER(AlignRequest), ctypes.POINTER(ctypes.c_int32), *message]
    library.switchyard_topk.argtypes = [ctypes.POINTER(TopKRequest), *message]
    library.switchyard_plan.argtypes = [ctypes.POINTER(PlanRequest), *message]
    return library


_LIBRARY = _open()


class _Workspace:
    """Memory that calls reuse; given back when the last reference goes."""

    def __init__(self):
        self.handle = _LIBRARY.switchyard_workspace_create()
        weakref.finalize(self, _LIBRARY.switchyard_workspace_destroy, self.handle)


# One per thread, since calls run without Python's lock. It goes when its thread ends: a subclass of `threading.local`
# would lose its attributes then, but be finalized only with the module.
_THREAD = threading.local()


def _workspace():
    try:
        return _THREAD.workspace
    except AttributeError:
        _THREAD.workspace = _Workspace()
        return _THREAD.workspace


def _check(status, message):
    if status != 0:
        raise ValueError(message.value.decode("utf-8", "replace"))


def align(request):
    """Rows in use, or None when the request's memory is too small."""
    padded = ctypes.c_int32()
    message = ctypes.create_string_buffer(_MESSAGE_SIZE)
    status = _LIBRARY.switchyard_align(
        _workspace().handle, ctypes.byref(request), ctypes.byref(padded), message, _MESSAGE_SIZE)
    if status == TOO_SMALL:
        return None
    _check(status, message)
    return padded.value


def topk(request):
    message = ctypes.create_string_buffer(_MESSAGE_SIZE)
    _check(_LIBRARY.switchyard_topk(ctypes.byref(request), message, _MESSAGE_SIZE), message)


def plan(request):
    message = ctypes.create_string_buffer(_MESSAGE_SIZE)
    _check(_LIBRARY.switchyard_plan(ctypes.byref(request), message, _MESSAGE_SIZE), message)
