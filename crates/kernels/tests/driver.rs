//! What is called of NVIDIA's driver, compiler and libraries of products and of attention, tested where there is none of them: stand-ins, made
//! by the system's C compiler over the emulation, are loaded under their names. A process of its own, so that no other test meets them.
#![cfg(unix)]
#![expect(clippy::unwrap_used, unsafe_code, reason = "a test fails by panicking, and loading a library is unsafe")]

use std::path::{Path, PathBuf};
use std::process::Command;

use libloading::os::unix::{Library, RTLD_NOW};
use pactum_kernels::{
    Attention, AttentionGradient, Bf16, Compress, Device, DeviceError, Divisor, Element, Factor, Feedback, Levels,
    Matrix, Outer, Peer, Picked, Product, SOURCES, Tensor, Update,
};

const BASE: &str = include_str!("../kernels/base.cuh");
const PARTS: [&str; 5] = [
    include_str!("../emulation/emulation.h"),
    include_str!("../emulation/fibres.c"),
    include_str!("../emulation/driver.c"),
    include_str!("../emulation/blas.c"),
    include_str!("../emulation/dnn.c"),
];

fn folder() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// Compiles the stand-ins into one library that goes by a name.
fn build(name: &str) -> PathBuf {
    let bodies = SOURCES.iter().map(|source| &source.text[BASE.len()..]).collect::<String>();
    let entries = SOURCES.iter().flat_map(|source| source.kernels).map(|kernel| format!("ENTRY({kernel}),"));
    let table = format!("static const Kernel KERNELS[] = {{ {} }};", entries.collect::<String>());
    let source = folder().join(format!("driver-{}.c", std::process::id()));
    let library = folder().join(format!("{name}-{}", std::process::id()));
    std::fs::write(&source, [PARTS[0], BASE, &bodies, &table, PARTS[1], PARTS[2], PARTS[3], PARTS[4]].join("\n"))
        .unwrap();
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let flags =
        ["-std=gnu11", "-O1", "-ffp-contract=off", "-fno-strict-aliasing", "-w", "-shared", "-fPIC", "-pthread"];
    let mut command = Command::new(compiler);
    command.args(flags).arg(format!("-Wl,-soname,{name}")).arg("-o").arg(&library).arg(&source).arg("-lm");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::remove_file(source).unwrap();
    library
}

/// The device of the stand-ins. Whoever asks for the driver or the compiler by name gets what is loaded already.
fn stand_in() -> Device {
    for name in ["libcuda.so", "libnvrtc.so", "libcublasLt.so", "libcudnn.so"] {
        let path = build(name);
        // SAFETY: the library has just been built, and loading it runs nothing of it.
        let library = unsafe { Library::open(Some(&path), RTLD_NOW) }.unwrap();
        std::mem::forget(library);
        std::fs::remove_file(path).unwrap();
    }
    let device = Device::find().unwrap();
    assert_eq!(device.name(), "stand-in");
    device
}

const MATRIX: Matrix = Matrix { offset: 5, chunk: 1, rows: 70, columns: 90, bands: 2, across: 2 };
const LEN: usize = 5 + 70 * 90;
const KEPT: usize = 40;

fn numbers(seed: usize) -> Vec<f32> {
    (0..LEN).map(|place| ((place * 7919 + seed * 104_729) % 2003) as f32 / 1000.0 - 1.0).collect()
}

