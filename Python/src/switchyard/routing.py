"""Gating and block alignment."""

import numpy as np

from . import _library
from ._arrays import gpu, integer, like, view

_LARGEST = 1 << 24
_INT32_MAX = (1 << 31) - 1


def moe_align_block_size(topk_ids, *, block_size, num_experts, expert_map=None, ignore_invalid_experts=False):
    """Groups routed pairs by expert in blocks of block_size rows.

    topk_ids: expert of each (token, slot) pair, int32 or int64 (on a GPU int32), any shape; -1 is a pair of another rank.
    expert_map: int32 [num_experts], local id of each expert, or -1 for experts of other ranks.
    ignore_invalid_experts: pairs of other ranks take no rows; otherwise they have blocks whose expert is -1.

    Returns int32 arrays: sorted_token_ids [n + E * (block_size - 1)], pair indices by expert, ascending inside an expert,
    n in pad rows and in the tail; expert_ids, the expert of each block, -1 in the tail; num_tokens_post_pad [1]. Where
    ids of -1 take blocks, one more bucket may need room: the arrays are then one block longer.

    CUDA tensors give CUDA tensors, by one launch on torch's current stream that nobody waits for. So nobody sees there
    what the ids are: the arrays have room for the bucket of -1 whenever such ids take blocks, and an id that is neither
    -1 nor below num_experts counts as -1.
    """
    block_size, num_experts = sizes(block_size, num_experts)
    ids, n = view_ids(topk_ids)
    results = align(ids, block_size, num_experts, expert_map, ignore_invalid_experts, n + num_experts * (block_size - 1))
    return like(topk_ids, *results)


def topk_softmax(router_logits, topk, renormalize=False, *, num_token_non_padded=None):
    """The topk most probable experts of every token: (weights float32, ids int32), both [tokens, topk].

    router_logits: float32 [tokens, experts], on a GPU bfloat16 or float16 too. Columns by descending weight, ties to the
    lower id.
    """
    return select_experts(router_logits, topk, renormalize=renormalize, num_token_non_padded=num_token_non_padded)


def select_experts(
    router_logits, topk, *, scoring_func="softmax", renormalize=False, num_expert_group=None, topk_group=None,
    correction_bias=None, routed_scaling_factor=1.0, num_fused_shared_experts=0, shared_weight=1.0,
    num_token_non_padded=None,
):
    """Gating in every variant: (weights float32, ids int32), both [tokens, topk], or one column more with shared experts.

    scoring_func: "softmax" or "sigmoid". num_expert_group, topk_group: groups, of which a token keeps some.
    correction_bias: float32 [experts], decides with the score. routed_scaling_factor: a factor on every routed weight.
    num_token_non_padded: rows from here on get ids -1 and weights 0; on a GPU also a tensor of one int32.

    CUDA tensors give CUDA tensors, as in `moe_align_block_size`; at most 512 experts, 16 of them per token, 32 groups.
    """
    module = gpu(router_logits)
    logits = router_logits if module else view(router_logits, "router_logits", [np.float32])
    if logits.ndim != 2:
        raise ValueError(f"router_logits has shape {tuple(logits.shape)}: expected [tokens, experts]")
    if scoring_func not in ("softmax", "sigmoid"):
        raise ValueError(f"scoring_func is {scoring_func!r}: expected 'softmax' or 'sigmoid'")
    if (num_expert_group is None) != (topk_group is None):
        raise ValueError("num_expert_group and topk_group go together")
    tokens, experts = logits.shape
    topk = integer(topk, "topk", 1, max(1, experts))
    shared = integer(num_fused_shared_experts, "num_fused_shared_experts", 0, _LARGEST)
    groups = 0 if num_expert_group is None else integer(num_expert_group, "num_expert_group", 1, _LARGEST)
    kept = 0 if topk_group is None else integer(topk_group, "topk_group", 1, _LARGEST)
    real = num_token_non_padded
    if real is not None and not (module and gpu(real)):
        real = integer(real, "num_token_non_padded", 0, tokens)
    if module:
        return module.choose(
            logits, topk, sigmoid=scoring_func == "sigmoid", renormalize=bool(renormalize), groups=groups,
            groups_kept=kept, bias=correction_bias, scale=float(routed_scaling_factor), shared_copies=shared,
            shared_weight=float(shared_weight), real_tokens=real)
    bias = None
    if correction_bias is not None:
        bias = view(correction_bias, "correction_bias", [np.float32])
        if bias.shape != (experts,):
            raise ValueError(f"correction_bias has shape {bias.shape}: expected [{experts}]")
    columns = topk + (1 if shared else 0)
    weights = np.empty((tokens, columns), np.float32)
    ids = np.empty((tokens, columns), np.int32)
    _library.topk(_library.TopKRequest(
        logits=logits.ctypes.data, tokens=tokens, experts=experts, top_k=topk, sigmoid=scoring_func == "sigmoid",
        renormalize=bool(renormalize), groups=groups, groups_kept=kept, scale=routed_scaling_factor,
        bias=None if bias is None else bias.ctypes.data, real_tokens=-1 if real is None else real,
        shared_copies=shared, shared_weight=shared_weight, weights=weights.ctypes.data, ids=ids.ctypes.data))
    return like(router_logits, weights, ids)


