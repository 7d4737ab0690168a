#!/usr/bin/env python3
"""Checks that checkpoints pass between pactum-model and Hugging Face transformers in both directions.

    cargo build --release -p pactum-model --example exchange
    crates/model/conformity/run target/release/examples/exchange

Small random Llama models of several shapes are written by transformers in f32 (also in shards), bf16 and f16; we
read them and give the same logits. What we write again, whole or in shards, is read by transformers and must be the same
configuration and the same tensors, bit for bit (in f32), and give the same logits.
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
    "everything": dict(
        rope_parameters=LLAMA3, attention_bias=True, mlp_bias=True, tie_word_embeddings=True, num_key_value_heads=1,
        vocab_size=101, hidden_size=36, intermediate_size=41, num_attention_heads=6, num_hidden_layers=3,
    ),
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
        subprocess.run([program, "copy", str(theirs), str(ours), "20000" if shard == "20KB" else "5000000000"], check=True)
        assert shard != "20KB" or len(list(ours.glob("*.safetensors"))) > 1, f"{name}: not in shards"
        compare(name, AutoModelForCausalLM.from_pretrained(ours, dtype=torch.float32), reference)
    assert worst < 2e-5, f"{name} {dtype}: logits differ by {worst:.1e}"
    return worst


def compare(name: str, again: torch.nn.Module, reference: torch.nn.Module) -> None:
    """What came back through our files must be the model that went out."""
    tensors = again.state_dict()
    assert tensors.keys() == reference.state_dict().keys(), f"{name}: other tensors after the round trip"
    for key, value in reference.state_dict().items():
        assert torch.equal(tensors[key], value), f"{name}: {key} differs after the round trip"
    ids = torch.randint(0, reference.config.vocab_size, (2, 80))
    with torch.no_grad():
        assert torch.equal(again.eval()(ids).logits, reference(ids).logits), f"{name}: the configuration differs"


def main() -> None:
    program = sys.argv[1] if len(sys.argv) == 2 else sys.exit(__doc__)
    logging.disable_progress_bar()
    for name, changes in CASES.items():
        for dtype in DTYPES:
            for shard in ("5GB", "20KB") if dtype == "f32" else ("5GB",):
                worst = check(program, name, changes, dtype, shard)
                print(f"{name:16} {dtype:5} shards of {shard:5} ok, logits within {worst:.1e}", flush=True)


if __name__ == "__main__":
    main()
