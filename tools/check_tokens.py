"""Checks with transformers that a model ported by token answers as the model ported in order does.

Makes a small Llama with a word-level tokenizer, a fine-tune with two added tokens, and two new bases that differ in the order of their
tokens alone; ports the fine-tune onto both with the command, and compares the logits of the same words, token by token.

    python tools/check_tokens.py portllm-cli/target/portllm.jar

Needs torch, transformers, tokenizers and safetensors (tested with 2.13, 5.18, 0.23.2 and 0.8).
"""

import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

WORDS = ["<unk>"] + [f"w{i}" for i in range(60)]
ADDED = ["<call>", "<end>"]
TEXT = "w3 w59 <call> w7 w7 w12 <end> w41 w0 <call>"


def tokenizer(words, added):
    entries = [
        {"id": len(words) + i, "content": token, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
        for i, token in enumerate(added)
    ]
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": entries, "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": None, "decoder": None,
        "model": {"type": "WordLevel", "vocab": {word: i for i, word in enumerate(words)}, "unk_token": "<unk>"},
    }


def save(model, words, added, folder):
    model.config.vocab_size = len(words) + len(added)
    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer(words, added)))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<unk>", "added_tokens_decoder": {}}))


def perturbed(model, seed, size):
    torch.manual_seed(seed)
    config = LlamaConfig(**model.config.to_dict())
    other = LlamaForCausalLM(config)
    state = {name: value + size * torch.randn_like(value) for name, value in model.state_dict().items()}
    other.load_state_dict(state)
    return other


def logits(folder):
    tokens = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = tokens(TEXT, return_tensors="pt", add_special_tokens=False).input_ids
    assert tokens.convert_ids_to_tokens(ids[0]) == TEXT.split(), tokens.convert_ids_to_tokens(ids[0])
    with torch.no_grad():
        found = model(ids).logits[0]
    everything = WORDS + ADDED
    assert len(tokens) == len(everything) == found.shape[1], (len(tokens), found.shape)
    return found[:, tokens.convert_tokens_to_ids(everything)]


def main():
    jar = sys.argv[1]
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=len(WORDS), hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
            max_position_embeddings=64, tie_word_embeddings=False)
        base = LlamaForCausalLM(config)
        save(base, WORDS, [], root / "base")
        tuned = perturbed(base, 1, 0.05)
        tuned.resize_token_embeddings(len(WORDS) + len(ADDED), mean_resizing=False)
        save(tuned, WORDS, ADDED, root / "tuned")
        new = perturbed(base, 2, 0.05)
        save(new, WORDS, [], root / "in_order")
        order = list(range(len(WORDS)))
        random.Random(3).shuffle(order)
        for matrix in (new.model.embed_tokens.weight, new.lm_head.weight):
            matrix.data = matrix.data[order].clone()
        save(new, [WORDS[i] for i in order], [], root / "reordered")
        answers = []
        for name in ("in_order", "reordered"):
            subprocess.run(
                ["java", "-jar", jar, "port", "--fine-tuned", root / "tuned", "--base", root / "base", "--onto", root / name,
                 "-o", root / f"{name}_ported", "--allow", "added-tokens"], check=True)
            answers.append(logits(root / f"{name}_ported"))
        torch.testing.assert_close(answers[0], answers[1], rtol=0, atol=1e-6)
        print(f"logits of {len(TEXT.split())} tokens agree to {(answers[0] - answers[1]).abs().max().item():.3g},"
              f" of a largest {answers[0].abs().max().item():.3g}")


if __name__ == "__main__":
    main()
