"""The reference run's compression pipeline, re-expressed in PyTorch: what a user would run otherwise.

Same shapes, peers and number of threads as `cargo bench -p pactum-benches --bench compress -- speed`. Needs `torch`.
The compressor keeps 64 of each 64 x 64 chunk, quantises to 4 levels a tensor and packs 12-bit indices; it does no
entropy coding. Usage: python benches/torch/compress.py [threads]
"""

import sys
import time

import torch

EDGE, TOP_K, BINS, PEERS, RUNS, DECAY = 64, 64, 4, 20, 5, 0.95
LAYER = [(1024,), (1024, 1024), (512, 1024), (512, 1024), (1024, 1024), (1024,), (2816, 1024), (2816, 1024), (1024, 2816)]
SHAPES = [(8192, 1024)] + 5 * LAYER


def to_chunks(x):
    if x.dim() == 1:
        return x.view(-1, EDGE)
    rows, columns = x.shape
    blocks = x.view(rows // EDGE, EDGE, columns // EDGE, EDGE)
    return blocks.permute(0, 2, 1, 3).reshape(rows // EDGE, columns // EDGE, EDGE * EDGE)


def from_chunks(chunks, shape):
    if len(shape) == 1:
        return chunks.reshape(shape)
    rows, columns = shape
    blocks = chunks.view(rows // EDGE, columns // EDGE, EDGE, EDGE)
    return blocks.permute(0, 2, 1, 3).reshape(rows, columns)


def pack(indices):
    pairs = indices.to(torch.int32).view(-1, 2)
    first, second = pairs[:, 0], pairs[:, 1]
    return torch.stack([first & 255, first >> 8 | (second & 15) << 4, second >> 4], 1).to(torch.uint8)


def unpack(packed, shape):
    packed = packed.to(torch.int64)
    first = packed[:, 0] | (packed[:, 1] & 15) << 8
    second = packed[:, 1] >> 4 | packed[:, 2] << 4
    return torch.stack([first, second], 1).view(shape)


def quantise(values):
    shift = values.mean()
    centred = values - shift
    scale = centred.norm() / (centred.numel() - 1) ** 0.5 * 6 / BINS
    if scale == 0 or not torch.isfinite(scale):
        scale = torch.tensor(1.0)
    codes = (centred / scale + BINS / 2).round().clamp(0, BINS - 1).to(torch.uint8)
    flat, index = centred.flatten(), codes.flatten().to(torch.int64)
    sums = torch.zeros(BINS).scatter_add_(0, index, flat)
    counts = torch.zeros(BINS).scatter_add_(0, index, torch.ones_like(flat))
    lookup = torch.where(counts > 0, sums / counts.clamp(min=1), torch.zeros(BINS))
    return codes, lookup, shift


def dequantise(codes, lookup, shift):
    return lookup[codes.to(torch.int64)] + shift


def compress(feedback, before, after):
    feedback.mul_(DECAY).add_(before).sub_(after)
    chunks = to_chunks(feedback)
    kept = min(TOP_K, chunks.shape[-1])
    indices = torch.topk(chunks.abs(), kept, dim=-1, largest=True, sorted=False).indices
    indices = indices.sort(dim=-1).values
    codes, lookup, shift = quantise(chunks.gather(-1, indices))
    sent = torch.zeros_like(chunks).scatter_(-1, indices, dequantise(codes, lookup, shift))
    feedback.sub_(from_chunks(sent, feedback.shape))
    return pack(indices), indices.shape, codes, lookup, shift


def aggregate(theta, payloads, rate):
    indices, values, norms = [], [], []
    for packed, shape, codes, lookup, shift in payloads:
        value = dequantise(codes, lookup, shift)
        indices.append(unpack(packed, shape))
        values.append(value)
        norms.append(value.norm())
    norms = torch.stack(norms)
    clip = (norms.median() / norms).clamp(max=1)
    values = torch.cat([value * c for value, c in zip(values, clip)], -1)
    chunks = torch.zeros_like(to_chunks(theta))
    chunks.scatter_reduce_(-1, torch.cat(indices, -1), values, reduce="mean", include_self=False)
    theta.sub_(from_chunks(chunks, theta.shape), alpha=rate)


def timed(work, runs=RUNS):
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds), sorted(seconds)[runs // 2]


def numbers(shape, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator).pow_(3).mul_(1e-4)


def main():
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 2)
    count = sum(torch.Size(shape).numel() for shape in SHAPES)
    before = [numbers(shape, 1) for shape in SHAPES]
    after = [numbers(shape, 2) for shape in SHAPES]
    feedback = [numbers(shape, 3) for shape in SHAPES]
    print(f"{count} parameters, {torch.get_num_threads()} threads, torch {torch.__version__}")
    least, median = timed(lambda: [torch.topk(to_chunks(e).abs(), min(TOP_K, 64), dim=-1) for e in feedback])
    print(f"torch.topk alone: {least * 1e3:.0f} ms least, {median * 1e3:.0f} ms median")
    least, median = timed(lambda: [compress(*tensors) for tensors in zip(feedback, before, after)])
    print(f"compress: {least * 1e3:.0f} ms least, {median * 1e3:.0f} ms median, {count / least / 1e6:.0f} million parameters/s")
    payloads = []
    for peer in range(PEERS):
        fresh = [numbers(shape, 10 + peer) for shape in SHAPES]
        payloads.append([compress(*tensors) for tensors in zip(fresh, before, after)])
    work = lambda: [aggregate(t, [p[i] for p in payloads], 0.7) for i, t in enumerate(before)]
    least, median = timed(work, 3)
    print(f"decode, aggregate and step, {PEERS} peers: {least * 1e3:.0f} ms least, {median * 1e3:.0f} ms median")


main()
