#!/usr/bin/env python3
"""Compares what PortLLM says of GGUF files with what gguf-py's reader says.

  check_gguf.py PORTLLM_JAR FILE...

For each file: the version, the alignment, every key and number of the metadata, every tensor's name, type and shape, and the digest of its
bytes, which is computed here as docs/reference/patch-file.md defines it. Files may be ones that PortLLM wrote. One line for each; exit 1 if
one differs. Parts of split models are not compared. Needs gguf 0.19.
"""

import hashlib
import json
import subprocess
import sys

import gguf

BLOCK = 4 << 20
NUMBERS = {"UINT8", "INT8", "UINT16", "INT16", "UINT32", "INT32", "UINT64", "INT64"}


def digest(tensor):
    shape = [int(n) for n in reversed(tensor.shape)]
    total = hashlib.sha256(f"{tensor.tensor_type.name}\n{','.join(map(str, shape))}\n".encode())
    data = tensor.data.tobytes()
    for start in range(0, len(data), BLOCK):
        total.update(hashlib.sha256(data[start:start + BLOCK]).digest())
    return total.hexdigest()


def differences(jar, path):
    said = json.loads(subprocess.run(["java", "-jar", jar, "info", "--json", path], check=True, capture_output=True).stdout)
    reader = gguf.GGUFReader(path)
    if said["gguf"]["version"] != reader.fields["GGUF.version"].parts[-1][0] or said["gguf"]["alignment"] != reader.alignment:
        yield "version or alignment"
    fields = {key: field for key, field in reader.fields.items() if not key.startswith("GGUF.")}
    if list(said["gguf"]["metadata"]) != list(fields):
        yield "keys"
    for key, field in fields.items():
        kind = field.types[0].name
        if kind in NUMBERS and said["gguf"]["metadata"][key] != str(field.contents()):
            yield key
        if kind == "STRING" and len(field.parts[-1]) <= 4096 and said["gguf"]["metadata"][key] != field.contents():
            yield key
    expected = [
        {"name": t.name, "dtype": t.tensor_type.name, "shape": [int(n) for n in reversed(t.shape)], "digest": digest(t)} for t in reader.tensors
    ]
    found = said["files"][0]["tensors"]
    if len(found) != len(expected):
        yield f"{len(found)} tensors, not {len(expected)}"
    for mine, theirs in zip(found, expected):
        if mine != theirs:
            yield theirs["name"]


def main():
    jar, paths = sys.argv[1], sys.argv[2:]
    failed = False
    for path in paths:
        found = list(differences(jar, path))
        failed |= bool(found)
        print(f"{path}: {'differs in ' + ', '.join(found) if found else 'the same'}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
