#!/usr/bin/env python3
"""PyTorch's side of the training step on a GPU: `device.py VOCAB WIDTH LAYERS HEADS KV_HEADS FFN CONTEXT ROWS`.

It says `ready`, then makes as many steps as each line of input says and answers with the median seconds of one. The model has
a tied head; weights are f32, products run in bf16 by autocast; scaled_dot_product_attention with grouped heads, fused
RMSNorm, torch.compile, fused AdamW, clipping at 1. Where PyTorch or CUDA is missing it ends without `ready`.
"""

import statistics
import sys
import time


def main() -> None:
    try:
        import torch
        import torch.nn.functional as F
    except ImportError as error:
        sys.exit(f"PyTorch is not installed: {error}")
    if not torch.cuda.is_available():
        sys.exit("PyTorch finds no CUDA device")
    vocab, width, layers, heads, kv_heads, ffn, context, rows = map(int, sys.argv[1:9])
    head, device = width // heads, "cuda"
    torch.manual_seed(1)

    def weight(*size: int) -> torch.nn.Parameter:
        return torch.nn.Parameter(0.02 * torch.randn(size, device=device))

    def ones() -> torch.nn.Parameter:
        return torch.nn.Parameter(torch.ones(width, device=device))

    table, last = weight(vocab, width), ones()
    blocks = [
        {
            "norm": ones(), "fused": weight((heads + 2 * kv_heads) * head, width), "output": weight(width, width),
            "second": ones(), "gate_up": weight(2 * ffn, width), "down": weight(width, ffn),
        }
        for _ in range(layers)
    ]
    angles = torch.outer(torch.arange(context).double(), 500000.0 ** (-torch.arange(0, head, 2).double() / head))
    cosines, sines = (torch.cat([f(angles)] * 2, -1).float().to(device) for f in (torch.cos, torch.sin))

    def turn(x):
        low, high = x.chunk(2, -1)
        return (x * cosines + torch.cat([-high, low], -1) * sines).to(x.dtype)

    def loss_of(inputs, targets):
        x = F.embedding(inputs, table)
        for block in blocks:
            y = F.rms_norm(x, (width,), block["norm"], 1e-5)
            fused = F.linear(y, block["fused"]).view(rows, context, heads + 2 * kv_heads, head).transpose(1, 2)
            query, key, value = fused.split([heads, kv_heads, kv_heads], 1)
            mixed = F.scaled_dot_product_attention(turn(query), turn(key), value, is_causal=True, enable_gqa=True)
            x = x + F.linear(mixed.transpose(1, 2).reshape(rows, context, width), block["output"])
            y = F.rms_norm(x, (width,), block["second"], 1e-5)
            gate, up = F.linear(y, block["gate_up"]).chunk(2, -1)
            x = x + F.linear(F.silu(gate) * up, block["down"])
        logits = F.linear(F.rms_norm(x, (width,), last, 1e-5), table)
        return F.cross_entropy(logits.view(-1, vocab).float(), targets.reshape(-1))

    weights = [table, last, *(w for block in blocks for w in block.values())]
    groups = [
        {"params": [w for w in weights if w.dim() > 1], "weight_decay": 0.1},
        {"params": [w for w in weights if w.dim() == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1e-4, betas=(0.9, 0.95), eps=1e-8, fused=True)
    ids = torch.tensor([(i * i * 31 + i * 7919) % vocab for i in range(rows * (context + 1))], device=device)
    ids = ids.view(rows, context + 1)
    inputs, targets = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()
    forward = torch.compile(loss_of)
    print("ready", flush=True)
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            torch.cuda.synchronize()
            start = time.perf_counter()
            with torch.autocast(device, dtype=torch.bfloat16):
                loss = forward(inputs, targets)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            torch.cuda.synchronize()
            times.append(time.perf_counter() - start)
        print(statistics.median(times), flush=True)


if __name__ == "__main__":
    main()
