#!/usr/bin/env python3
"""Makes the grids of GGUF's IQ types: portllm-core/src/main/resources/io/portllm/internal/quant/grids.bin.

    gguf_grids.py GGML_COMMON_H        the path of ggml's src/ggml-common.h

The tables are constants of the format. Each entry stands for eight (IQ2, IQ1) or four (IQ3) values of few levels. The resource holds one
little-endian u16 per entry: the levels' numbers, the first value's in the low bits, two bits each for IQ2 and IQ1 and three for IQ3. The
grids follow each other in the order of GRIDS. The levels themselves, with the digest that is printed, are in Grid.java.
"""

import hashlib
import pathlib
import re
import struct
import sys

RESOURCE = pathlib.Path("portllm-core/src/main/resources/io/portllm/internal/quant/grids.bin")
# name in ggml-common.h, entries, values of an entry, bits of a level's number, levels
GRIDS = [
    ("iq2xxs_grid", 256, 8, 2, [8, 25, 43]),
    ("iq2xs_grid", 512, 8, 2, [8, 25, 43]),
    ("iq2s_grid", 1024, 8, 2, [8, 25, 43]),
    ("iq1s_grid", 2048, 8, 2, [-1, 0, 1]),
    ("iq3xxs_grid", 256, 4, 3, [4, 12, 20, 28, 36, 44, 52, 62]),
    ("iq3s_grid", 512, 4, 3, [1, 3, 5, 7, 9, 11, 13, 15]),
]


def entries(header, name):
    body = re.search(r"GGML_TABLE_BEGIN\(uint\d+_t, " + name + r",.*?\)\n(.*?)GGML_TABLE_END", header, re.S).group(1)
    return [int(word, 16) for word in re.findall(r"0x([0-9a-f]+)", body)]


def main():
    header = pathlib.Path(sys.argv[1]).read_text()
    out = bytearray()
    for name, count, values, bits, levels in GRIDS:
        words = entries(header, name)
        assert len(words) == count, (name, len(words))
        for word in words:
            raw = struct.unpack(f"<{values}b", word.to_bytes(values, "little"))
            out += struct.pack("<H", sum(levels.index(value) << (bits * i) for i, value in enumerate(raw)))
    RESOURCE.parent.mkdir(parents=True, exist_ok=True)
    RESOURCE.write_bytes(out)
    print(len(out), "bytes, SHA-256", hashlib.sha256(out).hexdigest())


if __name__ == "__main__":
    main()
