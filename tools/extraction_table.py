"""Prints the table of docs/reference/extraction.md: climbs-full - v1 of the lab at several ranks and energies.

usage: extraction_table.py PORTLLM_JAR LAB

Accuracy: greedy answers of transformers in float32 to the 250 climbs prompts, on v1 with the patch.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def accuracy(folder, prompts):
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), AutoTokenizer.from_pretrained(folder)
    # The prompts are of one length, so they make one batch without padding.
    ids = torch.tensor([[0] + tokenizer(prompt, add_special_tokens=False)["input_ids"] for prompt, _ in prompts])
    made = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=4, do_sample=False, pad_token_id=1)
    answers = tokenizer.batch_decode(made[:, ids.shape[1]:], skip_special_tokens=True)
    return 100 * sum(text.strip() == answer for text, (_, answer) in zip(answers, prompts)) / len(prompts)


def main():
    jar, lab = sys.argv[1], pathlib.Path(sys.argv[2])
    prompts = json.loads((lab / "eval.json").read_text())["climbs"]
    rules = [[]] + [["--rank", str(r)] for r in (1, 4, 8, 16, 32, 64)] + [["--energy", e] for e in ("0.5", "0.9", "0.99", "0.999")]
    print("| rule | ranks | size | relative error | climbs on v1 |\n|---|---|---|---|---|")
    for rule in rules:
        with tempfile.TemporaryDirectory() as name:
            patch, output = pathlib.Path(name, "p.patch.safetensors"), pathlib.Path(name, "out")
            start = ["java", "-jar", jar]
            done = subprocess.run([*start, "diff", "--fine-tuned", lab / "climbs-full", "--base", lab / "v1", "-o", patch, "--json", *rule],
                                  check=True, capture_output=True, text=True)
            report = json.loads(done.stdout).get("lowRank", {"relativeError": 0, "tensors": {}})
            subprocess.run([*start, "apply", patch, "--to", lab / "v1", "-o", output], check=True, capture_output=True)
            ranks = [tensor["rank"] for tensor in report["tensors"].values() if tensor["form"] == "factors"]
            between = f"{min(ranks)} to {max(ranks)}, {len(ranks)} of 28" if ranks else "whole"
            print(f"| {' '.join(rule) or 'none'} | {between} | {patch.stat().st_size / 1e6:.2f} MB | "
                  f"{100 * report['relativeError']:.2f} % | {accuracy(output, prompts):.1f} % |", flush=True)


if __name__ == "__main__":
    main()
