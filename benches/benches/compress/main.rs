//! Compression: size against error on pseudo-gradients of a model in training, and speed against a plain copy.
//!
//! ```console
//! $ cargo bench -p pactum-benches --bench compress                 # both tables
//! $ cargo bench -p pactum-benches --bench compress -- ratio 1024   # one width
//! $ cargo bench -p pactum-benches --bench compress -- speed
//! $ python benches/torch/compress.py                               # the same work in PyTorch
//! ```
#![expect(clippy::print_stdout, reason = "a bench prints its tables")]

mod ratio;
mod record;
mod speed;

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let arguments = std::env::args().skip(1).collect::<Vec<_>>();
    // `cargo test --all-targets` starts benches too, without this flag.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let words = arguments.iter().map(String::as_str).filter(|word| *word != "--bench").collect::<Vec<_>>();
    match words[..] {
        [] => {
            ratio::print(256)?;
            ratio::print(1024)?;
            speed::print()
        }
        ["ratio", width] => ratio::print(width.parse()?),
        ["speed"] => speed::print(),
        _ => Err("choose `ratio WIDTH` or `speed`".into()),
    }
}