/// Everything that the kernels give for the same input, as words.
fn results(device: &Device) -> Result<Vec<Vec<u64>>, DeviceError> {
    let words = |values: Vec<f32>| values.into_iter().map(|value| u64::from(value.to_bits())).collect::<Vec<_>>();
    let (mut values, before) = (device.upload(&numbers(1))?, device.upload(&numbers(2))?);
    let (after, mut picked) = (device.zeros(LEN)?, Picked::new(device, 5, KEPT)?);
    let mut feedback = Feedback { values: &mut values, step: Some((&before, &after, 0.9)), subtract: true };
    Compress::new(device, &[(MATRIX, [KEPT; 4])], Levels::Two)?.run(&mut feedback, &mut picked)?;
    let mut whole = Picked::new(device, 5, KEPT)?.with_values(Levels::Exact)?;
    let mut feedback = Feedback { values: &mut values, step: None, subtract: true };
    Compress::new(device, &[(MATRIX, [KEPT; 4])], Levels::Exact)?.run(&mut feedback, &mut whole)?;
    let mark = device.mark()?;
    let heads = picked.heads.read_after(&mark, 1..5)?;
    let indices = picked.indices.read()?;
    let starts = (0..=5).map(|chunk| if chunk == 0 { 0 } else { (chunk - 1) * KEPT as u64 }).collect::<Vec<_>>();
    let update = Update::upload(device, &starts, &indices[KEPT..], &numbers(3)[..4 * KEPT])?;
    let (norms, peaks) = update.norms(&[0, 1, 5])?;
    let mut theta = device.zeros(LEN)?;
    theta.copy_from(&before)?;
    update.add_to(&mut theta, &[MATRIX], -0.5)?;
    let tensors = [Tensor { matrix: MATRIX, factors: vec![0.25, 2.0] }];
    let peers = [Peer { update: &update, weight: 1.0 }, Peer { update: &update, weight: 0.5 }];
    Outer { divisor: Divisor::Contributors, rate: 0.7 }.run(&mut theta, &peers, &tensors)?;
    let small =
        [indices.into_iter().map(u64::from).collect(), picked.codes.read()?.into_iter().map(u64::from).collect()];
    let whole = words(whole.values.read()?);
    let norms = norms.into_iter().map(f64::to_bits).collect();
    let all = [heads, whole, picked.rejected.read()?, norms, words(peaks), words(values.read()?), words(theta.read()?)];
    Ok(small.into_iter().chain(all).collect())
}

/// Products of small whole numbers, which are exact in any order: the library's where it takes them, else the kernel's.
fn products<E: Element, O: Element>(device: &Device, depth: usize) -> Result<Vec<f64>, DeviceError> {
    let (rows, columns) = (5, 7);
    let whole = |seed: usize, len: usize| (0..len).map(|at| E::from(((at * 31 + seed) % 11) as f32 - 5.0)).collect();
    let (left, right): (Vec<E>, Vec<E>) = (whole(1, rows * depth), whole(2, 3 + depth * columns));
    let (left, right) = (device.upload(&left)?, device.upload(&right)?);
    // Aligned to no more than its elements are.
    let right = right.part(3..3 + depth * columns)?;
    let mut found = Vec::new();
    for turned in 0..4 {
        let product = Product {
            left: Factor { numbers: &left, rows, columns: depth, transposed: turned & 1 > 0 },
            right: Factor { numbers: &right, rows: depth, columns, transposed: turned & 2 > 0 },
        };
        let (mut out, mut other) = (device.zeros::<O>(rows * columns)?, device.zeros::<O>(rows * columns)?);
        product.set(&mut out)?;
        product.add(&mut out)?;
        product.add_to(&out, &mut other)?;
        found.extend(out.read()?.into_iter().chain(other.read()?).map(|number| f64::from(number.into())));
    }
    Ok(found)
}

fn all_products(device: &Device) -> Vec<f64> {
    let each = [products::<f32, f32>, products::<Bf16, f32>, products::<Bf16, Bf16>, products::<f32, Bf16>];
    each.into_iter().flat_map(|products| [4, 3].map(|depth| products(device, depth).unwrap()).concat()).collect()
}

