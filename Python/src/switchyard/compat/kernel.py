"""The order of the CUDA kernels: the number of experts before the block size, and the number of slots per token last."""

from .._arrays import integer
from ..routing import moe_align_block_size as _align
from ..routing import view_ids


def moe_align_block_size(topk_ids, num_experts, block_size, topk):
    """As `switchyard.moe_align_block_size`. topk only checks the ids: their number must be a multiple of it."""
    topk = integer(topk, "topk", 1, 1 << 24)
    count = view_ids(topk_ids).size
    if count % topk:
        raise ValueError(f"{count} ids are not rows of topk {topk}")
    return _align(topk_ids, block_size=block_size, num_experts=num_experts)
