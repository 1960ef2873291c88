"""Ports the lab's models with the portllm command and checks the results with transformers and PEFT.

usage: check_with_transformers.py PORTLLM_JAR LAB [--java JAVA]

For each new base (v2, v3, independent), in bfloat16 as it is and converted to float32 by transformers:
  LoRA         the ported folder against PEFT's merge_and_unload() of climbs-lora on the new base in float32, rounded to the
               base's type as a person would by saving it;
  full weight  the ported folder against new base + (climbs-full - v1) on transformers' state dicts in float32, rounded likewise.
Both are loaded with transformers, run in float32 on the lab's 250 climbs prompts, and compared: the largest difference of a logit at
any place of any prompt, and the greedy answers. Then the same ports onto a new base that transformers saved in shards.

Exit code 1 if a figure is beyond its tolerance:
  full weight, sharded against unsharded: 0. The weights are the same bits, so the logits are too.
  LoRA, float32: weights 2e-6 of their tensor's largest, logits 2e-4. PEFT multiplies B and A with a matrix product, which adds up in
      another order, so weights differ in their last bits; the forward pass of one and the same model differs by 5e-5 between float32
      and float64 (measured on independent, the worst of the three), and here are two such passes.
  LoRA, bfloat16: a weight next to a rounding boundary can fall on its other side: one weight in 1000 may, by one rounding unit
      (2^-7 relative) and the 2e-6 above. A few dozen of 0.8 million weights do, which moves logits by less than float32's own
      noise; the 1 in 1000 would move them some ten times as far: 2e-3.
  greedy answers: all 250 the same, but one that may differ for LoRA in bfloat16.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import peft
import safetensors
import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

from reference_port import Folder, bits

DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}
LOGITS = {("lora", "float32"): 2e-4, ("lora", "bfloat16"): 2e-3, ("full", "float32"): 0.0, ("full", "bfloat16"): 0.0}
NEW_TOKENS = 4


class Checks:
    def __init__(self):
        self.failed = 0

    def require(self, holds, what):
        if not holds:
            self.failed += 1
            print(f"  FAILED: {what}")


def load(folder, dtype=torch.float32):
    model, loading = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, output_loading_info=True)
    problems = {kind: names for kind, names in loading.items() if names}
    if problems:
        sys.exit(f"transformers loaded {folder} with {problems}")
    return model.eval()


class Prompts:
    def __init__(self, lab):
        asked = json.loads((lab / "eval.json").read_text())["climbs"]
        self.tokenizer = AutoTokenizer.from_pretrained(lab / "v1")
        self.ids = torch.tensor([self.tokenizer(prompt)["input_ids"] for prompt, _ in asked])
        self.answers = [answer for _, answer in asked]

    def run(self, model):
        logits = model(self.ids).logits
        out = model.generate(self.ids, attention_mask=torch.ones_like(self.ids), do_sample=False, max_new_tokens=NEW_TOKENS)
        return logits, [self.tokenizer.decode(row[self.ids.shape[1]:], skip_special_tokens=True) for row in out]


def compare_weights(ported, expected, dtype):
    """How many weights there are, how many differ, and the largest excess over one rounding unit relative to the tensor's largest."""
    weights = differing = 0
    excess = 0.0
    for name in expected.keys():
        got, want = ported[name], expected[name]
        if got.dtype != DTYPES[dtype] or want.dtype != DTYPES[dtype]:
            sys.exit(f"{name} is {got.dtype} and {want.dtype}, not {dtype}")
        weights, differing = weights + want.numel(), differing + int((bits(got) != bits(want)).sum())
        unit = torch.finfo(torch.bfloat16).eps * want.double().abs() if dtype == "bfloat16" else 0
        over = ((got.double() - want.double()).abs() - unit).clamp(min=0).max() / want.double().abs().max()
        excess = max(excess, over.item())
    return weights, differing, excess


def merged_by_peft(onto, adapter):
    return peft.PeftModel.from_pretrained(load(onto), adapter).merge_and_unload()


def merged_by_hand(onto, tuned, base):
    model, tuned, base = load(onto), load(tuned).state_dict(), load(base).state_dict()
    model.load_state_dict({name: weight + (tuned[name] - base[name]) for name, weight in model.state_dict().items()})
    return model


