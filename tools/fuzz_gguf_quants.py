#!/usr/bin/env python3
"""Feeds random weights and random blocks through PortLLM's codecs, ggml's reference code and gguf 0.19, and compares every byte.

    fuzz_gguf_quants.py GGML CLASSPATH [--millions 4] [--rounds 2] [--seed 1] [--types Q4_0,Q8_0]

GGML is a checkout of ggml, of which src/ggml-quants.c is compiled by gcc -O2 -march=x86-64 -ffp-contract=off; CLASSPATH is the classes of
portllm-bench and portllm-core and guava's jar. The first round is the edges of the scales, each further one --millions of weights. Read are
the blocks that were written and, of every type, blocks of random bytes. Of types whose scales are searched, written are also the weights
that these blocks hold with small changes, as a patch gives: to all weights, or to few.

Weights: normal and heavy-tailed of scales from 1e-6 to 1e3, uniform, all finite float32 bit patterns, scales below what float16 holds,
magnitudes at and next to powers of two, multiples of half a step (ties), sparse, constants, small integers, and zeros of both signs. gguf
0.19 is compared on what it writes where magnitudes are above 1e-30 and below 30000 and no zero is negative: elsewhere it differs from ggml,
in the sign of a scale or minimum of zero and at the ends of the formats.
"""

import argparse
import ctypes
import pathlib
import subprocess
import tempfile

import gguf
import numpy as np

