"""CUDA tensors against the CPU's functions, on fresh random inputs: on a GPU with torch, or in Tools/gpu/emulate with neither."""

import sys
import threading
import unittest

import numpy as np

import emulated_torch
from switchyard import moe_align_block_size, select_experts, topk_softmax
from switchyard.compat import kernel, sglang, vllm

try:
    import torch

    IS_EMULATED = False
    HAS_GPU = torch.cuda.is_available()
except ImportError:
    IS_EMULATED = HAS_GPU = emulated_torch.is_emulated()
    if IS_EMULATED:
        torch = emulated_torch.module()


def setUpModule():
    # Only here: elsewhere tests of torch are skipped where there is none.
    if IS_EMULATED:
        sys.modules["torch"] = torch


def tearDownModule():
    if IS_EMULATED:
        del sys.modules["torch"]


def on_gpu(array):
    return emulated_torch.tensor(array) if IS_EMULATED else torch.from_numpy(array).cuda()


def bfloat16(array):
    """The array in bfloat16, on the GPU and as float32."""
    halves = (array.view(np.uint32) >> 16).astype(np.uint16)
    rounded = (halves.astype(np.uint32) << 16).view(np.float32)
    return on_gpu(halves.view("V2")) if IS_EMULATED else torch.from_numpy(rounded).cuda().bfloat16(), rounded


def host(tensors):
    return [tensor.cpu().numpy() for tensor in tensors]


