//! Attention against its definition in f64, and the definition's gradients against differences.

use pactum_kernels::{Attention, AttentionGradient, Bf16, Device, DeviceError, Element};

use crate::{devices, dot, elements, follows, near, numbers, read, tolerance};

/// The output of every token and head, and the logarithm of the sum of its weights.
fn mixed(shape: &Attention, fused: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let (mut out, mut logs) = (Vec::new(), Vec::new());
    for (token, head) in places(shape, fused) {
        let scores = scores(shape, fused, token, head);
        let total = scores.iter().map(|score| score.exp()).sum::<f64>();
        let mut row = vec![0.0; shape.width];
        for (score, key) in scores.iter().zip(seen(shape, token)) {
            let value = value(shape, fused, key, head);
            row.iter_mut().zip(value).for_each(|(sum, value)| *sum += score.exp() / total * value);
        }
        out.extend(row);
        logs.push(total.ln());
    }
    (out, by_head(shape, &logs))
}

/// What belongs to tokens and heads, in the order of sequences, heads and tokens.
fn by_head(shape: &Attention, numbers: &[f64]) -> Vec<f64> {
    let sequence = |numbers: &[f64]| {
        let of = |head: usize| numbers[head..].iter().step_by(shape.heads).copied().collect::<Vec<_>>();
        (0..shape.heads).flat_map(of).collect::<Vec<_>>()
    };
    numbers.chunks(shape.length * shape.heads).flat_map(sequence).collect()
}

/// The gradient by queries, keys and values.
fn gradient(shape: &Attention, fused: &[f64], slope: &[f64]) -> Vec<f64> {
    let (width, row) = (shape.width, row(shape));
    let mut into = vec![0.0; fused.len()];
    for ((token, head), slope) in places(shape, fused).into_iter().zip(slope.chunks(width)) {
        let scores = scores(shape, fused, token, head);
        let total = scores.iter().map(|score| score.exp()).sum::<f64>();
        let shares = scores.iter().map(|score| score.exp() / total).collect::<Vec<_>>();
        let by_share = seen(shape, token).map(|key| dot(slope, value(shape, fused, key, head))).collect::<Vec<_>>();
        let pull = dot(&shares, &by_share);
        for (place, key) in seen(shape, token).enumerate() {
            let by_score = shares[place] * (by_share[place] - pull);
            let (query_at, [key_at, value_at]) = (token * row + head * width, pair(shape, key, head));
            for at in 0..width {
                into[query_at + at] += by_score * fused[key_at + at];
                into[key_at + at] += by_score * fused[query_at + at];
                into[value_at + at] += shares[place] * slope[at];
            }
        }
    }
    into
}

fn row(shape: &Attention) -> usize {
    (shape.heads + 2 * shape.kv_heads) * shape.width
}

fn places(shape: &Attention, fused: &[f64]) -> Vec<(usize, usize)> {
    let tokens = fused.len() / row(shape);
    (0..tokens * shape.heads).map(|place| (place / shape.heads, place % shape.heads)).collect()
}

/// The tokens that a token sees: those of its sequence up to itself.
fn seen(shape: &Attention, token: usize) -> impl Iterator<Item = usize> + use<> {
    token / shape.length * shape.length..token + 1
}

/// Where the key and the value of a token lie for a query head.
fn pair(shape: &Attention, token: usize, head: usize) -> [usize; 2] {
    let place = head / (shape.heads / shape.kv_heads);
    [shape.heads + place, shape.heads + shape.kv_heads + place].map(|head| token * row(shape) + head * shape.width)
}

fn value<'a>(shape: &Attention, fused: &'a [f64], token: usize, head: usize) -> &'a [f64] {
    &fused[pair(shape, token, head)[1]..][..shape.width]
}

fn scores(shape: &Attention, fused: &[f64], token: usize, head: usize) -> Vec<f64> {
    let query = &fused[token * row(shape) + head * shape.width..][..shape.width];
    seen(shape, token).map(|key| dot(query, &fused[pair(shape, key, head)[0]..][..shape.width])).collect()
}

fn check<E: Element>(device: &Device, shape: Attention, sequences: usize) {
    let (tokens, width) = (sequences * shape.length, shape.heads * shape.width);
    let scale = 2.0 / (shape.width as f32).sqrt().sqrt();
    let start = numbers(31, tokens * row(&shape)).iter().map(|x| x * scale).collect::<Vec<_>>();
    let ((fused, exact), (slope, by_output)) = (elements::<E>(&start), elements::<E>(&numbers(32, tokens * width)));
    let (fused, slope) = (device.upload(&fused).unwrap(), device.upload(&slope).unwrap());
    let (mut out, mut logs) = (device.zeros::<E>(tokens * width).unwrap(), device.zeros(tokens * shape.heads).unwrap());
    shape.forward(&fused, &mut out, &mut logs).unwrap();
    let (expected, of_logs) = mixed(&shape, &exact);
    near(&read(&out), &expected, tolerance::<E>());
    // A library's exponentials are rougher.
    near(&read(&logs), &of_logs, if E::NARROW { 1e-4 } else { 4e-6 });

    let run = || {
        let (mut into, mut pulls) = (device.zeros::<E>(fused.len()).unwrap(), device.zeros(logs.len()).unwrap());
        let (mixed, gradient) = (&out, &mut into);
        let mut pass =
            AttentionGradient { fused: &fused, mixed, logs: &logs, slope: &slope, gradient, pulls: &mut pulls };
        shape.backward(&mut pass).unwrap();
        read(&into)
    };
    let found = run();
    // The output was rounded, which moves the gradients of many tokens a little.
    near(&found, &gradient(&shape, &exact, &by_output), 4.0 * tolerance::<E>());
    assert_eq!(run(), found, "the same bits again");
}

