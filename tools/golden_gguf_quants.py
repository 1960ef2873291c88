#!/usr/bin/env python3
"""Makes the small golden file of GGUF's quantised types for the tests of portllm-core.

    golden_gguf_quants.py FOLDER

FOLDER holds the large goldens, for each type TYPE.safetensors (input, quantised, dequantised) and TYPE-random-blocks.safetensors
(quantised, dequantised): bytes and values of ggml's reference code, compiled by gcc -O2 -march=x86-64 -ffp-contract=off, over rows of 512
values. Writes portllm-core/src/test/resources/io/portllm/internal/quant/golden.safetensors.gz with

  input               F32, the first 256 values of rows 0, 6, 10 and 14 to 31: the odd ones
  TYPE.quantised      U8, those as blocks
  TYPE.random         U8, the random blocks of the first 512 values
  TYPE.dequantised    F32, what these hold

and checks what gguf 0.19 can check: every random block's values, and the blocks of the types that it writes (but for the sign of the scale
of rows of negative zeros, where it differs from the reference).
"""

import gzip
import pathlib
import sys

import gguf
import numpy as np
from safetensors.numpy import load_file, save

OUT = pathlib.Path("portllm-core/src/test/resources/io/portllm/internal/quant/golden.safetensors.gz")
ROWS = [0, 6, 10, *range(14, 32)]
NEGATIVE_ZEROS = 18
COLUMNS = 256
RANDOM = 512
# id -> (weights, bytes) of those that gguf 0.19 lacks or that it calls otherwise
SIZES = {"q1_0": (128, 18), "q2_0": (64, 18)}
WRITTEN = {"q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "tq1_0", "tq2_0", "mxfp4"}


def size(name):
    return SIZES[name] if name in SIZES else gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name.upper()]]


def check_values(name, blocks, values):
    if name not in SIZES and name != "q8_k":
        decoded = gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType[name.upper()])
        assert np.array_equal(decoded.view(np.uint32), values.view(np.uint32)), name


def check_blocks(name, rows, blocks):
    if name in WRITTEN:
        own = gguf.quants.quantize(rows, gguf.GGMLQuantizationType[name.upper()])
        same = (own.reshape(len(rows), -1) == blocks.reshape(len(rows), -1)).all(axis=1)
        same[ROWS.index(NEGATIVE_ZEROS)] = True
        assert same.all(), (name, [row for row, ok in zip(ROWS, same) if not ok])


def main():
    folder = pathlib.Path(sys.argv[1])
    tensors = {"input": load_file(folder / "q4_0.safetensors")["input"][ROWS, :COLUMNS].copy()}
    for path in sorted(folder.glob("*-random-blocks.safetensors")):
        name = path.name.removesuffix("-random-blocks.safetensors")
        weights, length = size(name)
        random = load_file(path)
        tensors[name + ".random"] = random["quantised"][: RANDOM // weights * length].copy()
        tensors[name + ".dequantised"] = random["dequantised"].reshape(-1)[:RANDOM].copy()
        check_values(name, tensors[name + ".random"], tensors[name + ".dequantised"])
        full = folder / (name + ".safetensors")
        if full.exists():
            rows = load_file(full)["quantised"].reshape(32, -1)
            tensors[name + ".quantised"] = rows[ROWS, : COLUMNS // weights * length].reshape(-1).copy()
            check_blocks(name, tensors["input"], tensors[name + ".quantised"])
    OUT.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"source": "ggml-quants.c of llama.cpp commit 3f545beccee69d9975f466ec7e45fd9aacd8ba90"}
    OUT.write_bytes(gzip.compress(save(tensors, metadata), 9, mtime=0))
    print(len(tensors), "tensors,", OUT.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
