"""What torch and PEFT need for what io.portllm.bench.gpu times, on the same GPU. Run by tools/gpu.sh.

Kernels: new = weights + 0.7 (tuned - base) as it is written, in float32, and in float32 through torch.compile, over 512 MiB of weights;
two and three such changes at once, and products of several ranks.
Swaps: from one LoRA adapter of rank 16 on all projections of a bf16 Llama to another, by PEFT (unmerge, set, merge) and by hand: from
a kept copy of the weights with addmm in bf16, and in float32 rounded once. Drift: weights that PEFT's swaps leave changed once all is
unmerged.
"""

import statistics
import sys
import time

import torch

BYTES = 512 << 20
RUNS = 31


def median_ms(work, runs=RUNS):
    for _ in range(3):
        work()
    marks = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(runs)]
    for start, end in marks:
        start.record()
        work()
        end.record()
    torch.cuda.synchronize()
    return statistics.median(start.elapsed_time(end) for start, end in marks)


def wall_ms(work, runs=11):
    work()
    work()
    times = []
    for _ in range(runs):
        torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        torch.cuda.synchronize()
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def line(what, ms, moved):
    print(f"torch: {what:42s} {ms:8.3f} ms {moved / ms / 1e6:7.0f} GB/s", flush=True)


def kernels():
    source = torch.randn(BYTES // 2, device="cuda", dtype=torch.bfloat16)
    target = torch.empty_like(source)
    line("copy within the device", median_ms(lambda: target.copy_(source)), 2 * BYTES)
    del source, target
    wide = lambda w, t, b: (w.float() + 0.7 * (t.float() - b.float())).to(w.dtype)
    for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.float8_e5m2):
        name = str(dtype).split(".")[1]
        count = BYTES // dtype.itemsize
        w, t, b = ((torch.randn(count // 8, device="cuda") * 0.5).to(dtype).repeat(8) for _ in range(3))
        if dtype.itemsize > 1:
            line(f"{name}, w + 0.7 * (t - b)", median_ms(lambda: w + 0.7 * (t - b)), 4 * BYTES)
        if dtype != torch.float32:
            line(f"{name}, in float32", median_ms(lambda: wide(w, t, b), 11), 4 * BYTES)
        torch._dynamo.reset()
        compiled = torch.compile(wide, dynamic=False)
        line(f"{name}, torch.compile", median_ms(lambda: compiled(w, t, b)), 4 * BYTES)
        added = torch.compile(lambda w, d: (w.float() + 0.7 * d.float()).to(w.dtype), dynamic=False)
        line(f"{name} + 0.7 {name}, torch.compile", median_ms(lambda: added(w, t)), 3 * BYTES)
        two = torch.compile(lambda w, x, y: (w.float() + (0.7 * x.float() + 0.2 * y.float())).to(w.dtype), dynamic=False)
        line(f"{name} + 2 of {name}, torch.compile", median_ms(lambda: two(w, t, b)), 4 * BYTES)
        if dtype == torch.bfloat16:
            x, y = ((torch.randn(count // 8, device="cuda") * 0.5).to(dtype).repeat(8) for _ in range(2))
            three = torch.compile(
                lambda w, x, y, z: (w.float() + (0.7 * x.float() + 0.2 * y.float() - 0.3 * z.float())).to(w.dtype), dynamic=False)
            line(f"{name} + 3 of {name}, torch.compile", median_ms(lambda: three(w, t, b, x)), 5 * BYTES)
            pairs = torch.compile(
                lambda w, t, b, x, y: (w.float() + (0.7 * (t.float() - b.float()) + 0.2 * (x.float() - y.float()))).to(w.dtype),
                dynamic=False)
            line(f"{name} + 2 of (t - b), torch.compile", median_ms(lambda: pairs(w, t, b, x, y)), 6 * BYTES)
            del x, y
            d = torch.randn(count // 8, device="cuda").repeat(8)
            line(f"{name} + 0.7 float32, torch.compile", median_ms(lambda: added(w, d)), 2 * BYTES + 4 * count)
            del d
            w2 = w.view(-1, 4096)
            for rank in (4, 8, 16, 32, 64):
                left = torch.randn(w2.shape[0], rank, device="cuda") * 0.1
                right = torch.randn(rank, 4096, device="cuda") * 0.1
                half = left.to(dtype), right.to(dtype)
                line(f"{name}, addmm r = {rank}", median_ms(lambda: torch.addmm(w2, *half, alpha=0.7)), 2 * BYTES)
                product = torch.compile(lambda w, x, y: (w.float() + 0.7 * (x @ y)).to(w.dtype), dynamic=False)
                line(f"{name}, float32 B A r = {rank}, torch.compile", median_ms(lambda: product(w2, left, right), 11), 2 * BYTES)
        del w, t, b
        torch.cuda.empty_cache()


SHAPES = {"1.1b": (2048, 22, 5632, 32, 4), "7b": (4096, 32, 11008, 32, 32)}


def swaps(label):
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    hidden, layers, intermediate, heads, kv = SHAPES[label]
    config = LlamaConfig(hidden_size=hidden, num_hidden_layers=layers, intermediate_size=intermediate, num_attention_heads=heads,
                         num_key_value_heads=kv, vocab_size=32000)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        model = LlamaForCausalLM(config)
    torch.set_default_dtype(torch.float32)
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    for factors in ("float32", "bfloat16"):
        lora = LoraConfig(r=16, lora_alpha=32, target_modules=targets, bias="none")
        peft = get_peft_model(model, lora, adapter_name="a", autocast_adapter_dtype=factors == "float32")
        peft.add_adapter("b", lora)
        modules = [m for m in peft.modules() if hasattr(m, "lora_A") and "a" in m.lora_A]
        kind = getattr(torch, factors)
        with torch.no_grad():
            for m in modules:
                for name in "ab":
                    m.lora_A[name].weight.data = torch.randn_like(m.lora_A[name].weight, dtype=kind) * 0.02
                    m.lora_B[name].weight.data = torch.randn_like(m.lora_B[name].weight, dtype=kind) * 0.02
        originals = [m.get_base_layer().weight.detach().clone() for m in modules]
        state = {"at": "a"}

        def swap():
            peft.base_model.unmerge_adapter()
            state["at"] = "b" if state["at"] == "a" else "a"
            peft.base_model.set_adapter(state["at"])
            peft.base_model.merge_adapter()

        with torch.no_grad():
            peft.base_model.set_adapter("a")
            peft.base_model.merge_adapter()
            ms = wall_ms(swap)
            print(f"PEFT: {label}, factors in {factors}: swap {ms:.2f} ms", flush=True)
            peft.base_model.unmerge_adapter()
            changed = sum(int((m.get_base_layer().weight != o).sum()) for m, o in zip(modules, originals))
            total = sum(o.numel() for o in originals)
            print(f"PEFT: {label}, factors in {factors}: after 13 swaps and unmerging, {changed} of {total} weights"
                  f" ({100 * changed / total:.1f} %) are not what they were", flush=True)
            for m, o in zip(modules, originals):
                m.get_base_layer().weight.copy_(o)

            def by_hand(name):
                for m, o in zip(modules, originals):
                    b, a = m.lora_B[name].weight, m.lora_A[name].weight
                    if factors == "bfloat16":
                        torch.addmm(o, b, a, alpha=2, out=m.get_base_layer().weight.data)
                    else:
                        m.get_base_layer().weight.data.copy_(torch.addmm(o.float(), b, a, alpha=2))

            ms = wall_ms(lambda: by_hand("a"))
            print(f"torch: {label}, factors in {factors}: addmm from kept weights {ms:.2f} ms", flush=True)
            ms = wall_ms(lambda: [m.get_base_layer().weight.copy_(o) for m, o in zip(modules, originals)])
            print(f"torch: {label}: copying the kept weights back {ms:.2f} ms", flush=True)
        del originals
        model = peft.unload()
        torch.cuda.empty_cache()
    del model, peft
    torch.cuda.empty_cache()


if __name__ == "__main__":
    print(torch.__version__, torch.cuda.get_device_name(), flush=True)
    if sys.argv[1] == "kernels":
        kernels()
    else:
        for label in sys.argv[2:]:
            swaps(label)
