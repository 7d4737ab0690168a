//! Compression: size against error on pseudo-gradients of a model in training, and speed against a plain copy.
//!
//! ```console
//! $ cargo bench -p pactum-benches --bench compress                 # all tables
//! $ cargo bench -p pactum-benches --bench compress -- ratio        # size and error, at widths 256 and 1024
//! $ cargo bench -p pactum-benches --bench compress -- ratio FILE   # the same for what `record_gradients` wrote (FILE 256: its large matrices)
//! $ cargo bench -p pactum-benches --bench compress -- speed
//! $ cargo bench -p pactum-benches --bench compress -- speed leaning # of numbers whose signs follow rows and columns
//! $ python benches/torch/compress.py                               # the same work in PyTorch
//! ```
#![expect(clippy::print_stdout, reason = "a bench prints its tables")]

mod ratio;
mod record;
mod speed;

use record::Recorded;

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
            ratios()?;
            speed::print(false)
        }
        ["ratio"] => ratios(),
        ["ratio", file] => ratio::print(&Recorded::read(file)?, 0),
        ["ratio", file, least] => ratio::print(&Recorded::read(file)?, least.parse()?),
        ["speed"] => speed::print(false),
        ["speed", "leaning"] => speed::print(true),
        _ => Err("choose `ratio`, `ratio FILE`, `speed` or `speed leaning`".into()),
    }
}

/// Matrices of 256 x 256 and more of a small model; of a larger one those of 1024 x 1024 and more.
fn ratios() -> Result<(), Error> {
    for width in [256, 1024] {
        ratio::print(&Recorded::of_width(width)?, width)?;
    }
    Ok(())
}
