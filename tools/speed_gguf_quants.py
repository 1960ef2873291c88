#!/usr/bin/env python3
"""Times PortLLM's codecs and ggml's side by side, on one core, in million weights for each second of that core's time (not of the clock).

    speed_gguf_quants.py GGML CLASSPATH [JAVA...]

GGML and CLASSPATH are as for fuzz_gguf_quants.py; ggml's reference functions are compiled by gcc -O3 -march=native, as its own build does.
Each JAVA is the java command of a JDK. 65536 normal weights, so that all data stays in the caches; the best of several runs.
"""

import ctypes
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

from fuzz_gguf_quants import initialise, listed, random_blocks, reference

WEIGHTS = 1 << 16


def best(job):
    """The most million weights for each second of CPU time in 20 runs of at least 10 ms."""
    repeats, speed = 1, 0
    for _ in range(20):
        start = time.thread_time()
        for _ in range(repeats):
            job()
        seconds = time.thread_time() - start
        speed = max(speed, WEIGHTS * repeats / seconds / 1e6)
        if seconds < 0.01:
            repeats *= max(2, int(0.01 / max(seconds, 1e-4)))
    return speed


def ggml_speeds(ggml, types, folder):
    library = reference(ggml, types, folder, ["-O3", "-march=native"])
    initialise(library)
    rng = np.random.default_rng(1)
    weights = (rng.standard_normal(WEIGHTS) * 0.02).astype(np.float32)
    values = np.empty_like(weights)
    speeds = {}
    for name, written, elements, length in types:
        blocks = random_blocks(rng, name, WEIGHTS // elements, length)
        lower = name.lower().replace("_k", "_K")
        source, target, data = (array.ctypes.data_as(ctypes.c_void_p) for array in (weights, values, blocks))
        write = 0
        if written:
            quantise = getattr(library, "quantize_" + lower)
            write = best(lambda: quantise(source, data, ctypes.c_int64(WEIGHTS // 256), ctypes.c_int64(256), None))
        dequantise = getattr(library, "dequantize_row_" + lower)
        speeds[name] = best(lambda: dequantise(data, target, ctypes.c_int64(WEIGHTS))), write
    return speeds


def java_speeds(java, classpath):
    command = [java, "-cp", classpath, "io.portllm.bench.quant.CodecSpeed"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return {name: (float(read), float(write)) for name, read, write in map(str.split, lines)}


def main():
    ggml, classpath, *javas = sys.argv[1:]
    javas = javas or ["java"]
    types = listed([javas[0], "-cp", classpath, "io.portllm.bench.quant.Blocks"])
    with tempfile.TemporaryDirectory() as folder:
        columns = [ggml_speeds(pathlib.Path(ggml), types, pathlib.Path(folder))] + [java_speeds(java, classpath) for java in javas]
    print("type: read by ggml and each JDK, written by ggml and each JDK")
    for name, *_ in types:
        print(f"{name:8}", *(f"{column[name][side]:8,.{0 if column[name][side] >= 100 else 1}f}" for side in (0, 1) for column in columns))


if __name__ == "__main__":
    main()
