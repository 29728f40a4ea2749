"""Block alignment against the golden vectors and a plain restatement, and what it refuses."""

import threading
import unittest

import numpy as np

import golden
from switchyard import _library, moe_align_block_size
from switchyard.compat import kernel, sglang, vllm


def plain(ids, experts, block, expert_map=None, drop=False):
    """Groups one by one, their pairs in order, pads at the end."""
    ids = ids.ravel()
    table = np.arange(experts) if expert_map is None else expert_map
    groups = list(enumerate(table))
    groups = sorted((g for g in groups if g[1] >= 0), key=lambda g: g[1]) if drop else [(-1, -1), *groups]
    rows, blocks = [], []
    for expert, label in groups:
        pairs = list(np.flatnonzero(ids == expert))
        count = -(-len(pairs) // block)
        rows += pairs + [ids.size] * (count * block - len(pairs))
        blocks += [label] * count
    return np.array(rows, np.int32), np.array(blocks, np.int32)


class Align(unittest.TestCase):
    def check(self, result, rows, blocks, n, capacity=None):
        found_rows, found_blocks, padded = result
        for array in result:
            self.assertEqual(array.dtype, np.int32)
        self.assertEqual(padded.shape, (1,))
        self.assertEqual(padded[0], len(rows))
        np.testing.assert_array_equal(found_rows[:len(rows)], rows)
        self.assertTrue((found_rows[len(rows):] == n).all())
        np.testing.assert_array_equal(found_blocks[:len(blocks)], blocks)
        self.assertTrue((found_blocks[len(blocks):] == -1).all())
        if capacity is not None:
            self.assertEqual(found_rows.size, capacity)

    def test_golden(self):
        tensors = golden.Tensors("moe-align/moe_align.safetensors")
        cases = golden.cases("moe-align/moe_align.json")
        self.assertEqual(len(cases), 35)
        for case in cases:
            with self.subTest(case["name"]):
                def field(name):
                    return tensors[f"{case['name']}.{name}"]

                ids, experts, block = field("topk_ids"), case["num_experts"], case["block_size"]
                expert_map = field("expert_map") if case.get("num_local_experts") is not None else None
                if not case.get("has_invalid_ids"):
                    result = moe_align_block_size(ids, block_size=block, num_experts=experts)
                    self.check(result, field("sorted_ids"), field("expert_ids"), ids.size,
                               case["max_num_tokens_padded"])
                    self.assertEqual(result[1].size, case["max_num_blocks"])
                if expert_map is not None:
                    result = moe_align_block_size(ids, block_size=block, num_experts=experts, expert_map=expert_map)
                    self.check(result, field("sorted_ids"), field("mapped_expert_ids"), ids.size)
                if expert_map is not None or case.get("has_invalid_ids"):
                    result = moe_align_block_size(
                        ids, block_size=block, num_experts=experts, expert_map=expert_map, ignore_invalid_experts=True)
                    self.check(result, field("dropped_sorted_ids"), field("dropped_expert_ids"), ids.size)

    def test_random(self):
        random = np.random.default_rng(7)
        for n, experts, block in [(0, 3, 4), (1, 1, 1), (37, 8, 4), (513, 60, 7), (5000, 512, 128), (40000, 256, 64)]:
            ids = random.integers(-1, experts, n).astype(np.int32)
            expert_map = np.full(experts, -1, np.int32)
            local = random.permutation(experts)[: max(1, experts // 3)]
            expert_map[local] = np.arange(local.size)
            for dtype in (np.int32, np.int64):
                for table in (None, expert_map):
                    for drop in (False, True):
                        with self.subTest(n=n, dtype=dtype, mapped=table is not None, drop=drop):
                            result = moe_align_block_size(
                                ids.astype(dtype), block_size=block, num_experts=experts, expert_map=table,
                                ignore_invalid_experts=drop)
                            self.check(result, *plain(ids, experts, block, table, drop), n)

    def test_compat(self):
        ids = np.random.default_rng(3).integers(0, 64, (4096, 2)).astype(np.int32)
        rows, blocks = plain(ids, 64, 128)
        self.check(vllm.moe_align_block_size(ids, 128, 64), rows, blocks, 8192, 16320)
        self.check(vllm.moe_align_block_size(ids, 128, 64, None, True), rows, blocks, 8192, 16384)
        self.check(kernel.moe_align_block_size(ids.ravel(), 64, 128, 2), rows, blocks, 8192, 16320)
        result = sglang.moe_align_block_size(ids, 128, 64)
        self.check(result, rows, blocks, 8192, 16448)
        self.assertEqual(result[1].size, 129)

        few = np.array([[5, 1], [5, -1]], np.int32)
        rows, blocks = plain(few, 64, 16)
        self.check(vllm.moe_align_block_size(few[:1], 16, 64), *plain(few[:1], 64, 16), 2, 32)
        found = sglang.moe_align_block_size(few, 16, 64, return_inactive_prefix_count=True)
        np.testing.assert_array_equal(found[2], [48, 1])
        self.check((*found[:2], found[2][:1]), rows, blocks, 4, 64)
        self.check(sglang.moe_align_block_size(few, 16, 64, True), *plain(few, 64, 16, drop=True), 4, 64)
        expert_map = np.full(64, -1, np.int32)
        expert_map[5] = 0
        self.check(vllm.moe_align_block_size(few[:1], 16, 64, expert_map, False, True), [0, *[2] * 15], [0], 2)

    def test_refused(self):
        ids = np.array([0, 1, 2, 3], np.int32)
        good = {"block_size": 4, "num_experts": 4}
        for bad, error in [
            (ids.astype(np.float32), TypeError), (ids.astype(np.int16), TypeError), ([0, 1], TypeError),
            (np.arange(8, dtype=np.int32)[::2], ValueError), (np.array([0, 9], np.int32), ValueError),
            (np.array([0, -2], np.int32), ValueError), (np.array([1 << 40]), ValueError),
        ]:
            with self.subTest(bad=bad), self.assertRaises(error):
                moe_align_block_size(bad, **good)
        with self.assertRaisesRegex(ValueError, "expert id 9 at position 1"):
            moe_align_block_size(np.array([0, 9, -7], np.int32), **good)
        with self.assertRaisesRegex(ValueError, "expert id 1099511627776 at position 0"):
            moe_align_block_size(np.array([1 << 40, 9]), **good)
        for sizes in [{"block_size": 0}, {"num_experts": 0}, {"block_size": -1}, {"num_experts": 1 << 40},
                      {"block_size": 1 << 24, "num_experts": 1 << 24}]:
            with self.subTest(**sizes), self.assertRaises(ValueError):
                moe_align_block_size(ids, **{**good, **sizes})
        for sizes in [{"block_size": 4.0}, {"num_experts": None}, {"block_size": True}]:
            with self.subTest(**sizes), self.assertRaises(TypeError):
                moe_align_block_size(ids, **{**good, **sizes})
        with self.assertRaises(TypeError):
            moe_align_block_size(ids, 4, 4)
        for table, error in [
            (np.zeros(3, np.int32), ValueError), (np.zeros(4, np.int32), ValueError),
            (np.array([0, 1, 2, 4], np.int32), ValueError), (np.arange(4), TypeError),
        ]:
            with self.subTest(table=table), self.assertRaises(error):
                moe_align_block_size(ids, **good, expert_map=table)
        with self.assertRaises(ValueError):
            kernel.moe_align_block_size(ids[:3], 4, 4, 2)

    def test_misaligned_arrays_and_large_unsigned_ids_are_refused(self):
        good = {"block_size": 4, "num_experts": 4}
        crooked = np.zeros(17, np.uint8)[1:].view(np.int32)
        with self.assertRaisesRegex(ValueError, "topk_ids does not lie"):
            moe_align_block_size(crooked, **good)
        with self.assertRaisesRegex(ValueError, "id 4294967295 at position 2 is too large"):
            moe_align_block_size(np.array([0, 3, 2**32 - 1], np.uint32), **good)
        rows, _, padded = moe_align_block_size(np.array([3, 0], np.uint32), **good)
        self.assertEqual((list(rows[:1]), padded[0]), ([1], 8))

    def test_a_thread_that_ends_gives_its_workspace_back(self):
        ids = np.zeros(4, np.int32)
        library, given_back = _library._LIBRARY, []
        destroy = library.switchyard_workspace_destroy

        def count(handle):
            given_back.append(handle)
            destroy(handle)

        library.switchyard_workspace_destroy = count
        try:
            for _ in range(3):
                thread = threading.Thread(target=lambda: moe_align_block_size(ids, block_size=4, num_experts=4))
                thread.start()
                thread.join()
        finally:
            library.switchyard_workspace_destroy = destroy
        self.assertEqual(len(given_back), 3)

    def test_input_is_read_in_place(self):
        ids = np.array([3, 1, 3], np.int32)
        ids.flags.writeable = False
        rows, blocks, padded = moe_align_block_size(ids, block_size=2, num_experts=4)
        np.testing.assert_array_equal(rows[:padded[0]], [1, 3, 0, 2])
        np.testing.assert_array_equal(blocks[:2], [1, 3])


class Torch(unittest.TestCase):
    def test_tensors_in_tensors_out(self):
        try:
            import torch
        except ImportError:
            self.skipTest("torch is not installed")
        ids = torch.randint(0, 64, (512, 4), dtype=torch.int32)
        rows, blocks, padded = moe_align_block_size(ids, block_size=16, num_experts=64)
        self.assertTrue(all(isinstance(array, torch.Tensor) and array.dtype == torch.int32 for array in (rows, blocks)))
        wanted, _ = plain(ids.numpy(), 64, 16)
        np.testing.assert_array_equal(rows.numpy()[: int(padded)], wanted)
        with self.assertRaises(ValueError):
            moe_align_block_size(ids.t(), block_size=16, num_experts=64)


if __name__ == "__main__":
    unittest.main()
