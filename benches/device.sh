#!/bin/sh
# Everything that needs a CUDA device, in one command: how near the kernels come to a copy in its memory; tokens/s and MFU of
# training `150m` and `1b`, beside PyTorch's in turn where the interpreter that the variable PYTHON names (else python3) has
# it, and whether cuDNN makes attention or why not (never with PACTUM_CUDNN=off in the environment); and the laws of
# compression, of the outer step and of the training step on it, the last without cuDNN too. It ends with one sentence where
# there is no device. It has not run on a GPU yet.
set -eu
cd "$(dirname "$0")/.."
cargo run --release --locked -p pactum-benches --features cuda --bin device
cargo test --release --locked -p pactum-kernels --features cuda
PACTUM_CUDNN=off cargo test --release --locked -p pactum-kernels --features cuda --test train
cargo test --release --locked -p pactum-compress --features cuda --test device
cargo test --release --locked -p pactum-model --features cuda --test device
