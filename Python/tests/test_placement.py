"""Placement: DeepSeek's published example, and what every plan must hold to."""

import unittest

import numpy as np

from switchyard import plan_placement

EXAMPLE = [
    [90, 132, 40, 61, 104, 165, 39, 4, 73, 56, 183, 86],
    [20, 107, 104, 64, 19, 197, 187, 157, 172, 86, 16, 27],
]


def balancedness(load, placed, gpus):
    """Mean over largest GPU load, an expert's replicas sharing evenly; the mean over layers."""
    shares = []
    for row, slots in zip(load, placed):
        each = np.asarray(row, np.float64) / np.bincount(slots, minlength=len(row))
        loads = each[slots].reshape(gpus, -1).sum(1)
        shares.append(loads.mean() / loads.max())
    return np.mean(shares)


class Placement(unittest.TestCase):
    def test_published_example(self):
        placed = plan_placement(
            EXAMPLE, num_gpus=8, num_slots=16, num_nodes=2, num_groups=4, policy="compatible")
        np.testing.assert_array_equal(placed, [
            [5, 6, 5, 7, 8, 4, 3, 4, 10, 9, 10, 2, 0, 1, 11, 1],
            [7, 10, 6, 8, 6, 11, 8, 9, 2, 4, 5, 1, 5, 0, 3, 1]])

    def test_balanced(self):
        load = np.random.default_rng(5).pareto(1.5, (3, 64)) * 1000
        for policy in ("compatible", "balanced"):
            placed = plan_placement(load, num_gpus=8, num_redundant=16, policy=policy)
            self.assertEqual((placed.shape, placed.dtype), ((3, 80), np.int32))
            for row in placed:
                self.assertEqual(set(row), set(range(64)))
        compatible = plan_placement(load, num_gpus=8, num_redundant=16, policy="compatible")
        self.assertGreaterEqual(balancedness(load, placed, 8), balancedness(load, compatible, 8))
        windows = np.stack([load * 0.25, load * 0.75])
        np.testing.assert_array_equal(
            plan_placement(np.round(windows), num_gpus=8), plan_placement(np.round(windows).sum(0), num_gpus=8))

    def test_refused(self):
        for call, error in [
            (lambda: plan_placement(EXAMPLE, num_gpus=5), ValueError),
            (lambda: plan_placement(EXAMPLE, num_gpus=4, num_slots=8), ValueError),
            (lambda: plan_placement(EXAMPLE, num_gpus=4, num_slots=16, num_redundant=4), ValueError),
            (lambda: plan_placement([[1, -1]], num_gpus=1), ValueError),
            (lambda: plan_placement([[1, np.nan]], num_gpus=1), ValueError),
            (lambda: plan_placement([1, 2], num_gpus=1), ValueError),
            (lambda: plan_placement(np.zeros((0, 4)), num_gpus=1), ValueError),
            (lambda: plan_placement([["a"]], num_gpus=1), TypeError),
            (lambda: plan_placement(EXAMPLE, num_gpus=4, policy="best"), ValueError),
            (lambda: plan_placement(EXAMPLE, num_gpus=0), ValueError),
        ]:
            with self.assertRaises(error):
                call()


if __name__ == "__main__":
    unittest.main()
