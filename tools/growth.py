"""How the cost of a port grows with the model and falls with threads: time, processor time and peak memory of portllm, beside cat.

Models of 0.1 to 10 billion bf16 weights, as large as a Llama's, and LoRAs of rank 16 on all their projections. Their files hold zeros that
take no room on the disk; the outputs are written in full. A model of 1.1 billion random weights shows that the weights' values make no difference. Inputs larger than the page
cache are read as the file system makes them.

usage: growth.py FOLDER [options]     after: mvn -B -q -pl portllm-bench -am -DskipTests package, on JDK 25
  FOLDER            where the models are made; needs 2 bytes a weight of the largest, and 6.7 GB with --random
  --java PATH       a JVM; may be repeated. Default: java
  --heap SIZE       -Xmx of portllm. Default: 64m
  --weights LIST    billions. Default: 0.1,0.3,1,3,10
  --threads LIST    for the table of threads, over models of a billion weights. Default: 1, 2, 4 and so on up to the processors there are
  --rounds N        how often each row runs. Default: 3
  --random          the model of random weights too, made in FOLDER unless it is there
"""
import argparse
import datetime
import json
import os
import pathlib
import shutil
import struct
import sys

from measuring import Java, load, machine, median, require_build, run, span

VOCABULARY = 32000
RANK = 16
# Widths and layers that give about as many billions of weights as the key says, with two more matrices for the vocabulary.
SHAPES = {"0.1": (768, 10, 2048), "0.3": (1024, 20, 2816), "1": (2048, 20, 5504), "3": (3072, 26, 8192), "10": (5120, 32, 13824)}


def tensors(width, layers, inner):
    """Names and shapes."""
    yield "model.embed_tokens.weight", (VOCABULARY, width)
    for layer in range(layers):
        prefix = f"model.layers.{layer}."
        yield prefix + "input_layernorm.weight", (width,)
        for name in "qkvo":
            yield f"{prefix}self_attn.{name}_proj.weight", (width, width)
        yield prefix + "mlp.gate_proj.weight", (inner, width)
        yield prefix + "mlp.up_proj.weight", (inner, width)
        yield prefix + "mlp.down_proj.weight", (width, inner)
        yield prefix + "post_attention_layernorm.weight", (width,)
    yield "model.norm.weight", (width,)
    yield "lm_head.weight", (VOCABULARY, width)


def sparse(file, named):
    """A safetensors file of zeros; returns the number of its elements."""
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in named:
        size = 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "wb") as opened:
        opened.write(struct.pack("<Q", len(text)) + text)
        opened.truncate(8 + len(text) + at)
    return at // 2


def zeros(folder, billions):
    """A model folder of zeros; returns it and the number of its weights."""
    width, layers, inner = SHAPES[billions]
    weights = sparse(folder / "model.safetensors", tensors(width, layers, inner))
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": width, "num_hidden_layers": layers,
              "intermediate_size": inner, "num_attention_heads": width // 64, "vocab_size": VOCABULARY, "tie_word_embeddings": False}
    (folder / "config.json").write_text(json.dumps(config))
    return folder, weights


def adapter(folder, billions):
    """A PEFT adapter folder of zeros."""
    factors = []
    for name, shape in tensors(*SHAPES[billions]):
        if name.endswith("_proj.weight"):
            module = "base_model.model." + name.removesuffix(".weight")
            factors += [(module + ".lora_A.weight", (RANK, shape[1])), (module + ".lora_B.weight", (shape[0], RANK))]
    sparse(folder / "adapter_model.safetensors", factors)
    modules = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": 2 * RANK, "target_modules": modules}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def trio(folder, billions):
    made = [zeros(folder / name, billions) for name in ("base", "fine-tuned", "new-base")]
    return [path for path, _ in made], made[0][1]


