#!/usr/bin/env python3
"""The digest list that OpenSSF model signing signs, computed apart from PortLLM.

    openssf_statement.py golden FILE
        writes the statement of a folder of odd names, by the specification and with hashlib alone:
        portllm-io/src/test/resources/record/statement.json
    openssf_statement.py check OUT SOURCE
        compares the statement in OUT/portllm.json with the manifest that the package itself makes of OUT and of the statement; SOURCE is a
        checkout of github.com/sigstore/model-transparency (written against e343073), which needs typing_extensions

Each file's content is its name. Paths are in the order of their parts: 'a/b' comes before 'a.b', though '.' is less than '/'.
"""
import hashlib
import json
import pathlib
import sys
import types

NAMES = ["model.safetensors", "sub/notes.txt", "sub/z/a", "sub-x", "sub.txt", "sub/\u00e4", "\uff5e", "\U0001f600", "portllm.jsonl", "A", "a", "Z/b"]


def golden(file):
    resources = []
    root = hashlib.sha256()
    for name in sorted(NAMES, key=lambda name: name.split("/")):
        digest = hashlib.sha256(name.encode()).digest()
        root.update(digest)
        resources.append({"name": name, "algorithm": "sha256", "digest": digest.hex()})
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "odd", "digest": {"sha256": root.hexdigest()}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {
            "serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": ["portllm.json"]},
            "resources": resources,
        },
    }
    pathlib.Path(file).write_text(json.dumps(statement, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def check(out, source):
    sys.path.insert(0, str(pathlib.Path(source) / "src"))
    # The package's __init__ and its in-toto library are for signing, and blake3 is another digest: neither is asked for here.
    package = types.ModuleType("model_signing")
    package.__path__ = [str(pathlib.Path(source) / "src" / "model_signing")]
    sys.modules["model_signing"] = package
    for name in ("in_toto_attestation", "in_toto_attestation.v1", "in_toto_attestation.v1.statement"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["in_toto_attestation.v1"].statement = sys.modules["in_toto_attestation.v1.statement"]
    sys.modules["blake3"] = types.ModuleType("blake3")
    sys.modules["blake3"].blake3 = types.SimpleNamespace(AUTO=-1)
    from model_signing._hashing import io, memory
    from model_signing._serialization import file as files
    from model_signing._signing import signing

    folder = pathlib.Path(out)
    serializer = files.Serializer(lambda path: io.SimpleFileHasher(path, memory.SHA256()))
    made = serializer.serialize(folder, ignore_paths=[folder / "portllm.json"])
    statement = json.loads((folder / "portllm.json").read_text(encoding="utf-8"))["statement"]
    # Refuses a statement whose digests do not make its subject.
    read = signing.dsse_payload_to_manifest(statement)
    assert read == made, "the package finds other files or digests"
    ours = [(one["name"], one["digest"]) for one in statement["predicate"]["resources"]]
    theirs = [(one.identifier, one.digest.digest_hex) for one in made.resource_descriptors()]
    assert ours == theirs, "the package lists them in another order"
    assert statement["predicate"]["serialization"] == made.serialization_type, made.serialization_type
    assert statement["subject"][0]["name"] == made.model_name
    print(f"{out}: {len(ours)} files, the statement is the package's own")


if __name__ == "__main__":
    if sys.argv[1:2] == ["golden"] and len(sys.argv) == 3:
        golden(sys.argv[2])
    elif sys.argv[1:2] == ["check"] and len(sys.argv) == 4:
        check(sys.argv[2], sys.argv[3])
    else:
        sys.exit(__doc__)
