"""Placement of experts on ranks."""

import numpy as np

from . import _library
from ._arrays import integer

_LARGEST = 1 << 24


def plan_placement(
    load, *, num_gpus, num_slots=None, num_redundant=None, num_nodes=1, num_groups=1, policy="balanced",
):
    """Places experts, the busy ones more than once, so that every GPU carries the same load.

    load: tokens per logical expert, [layers, experts] or [windows, layers, experts] (summed), any numeric dtype.
    num_slots: physical experts of a layer; or num_redundant: slots beyond one per expert.
    num_nodes, num_groups: with several nodes, a group of experts stays on one node where groups divide among nodes.
    policy: "balanced", or "compatible" for the slots that DeepSeek's EPLB chooses.

    Returns physical_to_logical, int32 [layers, slots]: the logical expert in each slot; slots lie on GPUs in equal chunks.
    """
    counts = np.asarray(load)
    if counts.dtype.kind not in "iuf":
        raise TypeError(f"load has dtype {counts.dtype}: expected numbers")
    if counts.ndim == 3:
        counts = counts.sum(axis=0)
    if counts.ndim != 2:
        raise ValueError(f"load has shape {counts.shape}: expected [layers, experts] or [windows, layers, experts]")
    if policy not in ("balanced", "compatible"):
        raise ValueError(f"policy is {policy!r}: expected 'balanced' or 'compatible'")
    if num_slots is not None and num_redundant is not None:
        raise ValueError("num_slots and num_redundant exclude each other")
    layers, experts = counts.shape
    if num_slots is None:
        num_slots = experts + (0 if num_redundant is None else integer(num_redundant, "num_redundant", 0, _LARGEST))
    slots = integer(num_slots, "num_slots", 1, _LARGEST)
    values = np.ascontiguousarray(counts, dtype=np.float32)
    placed = np.empty((layers, slots), np.int32)
    _library.plan(_library.PlanRequest(
        load=values.ctypes.data, layers=layers, experts=experts, slots=slots,
        groups=integer(num_groups, "num_groups", 1, _LARGEST), nodes=integer(num_nodes, "num_nodes", 1, _LARGEST),
        gpus=integer(num_gpus, "num_gpus", 1, _LARGEST), compatible=policy == "compatible",
        physical_to_logical=placed.ctypes.data))
    return placed
