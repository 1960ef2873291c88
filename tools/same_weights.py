"""Compares the tensors of two folders of safetensors files, byte for byte, whatever their order. Standard library alone.

usage: same_weights.py FOLDER FOLDER     exit code 1 if a tensor differs or is in one of them only
"""
import json
import mmap
import pathlib
import sys


def tensors(folder):
    """Each tensor's type, shape and bytes, the bytes as a view of the mapped file."""
    found = {}
    for file in sorted(pathlib.Path(folder).glob("*.safetensors")):
        with open(file, "rb") as opened:
            view = memoryview(mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ))
        start = 8 + int.from_bytes(view[:8], "little")
        for name, facts in json.loads(bytes(view[8:start])).items():
            if name != "__metadata__":
                first, end = facts["data_offsets"]
                found[name] = (facts["dtype"], facts["shape"], view[start + first:start + end])
    return found or sys.exit(f"{folder}: no tensors")


def same(mine, theirs):
    if mine[:2] != theirs[:2]:
        return False
    # Bytes objects are compared as memory is, views element by element.
    step = 1 << 24
    return all(bytes(mine[2][i:i + step]) == bytes(theirs[2][i:i + step]) for i in range(0, len(mine[2]), step))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    mine, theirs = map(tensors, sys.argv[1:])
    sys.exit(mine.keys() != theirs.keys() or not all(same(mine[name], theirs[name]) for name in mine))