def sizes(block_size, num_experts):
    return (integer(block_size, "block_size", 1, _LARGEST), integer(num_experts, "num_experts", 1, _LARGEST))


def view_ids(topk_ids):
    """The ids as the library reads them, and how many."""
    module = gpu(topk_ids)
    if module:
        return topk_ids, module.count(topk_ids)
    ids = view(topk_ids, "topk_ids", [np.int32, np.int64, np.uint32])
    if ids.dtype != np.uint32:
        return ids, ids.size
    # As int32 the largest id would be -1, a pair of another rank.
    large = np.flatnonzero(ids.reshape(-1) > _INT32_MAX)
    if large.size:
        raise ValueError(
            f"topk_ids: id {ids.reshape(-1)[large[0]]} at position {large[0]} is too large: "
            "pairs of other ranks are -1 in an int32 array")
    return ids.view(np.int32), ids.size


def align(ids, block_size, num_experts, expert_map, drop, capacity):
    """The three arrays, with room for `capacity` rows, or for one bucket more where that is too little."""
    module = gpu(ids)
    if module:
        return module.align(ids, block_size, num_experts, expert_map, drop, capacity)
    table = None
    if expert_map is not None:
        table = view(expert_map, "expert_map", [np.int32])
        if table.shape != (num_experts,):
            raise ValueError(f"expert_map has shape {table.shape}: expected [{num_experts}]")
    for rows in (capacity, max(capacity, ids.size + (num_experts + 1) * (block_size - 1))):
        if rows > _INT32_MAX:
            raise ValueError(
                f"{ids.size} ids of {num_experts} experts in blocks of {block_size} exceed 32-bit indices: "
                "use smaller blocks or fewer ids at once")
        sorted_ids = np.empty(rows, np.int32)
        expert_ids = np.empty(-(-rows // block_size), np.int32)
        padded = _library.align(_library.AlignRequest(
            ids=ids.ctypes.data, count=ids.size, id_bytes=ids.itemsize, experts=num_experts, block_size=block_size,
            drop_foreign=bool(drop), expert_map=None if table is None else table.ctypes.data,
            sorted_pairs=sorted_ids.ctypes.data, sorted_capacity=sorted_ids.size,
            block_experts=expert_ids.ctypes.data, block_capacity=expert_ids.size, counts=None))
        if padded is not None:
            return sorted_ids, expert_ids, np.array([padded], np.int32)
    raise MemoryError(f"{ids.size} ids of {num_experts} experts do not fit {rows} rows")
