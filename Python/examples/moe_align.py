"""Block alignment of 4096 tokens on 64 experts, two each, on the GPU, as a caller of sglang's kernel would time it."""

import time

import torch

from switchyard.compat.kernel import moe_align_block_size  # the only line that changes

num_tokens, num_experts, topk, block_size = 4096, 64, 2, 128
topk_ids = torch.randint(0, num_experts, (num_tokens * topk,), dtype=torch.int32, device="cuda")

moe_align_block_size(topk_ids, num_experts, block_size, topk)  # compiles the kernel, once per machine
torch.cuda.synchronize()

start = time.time()
sorted_ids, expert_ids, num_tokens_post_pad = moe_align_block_size(topk_ids, num_experts, block_size, topk)
torch.cuda.synchronize()
end = time.time()
print(f"moe_align_block_size, once, synchronised: {(end - start) * 1e6:.1f} us")


def median(run, calls=1, repeats=100):
    """Microseconds of a call on the GPU's clock."""
    times = []
    for _ in range(repeats):
        first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        first.record()
        run()
        last.record()
        last.synchronize()
        times.append(first.elapsed_time(last) * 1e3 / calls)
    return sorted(times)[repeats // 2]


def call():
    return moe_align_block_size(topk_ids, num_experts, block_size, topk)


graph = torch.cuda.CUDAGraph()
with torch.cuda.graph(graph):
    for _ in range(32):
        call()
start = time.time()
for _ in range(1000):
    call()
host = (time.time() - start) * 1e3
torch.cuda.synchronize()

print(f"CUDA events, median of 100 calls:         {median(call):.1f} us")
print(f"CUDA events, 32 calls in a graph, median: {median(graph.replay, 32):.2f} us a call")
print(f"Python's share, mean of 1000 calls:       {host:.1f} us a call")
print(f"{num_tokens_post_pad.item()} of {sorted_ids.numel()} rows in use, {expert_ids.numel()} blocks")
