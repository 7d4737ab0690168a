#!/usr/bin/env python3
"""Checks that checkpoints pass between pactum-model and Hugging Face transformers in both directions.

    pip install torch transformers safetensors
    cargo build --release -p pactum-model --example exchange
    python3 crates/model/conformity/check.py target/release/examples/exchange

Small random Llama models of several shapes are written by transformers, read by us and compared logit by logit; what
we write again is read by transformers and must be the same tensors, bit for bit (in f32).
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM
from transformers.utils import logging

SMALL = dict(
    vocab_size=97, hidden_size=32, intermediate_size=56, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, max_position_embeddings=96, rms_norm_eps=1e-5, tie_word_embeddings=False,
    bos_token_id=0, eos_token_id=0, pad_token_id=None,
)
LLAMA3 = dict(
    rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=24,
    rope_theta=10000.0,
)
CASES = {
    "grouped": {},
    "tied": dict(tie_word_embeddings=True),
    "single-key-head": dict(num_key_value_heads=1),
    "all-heads": dict(num_key_value_heads=4),
    "biased": dict(attention_bias=True, mlp_bias=True),
    "odd": dict(vocab_size=61, hidden_size=42, num_attention_heads=3, num_key_value_heads=3, intermediate_size=37),
    "wide-head": dict(hidden_size=96, num_attention_heads=1, num_key_value_heads=1),
    "far-rope": dict(rope_parameters=dict(rope_type="default", rope_theta=500000.0)),
    "llama3-rope": dict(rope_parameters=LLAMA3),
    "loose-eps": dict(rms_norm_eps=1e-3),
}
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}


def random_model(changes: dict, seed: int) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    model = LlamaForCausalLM(LlamaConfig(**{**SMALL, **changes}))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def our_logits(program: str, folder: Path, ids: list[int]) -> torch.Tensor:
    arguments = [program, "logits", str(folder), *map(str, ids)]
    lines = subprocess.run(arguments, check=True, capture_output=True, text=True).stdout.split()
    return torch.tensor([float(line) for line in lines])


def check(program: str, name: str, changes: dict, dtype: str, shard: str) -> float:
    model = random_model(changes, seed=len(name)).to(DTYPES[dtype])
    with tempfile.TemporaryDirectory() as scratch:
        theirs, ours = Path(scratch, "theirs"), Path(scratch, "ours")
        model.save_pretrained(theirs, max_shard_size=shard)
        reference = LlamaForCausalLM(model.config)
        reference.load_state_dict({key: value.float() for key, value in model.state_dict().items()})
        reference = reference.float().eval()
        worst = 0.0
        for length in (1, 5, 64, 90):
            ids = torch.randint(0, model.config.vocab_size, (length,)).tolist()
            with torch.no_grad():
                expected = reference(torch.tensor([ids])).logits[0, -1]
            difference = (our_logits(program, theirs, ids) - expected).abs().max() / expected.abs().max()
            worst = max(worst, float(difference))
        subprocess.run([program, "copy", str(theirs), str(ours)], check=True)
        again = AutoModelForCausalLM.from_pretrained(ours, dtype=torch.float32).state_dict()
        for key, value in reference.state_dict().items():
            assert torch.equal(again[key], value), f"{name}: {key} differs after the round trip"
    assert worst < 2e-5, f"{name} {dtype}: logits differ by {worst:.1e}"
    return worst


def main() -> None:
    program = sys.argv[1] if len(sys.argv) == 2 else sys.exit(__doc__)
    logging.disable_progress_bar()
    for name, changes in CASES.items():
        for dtype in DTYPES:
            for shard in ("5GB", "20KB"):
                worst = check(program, name, changes, dtype, shard)
                print(f"{name:16} {dtype:5} shards of {shard:5} ok, logits within {worst:.1e}")


if __name__ == "__main__":
    main()