@unittest.skipUnless(HAS_GPU, "needs torch and an NVIDIA GPU, or Tools/gpu/emulate")
class CUDA(unittest.TestCase):
    def setUp(self):
        self.seed = int(np.random.SeedSequence().entropy % (1 << 32))
        self.random = np.random.default_rng(self.seed)

    def equal(self, found, wanted, n, block):
        """The same rows and blocks; arrays on the GPU may have room for one block more."""
        found_rows, found_blocks, found_padded = host(found)
        rows, blocks, padded = wanted
        np.testing.assert_array_equal(found_padded, padded, f"seed {self.seed}")
        self.assertIn(found_rows.size - rows.size, range(block))
        self.assertIn(found_blocks.size - blocks.size, range(2))
        np.testing.assert_array_equal(found_rows[:rows.size], rows, f"seed {self.seed}")
        np.testing.assert_array_equal(found_blocks[:blocks.size], blocks, f"seed {self.seed}")
        self.assertTrue((found_rows[rows.size:] == n).all() and (found_blocks[blocks.size:] == -1).all())

    def test_align(self):
        sizes = [(0, 3, 4), (1, 1, 1), (37, 8, 4), (64, 60, 16), (513, 60, 7), (1000, 128, 64), (8192, 64, 128)]
        if not IS_EMULATED:
            sizes += [(40000, 256, 128), (131072, 64, 16), (200000, 1000, 64)]
        for n, experts, block in sizes:
            ids = self.random.integers(-1, experts, n).astype(np.int32)
            expert_map = np.full(experts, -1, np.int32)
            local = self.random.permutation(experts)[: max(1, experts // 3)]
            expert_map[local] = np.arange(local.size)
            for table in (None, expert_map):
                for drop in (False, True):
                    with self.subTest(n=n, experts=experts, block=block, mapped=table is not None, drop=drop):
                        call = {"block_size": block, "num_experts": experts, "ignore_invalid_experts": drop}
                        wanted = moe_align_block_size(ids, expert_map=table, **call)
                        found = moe_align_block_size(on_gpu(ids), expert_map=table, **call)
                        self.assertTrue(all(isinstance(array, torch.Tensor) and array.is_cuda for array in found))
                        self.equal(found, wanted, n, block)

    def test_ids_out_of_range_count_as_minus_one(self):
        ids = self.random.integers(0, 60, 500).astype(np.int32)
        odd = self.random.permutation(500)[:40]
        ids[odd] = np.resize(np.array([-2, 60, 2**31 - 1, -2**31], np.int32), 40)
        plain = ids.copy()
        plain[odd] = -1
        call = {"block_size": 16, "num_experts": 60}
        self.equal(moe_align_block_size(on_gpu(ids), **call), moe_align_block_size(plain, **call), 500, 16)
        if hasattr(torch, "uint32"):
            unsigned = on_gpu(plain).view(torch.uint32)
            self.equal(moe_align_block_size(unsigned, **call), moe_align_block_size(plain, **call), 500, 16)

    def test_a_map_on_the_gpu_is_read_again_when_it_has_changed(self):
        ids = self.random.integers(0, 8, 100).astype(np.int32)
        table = np.array([3, -1, 0, 1, -1, -1, 2, -1], np.int32)
        lent = on_gpu(table)
        lent_ids = on_gpu(ids)
        for turn in range(2):
            call = {"block_size": 4, "num_experts": 8, "ignore_invalid_experts": True}
            wanted = moe_align_block_size(ids, expert_map=table, **call)
            self.equal(moe_align_block_size(lent_ids, expert_map=lent, **call), wanted, 100, 4)
            table = np.roll(table, 1)
            lent[...] = on_gpu(table)
            if IS_EMULATED:
                lent._version = turn + 1

    def test_compat(self):
        ids = self.random.integers(0, 64, (4096, 2)).astype(np.int32)
        lent = on_gpu(ids)
        for call in [
            lambda ids: kernel.moe_align_block_size(ids.reshape(-1), 64, 128, 2),
            lambda ids: vllm.moe_align_block_size(ids, 128, 64), lambda ids: vllm.moe_align_block_size(ids, 128, 64, None, True),
            lambda ids: sglang.moe_align_block_size(ids, 128, 64), lambda ids: sglang.moe_align_block_size(ids, 128, 64, True),
        ]:
            self.equal(call(lent), call(ids), 8192, 128)
        rows, blocks, _ = kernel.moe_align_block_size(lent.reshape(-1), 64, 128, 2)
        self.assertEqual((rows.shape, blocks.shape), ((16320,), (128,)))
        ids = self.random.integers(-1, 4, (100, 2)).astype(np.int32)
        for ignore in (False, True):
            found = sglang.moe_align_block_size(on_gpu(ids), 4, 4, ignore, return_inactive_prefix_count=True)
            wanted = sglang.moe_align_block_size(ids, 4, 4, ignore, return_inactive_prefix_count=True)
            self.assertEqual(found[2].dtype, torch.int32)
            self.equal(found, wanted, 200, 4)

    def test_gating(self):
        for tokens, experts, topk in [(1, 60, 4), (33, 64, 6), (200, 128, 8)]:
            logits = self.random.normal(size=(tokens, experts)).astype(np.float32)
            narrow = logits.astype(np.float16)
            brain, rounded = bfloat16(logits)
            for lent, kept in [(on_gpu(logits), logits), (on_gpu(narrow), narrow.astype(np.float32)), (brain, rounded)]:
                for renormalize in (False, True):
                    with self.subTest(tokens=tokens, experts=experts, dtype=str(lent.dtype), renormalize=renormalize):
                        found = topk_softmax(lent, topk, renormalize)
                        wanted = topk_softmax(kept, topk, renormalize)
                        for one, other in zip(host(found), wanted):
                            np.testing.assert_array_equal(one, other, f"seed {self.seed}")

    def test_gating_in_every_variant(self):
        logits = self.random.normal(size=(40, 64)).astype(np.float32)
        bias = self.random.normal(size=64).astype(np.float32) * np.float32(0.1)
        lent, lent_bias = on_gpu(logits), on_gpu(bias)
        grouped = {"num_expert_group": 8, "topk_group": 4}
        for options in [
            {"scoring_func": "sigmoid"}, grouped, {"num_token_non_padded": 7},
            {"renormalize": True, "routed_scaling_factor": 2.5, "num_fused_shared_experts": 2, "shared_weight": 0.4},
        ]:
            with self.subTest(**options):
                for one, other in zip(host(select_experts(lent, 6, **options)), select_experts(logits, 6, **options)):
                    np.testing.assert_array_equal(one, other, f"seed {self.seed}")
        options = {"scoring_func": "sigmoid", "renormalize": True, **grouped}
        wanted = select_experts(logits, 6, correction_bias=bias, num_token_non_padded=9, **options)
        real = on_gpu(np.array([9], np.int32))
        found = select_experts(lent, 6, correction_bias=lent_bias, num_token_non_padded=real, **options)
        for one, other in zip(host(found), wanted):
            np.testing.assert_array_equal(one, other, f"seed {self.seed}")

    def test_refused(self):
        ids = on_gpu(np.zeros(8, np.int32))
        logits = on_gpu(np.zeros((4, 8), np.float32))
        call = {"block_size": 4, "num_experts": 4}
        for bad, error in [
            (lambda: moe_align_block_size(on_gpu(np.zeros(8, np.int64)), **call), TypeError),
            (lambda: moe_align_block_size(ids[::2], **call), ValueError),
            (lambda: moe_align_block_size(ids, block_size=0, num_experts=4), ValueError),
            (lambda: moe_align_block_size(ids, block_size=4.0, num_experts=4), TypeError),
            (lambda: moe_align_block_size(ids, block_size=4, num_experts=4096), ValueError),
            (lambda: moe_align_block_size(ids, block_size=1 << 24, num_experts=1000), ValueError),
            (lambda: moe_align_block_size(ids, expert_map=np.zeros(4, np.int32), **call), ValueError),
            (lambda: moe_align_block_size(ids, expert_map=on_gpu(np.zeros(3, np.int32)), **call), ValueError),
            (lambda: moe_align_block_size(ids, expert_map=np.arange(4), **call), TypeError),
            (lambda: kernel.moe_align_block_size(ids[:3], 4, 4, 2), ValueError),
            (lambda: topk_softmax(on_gpu(np.zeros((4, 8))), 2), TypeError),
            (lambda: topk_softmax(logits[:, ::2], 2), ValueError),
            (lambda: topk_softmax(ids, 2), (TypeError, ValueError)),
            (lambda: topk_softmax(logits, 9), ValueError),
            (lambda: topk_softmax(on_gpu(np.zeros((1, 513), np.float32)), 2), ValueError),
            (lambda: select_experts(logits, 2, num_expert_group=3, topk_group=1), ValueError),
            (lambda: select_experts(logits, 2, correction_bias=np.zeros(8, np.float32)), ValueError),
            (lambda: select_experts(logits, 2, correction_bias=on_gpu(np.zeros(7, np.float32))), ValueError),
        ]:
            with self.assertRaises(error):
                bad()
        with self.assertRaisesRegex(ValueError, "at most 1024"):
            moe_align_block_size(ids, block_size=4, num_experts=4096)

    def test_threads(self):
        ids = [self.random.integers(0, 64, 300).astype(np.int32) for _ in range(4)]
        call = {"block_size": 16, "num_experts": 64}
        found = [None] * len(ids)

        def work(index):
            lent = on_gpu(ids[index])
            found[index] = [moe_align_block_size(lent, **call) for _ in range(5)]

        threads = [threading.Thread(target=work, args=(index,)) for index in range(len(ids))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for index, results in enumerate(found):
            wanted = moe_align_block_size(ids[index], **call)
            for result in results:
                self.equal(result, wanted, 300, 16)

    def test_a_captured_graph_follows_its_inputs(self):
        for n, experts, block in [(48, 60, 16), (8192, 64, 128), (50000 if IS_EMULATED else 131072, 64, 128)]:
            with self.subTest(n=n):
                turns = [self.random.integers(-1, experts, n).astype(np.int32) for _ in range(1 if IS_EMULATED else 3)]
                beside = self.random.integers(-1, experts, n).astype(np.int32)
                ids, other_ids = on_gpu(beside), on_gpu(beside)
                call = {"block_size": block, "num_experts": experts}
                moe_align_block_size(ids, **call)
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph):
                    found = moe_align_block_size(ids, **call)
                for turn in turns:
                    ids.copy_(on_gpu(turn))
                    torch.cuda.synchronize()
                    graph.replay()
                    with torch.cuda.stream(torch.cuda.Stream()):
                        other = moe_align_block_size(other_ids, **call)
                    torch.cuda.synchronize()
                    self.equal(found, moe_align_block_size(turn, **call), n, block)
                    self.equal(other, moe_align_block_size(beside, **call), n, block)

    def test_a_graph_may_be_the_first_to_call(self):
        ids = self.random.integers(-1, 61, 33000).astype(np.int32)
        lent = on_gpu(ids)
        graph = torch.cuda.CUDAGraph()
        call = {"block_size": 32, "num_experts": 61}
        with torch.cuda.graph(graph):
            found = moe_align_block_size(lent, **call)
        graph.replay()
        torch.cuda.synchronize()
        self.equal(found, moe_align_block_size(ids, **call), 33000, 32)


@unittest.skipUnless(HAS_GPU and not IS_EMULATED, "needs torch and an NVIDIA GPU")
class Torch(unittest.TestCase):
    def test_calls_are_in_the_order_of_the_current_stream(self):
        ids = torch.randint(0, 64, (8192,), dtype=torch.int32, device="cuda")
        fresh = torch.randint(0, 64, (8192,), dtype=torch.int32, device="cuda")
        wanted = moe_align_block_size(fresh.cpu(), block_size=128, num_experts=64)[0]
        stream = torch.cuda.Stream()
        torch.cuda.synchronize()
        with torch.cuda.stream(stream):
            torch.cuda._sleep(20_000_000)
            ids.copy_(fresh)
            rows = moe_align_block_size(ids, block_size=128, num_experts=64)[0]
        stream.synchronize()
        np.testing.assert_array_equal(rows.cpu().numpy()[:wanted.numel()], wanted.numpy())

    def test_the_current_device_stays(self):
        if torch.cuda.device_count() < 2:
            self.skipTest("needs two GPUs")
        ids = torch.randint(0, 64, (512,), dtype=torch.int32, device="cuda:1")
        with torch.cuda.device(0):
            rows = moe_align_block_size(ids, block_size=16, num_experts=64)[0]
            self.assertEqual(torch.cuda.current_device(), 0)
        wanted = moe_align_block_size(ids.cpu(), block_size=16, num_experts=64)[0]
        np.testing.assert_array_equal(rows.cpu().numpy()[:wanted.numel()], wanted.numpy())


if __name__ == "__main__":
    unittest.main()
