"""What is decided about CUDA tensors before a GPU is asked: on machines without one, and without torch."""

import ctypes
import importlib
import sys
import unittest
from unittest import mock

import numpy as np

import emulated_torch
import switchyard
from switchyard import _arrays, moe_align_block_size, select_experts, topk_softmax
from switchyard.compat import kernel


def has_driver():
    try:
        return bool(ctypes.CDLL("libcuda.so.1"))
    except OSError:
        return False


class Arguments(unittest.TestCase):
    def setUp(self):
        # The package meets this torch only here.
        modules = mock.patch.dict(sys.modules, {"torch": emulated_torch.module()})
        modules.start()
        self.addCleanup(modules.stop)
        sys.modules.pop("switchyard._cuda", None)
        for owner, name in ((switchyard, "_cuda"), (_arrays, "_GPU")):
            kept = mock.patch.object(owner, name, None, create=True)
            kept.start()
            self.addCleanup(kept.stop)
        _arrays._GPU = importlib.import_module("switchyard._cuda")

    def tensor(self, *shape, dtype=np.int32):
        return emulated_torch.tensor(np.zeros(shape, dtype))

    def test_refused(self):
        ids, logits = self.tensor(8), self.tensor(4, 8, dtype=np.float32)
        call = {"block_size": 4, "num_experts": 4}
        for bad, error, message in [
            (lambda: moe_align_block_size(self.tensor(8, dtype=np.int64), **call), TypeError, "topk_ids has dtype int64"),
            (lambda: moe_align_block_size(ids[::2], **call), ValueError, "topk_ids is not contiguous"),
            (lambda: moe_align_block_size(ids, block_size=0, num_experts=4), ValueError, "block_size is 0"),
            (lambda: moe_align_block_size(ids, block_size=4, num_experts=4.0), TypeError, "num_experts is a float"),
            (lambda: moe_align_block_size(ids, expert_map=self.tensor(3), **call), ValueError, "expert_map has shape"),
            (lambda: moe_align_block_size(ids, expert_map=np.zeros(3, np.int32), **call), ValueError, "expert_map has shape"),
            (lambda: kernel.moe_align_block_size(ids[:3], 4, 4, 2), ValueError, "3 ids are not rows of topk 2"),
            (lambda: topk_softmax(logits, 9), ValueError, "topk is 9"),
            (lambda: topk_softmax(ids, 1), ValueError, "router_logits has shape"),
            (lambda: topk_softmax(self.tensor(4, 8), 1), TypeError, "router_logits has dtype int32"),
            (lambda: select_experts(logits, 2, topk_group=1), ValueError, "go together"),
        ]:
            with self.assertRaisesRegex(error, message):
                bad()

    @unittest.skipIf(has_driver(), "this machine has an NVIDIA driver")
    def test_without_a_driver_the_error_says_so(self):
        for call in [
            lambda: moe_align_block_size(self.tensor(8), block_size=4, num_experts=4),
            lambda: topk_softmax(self.tensor(4, 8, dtype=np.float32), 2),
        ]:
            with self.assertRaisesRegex(RuntimeError, "no NVIDIA driver"):
                call()

    def test_other_arrays_stay_on_the_cpu(self):
        with mock.patch.object(_arrays, "_GPU", None):
            moe_align_block_size(np.zeros(8, np.int32), block_size=4, num_experts=4)
            self.assertIsNone(_arrays._GPU)


if __name__ == "__main__":
    unittest.main()
