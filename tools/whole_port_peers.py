"""Ports a model of 1.1 billion bf16 weights with the portllm command and with other tools, in turn in one run, and prints tables.

Every row is a process of its own, run several times, the rows in turn, so that other work on the machine falls on all of them. The floor is
what `cat` takes to read what a port reads and to write what it writes; portllm also forces its output to the disk, so that the floor with
`sync` is the fair one for it. Inputs are read once before each round: the page cache is warm.

usage: whole_port_peers.py FOLDER [options]     after: mvn -B -q -pl portllm-bench -am -DskipTests package, on JDK 25
  FOLDER            where the models are made (6.7 GB) unless they are there; needs 5 GB more while it runs, 10 GB with --llama
  --java PATH       a JVM; may be repeated. Default: java
  --heap SIZE       -Xmx of portllm. Default: 64m
  --rounds N        how often each row runs. Default: 5
  --peer-rounds N   how often other tools run. Default: 3
  --python PATH     a Python with torch, safetensors, transformers and peft; with mergekit, that is run too
  --llama PATH      llama.cpp's llama-export-lora
  --size NAME       1.1b, or 0.1b and 0.01b for a trial. Default: 1.1b
"""
import argparse
import datetime
import os
import pathlib
import shutil
import subprocess
import sys

from measuring import JAR, Java, first_line, load, machine, median, require_build, run, span

PEERS = pathlib.Path(__file__).with_name("peer_port.py")
TORCH = "torch, float32, file by file"
MERGEKIT_ELSEWHERE = "21.3 s and 4.3 GB in another run on such a machine"


class Row:
    """A way to port, and its runs."""

    def __init__(self, name, command, ours=False, peer=False, environment=None):
        self.name, self.command, self.ours, self.peer = name, command, ours, peer
        self.environment = environment or {}
        self.runs = []


class Table:
    """Ways to do one job, after the two floors; `missing` says what is not there, and `check` names the row that must give our bits."""

    def __init__(self, title, rows, missing, check=None):
        self.title, self.rows, self.missing, self.check = title, rows, missing, check

    def print(self):
        """As Markdown."""
        floor, synced = (median(row.runs, "seconds") for row in self.rows[:2])
        print(f"\n{self.title}\n")
        print("| | seconds, median | from–to | processor seconds | peak MB | of it own | × cat | × cat, synced |")
        print("|---|---|---|---|---|---|---|---|")
        for row in self.rows:
            seconds = median(row.runs, "seconds")
            spent = f"{seconds:.2f} | {span(row.runs, 'seconds')} | {median(row.runs, 'cpu'):.1f}"
            spent += f" | {median(row.runs, 'peak'):.0f} | {median(row.runs, 'own'):.0f}"
            print(f"| {row.name} | {spent} | {seconds / floor:.2f} | {seconds / synced:.2f} |")
        for name, why in self.missing:
            print(f"| {name} | {why} | | | | | | |")


def same(folder, other):
    """Whether two models hold the same weights. Another process maps the files: what is run from here starts with this one's memory."""
    return not subprocess.run([sys.executable, str(pathlib.Path(__file__).with_name("same_weights.py")), folder, other]).returncode


def config(folder, name, method, new_base, tuned, base):
    """A mergekit configuration for new base + (fine-tuned - base)."""
    parts = [(tuned, 1), (base, -1)] if method == "task_arithmetic" else [(new_base, 1), (tuned, 1), (base, -1)]
    lines = ["models:"] + [f"  - model: {path}\n    parameters: {{weight: {weight}}}" for path, weight in parts]
    lines += [f"merge_method: {method}", "parameters: {normalize: false}", "dtype: bfloat16"]
    if method == "task_arithmetic":
        lines.append(f"base_model: {new_base}")
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    return path


def ours(javas, folder, out, *options):
    rows = []
    for java in javas:
        for name, more in (("no record", ["--no-record"]), ("with record", [])):
            command = [*java.portllm, "port", *map(str, options), "-o", str(out), *more]
            rows.append(Row(f"**portllm**, JDK {java.feature}, {name}", command, ours=True))
        if java.feature >= 25:
            command = trained(java, folder, out, "port", *map(str, options), "-o", str(out), "--no-record")
            rows.insert(-2, Row(f"**portllm**, JDK {java.feature}, no record, AOT cache", command, ours=True))
    return rows


def trained(java, folder, out, *command):
    """The command with an AOT cache that a run of the same command made, and the serial collector, as docs/how-to/tune.md has it."""
    cache = folder / f"portllm-{command[1].strip('-')}.aot"
    jvm = [java.path, java.portllm[1], "-XX:+UseSerialGC"]
    cache.unlink(missing_ok=True)
    run([*jvm, f"-XX:AOTCacheOutput={cache}", "-jar", str(JAR), *command], folder / "log")
    shutil.rmtree(out)
    return [*jvm, f"-XX:AOTCache={cache}", "-jar", str(JAR), *command]


def floor(read, write, out):
    """What cat takes to read some files and copy one, without and with the disk."""
    reading = f"cat {' '.join(map(str, read))} >/dev/null; " if read else ""
    work = f"{reading}mkdir '{out}'; cat {write} >'{out}/copy'"
    return [Row(f"cat: read {1 + len(read)}, write 1", ["sh", "-c", work]),
            Row(f"cat: read {1 + len(read)}, write 1, sync", ["sh", "-c", f"{work}; sync '{out}/copy'"])]


