"""A scoring command for `portllm check --score`: asks a model prompts with transformers, greedily, and prints a line for each.

usage: score_with_transformers.py MODEL PROMPTS

MODEL is a folder that transformers loads, PROMPTS a JSON list of objects with "prompt" and "answer". An item is right if the model
continues its prompt with its answer and then ends. Everything but the scores goes to standard error.
"""
import collections
import json
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

LONGER = 4
BATCH = 64


def main(folder, prompts):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with open(prompts, encoding="utf-8") as file:
        items = json.load(file)
    # Prompts of one length go through the model together: no padding, which would change the positions.
    by_length = collections.defaultdict(list)
    for index, item in enumerate(items):
        by_length[len(tokenizer(item["prompt"]).input_ids)].append(index)
    scores = [0] * len(items)
    for indices in by_length.values():
        for begin in range(0, len(indices), BATCH):
            batch = indices[begin:begin + BATCH]
            for index, answer in zip(batch, answers(model, tokenizer, [items[i] for i in batch])):
                scores[index] = int(answer == items[index]["answer"])
    for item, score in zip(items, scores):
        print(json.dumps({"id": item["prompt"], "score": score}))


def answers(model, tokenizer, items):
    given = tokenizer([item["prompt"] for item in items], return_tensors="pt")
    most = max(len(tokenizer(item["answer"], add_special_tokens=False).input_ids) for item in items) + LONGER
    with torch.no_grad():
        tokens = model.generate(**given, max_new_tokens=most, do_sample=False, pad_token_id=tokenizer.eos_token_id)
    return tokenizer.batch_decode(tokens[:, given.input_ids.shape[1]:], skip_special_tokens=True)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
