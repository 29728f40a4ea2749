"""The reader that docs/ExpertRecordings.md shows, on files as the page describes them."""

import contextlib
import io
import pathlib
import re
import sys
import types
import unittest

import numpy as np

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "ExpertRecordings.md"


def run(tensors):
    """Runs the page's reader, its file replaced by `tensors`, and returns its result."""
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.S)[1]
    module = types.ModuleType("safetensors.numpy")
    module.load_file = lambda path: tensors
    names = {"safetensors": types.ModuleType("safetensors"), "safetensors.numpy": module}
    before = {name: sys.modules.get(name) for name in names}
    sys.modules.update(names)
    scope = {}
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            exec(code, scope)
    finally:
        for name, old in before.items():
            if old is None:
                del sys.modules[name]
            else:
                sys.modules[name] = old
    return scope["logical"]


class Reader(unittest.TestCase):
    def test_slots(self):
        logical = run(
            {
                "physical_count": np.array([[[4, 5, 6]], [[4, 5, 6]]], np.int32),
                "total_count": np.array([[15, 15]]),
                "placement.physical_to_logical": np.array([[[0, 1, 0]], [[1, 0, 1]]], np.int32),
                "pass.placement": np.array([0, 1], np.int32),
            }
        )
        self.assertEqual(logical.tolist(), [[[10, 5]], [[5, 10]]])

    def test_experts(self):
        counts = np.array([[[3, 4]], [[0, 2]]], np.int32)
        self.assertEqual(run({"logical_count": counts, "total_count": counts.sum(0)}).tolist(), counts.tolist())

    def test_length(self):
        code = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.S)[1]
        self.assertEqual(sum(bool(line.strip()) for line in code.splitlines()), 10)


if __name__ == "__main__":
    unittest.main()
