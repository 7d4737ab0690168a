#!/usr/bin/env python3
"""Training step of pactum-model beside PyTorch's on the same CPU, weights and tokens, in turn.

    pip install torch safetensors
    cargo build --release -p pactum-model --example step
    python3 benches/torch/compare.py target/release/examples/step [--threads 2] [--rounds 5] [--compile] [--model mini]
        [--scratch DIR]

PyTorch runs at its best eager setting: fused RMSNorm, scaled_dot_product_attention with grouped heads, fused AdamW;
`--compile` adds torch.compile. In each round both make the same number of steps; the ratio of a round is PyTorch's
median step over ours, and the table ends with the median of the ratios. Peak memory is that of each process. With
`--scratch` each round also makes our steps with AdamW's moments in a file of that folder, and not in memory.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SHAPES = {
    # vocab, width, layers, heads, kv heads, ffn, context, rows
    "tiny": (256, 128, 4, 4, 2, 384, 64, 12),
    "mini": (4096, 256, 6, 8, 4, 768, 256, 4),
    "46m": (32768, 512, 4, 8, 4, 1536, 512, 2),
}


def write_checkpoint(folder: Path, shape: tuple) -> None:
    import torch
    from safetensors.torch import save_file

    vocab, width, layers, heads, kv_heads, ffn, context, _ = shape
    (folder / "config.json").write_text(json.dumps({
        "model_type": "llama", "vocab_size": vocab, "hidden_size": width, "intermediate_size": ffn,
        "num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": kv_heads,
        "max_position_embeddings": context, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
    }))
    torch.manual_seed(1)
    key = width // heads * kv_heads
    tensors = {"model.embed_tokens.weight": (vocab, width), "lm_head.weight": (vocab, width)}
    for layer in range(layers):
        at = f"model.layers.{layer}."
        for name, size in (("q", (width, width)), ("k", (key, width)), ("v", (key, width)), ("o", (width, width))):
            tensors[f"{at}self_attn.{name}_proj.weight"] = size
        for name, size in (("gate", (ffn, width)), ("up", (ffn, width)), ("down", (width, ffn))):
            tensors[f"{at}mlp.{name}_proj.weight"] = size
    values = {name: 0.02 * torch.randn(size) for name, size in tensors.items()}
    for layer in range(layers):
        for name in ("input_layernorm", "post_attention_layernorm"):
            values[f"model.layers.{layer}.{name}.weight"] = torch.ones(width)
    values["model.norm.weight"] = torch.ones(width)
    save_file(values, folder / "model.safetensors")


def serve(folder: str, shape: tuple, threads: int, compiled: bool) -> None:
    """PyTorch's side, in a process of its own: makes as many steps as each line of input says."""
    import torch
    import torch.nn.functional as F
    from safetensors.torch import load_file

    torch.set_num_threads(threads)
    vocab, width, layers, heads, kv_heads, ffn, context, rows = shape
    head = width // heads
    weights = {name: torch.nn.Parameter(value) for name, value in load_file(Path(folder, "model.safetensors")).items()}
    angles = torch.outer(torch.arange(context).double(), 10000.0 ** (-torch.arange(0, head, 2).double() / head))
    cosines, sines = (torch.cat([f(angles)] * 2, -1).float() for f in (torch.cos, torch.sin))

    def turn(x):
        low, high = x.chunk(2, -1)
        return x * cosines + torch.cat([-high, low], -1) * sines

    def loss_of(inputs, targets):
        x = F.embedding(inputs, weights["model.embed_tokens.weight"])
        for layer in range(layers):
            part = lambda name: weights[f"model.layers.{layer}.{name}.weight"]
            y = F.rms_norm(x, (width,), part("input_layernorm"), 1e-5)
            split = lambda name, n: F.linear(y, part(f"self_attn.{name}_proj")).view(rows, context, n, head).transpose(1, 2)
            query, key, value = turn(split("q", heads)), turn(split("k", kv_heads)), split("v", kv_heads)
            mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)
            x = x + F.linear(mixed.transpose(1, 2).reshape(rows, context, width), part("self_attn.o_proj"))
            y = F.rms_norm(x, (width,), part("post_attention_layernorm"), 1e-5)
            hidden = F.silu(F.linear(y, part("mlp.gate_proj"))) * F.linear(y, part("mlp.up_proj"))
            x = x + F.linear(hidden, part("mlp.down_proj"))
        x = F.rms_norm(x, (width,), weights["model.norm.weight"], 1e-5)
        return F.cross_entropy(F.linear(x, weights["lm_head.weight"]).view(-1, vocab), targets.reshape(-1))

    matrices = [w for w in weights.values() if w.dim() > 1]
    vectors = [w for w in weights.values() if w.dim() == 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95), eps=1e-8, fused=True)
    ids = torch.tensor([((i * i * 31 + i * 7919) & 0xFFFFFFFF) % vocab for i in range(rows * (context + 1))])
    ids = ids.view(rows, context + 1)
    inputs, targets = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()
    forward = torch.compile(loss_of) if compiled else loss_of
    for line in sys.stdin:
        times, losses = [], []
        for _ in range(int(line)):
            start = time.perf_counter()
            loss = forward(inputs, targets)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(list(weights.values()), 1.0)
            optimizer.step()
            times.append((time.perf_counter() - start) * 1e3)
            losses.append(loss.item())
        peak = int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text()).group(1)) / 1e3
        print(json.dumps({"times": times, "losses": losses, "peak": peak}), flush=True)


