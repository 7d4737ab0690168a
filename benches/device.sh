#!/bin/sh
# Everything that needs a CUDA device, in one command: the laws of compression and of the outer step on it, and how near
# the kernels come to a copy in its memory. It ends with one sentence where there is no device.
set -eu
cd "$(dirname "$0")/.."
cargo run --release --locked -p pactum-benches --features cuda --bin device
cargo test --release --locked -p pactum-kernels --features cuda
cargo test --release --locked -p pactum-compress --features cuda --test device
