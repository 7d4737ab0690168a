use super::*;
use proptest::prelude::*;
use std::f64::consts::PI;

fn values(count: usize, seed: u32) -> Vec<f32> {
    let mix = |i: u32| (i ^ seed).wrapping_mul(2_654_435_761) ^ i << 7;
    (0..count as u32).map(|i| (mix(i) >> 8) as f32 / (1 << 23) as f32 - 1.0).collect()
}

fn norm(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt()
}

#[test]
fn cosines_are_those_of_the_library() {
    for n in [1, 2, 3, 7, 64, 255] {
        for m in 0..9 * n {
            let expected = (PI / 2.0 * m as f64 / n as f64).cos();
            assert!((cosine(m, n) - expected).abs() < 1e-14, "{m}/{n}: {} {expected}", cosine(m, n));
        }
    }
}

/// One chunk against the formula in `f64`.
fn check_formula(rows: usize, columns: usize) {
    let layout = Layout::new(64, [vec![rows, columns]]).unwrap();
    assert_eq!(layout.chunks(), 1);
    let before = values(rows * columns, 5);
    let mut after = before.clone();
    Cosine::new(layout).forward(&mut after);
    let factor = |n: usize, k: usize, j: usize| {
        let scale = if k == 0 { 1.0 } else { 2.0_f64.sqrt() } / (n as f64).sqrt();
        scale * (PI * ((2 * j + 1) * k) as f64 / (2 * n) as f64).cos()
    };
    for (at, &found) in after.iter().enumerate() {
        let (u, v) = (at / columns, at % columns);
        let terms = before.iter().enumerate();
        let terms = terms.map(|(i, &x)| f64::from(x) * factor(rows, u, i / columns) * factor(columns, v, i % columns));
        let expected = terms.sum::<f64>();
        assert!((f64::from(found) - expected).abs() < 1e-4, "{u},{v}: {found} {expected}");
    }
}

#[test]
fn coefficients_are_those_of_the_formula() {
    check_formula(64, 64);
    check_formula(33, 50);
    check_formula(1, 7);
}

#[test]
fn a_constant_chunk_has_one_coefficient() {
    let layout = Layout::new(8, [vec![8, 16]]).unwrap();
    let mut dense = [vec![1.0; 8], vec![3.0; 8]].concat().repeat(8);
    Cosine::new(layout).forward(&mut dense);
    let large = dense.iter().enumerate().filter(|(_, value)| value.abs() > 1e-5).collect::<Vec<_>>();
    assert_eq!(large.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [0, 8]);
    assert!((dense[0] - 8.0).abs() < 1e-5 && (dense[8] - 24.0).abs() < 1e-5, "{large:?}");
}

proptest! {
    #[test]
    fn the_inverse_restores_and_norms_stay(
        edge in 1_usize..20, rows in 1_usize..70, columns in 1_usize..70, length in 1_usize..900, seed in any::<u32>(),
    ) {
        let layout = Layout::new(edge, [vec![rows, columns], vec![length]]).unwrap();
        let cosine = Cosine::new(layout.clone());
        let before = values(layout.len(), seed);
        let mut dense = before.clone();
        cosine.forward(&mut dense);
        prop_assert!((norm(&dense) / norm(&before) - 1.0).abs() < 1e-5);
        cosine.inverse(&mut dense);
        let farthest = dense.iter().zip(&before).fold(0.0_f32, |far, (a, b)| far.max((a - b).abs()));
        prop_assert!(farthest < 1e-4, "{}", farthest);
    }

    #[test]
    fn bits_do_not_depend_on_threads(seed in any::<u32>()) {
        let layout = Layout::new(16, [vec![65, 40], vec![300]]).unwrap();
        let cosine = Cosine::new(layout.clone());
        let run = |threads| {
            let mut dense = values(layout.len(), seed);
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| cosine.forward(&mut dense));
            dense.into_iter().map(f32::to_bits).collect::<Vec<_>>()
        };
        prop_assert_eq!(run(1), run(3));
    }
}
