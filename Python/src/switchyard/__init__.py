"""Expert routing and placement for Mixture-of-Experts models, on NumPy arrays and CPU torch tensors."""

from .placement import plan_placement
from .routing import moe_align_block_size, select_experts, topk_softmax

__all__ = ["moe_align_block_size", "plan_placement", "select_experts", "topk_softmax"]
