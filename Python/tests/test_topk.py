"""Gating against the golden vectors, and what it refuses."""

import unittest

import numpy as np

import golden
from switchyard import select_experts, topk_softmax


class TopK(unittest.TestCase):
    def test_golden(self):
        tensors = golden.Tensors("topk/topk.safetensors")
        cases = [case for case in golden.cases("topk/topk.json") if case["kind"] != "logical_to_physical"]
        self.assertGreater(len(cases), 100)
        for case in cases:
            with self.subTest(case["name"]):
                def field(name):
                    return tensors[f"{case['name']}.{name}"]

                shared = case.get("num_fused_shared_experts") or 0
                factor = case.get("routed_scaling_factor") or 1
                applied = bool(case.get("apply_routed_scaling_factor_on_output"))
                weights, ids = select_experts(
                    field("logits"), case["top_k"] - shared,
                    scoring_func="sigmoid" if "sigmoid" in case["kind"] else "softmax",
                    renormalize=bool(case.get("renormalize")), num_expert_group=case.get("num_expert_group"),
                    topk_group=case.get("topk_group"),
                    correction_bias=field("bias") if f"{case['name']}.bias" in tensors else None,
                    routed_scaling_factor=factor if applied else 1, num_fused_shared_experts=shared,
                    shared_weight=1 if applied else 1 / factor, num_token_non_padded=case.get("num_token_non_padded"))
                order = np.argsort(ids, axis=1, kind="stable")
                wanted = np.argsort(field("ids"), axis=1, kind="stable")
                np.testing.assert_array_equal(
                    np.take_along_axis(ids, order, 1), np.take_along_axis(field("ids"), wanted, 1))
                real = case.get("num_token_non_padded")
                difference = np.take_along_axis(weights, order, 1) - np.take_along_axis(field("weights"), wanted, 1)
                self.assertLessEqual(np.abs(difference[:real]).max(initial=0), 1e-5 * max(1, factor))

    def test_softmax(self):
        logits = np.random.default_rng(1).normal(size=(100, 60)).astype(np.float32)
        power = np.exp(logits.astype(np.float64))
        for renormalize in (False, True):
            weights, ids = topk_softmax(logits, 4, renormalize)
            order = np.argsort(-logits, axis=1, kind="stable")[:, :4]
            np.testing.assert_array_equal(ids, order)
            wanted = np.take_along_axis(power, order, 1)
            wanted /= (wanted if renormalize else power).sum(1, keepdims=True)
            np.testing.assert_allclose(weights, wanted, atol=1e-6)

    def test_refused(self):
        logits = np.zeros((2, 4), np.float32)
        for call, error in [
            (lambda: topk_softmax(logits.astype(np.float64), 2), TypeError), (lambda: topk_softmax([[1.0]], 1), TypeError),
            (lambda: topk_softmax(logits.T, 1), ValueError), (lambda: topk_softmax(logits.ravel(), 1), ValueError),
            (lambda: topk_softmax(logits, 5), ValueError), (lambda: topk_softmax(logits, 0), ValueError),
            (lambda: topk_softmax(logits, 2, num_token_non_padded=3), ValueError),
            (lambda: select_experts(logits, 2, num_expert_group=3, topk_group=1), ValueError),
            (lambda: select_experts(logits, 2, num_expert_group=2), ValueError),
            (lambda: select_experts(logits, 2, scoring_func="tanh"), ValueError),
            (lambda: select_experts(logits, 2, correction_bias=np.zeros(3, np.float32)), ValueError),
        ]:
            with self.assertRaises(error):
                call()

    def test_no_tokens(self):
        weights, ids = topk_softmax(np.zeros((0, 4), np.float32), 2)
        self.assertEqual((weights.shape, ids.shape), ((0, 2), (0, 2)))


if __name__ == "__main__":
    unittest.main()
