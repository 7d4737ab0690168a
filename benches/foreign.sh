#!/usr/bin/env bash
# Runs the tests of pactum-compress as on another machine, under emulation: payloads are the same bytes everywhere, and vectors of other machines
# find what plain code does. It takes a minute or two.
#
#     benches/foreign.sh TARGET [FILTER OR OPTION OF THE TESTS]...
#
# TARGET is aarch64-unknown-linux-gnu (NEON), s390x-unknown-linux-gnu (bytes in the other order) or i686-unknown-linux-gnu (32 bits), of which Rust must
# have the standard library (`rustup target add TARGET`). From Debian come the other tools: qemu-user, and the linker and the libraries
# gcc-aarch64-linux-gnu, gcc-s390x-linux-gnu or gcc-i686-linux-gnu with libc6-dev of that machine.
set -euo pipefail

[ $# -ge 1 ] || { sed -n 's/^# \{0,1\}//p' "$0" | head -9; exit 2; }
target=$1
shift
case $target in
    aarch64-unknown-linux-gnu) emulator=qemu-aarch64 ;;
    s390x-unknown-linux-gnu) emulator=qemu-s390x ;;
    i686-unknown-linux-gnu) emulator=qemu-i386 ;;
    *) echo "$target is none of the targets that this knows; see the head of $0" >&2; exit 2 ;;
esac
linker=${target/-unknown/}-gcc
for tool in "$emulator" "$linker"; do
    command -v "$tool" > /dev/null || { echo "$tool is missing; see the head of $0" >&2; exit 2; }
done
cd "$(dirname "$0")/.."
name=$(tr 'a-z-' 'A-Z_' <<< "$target")
export "QEMU_LD_PREFIX=${QEMU_LD_PREFIX:-/usr/${target/-unknown/}}" "CARGO_TARGET_${name}_LINKER=$linker" "CARGO_TARGET_${name}_RUNNER=$emulator" "PROPTEST_CASES=${PROPTEST_CASES:-24}"
cargo test -p pactum-compress --lib --release --target "$target" -- "$@"