class Job:
    """The models, and the commands of other tools that read and write them."""

    def __init__(self, given, folder, javas, out):
        self.given, self.folder, self.javas, self.out = given, folder, javas, out
        self.base = self.make("base", "-o")
        self.tuned = self.make("fine-tuned", "--perturb", "2:0.05", "-o")
        self.new_base = self.make("new-base", "--perturb", "3:0.05", "-o")
        self.adapter = self.make("adapter", "--adapter")

    def make(self, name, *options):
        return self.javas[0].generate(self.folder, name, "--weights", self.given.size, "--seed", "1", *options)

    def has(self, modules):
        return self.given.python and first_line([self.given.python, "-c", f"import {modules}; print(1)"])

    def python(self, name, *command):
        offline = {"HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        return Row(name, [self.given.python, *map(str, command)], peer=True, environment=offline)

    def full(self):
        reading = [f"'{self.base}'/*.safetensors", f"'{self.tuned}'/*.safetensors"]
        rows = floor(reading, f"'{self.new_base}'/*.safetensors", self.out)
        rows += ours(self.javas, self.folder, self.out, "--fine-tuned", self.tuned, "--base", self.base, "--onto", self.new_base)
        missing = []
        if self.has("torch, safetensors"):
            rows.append(self.python(TORCH, PEERS, "torch-full", self.tuned, self.base, self.new_base, self.out))
        else:
            missing.append((TORCH, "not installed"))
        if self.has("mergekit.scripts.run_yaml"):
            for method in ("linear", "task_arithmetic"):
                yaml = config(self.folder, f"mergekit-{method}.yml", method, self.new_base, self.tuned, self.base)
                command = ["-m", "mergekit.scripts.run_yaml", yaml, self.out, "--no-copy-tokenizer"]
                rows.append(self.python(f"mergekit {method}", *command))
        else:
            missing.append(("mergekit linear", f"not installed; {MERGEKIT_ELSEWHERE}"))
        return Table(f"Full weights: read three models of {self.given.size.upper()} bf16 weights, write one", rows, missing, TORCH)

    def lora(self):
        rows = floor([], f"'{self.new_base}'/*.safetensors", self.out)
        rows += ours(self.javas, self.folder, self.out, "--adapter", self.adapter, "--base", self.base, "--onto", self.new_base)
        missing = []
        if self.has("torch, safetensors"):
            rows.append(self.python(TORCH, PEERS, "torch-lora", self.adapter, self.new_base, self.out))
        else:
            missing.append((TORCH, "not installed"))
        if self.has("peft, transformers"):
            rows.append(self.python("PEFT merge_and_unload", PEERS, "peft", self.adapter, self.new_base, self.out))
        else:
            missing.append(("PEFT merge_and_unload", "not installed"))
        if self.given.llama:
            rows.append(self.llama())
        else:
            missing.append(("llama-export-lora", "not installed"))
        title = f"LoRA of rank 16 on all projections of {self.given.size.upper()} bf16 weights: read one, write one"
        return Table(title, rows, missing)

    def llama(self):
        model = self.make("new-base.gguf", "--perturb", "3:0.05", "--type", "bf16", "--gguf")
        adapter = self.folder / "adapter.gguf"
        if not adapter.exists():
            options = [str(self.adapter), "--base", str(model), "--format", "gguf-lora", "-o", str(adapter)]
            subprocess.run([*self.javas[0].portllm, "export", *options], check=True)
        options = f"-t {os.cpu_count()} -m '{model}' --lora '{adapter}' -o '{self.out}/model.gguf'"
        work = f"mkdir '{self.out}'; exec '{self.given.llama}' {options}"
        return Row("llama-export-lora, BF16 GGUF to F16", ["sh", "-c", work], peer=True)


def measure(table, index, given, out, expected, log, notes):
    for row in table.rows:
        if index >= (given.peer_rounds if row.peer else given.rounds):
            continue
        shutil.rmtree(out, ignore_errors=True)
        os.sync()
        row.runs.append(run(row.command, log, **row.environment))
        if row.ours and index == 0:
            if not expected.exists():
                out.rename(expected)
            elif not same(out, expected):
                sys.exit(f"{row.name}: other bits than the first port's")
        if row.name == table.check and index == 0:
            notes.append(f"{row.name}: {'the same bits as' if same(out, expected) else 'OTHER BITS than'} portllm's")
    shutil.rmtree(out, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--java", action="append")
    parser.add_argument("--heap", default="64m")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer-rounds", type=int, default=3)
    parser.add_argument("--python")
    parser.add_argument("--llama")
    parser.add_argument("--size", default="1.1b")
    given = parser.parse_args()
    require_build()
    folder = given.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    out, log, notes = folder / "out", folder / "log", []
    javas = [Java(path, given.heap) for path in given.java or ["java"]]
    busy = load()
    job = Job(given, folder, javas, out)
    all_tables = [job.full(), job.lora()]
    inputs = [job.base, job.tuned, job.new_base]
    for index in range(max(given.rounds, given.peer_rounds)):
        for number, table in enumerate(all_tables):
            subprocess.run(["sh", "-c", "cat " + " ".join(f"'{model}'/*.safetensors" for model in inputs) + " >/dev/null"], check=True)
            measure(table, index, given, out, folder / f"expected-{number}", log, notes)
    for number in range(len(all_tables)):
        shutil.rmtree(folder / f"expected-{number}", ignore_errors=True)

    versions = [java.version for java in javas]
    if given.python:
        versions.append(first_line([given.python, str(PEERS), "versions"]))
    rounds = f"{given.rounds} rounds, other tools {given.peer_rounds}"
    print(f"{machine()}; {datetime.date.today()}; load before the run {busy}; -Xmx{given.heap}; {rounds}.")
    print("; ".join(versions))
    print("; ".join(notes + ["all portllm outputs of a table hold the same bits"]))
    for table in all_tables:
        table.print()


if __name__ == "__main__":
    main()
