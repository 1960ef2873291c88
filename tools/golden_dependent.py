"""Makes the adapters whose change depends on the base that portllm-io's tests compare with, and what PEFT merges them to.

usage: golden_dependent.py OUT
  OUT  portllm-io/src/test/resources/golden/dependent

Writes OUT/tower-1 and OUT/tower-2, a small model with a layer of each type and an update of it, and a folder for each adapter of tower-1 with
expected-on-1.safetensors and expected-on-2.safetensors: the tensors that merge_and_unload() changed in either. The same versions give the
same bytes.
"""
import json
import pathlib
import sys
import tempfile

import peft
import torch
from peft.tuners.boft import layer as boft_layer
from safetensors.torch import load_file, save_file
from transformers.pytorch_utils import Conv1D


class Tower(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.words = torch.nn.Embedding(11, 8)
        self.up = torch.nn.Linear(8, 12)
        self.down = torch.nn.Linear(12, 8, bias=False)
        self.turned = Conv1D(6, 8)
        self.patches = torch.nn.Conv2d(4, 6, 3)

    def forward(self, x):
        return self.turned(self.down(self.up(self.words(x))))


class Blocks:
    """Stands for the CUDA extension that PEFT builds block-diagonal matrices with."""

    @staticmethod
    def apply(blocks):
        return torch.stack([torch.block_diag(*factor) for factor in blocks])


LINEAR = ["up", "down"]
CASES = {
    "dora": (peft.LoraConfig(r=3, lora_alpha=5, use_dora=True, target_modules=LINEAR), {}),
    "dora-rslora": (peft.LoraConfig(r=3, lora_alpha=5, use_dora=True, use_rslora=True, target_modules=LINEAR), {}),
    "dora-embedding": (peft.LoraConfig(r=3, lora_alpha=5, use_dora=True, target_modules=["words"]), {}),
    "dora-conv": (peft.LoraConfig(r=3, lora_alpha=5, use_dora=True, target_modules=["patches"]), {}),
    "dora-turned": (peft.LoraConfig(r=3, lora_alpha=5, use_dora=True, fan_in_fan_out=True, target_modules=["turned"]), {}),
    "ia3": (peft.IA3Config(target_modules=LINEAR, feedforward_modules=["down"]), {}),
    "ia3-turned": (peft.IA3Config(target_modules=["turned"], feedforward_modules=[], fan_in_fan_out=True), {}),
    "ia3-turned-inputs": (peft.IA3Config(target_modules=["turned"], feedforward_modules=["turned"], fan_in_fan_out=True), {}),
    "ia3-conv": (peft.IA3Config(target_modules=["patches"], feedforward_modules=[]), {}),
    "ia3-conv-inputs": (peft.IA3Config(target_modules=["patches"], feedforward_modules=["patches"]), {}),
    "oft-neumann": (peft.OFTConfig(r=0, oft_block_size=4, use_cayley_neumann=True, target_modules=LINEAR), {}),
    "oft-neumann-7": (peft.OFTConfig(r=0, oft_block_size=4, num_cayley_neumann_terms=7, target_modules=["up"]), {}),
    "oft-neumann-3": (peft.OFTConfig(r=0, oft_block_size=4, num_cayley_neumann_terms=3, target_modules=["up"]), {}),
    "oft-exact": (peft.OFTConfig(r=2, oft_block_size=0, use_cayley_neumann=False, target_modules=LINEAR), {}),
    "oft-shared": (peft.OFTConfig(r=0, oft_block_size=4, block_share=True, use_cayley_neumann=False, target_modules=LINEAR), {}),
    "oft-constrained": (peft.OFTConfig(r=0, oft_block_size=4, coft=True, eps=0.05, use_cayley_neumann=False, target_modules=LINEAR), {}),
    "oft-embedding": (peft.OFTConfig(r=0, oft_block_size=4, use_cayley_neumann=False, target_modules=["words"]), {}),
    "oft-conv": (peft.OFTConfig(r=0, oft_block_size=6, use_cayley_neumann=False, target_modules=["patches"]), {}),
    "boft": (peft.BOFTConfig(boft_block_size=4, target_modules=LINEAR), {}),
    "boft-butterfly": (peft.BOFTConfig(boft_block_size=2, boft_n_butterfly_factor=3, target_modules=["up"]), {"blocks": True}),
    "boft-conv": (peft.BOFTConfig(boft_block_size=4, target_modules=["patches"]), {}),
    "hra": (peft.HRAConfig(r=3, target_modules=LINEAR), {}),
    "hra-orthogonal": (peft.HRAConfig(r=3, apply_GS=True, target_modules=LINEAR), {}),
    "hra-conv": (peft.HRAConfig(r=2, target_modules=["patches"]), {}),
    "road-1": (peft.RoadConfig(variant="road_1", group_size=4, target_modules=LINEAR), {}),
    "road-2": (peft.RoadConfig(variant="road_2", group_size=4, target_modules=LINEAR), {}),
    "road-4": (peft.RoadConfig(variant="road_4", group_size=4, target_modules=LINEAR), {}),
    "delora": (peft.DeloraConfig(r=3, delora_lambda=15, target_modules=LINEAR), {}),
}


def tower(folder):
    model = Tower()
    model.load_state_dict(load_file(folder / "model.safetensors"))
    return model


def merged(model, base):
    changed = model.merge_and_unload().state_dict()
    return {name: weight.contiguous() for name, weight in changed.items() if not torch.equal(weight, base[name])}


def save(adapted, folder, **options):
    adapted.save_pretrained(folder, **options)
    (folder / "README.md").unlink()
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text())
    # Sets, which PEFT writes in any order.
    for field in "target_modules", "feedforward_modules":
        if isinstance(config.get(field), list):
            config[field].sort()
    path.write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")


