"""sglang's argument order and sizes."""

import numpy as np

from .._arrays import gpu, like
from ..routing import align, sizes, view_ids


def moe_align_block_size(
    topk_ids, block_size, num_experts, ignore_invalid_expert=False, *, return_inactive_prefix_count=False,
    pad_expert_ids=False,
):
    """As `switchyard.moe_align_block_size`; ids of -1 are a bucket of their own, which comes first, and sizes are for
    E + 1 buckets, rounded up to a multiple of 4.

    return_inactive_prefix_count: num_tokens_post_pad has a second entry, the number of leading blocks of expert -1.
    pad_expert_ids: accepted; the tail of expert_ids is always -1.
    """
    block_size, num_experts = sizes(block_size, num_experts)
    ids, n = view_ids(topk_ids)
    buckets = num_experts + 1
    capacity = n * block_size if n < buckets else n + buckets * (block_size - 1)
    capacity = (capacity + 3) // 4 * 4
    sorted_ids, expert_ids, padded = align(ids, block_size, num_experts, None, ignore_invalid_expert, capacity)
    if return_inactive_prefix_count and gpu(ids):
        padded = gpu(ids).leading(expert_ids, padded, block_size)
    elif return_inactive_prefix_count:
        used = expert_ids[: padded[0] // block_size]
        padded = np.array([padded[0], np.count_nonzero(used == -1)], np.int32)
    return like(topk_ids, sorted_ids, expert_ids, padded)
