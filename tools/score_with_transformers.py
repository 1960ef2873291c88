"""A scoring command for `portllm check --score`: asks a model prompts with transformers, greedily, and prints a line for each.

usage: score_with_transformers.py MODEL PROMPTS

MODEL is a folder that transformers loads, PROMPTS a JSON list of objects with "prompt" and "answer". An item is right if the model
continues its prompt with its answer and then ends. Everything but the scores goes to standard error.
"""
import json
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

LONGER = 4


def main(folder, prompts):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with open(prompts, encoding="utf-8") as file:
        items = json.load(file)
    for item in items:
        given = tokenizer(item["prompt"], return_tensors="pt")
        most = len(tokenizer(item["answer"], add_special_tokens=False).input_ids) + LONGER
        with torch.no_grad():
            tokens = model.generate(**given, max_new_tokens=most, do_sample=False, pad_token_id=tokenizer.eos_token_id)
        answer = tokenizer.decode(tokens[0, given.input_ids.shape[1]:], skip_special_tokens=True)
        print(json.dumps({"id": item["prompt"], "score": int(answer == item["answer"])}))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