#[test]
fn emulated_attention_follows_its_definition() {
    let shapes = [
        (Attention { heads: 4, kv_heads: 2, width: 8, length: 10 }, 2),
        (Attention { heads: 2, kv_heads: 2, width: 24, length: 70 }, 1),
        (Attention { heads: 3, kv_heads: 1, width: 6, length: 33 }, 1),
    ];
    for device in devices() {
        for (shape, sequences) in shapes {
            check::<f32>(&device, shape, sequences);
            check::<Bf16>(&device, shape, sequences);
        }
    }
}

#[test]
fn emulated_attention_on_tensor_cores_follows_its_definition() {
    let shapes = [
        (Attention { heads: 4, kv_heads: 2, width: 16, length: 10 }, 2),
        (Attention { heads: 2, kv_heads: 1, width: 32, length: 150 }, 1),
        (Attention { heads: 1, kv_heads: 1, width: 128, length: 67 }, 1),
        (Attention { heads: 2, kv_heads: 2, width: 48, length: 128 }, 1),
    ];
    for device in devices() {
        for (shape, sequences) in shapes {
            check::<Bf16>(&device, shape, sequences);
        }
    }
}

#[test]
fn numbers_that_are_not_aligned_are_taken_too() {
    let (device, shape) = (devices().remove(0), Attention { heads: 1, kv_heads: 1, width: 16, length: 5 });
    let numbers = elements::<Bf16>(&numbers(36, 5 * 48)).0;
    let run = |aside: usize| {
        let mut whole = vec![Bf16::default(); aside];
        whole.extend(&numbers);
        let fused = device.upload(&whole).unwrap().part(aside..whole.len()).unwrap();
        let (mut out, mut logs) = (device.zeros(5 * 16).unwrap(), device.zeros(5).unwrap());
        shape.forward(&fused, &mut out, &mut logs).unwrap();
        read::<Bf16>(&out)
    };
    near(&run(1), &run(0), tolerance::<Bf16>());
}

#[test]
fn emulated_attention_takes_heads_as_wide_as_allowed() {
    let device = devices().remove(1);
    check::<f32>(&device, Attention { heads: 1, kv_heads: 1, width: 256, length: 65 }, 1);
    check::<Bf16>(&device, Attention { heads: 1, kv_heads: 1, width: 250, length: 3 }, 1);
}

#[test]
fn the_gradient_of_attention_is_that_of_its_definition() {
    let shape = Attention { heads: 2, kv_heads: 1, width: 4, length: 3 };
    let widened = |seed, len| numbers(seed, len).into_iter().map(f64::from).collect::<Vec<_>>();
    let (fused, slope) = (widened(33, 2 * 3 * row(&shape)), widened(34, 2 * 3 * 8));
    follows(&gradient(&shape, &fused, &slope), |fused| dot(&mixed(&shape, fused).0, &slope), &fused);
}

#[test]
fn large_scores_do_not_overflow() {
    let shape = Attention { heads: 1, kv_heads: 1, width: 8, length: 40 };
    let device = devices().remove(0);
    let fused = numbers(35, 40 * 24).iter().map(|x| 40.0 * x).collect::<Vec<_>>();
    let fused = device.upload(&fused).unwrap();
    let (mut out, mut logs) = (device.zeros::<f32>(40 * 8).unwrap(), device.zeros(40).unwrap());
    shape.forward(&fused, &mut out, &mut logs).unwrap();
    assert!(read(&out).iter().all(|x| x.abs() <= 40.0) && logs.read().unwrap().iter().any(|&log| log > 200.0));
}

#[test]
fn heads_that_do_not_fit_are_refused() {
    let device = devices().remove(0);
    let of = |len: usize| device.zeros::<f32>(len).unwrap();
    let good = Attention { heads: 4, kv_heads: 2, width: 8, length: 3 };
    let check = |shape: Attention, fused: usize, out: usize| {
        assert!(shape.forward(&of(fused), &mut of(out), &mut of(12)).is_err(), "{shape:?}");
    };
    check(Attention { kv_heads: 3, ..good }, 3 * 80, 96);
    check(Attention { kv_heads: 0, ..good }, 3 * 32, 96);
    check(Attention { width: 257, ..good }, 3 * 257 * 8, 96);
    check(Attention { length: 2, ..good }, 3 * 64, 96);
    check(good, 3 * 63, 96);
    assert!(matches!(
        good.forward(&of(3 * 64), &mut of(95), &mut of(12)),
        Err(DeviceError::Length { expected: 96, found: 95, .. })
    ));
}