/// Output, logarithms and gradient of attention, from numbers that begin some elements behind the start of their memory.
fn attended(device: &Device, shape: &Attention, sequences: usize, aside: usize) -> [Vec<f32>; 3] {
    let tokens = sequences * shape.length;
    let (row, width) = ((shape.heads + 2 * shape.kv_heads) * shape.width, shape.heads * shape.width);
    let short = |seed, len| numbers(seed).into_iter().cycle().take(len).map(Bf16::from).collect::<Vec<_>>();
    let fused = device.upload(&short(4, aside + tokens * row)).unwrap().part(aside..aside + tokens * row).unwrap();
    let slope = device.upload(&short(5, tokens * width)).unwrap();
    let (mut out, mut logs) = (device.zeros(tokens * width).unwrap(), device.zeros(tokens * shape.heads).unwrap());
    shape.forward(&fused, &mut out, &mut logs).unwrap();
    let (mut into, mut pulls) = (device.zeros::<Bf16>(tokens * row).unwrap(), device.zeros(logs.len()).unwrap());
    let (mixed, gradient) = (&out, &mut into);
    shape
        .backward(&mut AttentionGradient {
            fused: &fused,
            mixed,
            logs: &logs,
            slope: &slope,
            gradient,
            pulls: &mut pulls,
        })
        .unwrap();
    let wide = |numbers: Vec<Bf16>| numbers.into_iter().map(f32::from).collect();
    [wide(out.read().unwrap()), logs.read().unwrap(), wide(into.read().unwrap())]
}

/// That attention of a shape is made by the library, or why it is not, and comes to the same as the kernels do.
fn check_attention(devices: &[Device; 2], shape: Attention, sequences: usize, by: &str) {
    let said = shape.made_by(&devices[0]);
    assert!(if by == LIBRARY { said == by } else { said.contains(by) }, "{shape:?}: {said}");
    let [found, expected] = devices.each_ref().map(|device| attended(device, &shape, sequences, 0));
    // The library rounds weights that the kernels do not round, or rounds them elsewhere.
    assert_eq!(found == expected, by != LIBRARY, "{shape:?}");
    for (found, expected) in found.into_iter().flatten().zip(expected.into_iter().flatten()) {
        assert!((found - expected).abs() <= 0.04 * (1.0 + expected.abs()), "{shape:?}: {found} instead of {expected}");
    }
    let [found, expected] = devices.each_ref().map(|device| attended(device, &shape, sequences, 1));
    assert_eq!(found, expected, "what is not aligned is for the kernels");
}

const LIBRARY: &str = "cuDNN 9.19.0";

fn all_attention(devices: &[Device; 2]) {
    let check = |heads, kv_heads, width, length, sequences, by: &str| {
        check_attention(devices, Attention { heads, kv_heads, width, length }, sequences, by);
    };
    check(4, 2, 8, 10, 2, LIBRARY);
    check(2, 2, 16, 13, 1, LIBRARY);
    check(3, 1, 32, 33, 3, LIBRARY);
    // More sequences than there is working memory for.
    check(2, 1, 8, 5, 4, LIBRARY);
    check(1, 1, 40, 9, 1, "own kernels (cuDNN 9.19.0 is not used: it is ");
    check(2, 1, 24, 9, 1, "its sums have no fixed order");
    check(2, 1, 56, 9, 1, "no engine takes it");
    check(2, 1, 12, 9, 1, "own kernels (no common heads)");
}

#[test]
fn the_stand_in_driver_is_called_rightly() {
    let (device, emulation) = (stand_in(), Device::emulation(folder()).unwrap());
    assert_eq!(results(&device).unwrap(), results(&emulation).unwrap());
    assert_eq!(all_products(&device), all_products(&emulation));
    all_attention(&[device.clone(), emulation.clone()]);
    // From another thread too, which has no context of its own.
    let other = device.clone();
    let work = move || (results(&other).unwrap(), all_products(&other));
    assert_eq!(std::thread::spawn(work).join().unwrap(), (results(&emulation).unwrap(), all_products(&emulation)));
    let error = device.zeros::<f32>(1 << 50).unwrap_err();
    assert!(matches!(&error, DeviceError::Call { reason, .. } if reason.contains("out of memory")), "{error}");
    // What lies on one device is not for another.
    let update = Update::upload(&emulation, &[0, 0, 0, 0, 0, 0], &[], &[]).unwrap();
    let mut theta = device.zeros::<f32>(LEN).unwrap();
    assert!(matches!(update.add_to(&mut theta, &[MATRIX], 1.0), Err(DeviceError::Shape(_))));
}
