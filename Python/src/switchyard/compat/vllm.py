"""vLLM's argument order and sizes."""

from .._arrays import like
from ..routing import align, sizes, view_ids


def moe_align_block_size(
    topk_ids, block_size, num_experts, expert_map=None, pad_sorted_ids=False, ignore_invalid_experts=False,
):
    """As `switchyard.moe_align_block_size`; sorted_token_ids has n + E * (block_size - 1) rows, rounded up to a block with
    pad_sorted_ids, and at most n * block_size where n < E."""
    block_size, num_experts = sizes(block_size, num_experts)
    ids, n = view_ids(topk_ids)
    capacity = n + num_experts * (block_size - 1)
    if pad_sorted_ids:
        capacity = -(-capacity // block_size) * block_size
    if n < num_experts:
        capacity = min(n * block_size, capacity)
    return like(topk_ids, *align(ids, block_size, num_experts, expert_map, ignore_invalid_experts, capacity))
