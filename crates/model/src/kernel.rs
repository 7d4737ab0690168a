//! Loops over slices, written so that the compiler vectorises them for the processor found at run time.

pub(crate) mod adam;
pub(crate) mod attention;
pub(crate) mod loss;
pub(crate) mod norm;
pub(crate) mod rope;
pub(crate) mod swiglu;
pub(crate) mod tile;

/// Tokens in one piece of work of the loops over tokens.
pub(crate) const PIECE: usize = 64;
/// Independent partial sums of a reduction.
const LANES: usize = 16;

/// Compiles the body for several instruction sets and runs the best that this processor has.
///
/// All that the body calls must be `#[inline(always)]`, or it is compiled for the least processor only.
#[inline(always)]
pub(crate) fn vectorised<R>(body: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(body)
}

/// Sum of `term` over `a` and `b`, in a fixed order.
#[inline(always)]
fn reduce(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let (wide_a, wide_b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f32 = wide_a.remainder().iter().zip(wide_b.remainder()).map(|(&x, &y)| term(x, y)).sum();
    for (x, y) in wide_a.zip(wide_b) {
        for lane in 0..LANES {
            lanes[lane] += term(x[lane], y[lane]);
        }
    }
    fold(lanes, |x, y| x + y) + rest
}

/// Combines the lanes pairwise.
#[inline(always)]
fn fold(mut lanes: [f32; LANES], combine: impl Fn(f32, f32) -> f32) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] = combine(lanes[lane], lanes[lane + half]);
        }
        half /= 2;
    }
    lanes[0]
}

#[inline(always)]
pub(crate) fn maximum(values: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let wide = values.chunks_exact(LANES);
    let rest = wide.remainder().iter().fold(f32::NEG_INFINITY, |top, &x| larger(top, x));
    for chunk in wide {
        for lane in 0..LANES {
            lanes[lane] = larger(lanes[lane], chunk[lane]);
        }
    }
    larger(fold(lanes, larger), rest)
}

#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if b > a { b } else { a }
}

/// `e^x` within 2 units in the last place for x in −87..88; below that the least normal number.
///
/// Range reduction by ln 2 in two parts and the degree-5 polynomial of Cephes' `expf`.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const SHIFT: f32 = 12_582_912.0; // 1.5·2^23: adding it rounds to the nearest integer.
    let x = x.clamp(-87.3, 88.0);
    let shifted = x.mul_add(std::f32::consts::LOG2_E, SHIFT);
    let power = shifted - SHIFT;
    let r = power.mul_add(-355.0 / 512.0, x);
    let r = power.mul_add(2.121_944_4e-4, r);
    let mut p = 1.987_569_1e-4_f32;
    for coefficient in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = p.mul_add(r, coefficient);
    }
    let p = p.mul_add(r * r, r + 1.0);
    let exponent = shifted.to_bits().wrapping_sub(SHIFT.to_bits()).wrapping_add(127) << 23;
    p * f32::from_bits(exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_accurate_to_two_units() {
        for step in -87_000..88_000 {
            let x = step as f32 * 1e-3;
            let exact = f64::from(x).exp();
            let error = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(error < 2.4e-7, "{x}: {error}");
        }
        assert!(exp(f32::NEG_INFINITY) < 1.3e-38);
        assert!(exp(f32::NAN).is_nan());
        assert_eq!(exp(0.0), 1.0);
    }

    #[test]
    fn reductions_reach_every_element() {
        for len in [0, 1, 15, 16, 17, 40] {
            let a: Vec<f32> = (0..len).map(|i| i as f32).collect();
            let expected: f32 = a.iter().map(|x| x * x).sum();
            assert_eq!(reduce(&a, &a, |x, y| x * y), expected, "{len}");
            assert_eq!(maximum(&a), a.last().copied().unwrap_or(f32::NEG_INFINITY), "{len}");
        }
    }
}
