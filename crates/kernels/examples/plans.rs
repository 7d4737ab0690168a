//! Lets cuDNN plan attention, forward and backward, for devices that need not be here, and so tells whether the library takes
//! the graphs that this crate makes. The library looks for NVIDIA's driver and finds it in `emulation/absent.c`.
//!
//! ```console
//! $ pip install nvidia-cudnn-cu12
//! $ cc -shared -fPIC -o libcuda.so.1 crates/kernels/emulation/absent.c
//! $ P=$(python -c "import nvidia.cudnn as n; print(list(n.__path__)[0])")
//! $ LD_LIBRARY_PATH=.:$P/lib:$P/../cublas/lib:$P/../cuda_nvrtc/lib \
//!     cargo run -p pactum-kernels --features cuda --example plans
//! ```
#![expect(clippy::print_stdout, reason = "an example prints what it finds")]

use pactum_kernels::Attention;

/// Compute capability times a hundred, multiprocessors, and bytes of shared memory of a block.
const DEVICES: [(&str, u32, u32, u32); 3] =
    [("A100", 800, 108, 166_912), ("H100", 900, 132, 232_448), ("B200", 1000, 148, 232_448)];

/// Heads and sequences: of the presets `150m`, `1b` and `8b`, and some that are no multiple of anything.
const SHAPES: [(Attention, usize); 4] = [
    (Attention { heads: 16, kv_heads: 16, width: 64, length: 2048 }, 16),
    (Attention { heads: 8, kv_heads: 8, width: 256, length: 2048 }, 8),
    (Attention { heads: 32, kv_heads: 8, width: 128, length: 2048 }, 2),
    (Attention { heads: 6, kv_heads: 2, width: 40, length: 77 }, 3),
];

/// The widest head that every device takes, and the device that takes all.
const WIDTH: usize = 128;
const WIDE: &str = "H100";

/// A device's properties as the library writes them; it plans by some of them only.
fn properties((name, version, processors, shared): (&str, u32, u32, u32)) -> String {
    format!(
        r#"{{"deviceName":"{name}","deviceVer":{version},"driverVer":12090,"cudaDeviceId":0,"totalGlobalMem":85017493504,
        "maxGridSize":[2147483647,65535,65535],"maxBlockSize":[1024,1024,64],"regsPerBlock":65536,"smCountOrigin":0,
        "multiProcessorCount":{processors},"warpSize":32,"maxSharedMemoryPerBlock":49152,"pciDeviceId":0,"isTccDriver":0,
        "maxSharedMemoryPerBlockOptin":{shared},"oversizedSharedMemoryPerBlock":0,"reservedSharedMemoryPerBlock":1024,
        "maxRegistersPerSM":65536,"maxCtasPerSM":32,"maxThreadsPerBlock":1024,"maxThreadsPerSM":2048,"supportCoopLaunch":1,
        "smClockRateKHz":1980000,"memClockRateKHz":2619000,"memoryBusWidth":5120,"l2CacheSize":52428800}}"#
    )
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for device in DEVICES {
        for (shape, sequences) in SHAPES {
            let Attention { heads, kv_heads, width, length } = shape;
            println!("{}: {sequences} x {length} tokens, {heads} heads over {kv_heads} of width {width}", device.0);
            let plans = match shape.plans(sequences, &properties(device)) {
                Err(error) if width > WIDTH && device.0 != WIDE => {
                    println!("  {error}");
                    continue;
                }
                plans => plans?,
            };
            for (pass, plan) in ["forward", "backward"].into_iter().zip(plans) {
                println!(
                    "  {pass}: engine {}, {} sequences at a time, {} bytes of working memory",
                    plan.engine, plan.sequences, plan.workspace
                );
            }
        }
    }
    Ok(())
}
