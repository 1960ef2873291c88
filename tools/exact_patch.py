"""Applies an exact patch file, or takes it back, by docs/reference/patch-file.md alone: a check of that page, and of the patch.

    python tools/exact_patch.py PATCH BASE.safetensors OUT.safetensors        # compares what comes out with OUT, tensor by tensor
    python tools/exact_patch.py --inverse PATCH OUT.safetensors BASE.safetensors

Needs the standard library only, and some microseconds for each weight.
"""

import hashlib
import json
import struct
import sys

BITS = dict(BOOL=8, F4=4, F6_E2M3=6, F6_E3M2=6, U8=8, I8=8, F8_E5M2=8, F8_E4M3=8, F8_E8M0=8, F8_E4M3FNUZ=8, F8_E5M2FNUZ=8, I16=16,
            U16=16, F16=16, BF16=16, I32=32, U32=32, F32=32, C64=64, F64=64, I64=64, U64=64)
ORDERED = {"F64", "F32", "C64", "F16", "BF16", "F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ"}
BLOCK = 65536


def read(path):
    data = open(path, "rb").read()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + length])
    metadata = header.pop("__metadata__", {})
    start = 8 + length
    return metadata, {name: (t["dtype"], t["shape"], data[start + t["data_offsets"][0]:start + t["data_offsets"][1]])
                      for name, t in header.items()}


class Reader:
    def __init__(self, data):
        self.data, self.at, self.bit = data, 0, 0

    def byte(self):
        self.at += 1
        return self.data[self.at - 1]

    def varint(self):
        value, shift = 0, 0
        while True:
            b = self.byte()
            value |= (b & 127) << shift
            shift += 7
            if b < 128:
                return value

    def bits(self, count):
        value = 0
        for i in range(count):
            value |= (self.data[self.at] >> self.bit & 1) << i
            self.bit += 1
            if self.bit == 8:
                self.at, self.bit = self.at + 1, 0
        return value

    def end_bits(self):
        if self.bit:
            assert self.data[self.at] >> self.bit == 0
            self.at, self.bit = self.at + 1, 0

    def symbols(self, count):
        kind = self.byte()
        if kind == 0:
            return [self.byte() for _ in range(count)]
        if kind == 1:
            return [self.byte()] * count
        assert kind == 2
        slots = []
        for symbol in range(self.bits(8) + 1):
            zeros = 0
            while self.bits(1) == 0:
                zeros += 1
            frequency = (1 << zeros | self.bits(zeros)) - 1
            slots += [(symbol, frequency, place) for place in range(frequency)]
        self.end_bits()
        assert len(slots) == 4096
        words = self.varint()
        states = list(struct.unpack_from("<II", self.data, self.at))
        self.at += 8
        end = self.at + 2 * words
        out = []
        for i in range(count):
            state = states[i & 1]
            symbol, frequency, place = slots[state & 4095]
            state = frequency * (state >> 12) + place
            if state < 1 << 15:
                state = state << 16 | struct.unpack_from("<H", self.data, self.at)[0]
                self.at += 2
            states[i & 1] = state
            out.append(symbol)
        assert self.at == end and states == [1 << 15, 1 << 15]
        return out

    def numbers(self, count):
        numbers = []
        for symbol in self.symbols(count):
            e = symbol >> 2
            numbers.append(symbol if symbol < 16 else (4 | symbol & 3) << e - 2 | self.bits(e - 2))
        self.end_bits()
        return numbers


def differences(block, count, width):
    if not block:
        return [0] * count
    reader = Reader(block)
    form = reader.byte()
    if form == 1:
        changed = reader.varint()
        gaps, values = reader.numbers(changed), reader.numbers(changed)
        out, at = [0] * count, -1
        for gap, value in zip(gaps, values):
            at += gap + 1
            out[at] = value + 1
    elif form == 2:
        out = reader.numbers(count)
    elif form == 3:
        out = [0] * count
        for _ in range(width):
            out = [d << 8 | s for d, s in zip(out, reader.symbols(count))]
    else:
        assert form == 4
        out = [int.from_bytes(bytes(reader.byte() for _ in range(width)), "little") for _ in range(count)]
    assert reader.at == len(block)
    return out


def change(dtype, payload, given, sign):
    width = {"C64": 4}.get(dtype, max(1, BITS[dtype] // 8))
    top, mask = 1 << 8 * width - 1, (1 << 8 * width) - 1
    words = len(given) // width
    blocks = -(-words // BLOCK)
    table = len(payload) - 8 * blocks
    ends = struct.unpack_from(f"<{blocks}Q", payload, table)
    out = bytearray()
    for b in range(blocks):
        count = min(BLOCK, words - b * BLOCK)
        for i, folded in enumerate(differences(payload[ends[b - 1] if b else 0:ends[b]], count, width)):
            at = (b * BLOCK + i) * width
            word = int.from_bytes(given[at:at + width], "little")
            if dtype in ORDERED:
                word = word ^ mask if word & top else word ^ top
            word = word + sign * (folded >> 1 if folded % 2 == 0 else -(folded >> 1) - 1) & mask
            if dtype in ORDERED:
                word = word ^ top if word & top else word ^ mask
            out += word.to_bytes(width, "little")
    return bytes(out)


def digest(dtype, shape, data):
    whole = hashlib.sha256(f"{dtype}\n{','.join(map(str, shape))}\n".encode())
    for at in range(0, len(data), 4 << 20):
        whole.update(hashlib.sha256(data[at:at + (4 << 20)]).digest())
    return whole.hexdigest()


def apply(patch, given, inverse):
    metadata, parts = read(patch)
    assert metadata["portllm.format"] == "patch" and metadata["portllm.version"] == "1"
    tensors = dict(read(given)[1])
    for name, entry in json.loads(metadata["portllm.deltas"]).items():
        term, = entry["terms"]
        assert term["kind"] == "exact"
        for part, expected in term["payloads"].items():
            assert hashlib.sha256(parts[f"{name}.0.{part}"][2]).hexdigest() == expected, f"payload of {name}"
        backwards = inverse != term.get("inverted", False)
        before, after = ("result", "base") if backwards else ("base", "result")
        if before in term:
            dtype, shape, data = tensors.pop(name)
            assert [dtype, shape, digest(dtype, shape, data)] == term[before], f"{name} is another tensor than the patch was made on"
        else:
            assert name not in tensors
        if after in term:
            dtype, shape, expected = term[after]
            if "change" in term["payloads"]:
                data = change(dtype, parts[f"{name}.0.change"][2], data, -1 if backwards else 1)
            else:
                size = BITS[dtype]
                for dimension in shape:
                    size *= dimension
                data = change(dtype, parts[f"{name}.0.{after}"][2], bytes(size // 8), 1)
            assert digest(dtype, shape, data) == expected
            tensors[name] = (dtype, shape, data)
    return tensors


def main(arguments):
    inverse = arguments[:1] == ["--inverse"]
    patch, given, expected = arguments[inverse:]
    made = apply(patch, given, inverse)
    assert made == read(expected)[1], "other tensors came out"
    print(f"{len(made)} tensors, every bit as in {expected}")


if __name__ == "__main__":
    main(sys.argv[1:])