class Measurement:
    """Ports of one trio, and cat."""

    def __init__(self, folder, models, weights, rounds):
        self.folder, self.models, self.weights, self.rounds = folder, models, weights, rounds
        self.out = folder / "out"

    def _run(self, command):
        runs = []
        for _ in range(self.rounds):
            shutil.rmtree(self.out, ignore_errors=True)
            os.sync()
            runs.append(run(command, self.folder / "log"))
        shutil.rmtree(self.out, ignore_errors=True)
        return runs

    def cat(self):
        base, tuned, _ = self.models
        return self._run(["sh", "-c", f"cat '{base}'/*.safetensors '{tuned}'/*.safetensors >/dev/null; {self._copy()}"])

    def cat_one(self):
        return self._run(["sh", "-c", self._copy()])

    def _copy(self):
        return f"mkdir '{self.out}'; cat '{self.models[2]}'/*.safetensors >'{self.out}/copy'; sync '{self.out}/copy'"

    def port(self, java, *options):
        return self._port(java, "--fine-tuned", self.models[1], *options)

    def lora(self, java, adapter):
        return self._port(java, "--adapter", adapter)

    def _port(self, java, *options):
        base, _, new_base = self.models
        return self._run([*java.portllm, "port", *map(str, options), "--base", str(base), "--onto", str(new_base), "-o", str(self.out),
                          "--no-record"])

    def row(self, *cells, runs):
        seconds, peak = median(runs, "seconds"), median(runs, "peak")
        print("| " + " | ".join(cells) + f" | {seconds:.2f} | {span(runs, 'seconds')} | {seconds / self.weights * 1e9:.2f} "
              f"| {median(runs, 'cpu') / self.weights * 1e9:.2f} | {peak:.0f} |", flush=True)


def head(*first):
    cells = [*first, "seconds, median", "from–to", "seconds a billion", "processor seconds a billion", "peak MB"]
    print("\n| " + " | ".join(cells) + " |\n" + "|---" * len(cells) + "|")


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--java", action="append")
    parser.add_argument("--heap", default="64m")
    parser.add_argument("--weights", default="0.1,0.3,1,3,10")
    parser.add_argument("--threads")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--random", action="store_true")
    given = parser.parse_args()
    require_build()
    sizes = given.weights.split(",")
    unknown = set(sizes) - SHAPES.keys()
    if unknown:
        sys.exit(f"--weights must be of {', '.join(SHAPES)} but has {', '.join(sorted(unknown))}")
    cores = len(os.sched_getaffinity(0))
    threads = [int(text) for text in given.threads.split(",")] if given.threads else [n for n in (1, 2, 4, 8, 16, 32, 64) if n <= cores]
    folder = given.folder.resolve()
    javas = [Java(path, given.heap) for path in given.java or ["java"]]
    print(f"{machine()}; {datetime.date.today()}; load before the run {load()}; -Xmx{given.heap}; {given.rounds} rounds.")
    print("; ".join(java.version for java in javas))

    head("weights, billions", "")
    made = folder / "zeros"
    for billions in sizes:
        models, weights = trio(made, billions)
        measured = Measurement(folder, models, weights, given.rounds)
        measured.row(f"{weights / 1e9:.2f}", "cat, synced", runs=measured.cat())
        for java in javas:
            measured.row(f"{weights / 1e9:.2f}", f"portllm, JDK {java.feature}", runs=measured.port(java))
        measured.row(f"{weights / 1e9:.2f}", "cat of one, synced", runs=measured.cat_one())
        low_rank = adapter(made / "adapter", billions)
        for java in javas:
            measured.row(f"{weights / 1e9:.2f}", f"portllm, LoRA, JDK {java.feature}", runs=measured.lora(java, low_rank))
    if given.random:
        make = lambda name, *options: javas[0].generate(folder, name, "--weights", "1.1b", "--seed", "1", *options, "-o")
        models = [make("base"), make("fine-tuned", "--perturb", "2:0.05"), make("new-base", "--perturb", "3:0.05")]
        measured = Measurement(folder, models, 1_100_048_384, given.rounds)
        measured.row("1.10, random", "cat, synced", runs=measured.cat())
        for java in javas:
            measured.row("1.10, random", f"portllm, JDK {java.feature}", runs=measured.port(java))

    head("threads", "")
    models, weights = trio(made, "1")
    measured = Measurement(folder, models, weights, given.rounds)
    for java in javas:
        for count in threads:
            measured.row(str(count), f"JDK {java.feature}", runs=measured.port(java, "--threads", str(count)))
    shutil.rmtree(made)


if __name__ == "__main__":
    main()
