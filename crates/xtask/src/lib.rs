//! House rules as tests: `cargo test -p xtask`.
