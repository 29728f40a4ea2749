"""Reads the repository's golden vectors with nothing but NumPy."""

import json
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().parents[2] / "Tests" / "Golden"
DTYPES = {"I32": np.int32, "I64": np.int64, "F32": np.float32, "BF16": np.uint16}


def cases(path):
    return json.loads((FOLDER / path).read_text())["cases"]


class Tensors:
    """A safetensors file."""

    def __init__(self, path):
        data = (FOLDER / path).read_bytes()
        length = int.from_bytes(data[:8], "little")
        self.entries = json.loads(data[8:8 + length])
        self.data = data[8 + length:]

    def __contains__(self, name):
        return name in self.entries

    def __getitem__(self, name):
        entry = self.entries[name]
        begin, end = entry["data_offsets"]
        array = np.frombuffer(self.data[begin:end], DTYPES[entry["dtype"]])
        if entry["dtype"] == "BF16":
            array = (array.astype(np.uint32) << 16).view(np.float32)
        return array.reshape(entry["shape"]).copy()
