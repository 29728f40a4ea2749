"""The order of the CUDA kernels: the number of experts before the block size, and the number of slots per token last."""

from .._arrays import integer, like
from ..routing import align, sizes, view_ids


def moe_align_block_size(topk_ids, num_experts, block_size, topk):
    """As `switchyard.moe_align_block_size`, with n + E * (block_size - 1) rows whatever the ids are: there is no bucket for
    ids of -1, which take no rows.

    topk only checks the ids: their number must be a multiple of it.
    """
    block_size, num_experts = sizes(block_size, num_experts)
    topk = integer(topk, "topk", 1, 1 << 24)
    ids, n = view_ids(topk_ids)
    if n % topk:
        raise ValueError(f"{n} ids are not rows of topk {topk}")
    return like(topk_ids, *align(ids, block_size, num_experts, None, True, n + num_experts * (block_size - 1)))
