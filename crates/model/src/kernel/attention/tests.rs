//! Attention against its definition in f64.

use super::*;

const LENGTHS: [usize; 4] = [1, 17, 64, 150];

fn config(heads: usize, kv_heads: usize, head_width: usize) -> ModelConfig {
    ModelConfig { width: heads * head_width, heads, kv_heads, context: 150, ..ModelConfig::default() }
}

fn noise(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// The definition, with rotation by complex numbers: mixed values of one row.
fn definition(config: &ModelConfig, fused: &[f64], length: usize) -> Vec<f64> {
    let (width, heads, kv_heads) = (config.head_width(), config.heads, config.kv_heads);
    let stride = (heads + 2 * kv_heads) * width;
    let turned = |token: usize, part: usize| -> Vec<f64> {
        let x = &fused[token * stride + part * width..][..width];
        let angle = |pair: usize| token as f64 * f64::from(config.rope_base).powf(-2.0 * pair as f64 / width as f64);
        let half = width / 2;
        let low = (0..half).map(|i| x[i] * angle(i).cos() - x[i + half] * angle(i).sin());
        let high = (0..half).map(|i| x[i + half] * angle(i).cos() + x[i] * angle(i).sin());
        low.chain(high).collect()
    };
    let mut mixed = vec![0.0; length * heads * width];
    for head in 0..heads {
        let kv = head / (heads / kv_heads);
        for token in 0..length {
            let query = turned(token, head);
            let score = |other: usize| -> f64 {
                let key = turned(other, heads + kv);
                query.iter().zip(key).map(|(q, k)| q * k).sum::<f64>() / (width as f64).sqrt()
            };
            let weights: Vec<f64> = (0..=token).map(|other| score(other).exp()).collect();
            let total: f64 = weights.iter().sum();
            for (other, weight) in weights.iter().enumerate() {
                let value = &fused[other * stride + (heads + kv_heads + kv) * width..][..width];
                let out = &mut mixed[(token * heads + head) * width..][..width];
                out.iter_mut().zip(value).for_each(|(o, v)| *o += weight / total * v);
            }
        }
    }
    mixed
}

fn forward(config: &ModelConfig, team: &Team, fused: &[f32], length: usize, rows: usize) -> (Vec<f32>, Saved) {
    let attention = Attention::new(config);
    let mut saved = attention.saved(rows, length);
    let mut mixed = vec![0.0; rows * length * config.width];
    attention.forward(Rows { team, length, room: length }, fused, &mut mixed, &mut saved);
    (mixed, saved)
}

#[test]
fn forward_agrees_with_the_definition() {
    let team = Team::new(1).unwrap();
    for (heads, kv_heads, head_width) in [(1, 1, 2), (4, 2, 16), (4, 1, 10), (2, 2, 40)] {
        let config = config(heads, kv_heads, head_width);
        for length in LENGTHS {
            let row = length * (heads + 2 * kv_heads) * head_width;
            let fused = noise(2 * row, length as u64);
            let (mixed, _) = forward(&config, &team, &fused, length, 2);
            let wide: Vec<f64> = fused.iter().map(|&x| f64::from(x)).collect();
            for (found, fused) in mixed.chunks_exact(mixed.len() / 2).zip(wide.chunks_exact(row)) {
                let pairs = found.iter().zip(definition(&config, fused, length));
                let worst = pairs.map(|(&f, e)| (f64::from(f) - e).abs()).fold(0.0, f64::max);
                assert!(worst < 3e-6, "{heads} {length}: {worst}");
            }
        }
    }
}

#[test]
fn backward_agrees_with_finite_differences() {
    let team = Team::new(1).unwrap();
    for (heads, kv_heads, head_width, length) in [(1, 1, 2, 5), (4, 2, 6, 17), (2, 1, 16, 70)] {
        let config = config(heads, kv_heads, head_width);
        let fused = noise(length * (heads + 2 * kv_heads) * head_width, 3);
        let gradient = noise(length * config.width, 5);
        let (mixed, mut saved) = forward(&config, &team, &fused, length, 1);
        let mut found = vec![0.0; fused.len()];
        let batch = Backward { mixed: &mixed, gradient: &gradient, fused: &mut found };
        Attention::new(&config).backward(Rows { team: &team, length, room: length }, batch, &mut saved);
        let mut wide: Vec<f64> = fused.iter().map(|&x| f64::from(x)).collect();
        for at in (0..wide.len()).step_by(wide.len() / 40 + 1) {
            let mut loss = |shift: f64| -> f64 {
                wide[at] += shift;
                let mixed = definition(&config, &wide, length);
                wide[at] -= shift;
                mixed.iter().zip(&gradient).map(|(m, &g)| m * f64::from(g)).sum()
            };
            let expected = (loss(1e-5) - loss(-1e-5)) / 2e-5;
            let error = (f64::from(found[at]) - expected).abs();
            assert!(error < 1e-5 * (1.0 + expected.abs()), "{heads} {at}: {} {expected}", found[at]);
        }
    }
}

#[test]
fn what_an_earlier_batch_left_does_not_matter() {
    let team = Team::new(1).unwrap();
    let config = config(2, 1, 12);
    let attention = Attention::new(&config);
    let mut saved = attention.saved(1, 128);
    let run = |saved: &mut Saved, length: usize| {
        let fused = noise(length * 4 * 12, length as u64);
        let gradient = noise(length * 24, 9);
        let (mut mixed, mut back) = (vec![0.0; length * 24], vec![0.0; fused.len()]);
        let rows = Rows { team: &team, length, room: length };
        attention.forward(rows, &fused, &mut mixed, saved);
        attention.backward(rows, Backward { mixed: &mixed, gradient: &gradient, fused: &mut back }, saved);
        (mixed, back)
    };
    let fresh = run(&mut saved, 70);
    run(&mut saved, 128);
    run(&mut saved, 30);
    assert_eq!(run(&mut saved, 70), fresh);
}

#[test]
fn a_token_at_a_time_gives_the_same() {
    let team = Team::new(1).unwrap();
    for (heads, kv_heads, head_width, start) in [(4, 2, 16, 1), (3, 1, 10, 63), (2, 2, 40, 64), (1, 1, 2, 100)] {
        let config = config(heads, kv_heads, head_width);
        let (length, room) = (130, 150);
        let fused = noise(length * (heads + 2 * kv_heads) * head_width, 3);
        let (whole, _) = forward(&config, &team, &fused, length, 1);
        let attention = Attention::new(&config);
        let mut saved = attention.saved(1, room);
        let mut mixed = vec![0.0; whole.len()];
        let (first, rest) = fused.split_at(fused.len() / length * start);
        let (first_mixed, rest_mixed) = mixed.split_at_mut(config.width * start);
        attention.forward(Rows { team: &team, length: start, room }, first, first_mixed, &mut saved);
        let tokens = rest.chunks_exact(fused.len() / length).zip(rest_mixed.chunks_exact_mut(config.width));
        for (position, (fused, mixed)) in (start..).zip(tokens) {
            attention.extend(Position { position, room }, fused, mixed, &mut saved);
        }
        let worst = mixed.iter().zip(&whole).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 2e-6, "{heads} {start}: {worst}");
    }
}