def ours(program: str, folder: Path, shape: tuple, options: argparse.Namespace, moments: str | None = None) -> dict:
    command = [program, str(folder), str(shape[-1]), str(options.threads), str(options.steps), *filter(None, [moments])]
    environment = {**os.environ, "RAYON_NUM_THREADS": str(options.threads)}
    out = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    found = re.search(r"median ([\d.]+) ms.* peak ([\d.]+) MB, losses \[(.*)\], (\d+) of (\d+) GFLOP/s", out)
    losses = [float(x) for x in found[3].split(",")]
    return {"median": float(found[1]), "peak": float(found[2]), "losses": losses, "limit": float(found[5]),
            "share": float(found[4]) / float(found[5])}


class Rows:
    """What the rounds of one of our ways to train came to, beside PyTorch."""

    def __init__(self, name: str):
        self.name, self.ratios, self.speeds, self.peaks = name, [], [], []

    def add(self, us: dict, median: float, peak: float) -> str:
        self.ratios.append(median / us["median"])
        self.speeds.append(us["median"])
        self.peaks.append((us["peak"], peak))
        return f"{self.name} {us['median']:8.1f} ms {us['peak']:6.0f} MB   ratio {self.ratios[-1]:.2f}"

    def summary(self) -> str:
        us, them = max(us for us, _ in self.peaks), min(them for _, them in self.peaks)
        return (f"{self.name}: {statistics.median(self.speeds):.1f} ms, median of the ratios "
                f"{statistics.median(self.ratios):.2f}; peak {us:.0f} MB, {100 * us / them:.0f} % of PyTorch's {them:.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--model", choices=SHAPES, default="mini")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--scratch", help="a folder for a file with AdamW's moments")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    shape = SHAPES[options.model]
    if options.serve:
        return serve(options.serve, shape, options.threads, options.compile)
    with tempfile.TemporaryDirectory() as folder:
        write_checkpoint(Path(folder), shape)
        command = [sys.executable, __file__, *sys.argv[1:], "--serve", folder]
        server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

        def theirs(steps: int) -> dict:
            server.stdin.write(f"{steps}\n")
            server.stdin.flush()
            return json.loads(server.stdout.readline())

        first = theirs(5)
        tokens = shape[-1] * shape[-2]
        print(f"{options.model}, {options.threads} threads, {tokens} tokens a step"
              f"{', torch.compile' if options.compile else ''}")
        rows, shares, medians = [Rows("pactum")], [], []
        if options.scratch:
            rows.append(Rows("moments on disk"))
            moments = str(Path(options.scratch, f"moments-{os.getpid()}"))
        for number in range(options.rounds):
            us = [ours(options.program, Path(folder), shape, options)]
            if options.scratch:
                us.append(ours(options.program, Path(folder), shape, options, moments))
                os.remove(moments)
                assert us[0]["losses"] == us[1]["losses"], "moments on disk change no bit"
            them = theirs(options.steps)
            medians.append(statistics.median(them["times"]))
            shares.append(us[0]["share"])
            lines = [row.add(one, medians[-1], them["peak"]) for row, one in zip(rows, us)]
            print(f"round {number + 1}: {'   '.join(lines)}   torch {medians[-1]:8.1f} ms {them['peak']:6.0f} MB", flush=True)
        drift = max(abs(a - b) / b for a, b in zip(us[0]["losses"], first["losses"]))
        print(f"torch: {statistics.median(medians):.1f} ms; first losses agree within {drift:.1e}")
        print(*[row.summary() for row in rows], sep="\n")
        print(f"pactum's step does {100 * statistics.median(shares):.0f} % of the operations a second of a product of two "
              f"matrices of 2048 x 2048, {us[0]['limit']:.0f} GFLOP/s")
        server.stdin.close()
        server.wait()


if __name__ == "__main__":
    main()
