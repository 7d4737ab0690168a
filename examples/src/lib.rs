//! Programs that show the crates working together: `cargo run -p pactum-examples --example train_with_compression_two_workers`.
