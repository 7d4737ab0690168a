"""The reference run's compressor, re-expressed in PyTorch: writes what `Quantiser::Compatible` is checked against.

Usage: python reference.py > reference.txt. Needs `torch`. Numbers come from a fixed integer generator whose values are
exact in f32, so that both sides compress the same. One line of shape, one of the value of each code and one of chunk:index:code per tensor.
"""

import math

import torch

EDGE, TOP_K, BINS, RANGE = 64, 64, 4, 6
SHAPES = [(96, 128), (70, 30), (128,), (130,), (5, 7), (3, 67), (33, 100), (12,)]


def numbers(count, seed):
    """Products of three uniform numbers, as the crate's tests make them."""
    state, mask, values = (seed * 0x9E3779B97F4A7C15 | 1) & (1 << 64) - 1, (1 << 64) - 1, []

    def uniform():
        nonlocal state
        state ^= state << 13 & mask
        state ^= state >> 7
        state ^= state << 17 & mask
        return torch.tensor((state >> 40) / (1 << 24) - 0.5, dtype=torch.float32)

    for _ in range(count):
        values.append(uniform() * uniform() * uniform())
    return torch.stack(values)


def edge_of(length):
    return max(d for d in range(1, min(EDGE, length) + 1) if length % d == 0)


def to_chunks(x):
    if x.dim() == 1:
        return x.view(-1, edge_of(x.shape[0]))
    (rows, columns), (high, wide) = x.shape, map(edge_of, x.shape)
    blocks = x.view(rows // high, high, columns // wide, wide)
    return blocks.permute(0, 2, 1, 3).reshape(-1, high * wide)


def compress(x):
    chunks = to_chunks(x)
    length = chunks.shape[-1]
    k = max(2, min(TOP_K, length) // 2 * 2)
    indices = torch.topk(chunks.abs(), k, dim=-1, largest=True, sorted=False).indices.sort(dim=-1).values
    values = chunks.gather(-1, indices)
    shift = values.mean()
    centred = values - shift
    scale = RANGE * (centred.norm() / math.sqrt(values.numel() - 1)) / BINS
    if scale == 0 or not torch.isfinite(scale):
        scale = torch.tensor(1.0)
    codes = (centred / scale + BINS / 2).round().clamp(0, BINS - 1).to(torch.int64)
    lookup = [centred[codes == code].mean() if (codes == code).any() else torch.tensor(0.0) for code in range(BINS)]
    return indices, codes, [level + shift for level in lookup]


for seed, shape in enumerate(SHAPES, 1):
    indices, codes, levels = compress(numbers(math.prod(shape), seed).view(shape))
    print("shape", *shape)
    print("levels", *(f"{level.item():.9g}" for level in levels))
    rows = [" ".join(f"{i}:{c}" for i, c in zip(row, code)) for row, code in zip(indices.tolist(), codes.tolist())]
    print("chunks", " | ".join(rows))
