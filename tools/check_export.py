"""Extracts low-rank patches with the portllm command, exports them as PEFT adapters, and checks both with torch and PEFT.

usage: check_export.py PORTLLM_JAR LAB [--java JAVA] [--peft FOLDER]

FOLDER has adapters, their bases and what PEFT merges them to, as portllm-io/src/test/resources/golden/peft has: each LoRA among them is
exported again, and PEFT merges the result to the same weights as what it was given.

On the lab's climbs-full - v1:
  rank R       the error of each tensor's factors, by the report and anew in float64 from the file, against the best that torch.linalg.svd
               in float64 says there is;
  energy E     the rank of each tensor against the least that torch's singular values say.
For these patches and climbs-lora, on v1 and ported to v2:
  PEFT loads the adapter on the base in float32, all its keys and no others, and merge_and_unload() is compared with `portllm apply`.
  climbs-lora exported again must be merged by PEFT to the same bits as climbs-lora itself.
  An adapter exported as trainable, loaded with is_trainable as its inference_mode says, has a gradient for every parameter.
For climbs-lora on v2-hot, to which it ports badly:
  PEFT trains the exported adapter for a few steps, on prompts other than those that are counted; so it does a new adapter of the same
  shape. The exported one must answer more afterwards than before, and more than the new one.

Exit code 1 if a figure is beyond its tolerance:
  reported error: 1e-6 of the recomputed one, and 1e-9 absolute;  best error: 1.01 times;  rank: least, or one more.
  merged weights: 2e-6 of the tensor's largest; products are added up in another order. Weights saved whole: the same bits.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import warnings

import peft
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

PREFIX = "base_model.model."
failed = 0


def require(holds, what):
    global failed
    if not holds:
        failed += 1
        print(f"  FAILED: {what}")


class Portllm:
    def __init__(self, java, jar):
        self.start = [java, "-jar", jar]

    def __call__(self, *arguments):
        done = subprocess.run([*self.start, *map(str, arguments)], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{arguments}: exit code {done.returncode}: {done.stderr}")
        return done.stdout

    def diff(self, tuned, base, output, *rule):
        return json.loads(self("diff", "--fine-tuned", tuned, "--base", base, "-o", output, "--json", *rule))["lowRank"]


def factors(patch):
    """The products in a patch file, in float64."""
    found = {}
    with safe_open(patch, "pt") as file:
        deltas = json.loads(file.metadata()["portllm.deltas"])
        for name, delta in deltas.items():
            if delta["terms"][0]["kind"] == "low-rank":
                b, a = (file.get_tensor(f"{name}.0.{part}").double() for part in ("lora_B", "lora_A"))
                found[name] = b.flatten(1) @ a.flatten(1)
    return found


def spectra(tuned, base):
    tuned, base = load_file(tuned / "model.safetensors"), load_file(base / "model.safetensors")
    changes = {name: (tuned[name].float() - base[name].float()).double() for name in base}
    return changes, {name: torch.linalg.svdvals(change) for name, change in changes.items() if change.dim() == 2}


def check_ranks(portllm, changes, values, lab, folder):
    for rank in (1, 8, 32, 128):
        patch = folder / f"rank{rank}.patch.safetensors"
        report = portllm.diff(lab / "climbs-full", lab / "v1", patch, "--rank", rank)
        worst, said = 0.0, 0.0
        for name, product in factors(patch).items():
            norm = changes[name].norm()
            error = ((changes[name] - product).norm() / norm).item()
            best = (values[name][rank:].square().sum().sqrt() / norm).item()
            said = max(said, abs(report["tensors"][name]["relativeError"] - error) / (error + 1e-3))
            worst = max(worst, error / best if best else 1.0)
        print(f"rank {rank:3}: total error {report['relativeError']:.4g}; worst tensor {worst:.6f} of the best error, reported within {said:.1e}")
        require(worst <= 1.01, f"error is {worst} of the best")
        require(said <= 1e-6, f"reported errors are off by {said}")


def check_energies(portllm, values, lab, folder):
    for energy in (0.5, 0.9, 0.99):
        patch = folder / f"energy{energy}.patch.safetensors"
        report = portllm.diff(lab / "climbs-full", lab / "v1", patch, "--energy", energy)
        more = {}
        for name, tensor in report["tensors"].items():
            if tensor["form"] == "factors":
                held = values[name].square().cumsum(0) / values[name].square().sum()
                least = int((held < energy).sum()) + 1
                more.setdefault(tensor["rank"] - least, []).append(name)
        counts = {extra: len(names) for extra, names in sorted(more.items())}
        print(f"energy {energy}: total error {report['relativeError']:.4g}; ranks above the least: {counts}")
        require(set(counts) <= {0, 1}, f"ranks differ from the least: {counts}")
        for name in more.get(1, []):
            print(f"  one more: {name}")


def merged(base, adapter):
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = peft.PeftModel.from_pretrained(model, adapter)
    loaded = peft.get_peft_model_state_dict(model, save_embedding_layers=False)
    stored = load_file(adapter / "adapter_model.safetensors")
    require(set(stored) <= set(loaded) | {k for k in stored if "base_layer" in k}, f"PEFT did not take {set(stored) - set(loaded)}")
    for name in set(stored) & set(loaded):
        require(torch.equal(stored[name].float(), loaded[name].float()), f"PEFT holds another {name}")
    return model.merge_and_unload().state_dict()


def compare(what, mine, theirs):
    worst, same = 0.0, 0
    require(set(mine) == set(theirs) and mine, f"names differ: {set(mine) ^ set(theirs)}")
    for name, tensor in mine.items():
        difference = (tensor.double() - theirs[name].double()).abs().max().item()
        same += torch.equal(tensor, theirs[name])
        worst = max(worst, difference / theirs[name].abs().max().item())
    print(f"{what}: {same} of {len(mine)} tensors the same bits, largest difference {worst:.1e} of the tensor's largest weight")
    require(worst <= 2e-6, f"{what}: {worst}")


def check_export(portllm, what, patch, base, folder):
    adapter, ported = folder / "adapter", folder / "ported"
    portllm("export", patch, "--format", "peft", "--base", base, "-o", adapter, "--force")
    portllm("apply", patch, "--to", base, "-o", ported, "--force")
    config = json.loads((adapter / "adapter_config.json").read_text())
    mine = merged(base, adapter)
    compare(what, mine, load_file(ported / "model.safetensors"))
    whole = load_file(ported / "model.safetensors")
    for module in config["modules_to_save"] or []:
        require(torch.equal(mine[f"{module}.weight"], whole[f"{module}.weight"]), f"{module} was saved whole and differs")


GOLDEN = {"lora": "llama-base-1", "lora_bias": "qwen2-base-1", "lora_embed": "llama-base-1", "lora_fan_in_fan_out": "gpt2-base-1",
          "lora_layers": "llama-base-1", "lora_modules_to_save": "llama-base-1", "lora_patterns": "llama-base-1",
          "lora_rslora": "llama-base-1", "lora_tokens": "llama-base-1"}


def check_golden(portllm, adapters, folder):
    for name, base in GOLDEN.items():
        again = folder / "again"
        portllm("export", adapters / name, "--format", "peft", "--base", adapters / base, "-o", again, "--force")
        mine, old = merged(adapters / base, again), load_file(adapters / base / "model.safetensors")
        changed = load_file(adapters / name / "expected_merged.safetensors")
        for tensor in set(old) - set(changed):
            require(torch.equal(mine[tensor], old[tensor]), f"{name}: {tensor} changed")
        compare(f"{name} exported again", {tensor: mine[tensor] for tensor in changed}, changed)


def check_trainable(portllm, patch, base, folder):
    adapter = folder / "trainable"
    portllm("export", patch, "--format", "peft", "--base", base, "-o", adapter, "--trainable")
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model = peft.PeftModel.from_pretrained(model, adapter, is_trainable=not json.loads((adapter / "adapter_config.json").read_text())["inference_mode"])
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    tokens = torch.tensor([[0, 5, 9, 7, 3]])
    model(input_ids=tokens, labels=tokens).loss.backward()
    moved = sum(bool(parameter.grad is not None and parameter.grad.abs().max() > 0) for parameter in trained)
    print(f"trainable: {moved} of {len(trained)} parameters of the adapter have a gradient")
    require(moved == len(trained) > 0, "parameters without a gradient")


def short_tune(model, tokenizer, prompts, steps):
    """The share of the last prompts that are answered rightly before and after some steps on the first 128."""
    tokens = torch.tensor([tokenizer(prompt + answer).input_ids for prompt, answer in prompts])

    def right():
        with torch.no_grad():
            guesses = model(input_ids=tokens[128:, :-1]).logits[:, -1].argmax(-1)
        return (guesses == tokens[128:, -1]).float().mean().item()

    before = right()
    optimiser = torch.optim.AdamW([parameter for parameter in model.parameters() if parameter.requires_grad], lr=1e-3)
    for step in range(steps):
        batch = tokens[:128][torch.arange(32).add(32 * step) % 128]
        loss = torch.nn.functional.cross_entropy(model(input_ids=batch[:, :-1]).logits[:, -1], batch[:, -1])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return before, right()


def check_short_tune(portllm, lab, folder):
    base, adapter = lab / "v2-hot", folder / "start"
    portllm("export", lab / "climbs-lora", "--format", "peft", "--base", base, "-o", adapter, "--trainable")
    prompts = json.loads((lab / "eval.json").read_text())["climbs"]
    tokenizer = AutoTokenizer.from_pretrained(base)
    torch.manual_seed(1)
    start = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), adapter, is_trainable=True)
    before, after = short_tune(start, tokenizer, prompts, 30)
    fresh = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), peft.LoraConfig.from_pretrained(adapter))
    _, other = short_tune(fresh, tokenizer, prompts, 30)
    print(f"climbs-lora on v2-hot: {before:.1%} right, {after:.1%} after 30 steps; a new adapter {other:.1%}")
    require(after > before and after > other, "the port is no better a start than none")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("jar")
    parser.add_argument("lab", type=pathlib.Path)
    parser.add_argument("--java", default="java")
    parser.add_argument("--peft", type=pathlib.Path)
    options = parser.parse_args()
    portllm, lab = Portllm(options.java, options.jar), options.lab
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        changes, values = spectra(lab / "climbs-full", lab / "v1")
        check_ranks(portllm, changes, values, lab, folder)
        check_energies(portllm, values, lab, folder)
        wide = {}
        for version in ("v1", "v2"):
            wide[version] = folder / f"{version}-f32"
            AutoModelForCausalLM.from_pretrained(lab / version, dtype=torch.float32).save_pretrained(wide[version])
        for rule in ("rank8", "rank32", "rank128", "energy0.9"):
            check_export(portllm, f"climbs-full at {rule} on v1", folder / f"{rule}.patch.safetensors", wide["v1"], folder)
        check_export(portllm, "climbs-full at rank8 on v2", folder / "rank8.patch.safetensors", wide["v2"], folder)
        check_export(portllm, "climbs-lora on v2", lab / "climbs-lora", wide["v2"], folder)
        check_short_tune(portllm, lab, folder)
        again = folder / "again"
        portllm("export", lab / "climbs-lora", "--format", "peft", "-o", again)
        mine, theirs = merged(wide["v1"], again), merged(wide["v1"], lab / "climbs-lora")
        same = all(torch.equal(mine[name], theirs[name]) for name in theirs)
        print(f"climbs-lora exported again: merged to {'the same bits' if same else 'OTHER bits'}")
        require(same, "climbs-lora exported again merges to other weights")
        if options.peft:
            check_golden(portllm, options.peft, folder)
        check_trainable(portllm, folder / "rank8.patch.safetensors", wide["v2"], folder)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
