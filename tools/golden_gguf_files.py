#!/usr/bin/env python3
"""Small GGUF files written by gguf-py, and what its reader says of them.

Run in the repository root, with gguf 0.19.0; writes portllm-io/src/test/resources/golden/gguf:
  tiny.gguf                       every type of metadata, tensors of types that gguf-py quantises
  aligned.gguf                    alignment 64
  split-00001-of-00002.gguf, ...  a model of two files
  gguf.json                       for each file: version, alignment, metadata, tensors, a digest of each tensor's bytes
"""

import hashlib
import json
import pathlib

import gguf
import numpy

GOLDEN = pathlib.Path("portllm-io/src/test/resources/golden/gguf")
TYPES = ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "TQ1_0", "TQ2_0", "MXFP4"]


def tiny(path):
    random = numpy.random.default_rng(20261122)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_uint8("t.u8", 255)
    writer.add_int8("t.i8", -128)
    writer.add_uint16("t.u16", 65535)
    writer.add_int16("t.i16", -32768)
    writer.add_uint32("t.u32", 4294967295)
    writer.add_int32("t.i32", -2147483648)
    writer.add_uint64("t.u64", 18446744073709551615)
    writer.add_int64("t.i64", -9223372036854775808)
    writer.add_float32("t.f32", 0.1)
    writer.add_float64("t.f64", 0.1)
    writer.add_bool("t.true", True)
    writer.add_bool("t.false", False)
    writer.add_string("t.text", "gr\u00fc\u00dfe \U0001f600")
    writer.add_array("t.integers", [1, -2, 3])
    writer.add_array("t.floats", [0.5, -2.0])
    writer.add_token_list(["<s>", "\u2581the", "a"])
    writer.add_token_scores([0.0, -1.0, -2.5])
    writer.add_token_types([3, 1, 1])
    for name in TYPES:
        kind = gguf.GGMLQuantizationType[name]
        values = random.standard_normal((3, 256), dtype=numpy.float32)
        if name in ("F32", "F16"):
            writer.add_tensor(f"blk.{name}", values[:, :5].astype(numpy.float32 if name == "F32" else numpy.float16))
        else:
            writer.add_tensor(f"blk.{name}", gguf.quants.quantize(values, kind), raw_dtype=kind)
    writer.add_tensor("cube", numpy.arange(24, dtype=numpy.int32).reshape(2, 3, 4))
    finish(writer)


def aligned(path):
    writer = gguf.GGUFWriter(path, "gpt2")
    writer.add_custom_alignment(64)
    writer.add_tensor("a", numpy.arange(3, dtype=numpy.float32))
    writer.add_tensor("b", numpy.arange(8, dtype=numpy.int8).reshape(2, 4))
    finish(writer)


def split(path):
    writer = gguf.GGUFWriter(path, "llama", split_max_tensors=2)
    writer.add_block_count(1)
    for i in range(3):
        writer.add_tensor(f"t{i}", numpy.full((2, 4), i, dtype=numpy.float32))
    finish(writer)


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def describe(path):
    reader = gguf.GGUFReader(path)
    metadata = {
        key: {"types": [kind.name for kind in field.types], "value": field.contents()}
        for key, field in reader.fields.items() if not key.startswith("GGUF.")
    }
    tensors = [
        {
            "name": tensor.name,
            "type": tensor.tensor_type.name,
            "shape": [int(n) for n in reversed(tensor.shape)],
            "sha256": hashlib.sha256(tensor.data.tobytes()).hexdigest(),
        }
        for tensor in reader.tensors
    ]
    version = int(reader.fields["GGUF.version"].parts[-1][0])
    return {"version": version, "alignment": int(reader.alignment), "metadata": metadata, "tensors": tensors}


def main():
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for old in GOLDEN.iterdir():
        old.unlink()
    tiny(GOLDEN / "tiny.gguf")
    aligned(GOLDEN / "aligned.gguf")
    split(GOLDEN / "split.gguf")
    files = {path.name: describe(path) for path in sorted(GOLDEN.glob("*.gguf"))}
    (GOLDEN / "gguf.json").write_text(json.dumps(files, indent=1) + "\n")


if __name__ == "__main__":
    main()
