#!/usr/bin/env python3
"""Says what Python's safetensors reads in the valid files of the reader's tests.

Run in the repository root; writes portllm-io/src/test/resources/golden:
  python.safetensors  a file that Python wrote, with a tensor of each type that torch can save
  headers.json        for that file and the valid torture files: metadata, tensors, a digest of each tensor's bytes
"""

import hashlib
import json
import pathlib
import platform

import safetensors
import safetensors.torch
import torch

RESOURCES = pathlib.Path("portllm-io/src/test/resources")
GOLDEN = RESOURCES / "golden"
DTYPES = [
    torch.bool, torch.uint8, torch.int8, torch.float8_e5m2, torch.float8_e4m3fn, torch.float8_e8m0fnu,
    torch.float8_e4m3fnuz, torch.float8_e5m2fnuz, torch.int16, torch.uint16, torch.float16, torch.bfloat16,
    torch.int32, torch.uint32, torch.float32, torch.complex64, torch.float64, torch.int64, torch.uint64,
]
# One hundred thousand ones would be most of the file.
LEFT_OUT = {"rank_100000.safetensors"}


def write_python_file(path):
    tensors = {}
    for i, dtype in enumerate(DTYPES):
        raw = torch.arange(i, i + 24 * dtype.itemsize, dtype=torch.int32) % (2 if dtype is torch.bool else 256)
        name = f"layers.{i}." + str(dtype).removeprefix("torch.")
        tensors[name] = raw.to(torch.uint8).view(dtype).reshape(2, 3, 4)
    tensors["empty"] = torch.zeros(0, 7)
    tensors["scalar"] = torch.tensor(1.5)
    tensors["\u5c42.\U0001f600 \"quoted\"\n"] = torch.arange(3.0)
    safetensors.torch.save_file(tensors, path, metadata={"format": "pt"})


def describe(path):
    data = path.read_bytes()
    with safetensors.safe_open(path, framework="pt") as opened:
        metadata = opened.metadata() or {}
        order = list(opened.offset_keys())
    tensors = dict(safetensors.deserialize(data))
    return {
        "metadata": dict(sorted(metadata.items())),
        # Tensors without bytes share an offset with others, in no particular order.
        "data_order": [name for name in order if len(tensors[name]["data"])],
        "tensors": {
            name: {
                "dtype": tensor["dtype"],
                "shape": tensor["shape"],
                "sha256": hashlib.sha256(bytes(tensor["data"])).hexdigest(),
            }
            for name, tensor in sorted(tensors.items())
        },
    }


def main():
    GOLDEN.mkdir(exist_ok=True)
    write_python_file(GOLDEN / "python.safetensors")
    files = sorted((RESOURCES / "torture/safetensors/valid").glob("*.safetensors")) + [GOLDEN / "python.safetensors"]
    golden = {
        "versions": {"python": platform.python_version(), "safetensors": safetensors.__version__, "torch": torch.__version__},
        "files": {str(f.relative_to(RESOURCES)): describe(f) for f in files if f.name not in LEFT_OUT},
    }
    (GOLDEN / "headers.json").write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