def check(checks, label, kind, dtype, prompts, ported, expected):
    weights, differing, excess = compare_weights(Folder(ported), Folder(expected), dtype)
    got, said = prompts.run(load(ported))
    want, expected_said = prompts.run(load(expected))
    difference = (got - want).abs().max().item()
    same = sum(a == b for a, b in zip(said, expected_said))
    right = sum(a == b for a, b in zip(said, prompts.answers))
    print(f"{label}: max logit difference {difference:.2g} of {want.abs().max().item():.1f}, {same}/{len(said)} answers the same, "
          f"{100 * right / len(said):.1f} % right; {differing} of {weights} weights differ"
          + (f", by up to {excess:.1g} of the largest" + (" over a rounding unit" if dtype == "bfloat16" else "") if differing else ""))
    tolerance = LOGITS[kind, dtype]
    checks.require(difference <= tolerance, f"logits differ by {difference}, allowed {tolerance}")
    checks.require(same >= len(said) - (1 if (kind, dtype) == ("lora", "bfloat16") else 0), "answers differ")
    checks.require(excess <= (2e-6 if kind == "lora" else 0), "weights differ by more than the order of sums and one rounding")
    checks.require(differing <= {"full": 0, "lora": weights if dtype == "float32" else weights / 1000}[kind], "too many weights differ")
    return got


def main():
    parser = argparse.ArgumentParser(description="Ports the lab's models and checks the results with transformers and PEFT.")
    parser.add_argument("jar", type=pathlib.Path)
    parser.add_argument("lab", type=pathlib.Path)
    parser.add_argument("--java", default="java")
    given = parser.parse_args()
    lab, prompts, checks = given.lab, Prompts(given.lab), Checks()
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, PEFT {peft.__version__}, "
          f"safetensors {safetensors.__version__}")

    def port(what, base, onto, output):
        command = [given.java, "-jar", given.jar, "port", *what, "--base", base, "--onto", onto, "-o", output]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            sys.exit(f"{' '.join(map(str, command))}\nexit code {result.returncode}\n{result.stdout}{result.stderr}")
        return output

    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        (scratch / "ported").mkdir()

        def saved(name, dtype, shards):
            """A lab model as transformers writes it."""
            folder = scratch / f"{name}-{dtype}{'-sharded' if shards else ''}"
            if not folder.exists():
                load(lab / name, DTYPES[dtype]).save_pretrained(folder, max_shard_size="300KB" if shards else "1GB")
                prompts.tokenizer.save_pretrained(folder)
            return folder

        for dtype in DTYPES:
            for onto in ("v2", "v3", "independent"):
                model = {name: lab / name if dtype == "bfloat16" else saved(name, dtype, False) for name in ("v1", "climbs-full", onto)}
                sharded = saved(onto, dtype, True)
                files = len(list(sharded.glob("*.safetensors")))
                for kind, what in (("lora", ("--adapter", lab / "climbs-lora")), ("full", ("--fine-tuned", model["climbs-full"]))):
                    label = f"{onto} {dtype} {kind}"
                    merged = (merged_by_peft(model[onto], lab / "climbs-lora") if kind == "lora" else
                              merged_by_hand(model[onto], model["climbs-full"], model["v1"]))
                    # Saved and loaded again: casting the model in memory would round its rotary frequencies too.
                    expected = scratch / "expected" / label.replace(" ", "-")
                    merged.to(DTYPES[dtype]).save_pretrained(expected)
                    whole = port(what, model["v1"], model[onto], scratch / "ported" / label.replace(" ", "-"))
                    logits = check(checks, label, kind, dtype, prompts, whole, expected)
                    parts = port(what, model["v1"], sharded, scratch / "ported" / (label.replace(" ", "-") + "-sharded"))
                    written = len(list(parts.glob("*.safetensors")))
                    checks.require(written == files > 1, f"{written} shards written for {files}")
                    difference = (load(parts)(prompts.ids).logits - logits).abs().max().item()
                    weights, differing, _ = compare_weights(Folder(parts), Folder(whole), dtype)
                    print(f"{label} in {files} shards: max logit difference from unsharded {difference:.3g}, "
                          f"{differing} of {weights} weights differ")
                    checks.require(difference == 0 and differing == 0, "sharded and unsharded ports differ")
    print(f"{'FAILED' if checks.failed else 'passed'}, {checks.failed} figures beyond tolerance")
    sys.exit(1 if checks.failed else 0)


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with torch.inference_mode():
        main()
