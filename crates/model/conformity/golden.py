#!/usr/bin/env python3
"""Writes the golden gradients of tests/golden.rs: small Llama models of transformers, differentiated by PyTorch in f64.

    pip install torch transformers safetensors
    python3 crates/model/conformity/golden.py crates/model/tests/golden

Each case is a folder with `weights` and `gradient`, both checkpoints of the same model, and `batch.json` with the
token ids (two rows) and the loss.
"""

import json
import sys
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.utils import logging

SMALL = dict(
    vocab_size=23, hidden_size=16, intermediate_size=20, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, max_position_embeddings=24, rms_norm_eps=1e-5, tie_word_embeddings=False,
    bos_token_id=0, eos_token_id=0, pad_token_id=None,
)
CASES = {
    "grouped": {},
    "tied": dict(tie_word_embeddings=True, num_key_value_heads=1),
    "biased": dict(attention_bias=True, mlp_bias=True, num_attention_heads=2, num_hidden_layers=1),
}


def write(folder: Path, changes: dict) -> None:
    torch.manual_seed(7)
    model = LlamaForCausalLM(LlamaConfig(**{**SMALL, **changes}, attn_implementation="eager"))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    model.save_pretrained(folder / "weights")
    ids = torch.randint(0, SMALL["vocab_size"], (2, 20))
    model = model.double()
    logits = model(ids[:, :-1]).logits
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
    loss.backward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.grad)
    model.float().save_pretrained(folder / "gradient")
    for extra in folder.glob("*/generation_config.json"):
        extra.unlink()
    text = json.dumps({"rows": 2, "columns": 20, "ids": ids.flatten().tolist(), "loss": loss.item()})
    (folder / "batch.json").write_text(text + "\n")


if __name__ == "__main__":
    logging.disable_progress_bar()
    folder = Path(sys.argv[1]) if len(sys.argv) == 2 else sys.exit(__doc__)
    for name, changes in CASES.items():
        write(folder / name, changes)
