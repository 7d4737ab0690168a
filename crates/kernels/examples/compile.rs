//! Compiles every kernel source for several devices with NVRTC, which needs no device, and checks that nothing in those
//! whose results must be exact computes other bits than a processor would.
//!
//! ```console
//! $ pip install nvidia-cuda-nvrtc-cu12
//! $ LD_LIBRARY_PATH=$(python -c "import nvidia.cuda_nvrtc as n; print(list(n.__path__)[0])")/lib \
//!     cargo run -p pactum-kernels --features cuda --example compile
//! ```
#![expect(clippy::print_stdout, reason = "an example prints what it finds")]

use pactum_kernels::SOURCES;

const ARCHITECTURES: [&str; 3] = ["sm_80", "sm_90", "sm_100"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for source in SOURCES {
        for architecture in ARCHITECTURES {
            let code = source.compile(architecture)?;
            if let Some(line) = code.inexact.first().filter(|_| source.exact) {
                return Err(format!("{}.cu for {architecture} has an inexact instruction: {line}", source.name).into());
            }
            let missing = source.kernels.iter().find(|kernel| !code.text.contains(&format!(".entry {kernel}(")));
            if let Some(kernel) = missing {
                return Err(format!("{}.cu for {architecture} lacks the kernel {kernel}", source.name).into());
            }
            println!(
                "{}.cu for {architecture}: kernels {}; {} rounding instructions, {}",
                source.name,
                source.kernels.join(", "),
                code.rounding,
                if source.exact { "none fused or approximated" } else { "not held to a processor's bits" }
            );
        }
    }
    Ok(())
}