WRITTEN_BY_GGUF = {"Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "TQ1_0", "TQ2_0", "MXFP4"}
MISSING_IN_GGUF = {"Q8_K", "Q1_0", "Q2_0"}
SEARCHED = {"Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS", "IQ3_S", "IQ3_XXS", "IQ2_S", "IQ1_M"}
# Where cubes of weights are beyond float32's range, ggml's searches in these types' grids stop the process.
LARGEST = {"IQ3_S": 1e10, "IQ3_XXS": 1e10, "IQ2_S": 1e10, "IQ1_M": 1e10}
INITIALISED = {"IQ2_S": ("iq2xs", 22), "IQ1_M": ("iq2xs", 29), "IQ3_XXS": ("iq3xs", 256), "IQ3_S": ("iq3xs", 512)}
STUBS = """
#include <stdio.h>
#include <stdlib.h>
#include "ggml.h"
struct size { int type; int elements; int bytes; };
static const struct size sizes[] = { %s };
size_t ggml_row_size(enum ggml_type type, int64_t n) {
  for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++)
    if (sizes[i].type == (int) type) return n / sizes[i].elements * sizes[i].bytes;
  abort();
}
const char *ggml_type_name(enum ggml_type type) { (void) type; return ""; }
size_t ggml_type_size(enum ggml_type type) { (void) type; return 0; }
void ggml_abort(const char *file, int line, const char *format, ...) { (void) format; fprintf(stderr, "%%s:%%d\\n", file, line); abort(); }
"""
IDS = {"Q2_0": 42, "Q1_0": 41}


def type_id(name):
    return IDS[name] if name in IDS else gguf.GGMLQuantizationType[name].value


REFERENCE = ["-O2", "-march=x86-64", "-ffp-contract=off"]


def reference(ggml, types, folder, flags):
    (folder / "stubs.c").write_text(STUBS % ", ".join(f"{{{type_id(n)}, {e}, {b}}}" for n, _, e, b in types))
    src = ggml / "src"
    subprocess.run(
        ["gcc", "-std=gnu11", "-DNDEBUG", "-fPIC", "-shared", *flags, f"-I{ggml}/include", f"-I{src}",
         f"-I{src}/ggml-cpu", src / "ggml-quants.c", folder / "stubs.c", "-o", folder / "reference.so", "-lm"], check=True)
    return ctypes.CDLL(str(folder / "reference.so"))


def weights(rng, count):
    """Runs of 256 weights, each run of one kind."""
    out = np.empty((count // 256, 256), np.float32)
    for i, kind in enumerate(rng.integers(0, 16, len(out))):
        normal = rng.standard_normal(256)
        scale = 10.0 ** rng.uniform(-6, 3)
        step = 2.0 ** rng.integers(-20, 10)
        row = [
            lambda: normal * 0.02,
            lambda: normal * scale,
            lambda: rng.standard_t(3, 256) * scale,
            lambda: rng.uniform(-scale, scale, 256),
            lambda: rng.uniform(0, scale, 256),
            lambda: rng.integers(0, 2**32, 256, np.uint64).astype(np.uint32).view(np.float32),
            lambda: normal * 10.0 ** rng.uniform(-45, -6),
            lambda: normal * 10.0 ** rng.uniform(3, 37),
            lambda: np.nextafter(np.float32(2.0 ** rng.integers(-120, 120)), np.float32(rng.integers(0, 2) * 3e38))
            * rng.choice([1, -1, 0.5, 0.25, 0, 0.75], 256),
            lambda: near_power(rng),
            lambda: rng.integers(-16, 17, 256) * 0.5 * step,
            lambda: rng.integers(-255, 256, 256) * 0.5 * step,
            lambda: normal * (rng.random(256) < 0.05) * scale,
            lambda: np.full(256, normal[0] * scale),
            lambda: rng.integers(-3, 4, 256) * 1.0,
            lambda: rng.choice([0.0, -0.0], 256) if rng.random() < 0.5 else rng.choice([0.0, -0.0, scale, -scale], 256),
        ][kind]()
        with np.errstate(over="ignore"):
            row = np.asarray(row).astype(np.float32)
        out[i] = np.where(np.isfinite(row), row, np.float32(1))
    return out.reshape(-1)


def near_power(rng):
    """Below a power of two by few float32 steps, where the float32 logarithm rounds up to it, and above."""
    bits = int(np.float32(2.0 ** rng.integers(-126, 127)).view(np.uint32)) + int(rng.integers(-60, 10))
    peak = np.uint32(bits).view(np.float32)
    return peak * np.where(rng.random(256) < 0.1, 1.0, rng.uniform(-1, 1, 256))


def edges(rng):
    """Blocks of 64 whose largest magnitude takes every exponent, next to powers of two by up to 300 steps and with 128 mantissas."""
    exponents = np.arange(0, 255, dtype=np.int64)[:, None] << 23
    middle = np.arange(128)[:, None] << 16
    mantissas = np.concatenate([np.arange(-300, 300), (middle + np.array([-1, 0, 1, 0x7FFF, 0x8000, 0x8001])).ravel()])
    bits = np.clip((exponents + mantissas[None, :]).ravel(), 0, 0x7F7FFFFF)
    peaks = bits[: len(bits) // 4 * 4].astype(np.uint32).view(np.float32)
    blocks = peaks[:, None] * rng.uniform(-1, 1, (len(peaks), 64)).astype(np.float32)
    blocks[np.arange(len(peaks)), rng.integers(0, 64, len(peaks))] = peaks * rng.choice([1, -1], len(peaks)).astype(np.float32)
    return blocks.reshape(-1)


def random_blocks(rng, name, count, length):
    """Random in every byte, but for scales that are finite."""
    blocks = rng.integers(0, 256, (count, length), np.uint8)
    halves = {"Q4_1": [0, 2], "Q5_1": [0, 2], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q2_K": [80, 82], "Q3_K": [108], "Q6_K": [208],
              "TQ1_0": [52], "TQ2_0": [64], "MXFP4": [], "NVFP4": [], "IQ1_M": [], "Q8_K": []}.get(name, [0])
    for at in halves:
        finite = blocks[:, at + 1]
        finite[(finite & 0x7C) == 0x7C] ^= 0x40
    if name == "IQ1_M":
        top = blocks[:, 55]
        top[(top & 0x70) == 0x70] ^= 0x40
    if name == "Q8_K":
        blocks[:, 3] = rng.integers(0x30, 0x48, count)
    return blocks.reshape(-1)


def listed(java):
    lines = subprocess.run(java + ["list"], check=True, capture_output=True, text=True).stdout.splitlines()
    return [(name, written == "true", int(elements), int(length)) for name, written, elements, length in map(str.split, lines)]


def initialise(library):
    for init, argument in INITIALISED.values():
        getattr(library, init + "_init_impl")(argument)


def same_values(a, b):
    return (a.view(np.uint32) == b.view(np.uint32)) | (np.isnan(a) & np.isnan(b))


def comparable(values, elements):
    blocks = values.reshape(-1, elements)
    largest = np.abs(blocks).max(axis=1)
    negative_zeros = (np.signbit(blocks) & (blocks == 0)).any(axis=1)
    return (largest < 30000) & (largest > 1e-30) & ~negative_zeros


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ggml", type=pathlib.Path)
    parser.add_argument("classpath")
    parser.add_argument("--millions", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--types")
    options = parser.parse_args()
    java = ["java", "-cp", options.classpath, "io.portllm.bench.quant.Blocks"]
    types = listed(java)
    if options.types:
        types = [row for row in types if row[0] in options.types.split(",")]
    counts = {name: [0, 0, 0, 0, 0] for name, *_ in types}
    wrong = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        ggml = reference(options.ggml, types, folder, REFERENCE)
        initialise(ggml)
        for turn in range(options.rounds):
            rng = np.random.default_rng([options.seed, turn])
            values = weights(rng, options.millions * 1_000_000 // 256 * 256) if turn else edges(rng)
            for name, written, elements, length in types:
                inside = np.where(np.abs(values) <= LARGEST.get(name, np.inf), values, np.float32(1))
                wrong += compare(ggml, java, folder, rng, inside, name, written, elements, length, counts[name])
                if name in SEARCHED:
                    changed = patched(rng, np.fromfile(folder / "blocks.values", np.float32))
                    wrong += compare(ggml, java, folder, rng, changed, name, written, elements, length, counts[name])
    print("type      weights written  of them by gguf  weights read  of them by gguf  different")
    for name, (*row, different) in counts.items():
        print(f"{name:8}", *(f"{count:16,}" for count in row), f"{different:10,}")
    raise SystemExit(1 if wrong else 0)


def patched(rng, values):
    """Blocks' values with changes of a thousandth to a tenth of their runs' largest, of one weight in thirty or of all."""
    runs = np.where(np.isfinite(values), values, np.float32(0)).reshape(-1, 256)
    runs = np.where(np.abs(runs) <= 1e10, runs, np.float32(0))
    size = np.abs(runs).max(axis=1, keepdims=True) * 10.0 ** rng.uniform(-3, -1, (len(runs), 1))
    which = rng.random(runs.shape) < rng.choice([0.03, 1.0], (len(runs), 1))
    return (runs + rng.standard_normal(runs.shape) * size * which).astype(np.float32).reshape(-1)


def compare(ggml, java, folder, rng, values, name, written, elements, length, counts):
    values.tofile(folder / "values")
    blocks = random_blocks(rng, name, len(values) // elements // 4, length)
    blocks.tofile(folder / "random")
    jobs = ["dequantise", name, folder / "random", folder / "random.values"]
    if written:
        jobs += ["quantise", name, folder / "values", folder / "blocks", "dequantise", name, folder / "blocks", folder / "blocks.values"]
    subprocess.run(java + jobs, check=True)
    different = 0
    pairs = [(blocks, np.fromfile(folder / "random.values", np.float32))]
    if written:
        own = np.fromfile(folder / "blocks", np.uint8)
        pairs.append((own, np.fromfile(folder / "blocks.values", np.float32)))
        theirs = np.empty_like(own)
        quantise = getattr(ggml, "quantize_" + name.lower().replace("_k", "_K"))
        quantise(values.ctypes.data_as(ctypes.c_void_p), theirs.ctypes.data_as(ctypes.c_void_p), ctypes.c_int64(len(values) // 256),
                 ctypes.c_int64(256), None)
        bad = (own != theirs).reshape(-1, length).any(axis=1)
        different += report(name, "ggml writes", bad, own, theirs, values, elements, length)
        counts[0] += len(values)
        if name in WRITTEN_BY_GGUF:
            ok = comparable(values, elements)
            with np.errstate(all="ignore"):
                third = gguf.quants.quantize(values.reshape(-1, 256), gguf.GGMLQuantizationType[name]).reshape(-1)
            bad = (own != third).reshape(-1, length).any(axis=1) & ok
            different += report(name, "gguf writes", bad, own, third, values, elements, length)
            counts[1] += int(ok.sum()) * elements
    for source, got in pairs:
        expected = np.empty_like(got)
        getattr(ggml, "dequantize_row_" + name.lower().replace("_k", "_K"))(
            source.ctypes.data_as(ctypes.c_void_p), expected.ctypes.data_as(ctypes.c_void_p), ctypes.c_int64(len(got)))
        bad = ~same_values(got, expected).reshape(-1, elements).all(axis=1)
        different += report(name, "ggml reads", bad, source, source, expected, elements, length)
        counts[2] += len(got)
        if name not in MISSING_IN_GGUF:
            with np.errstate(all="ignore"):
                third = gguf.quants.dequantize(source.reshape(-1, length), gguf.GGMLQuantizationType[name]).reshape(-1)
            bad = ~same_values(got, third).reshape(-1, elements).all(axis=1)
            different += report(name, "gguf reads", bad, source, source, third, elements, length)
            counts[3] += len(got)
    counts[4] += different
    return different


def report(name, what, bad, own, other, values, elements, length):
    for block in np.flatnonzero(bad)[:2]:
        print(name, what, "block", block, own[block * length : (block + 1) * length].tobytes().hex(),
              other[block * length : (block + 1) * length].tobytes().hex(), values[block * elements : block * elements + 8])
    return int(bad.sum())


if __name__ == "__main__":
    main()
