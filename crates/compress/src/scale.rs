//! Scales on the wire: positive floating-point numbers with four bits of mantissa in a bounded range.
//!
//! Code 0 is zero. Code `c >= 1` is the `f32` whose bits are `(BASE + c) << 19`: powers of two from 2^-80 to 2^32 with
//! sixteen steps between neighbours. A NaN, an infinity, a negative number, a subnormal or 1e30 cannot be written.

/// Largest absolute value of a coordinate that can be compressed: 2^30.
pub const LARGEST: f32 = (1_u64 << 30) as f32;

/// Bits of an `f32` mantissa that a scale leaves out.
const DROPPED: u32 = 19;
/// Upper bits of 2^-80, less one.
const BASE: u32 = ((127 - 80) << 4) - 1;
/// Code of 2^32.
pub(crate) const CODE_MAX: u16 = (112 << 4) + 1;
/// Bits that hold every code.
pub(crate) const CODE_BITS: u32 = 11;

/// Code of the scale nearest to a value in `0..=2^32` (ties go up); zero below half of the smallest scale.
pub(crate) fn code_of(value: f32) -> u16 {
    let upper = (value.to_bits() + (1 << (DROPPED - 1))) >> DROPPED;
    upper.saturating_sub(BASE).min(u32::from(CODE_MAX)) as u16
}

/// The scale of a code up to [`CODE_MAX`].
pub(crate) fn value_of(code: u16) -> f32 {
    if code == 0 { 0.0 } else { f32::from_bits((BASE + u32::from(code)) << DROPPED) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_values_are_inverse_and_ascending() {
        assert_eq!((value_of(0), value_of(1), value_of(CODE_MAX)), (0.0, 2.0_f32.powi(-80), 2.0_f32.powi(32)));
        for code in 0..=CODE_MAX {
            assert_eq!(code_of(value_of(code)), code);
            assert!(code == 0 || value_of(code) > value_of(code - 1));
        }
        assert!(u32::from(CODE_MAX) < 1 << CODE_BITS);
    }

    #[test]
    fn the_nearest_scale_is_within_a_thirty_second() {
        let mut value = 1e-20_f32;
        while value < LARGEST {
            let error = (value_of(code_of(value)) / value - 1.0).abs();
            assert!(error <= 1.0 / 32.0, "{value}: {error}");
            value *= 1.0137;
        }
        assert_eq!(code_of(1e-30), 0);
        assert_eq!(code_of(0.0), 0);
    }
}