def convert(out, name):
    """An adapter whose initialisation changed its base: as trained, and converted to plain LoRA."""
    torch.manual_seed(sum(name.encode()))
    config = peft.LoraConfig(r=3, lora_alpha=5, init_lora_weights=name, target_modules=LINEAR, base_model_name_or_path="tower-1")
    model = tower(out / "tower-1")
    base = {key: weight.clone() for key, weight in model.state_dict().items()}
    adapted = peft.get_peft_model(model, config)
    with tempfile.TemporaryDirectory() as initial:
        adapted.peft_config["default"].init_lora_weights = True
        adapted.save_pretrained(initial)
        adapted.peft_config["default"].init_lora_weights = name
        with torch.no_grad():
            for key, weight in adapted.named_parameters():
                if weight.requires_grad:
                    weight.add_(torch.randn_like(weight) * 0.1)
        save(adapted, out / name)
        save(adapted, out / f"{name}-converted", path_initial_model_for_weight_conversion=initial)
    save_file(merged(adapted, base), out / f"{name}-converted" / "expected-on-1.safetensors")


def make(out, name, config, options):
    """The adapter on tower-1, with every trained weight moved, and its merges into both towers."""
    torch.manual_seed(sum(name.encode()))
    folder = out / name
    boft_layer.get_fbd_cuda = lambda: options.get("blocks", False)
    boft_layer.FastBlockDiag = Blocks
    config.base_model_name_or_path = "tower-1"
    adapted = peft.get_peft_model(tower(out / "tower-1"), config)
    with torch.no_grad():
        for key, weight in adapted.named_parameters():
            if weight.requires_grad:
                weight.add_(torch.randn_like(weight) * (0.3 if config.peft_type in ("OFT", "BOFT", "ROAD") else 0.1))
    save(adapted, folder)
    for number in 1, 2:
        model = tower(out / f"tower-{number}")
        base = {key: weight.clone() for key, weight in model.state_dict().items()}
        loaded = peft.PeftModel.from_pretrained(model, folder)
        if config.peft_type == "DELORA" and number == 2:
            # PEFT would put the norms of tower-1 in place of those that it takes of tower-2.
            for module in loaded.modules():
                if hasattr(module, "delora_w_norm"):
                    module.delora_w_norm["default"] = module.get_base_layer().weight.data.norm(dim=0)
        save_file(merged(loaded, base), folder / f"expected-on-{number}.safetensors")


def main():
    out = pathlib.Path(sys.argv[1])
    torch.manual_seed(1)
    torch.use_deterministic_algorithms(True)
    weights = Tower().state_dict()
    for number in 1, 2:
        folder = out / f"tower-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        save_file(weights, folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps({"model_type": "tower"}) + "\n")
        weights = {name: weight + 0.1 * torch.randn_like(weight) for name, weight in weights.items()}
    for name, (config, options) in CASES.items():
        make(out, name, config, options)
    for name in "pissa", "olora":
        convert(out, name)


main()
