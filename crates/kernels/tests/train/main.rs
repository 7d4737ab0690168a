//! The kernels of the training step against their definitions in f64, and those against differences: under emulation, and on
//! the CUDA device of this machine if it has one.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod attention;
mod embed;
mod product;

use std::path::Path;

use pactum_kernels::{
    AdamW, Bf16, Buffer, Device, DeviceError, Element, Loss, Moments, Norm, NormGradient, Rotation, Swiglu,
};

/// What `f32` and 16 bits may be off by, for numbers around one.
const FINE: f64 = 2e-6;
const COARSE: f64 = 8e-3;

fn devices() -> Vec<Device> {
    let emulation = |order| Device::emulation_in_order(Path::new(env!("CARGO_TARGET_TMPDIR")), order).unwrap();
    match Device::find() {
        Ok(device) => vec![emulation(0), emulation(7), device],
        Err(DeviceError::Absent(_)) => vec![emulation(0), emulation(7)],
        Err(error) => panic!("there is a device, but it cannot be used: {error}"),
    }
}

/// Numbers from -1 to 1.
fn numbers(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut uniform = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| uniform()).collect()
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

/// Numbers as elements, and the numbers that those stand for.
fn elements<E: Element>(values: &[f32]) -> (Vec<E>, Vec<f64>) {
    let elements = values.iter().map(|&value| E::from(value)).collect::<Vec<_>>();
    let exact = elements.iter().map(|&element| f64::from(element.into())).collect();
    (elements, exact)
}

fn tolerance<E: Element>() -> f64 {
    if E::NARROW { COARSE } else { FINE }
}

fn near(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (place, (found, expected)) in found.iter().zip(expected).enumerate() {
        let allowed = tolerance * (1.0 + expected.abs());
        assert!((found - expected).abs() <= allowed, "{place}: {found} instead of {expected}");
    }
}

fn read<E: Element>(buffer: &Buffer<E>) -> Vec<f64> {
    buffer.read().unwrap().into_iter().map(|element| f64::from(element.into())).collect()
}

/// The slope of a function at a point in one direction.
fn slope(function: impl Fn(&[f64]) -> f64, at: &[f64], place: usize) -> f64 {
    let moved = |by: f64| {
        let mut point = at.to_vec();
        point[place] += by;
        function(&point)
    };
    (moved(1e-5) - moved(-1e-5)) / 2e-5
}

