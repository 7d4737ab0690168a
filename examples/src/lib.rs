//! Programs that show the crates working together: `cargo run -p pactum-examples --example two_miners`.