/// Every slope of `function` against a gradient.
fn follows(gradient: &[f64], function: impl Fn(&[f64]) -> f64, at: &[f64]) {
    let slopes = (0..at.len()).map(|place| slope(&function, at, place)).collect::<Vec<_>>();
    near(gradient, &slopes, 1e-6);
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

const EPS: f64 = 1e-5;

fn normed(x: &[f64], weight: &[f64]) -> Vec<f64> {
    let row = |x: &[f64]| {
        let scale = 1.0 / (dot(x, x) / x.len() as f64 + EPS).sqrt();
        x.iter().zip(weight).map(|(x, weight)| x * scale * weight).collect::<Vec<_>>()
    };
    x.chunks(weight.len()).flat_map(row).collect()
}

/// Gradients of the norm by its input and by its weight.
fn norm_gradients(x: &[f64], weight: &[f64], gradient: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let (width, mut of_weight) = (weight.len(), vec![0.0; weight.len()]);
    let mut of_x = Vec::new();
    for (x, gradient) in x.chunks(width).zip(gradient.chunks(width)) {
        let scale = 1.0 / (dot(x, x) / width as f64 + EPS).sqrt();
        let pull = (0..width).map(|at| x[at] * weight[at] * gradient[at]).sum::<f64>() * scale * scale / width as f64;
        of_x.extend((0..width).map(|at| scale * (gradient[at] * weight[at] - x[at] * pull)));
        (0..width).for_each(|at| of_weight[at] += gradient[at] * x[at] * scale);
    }
    (of_x, of_weight)
}

fn check_norm<E: Element>(device: &Device, rows: usize, width: usize) {
    let (x, weight) = (numbers(1, rows * width), numbers(2, width));
    let (gradient, exact) = elements::<E>(&numbers(3, rows * width));
    let (mut stream, mut of_weight) = (numbers(4, rows * width), numbers(5, width));
    let (x_there, weight_there) = (device.upload(&x).unwrap(), device.upload(&weight).unwrap());
    let norm = Norm { x: &x_there, weight: &weight_there, eps: EPS as f32 };
    let (mut out, mut scales) = (device.zeros::<E>(rows * width).unwrap(), device.zeros(rows).unwrap());
    norm.forward(&mut out, &mut scales).unwrap();
    let expected = normed(&wide(&x), &wide(&weight));
    near(&read(&out), &expected, tolerance::<E>());
    let mut there = [&gradient[..]].map(|gradient| device.upload(gradient).unwrap());
    let (mut stream_there, mut weight_gradient) = (device.upload(&stream).unwrap(), device.upload(&of_weight).unwrap());
    let mut gradients = NormGradient {
        normed: &mut there[0],
        stream: &mut stream_there,
        weight: &mut weight_gradient,
        partial: &mut Norm::room(device, rows, width).unwrap(),
    };
    norm.backward(&scales, &mut gradients).unwrap();
    let (by_x, by_weight) = norm_gradients(&wide(&x), &wide(&weight), &exact);
    stream.iter_mut().zip(&by_x).for_each(|(stream, by)| *stream += *by as f32);
    of_weight.iter_mut().zip(&by_weight).for_each(|(sum, by)| *sum += *by as f32);
    near(&read(&there[0]), &expected, tolerance::<E>());
    near(&read(&stream_there), &wide(&stream), 2.0 * FINE);
    near(&read(&weight_gradient), &wide(&of_weight), 2.0 * FINE);
}

#[test]
fn emulated_norms_follow_their_definition() {
    for device in devices() {
        check_norm::<f32>(&device, 3, 5);
        check_norm::<f32>(&device, 70, 300);
        check_norm::<Bf16>(&device, 65, 64);
    }
    let (x, weight, gradient) = (wide(&numbers(1, 12)), wide(&numbers(2, 4)), wide(&numbers(3, 12)));
    let (by_x, by_weight) = norm_gradients(&x, &weight, &gradient);
    follows(&by_x, |x| dot(&normed(x, &weight), &gradient), &x);
    follows(&by_weight, |weight| dot(&normed(&x, weight), &gradient), &weight);
}

fn check_turn<E: Element>(device: &Device) {
    let (tokens, heads, half, context, stride, offset, scale) = (6, 3, 40, 4, 300, 11, 0.5);
    let angles = (0..context * half).map(|place| (place * place) as f64 / 37.0).collect::<Vec<_>>();
    let (cosines, sines): (Vec<f32>, Vec<f32>) = angles.iter().map(|a| (a.cos() as f32, a.sin() as f32)).unzip();
    let (start, exact) = elements::<E>(&numbers(6, tokens * stride));
    let (cosines, sines) = (device.upload(&cosines).unwrap(), device.upload(&sines).unwrap());
    let rotation = Rotation { cosines: &cosines, sines: &sines, half, stride, offset, heads };
    let mut values = device.upload(&start).unwrap();
    rotation.turn(&mut values, scale as f32).unwrap();
    let mut expected = exact.clone();
    for (token, head, pair) in (0..tokens * heads * half).map(|i| (i / half / heads, i / half % heads, i % half)) {
        let low = token * stride + offset + head * 2 * half + pair;
        let angle = angles[token % context * half + pair];
        let (x, y) = (exact[low], exact[low + half]);
        expected[low] = scale * (x * angle.cos() - y * angle.sin());
        expected[low + half] = scale * (y * angle.cos() + x * angle.sin());
    }
    near(&read(&values), &expected, tolerance::<E>());
    // Turning is orthogonal: what turns back undoes it.
    rotation.turn_back(&mut values, 1.0 / scale as f32).unwrap();
    near(&read(&values), &exact, 2.0 * tolerance::<E>());
}

#[test]
fn emulated_rotations_follow_their_definition() {
    for device in devices() {
        check_turn::<f32>(&device);
        check_turn::<Bf16>(&device);
    }
}

fn silu_up(gate: f64, up: f64) -> f64 {
    gate * up / (1.0 + (-gate).exp())
}

fn swiglu_slopes(gate: f64, up: f64, gradient: f64) -> [f64; 2] {
    let sigmoid = 1.0 / (1.0 + (-gate).exp());
    [gradient * up * sigmoid * (1.0 + gate - gate * sigmoid), gradient * gate * sigmoid]
}

fn check_swiglu<E: Element>(device: &Device) {
    let (tokens, width) = (5, 270);
    let (gate_up, exact) = elements::<E>(&numbers(7, 2 * tokens * width).iter().map(|x| 6.0 * x).collect::<Vec<_>>());
    let (gradient, by_output) = elements::<E>(&numbers(8, tokens * width));
    let mut gate_up = device.upload(&gate_up).unwrap();
    let mut hidden = device.zeros::<E>(tokens * width).unwrap();
    let swiglu = Swiglu { width };
    swiglu.forward(&mut hidden, &gate_up).unwrap();
    let pair =
        |place: usize| (place / width * 2 * width + place % width, place / width * 2 * width + width + place % width);
    let expected = (0..tokens * width).map(|place| silu_up(exact[pair(place).0], exact[pair(place).1]));
    let expected = expected.collect::<Vec<_>>();
    near(&read(&hidden), &expected, tolerance::<E>());
    hidden.write(&gradient).unwrap();
    swiglu.backward(&mut hidden, &mut gate_up).unwrap();
    near(&read(&hidden), &expected, tolerance::<E>());
    let mut gradients = vec![0.0; 2 * tokens * width];
    for (place, &gradient) in by_output.iter().enumerate() {
        let (gate, up) = pair(place);
        [gradients[gate], gradients[up]] = swiglu_slopes(exact[gate], exact[up], gradient);
    }
    near(&read(&gate_up), &gradients, tolerance::<E>());
}

#[test]
fn emulated_activations_follow_their_definition() {
    for device in devices() {
        check_swiglu::<f32>(&device);
        check_swiglu::<Bf16>(&device);
    }
    for (gate, up) in [(0.3, -1.2), (-4.0, 0.7), (5.0, 2.0)] {
        follows(&swiglu_slopes(gate, up, 0.8), |at| 0.8 * silu_up(at[0], at[1]), &[gate, up]);
    }
}

fn nats(logits: &[f64], target: usize) -> f64 {
    let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    logits.iter().map(|logit| (logit - top).exp()).sum::<f64>().ln() + top - logits[target]
}

fn nats_gradient(logits: &[f64], target: usize) -> Vec<f64> {
    let total = logits.iter().map(|logit| logit.exp()).sum::<f64>();
    let at = |(place, logit): (usize, &f64)| logit.exp() / total - f64::from(u8::from(place == target));
    logits.iter().enumerate().map(at).collect()
}

fn check_loss<E: Element>(device: &Device, vocabulary: usize) {
    let (rows, scale) = (4, 0.25);
    let (logits, exact) = elements::<E>(&numbers(9, rows * vocabulary).iter().map(|x| 8.0 * x).collect::<Vec<_>>());
    let targets = (0..rows as u32).map(|row| row * 977 % vocabulary as u32).collect::<Vec<_>>();
    let (mut logits, targets_there) = (device.upload(&logits).unwrap(), device.upload(&targets).unwrap());
    let loss = Loss { targets: &targets_there, vocabulary };
    let (mut losses, mut again) = (device.zeros(rows).unwrap(), device.zeros(rows).unwrap());
    loss.forward(&logits, &mut losses).unwrap();
    near(&read(&logits), &exact, 0.0);
    loss.backward(&mut logits, &mut again, scale).unwrap();
    assert_eq!(losses.read().unwrap(), again.read().unwrap());
    let pairs = exact.chunks(vocabulary).zip(targets.iter().map(|&target| target as usize));
    let expected = pairs.clone().map(|(row, target)| nats(row, target)).collect::<Vec<_>>();
    near(&read(&losses), &expected, FINE);
    let gradient = pairs.flat_map(|(row, target)| nats_gradient(row, target));
    near(&read(&logits), &gradient.map(|slope| slope * f64::from(scale)).collect::<Vec<_>>(), tolerance::<E>());
}

#[test]
fn emulated_losses_follow_their_definition() {
    for device in devices() {
        check_loss::<f32>(&device, 1000);
        check_loss::<f32>(&device, 7);
        check_loss::<Bf16>(&device, 1000);
        let targets = device.upload(&[3_u32]).unwrap();
        let (logits, mut losses) = (device.zeros::<f32>(3).unwrap(), device.zeros(1).unwrap());
        Loss { targets: &targets, vocabulary: 3 }.forward(&logits, &mut losses).unwrap();
        assert!(losses.read().unwrap()[0].is_nan());
    }
    let logits = wide(&numbers(1, 6));
    follows(&nats_gradient(&logits, 2), |logits| nats(logits, 2), &logits);
}

#[test]
fn emulated_optimizer_steps_follow_the_textbook() {
    let (len, range, rate, decay, beta1, beta2) = (40_000, 3..39_990, 0.01, 0.1, 0.9, 0.95);
    for device in devices() {
        let start = numbers(11, len);
        let mut parameters = device.upload(&start).unwrap();
        let mut moments = Moments { first: device.zeros(len).unwrap(), second: device.zeros(len).unwrap() };
        let mut copy = device.zeros::<Bf16>(len).unwrap();
        let (mut p, mut m, mut v) = (wide(&start), vec![0.0; len], vec![0.0; len]);
        for step in 1..4 {
            let gradient = numbers(20 + step as u64, len);
            let there = device.upload(&gradient).unwrap();
            let norm = AdamW::norm(&there).unwrap();
            let expected = dot(&wide(&gradient), &wide(&gradient)).sqrt();
            assert!((norm / expected - 1.0).abs() < FINE);
            let (one, two) = (1.0 - f64::powi(beta1, step), 1.0 - f64::powi(beta2, step));
            let adamw = AdamW {
                beta1: beta1 as f32,
                beta2: beta2 as f32,
                eps: 1e-8,
                rate: (rate / one) as f32,
                root: (1.0 / two.sqrt()) as f32,
                keep: (1.0 - rate * decay) as f32,
                clip: (1.0 / norm) as f32,
            };
            adamw.step(&mut parameters, &there, &mut moments, (range.clone(), Some(&mut copy))).unwrap();
            for place in range.clone() {
                let gradient = f64::from(gradient[place]) / expected;
                m[place] = beta1 * m[place] + (1.0 - beta1) * gradient;
                v[place] = beta2 * v[place] + (1.0 - beta2) * gradient * gradient;
                p[place] -= rate * decay * p[place];
                p[place] -= rate * (m[place] / one) / ((v[place] / two).sqrt() + 1e-8);
            }
        }
        near(&read(&parameters), &p, 1e-5);
        let short = parameters.read().unwrap().into_iter().map(Bf16::from).collect::<Vec<_>>();
        assert_eq!(copy.read().unwrap()[range.clone()], short[range.clone()]);
        assert_eq!(copy.read().unwrap()[..3], [Bf16(0); 3]);
    }
}

#[test]
fn emulated_short_numbers_are_the_nearest_ones() {
    let bits = [0x3f80_8000, 0x3f81_8000, 0x3f80_8001, 0x7f7f_ffff, 0xff80_0000, 0x7f80_0001, 0x0000_8000, 0x8001_7fff];
    let values = bits.map(f32::from_bits);
    for device in devices() {
        let mut parameters = device.upload(&values).unwrap();
        let mut moments = Moments { first: device.zeros(8).unwrap(), second: device.zeros(8).unwrap() };
        let (gradient, mut copy) = (device.zeros(8).unwrap(), device.zeros::<Bf16>(8).unwrap());
        // A step that changes nothing.
        let adamw = AdamW { beta1: 0.9, beta2: 0.95, eps: 1e-8, rate: 0.0, root: 1.0, keep: 1.0, clip: 1.0 };
        adamw.step(&mut parameters, &gradient, &mut moments, (0..8, Some(&mut copy))).unwrap();
        let copy = copy.read().unwrap();
        assert!(f32::from(copy[5]).is_nan());
        let others = |numbers: &[Bf16]| [&numbers[..5], &numbers[6..]].concat();
        assert_eq!(others(&copy), others(&values.map(Bf16::from)));
    }
}

#[test]
fn buffers_of_other_lengths_are_refused() {
    let device = devices().remove(0);
    let of = |len: usize| device.zeros::<f32>(len).unwrap();
    let swiglu = Swiglu { width: 4 };
    assert!(matches!(swiglu.forward(&mut of(6), &of(16)), Err(DeviceError::Shape(_))));
    assert!(matches!(swiglu.forward(&mut of(8), &of(15)), Err(DeviceError::Length { .. })));
    let targets = device.zeros::<u32>(3).unwrap();
    let loss = Loss { targets: &targets, vocabulary: 5 };
    assert!(matches!(loss.forward(&of(14), &mut of(3)), Err(DeviceError::Length { .. })));
    let rotation = Rotation { cosines: &of(8), sines: &of(8), half: 4, stride: 16, offset: 9, heads: 1 };
    assert!(matches!(rotation.turn(&mut of(32), 1.0), Err(DeviceError::Shape(_))));
    let norm = Norm { x: &of(10), weight: &of(4), eps: 0.1 };
    assert!(matches!(norm.forward(&mut of(10), &mut of(3)), Err(DeviceError::Shape(_))));
}
