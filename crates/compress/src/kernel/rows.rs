//! A step of a row of parameters.

use std::arch::x86_64::*;

use crate::kernel::Avx512;
use crate::kernel::wide::LANE;
use crate::outer::{COUNT_MAX, Divisor, Sum};

/// Does what [`Divisor::step`] does.
#[target_feature(enable = "avx512f")]
#[inline]
pub(crate) fn step(_: Avx512, divisor: Divisor, parameters: &mut [f32], sums: &mut [Sum], rate: f32) {
    let (None, true) = (divisor.all, divisor.plain) else { return divisor.step(parameters, sums, rate) };
    let ((whole, rest), (whole_sums, rest_sums)) = (parameters.as_chunks_mut(), sums.as_chunks_mut());
    for (parameters, sums) in whole.iter_mut().zip(whole_sums) {
        step_sixteen(parameters, sums, rate);
    }
    divisor.step(rest, rest_sums, rate);
}

#[target_feature(enable = "avx512f")]
#[inline]
fn step_sixteen(parameters: &mut [f32; LANE], sums: &mut [Sum; LANE], rate: f32) {
    let [sum, count] = apart(sums);
    let step = _mm512_mul_ps(_mm512_set1_ps(rate), quotient(sum, count));
    // SAFETY: there are sixteen.
    unsafe {
        let parameter = _mm512_loadu_ps(parameters.as_ptr());
        _mm512_storeu_ps(parameters.as_mut_ptr(), _mm512_sub_ps(parameter, step));
    }
}

/// Sums and weights, and zeros in their place.
#[target_feature(enable = "avx512f")]
#[inline]
fn apart(sums: &mut [Sum; LANE]) -> [__m512; 2] {
    let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    let odd = _mm512_or_si512(even, _mm512_set1_epi32(1));
    let halves = sums.as_flattened_mut().as_mut_ptr();
    // SAFETY: there are sixteen of two numbers.
    unsafe {
        let (one, two) = (_mm512_loadu_ps(halves), _mm512_loadu_ps(halves.add(LANE)));
        _mm512_storeu_ps(halves, _mm512_setzero_ps());
        _mm512_storeu_ps(halves.add(LANE), _mm512_setzero_ps());
        [_mm512_permutex2var_ps(one, even, two), _mm512_permutex2var_ps(one, odd, two)]
    }
}

/// One over each number, and one over nothing.
static RECIPROCALS: [f32; COUNT_MAX + 1] = {
    let (mut reciprocals, mut number) = ([1.0; COUNT_MAX + 1], 1);
    while number <= COUNT_MAX {
        reciprocals[number] = 1.0 / number as f32;
        number += 1;
    }
    reciprocals
};

/// Sums divided by whole numbers up to [`COUNT_MAX`], to the last bit as by a division; those of nothing are zero.
///
/// A machine takes as long for sixteen divisions as for thirty products. The product with a reciprocal is off by less than two of the quotient's last places,
/// and what is left of the sum is known to the last bit then: dividing that in the same way is off by less than 2^-22 of a last place. A sum has 24
/// bits: the quotient by an odd factor of up to 5 bits is never half way from one number to the next, but at least 2^-6 of a last place away from
/// there, so that it is rounded as it would be if it were known.
#[target_feature(enable = "avx512f")]
#[inline]
fn quotient(sum: __m512, count: __m512) -> __m512 {
    // SAFETY: there are 32.
    let reciprocals = unsafe {
        let (lower, upper) = (_mm512_loadu_ps(RECIPROCALS.as_ptr()), _mm512_loadu_ps(RECIPROCALS[LANE..].as_ptr()));
        _mm512_permutex2var_ps(lower, _mm512_cvtps_epi32(count), upper)
    };
    let first = _mm512_mul_ps(sum, reciprocals);
    let rest = _mm512_fnmadd_ps(first, count, sum);
    _mm512_fmadd_ps(rest, reciprocals, first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(divisor: Divisor, sums: &[Sum]) {
        let Some(proof) = Avx512::detect() else { return };
        let parameters = vec![0.0; sums.len()];
        let (mut expected, mut expected_sums) = (parameters.clone(), sums.to_vec());
        divisor.step(&mut expected, &mut expected_sums, -1.0);
        let (mut found, mut found_sums) = (parameters, sums.to_vec());
        // SAFETY: the value proves that the machine has the instructions.
        unsafe { step(proof, divisor, &mut found, &mut found_sums, -1.0) };
        let bits = |numbers: &[f32]| numbers.iter().map(|number| number.to_bits()).collect::<Vec<_>>();
        assert!(bits(&expected) == bits(&found), "{divisor:?}");
        assert!(found_sums.iter().flatten().all(|&number| number == 0.0));
    }

    /// Sums whose quotients are near the middle between two numbers, of all sizes.
    fn sums(number: u8) -> Vec<Sum> {
        let mut mantissa = 1_u32 << 23;
        let mut sums = vec![[0.0; 2]; 5];
        while mantissa < 1 << 24 {
            let middle = (f64::from(mantissa) + 0.5) * f64::from(number);
            let near = (middle as f32).to_bits();
            for (bits, exponent) in (near - 2..=near + 2).zip([0, -20, 60, -103, -126]) {
                let scaled = f64::from(f32::from_bits(bits)) * f64::from(exponent).exp2();
                sums.extend([[scaled as f32, number.into()], [-scaled as f32, number.into()]]);
            }
            mantissa += 1_997;
        }
        sums
    }

    #[test]
    fn vectors_step_as_plain_code_does() {
        for number in 1..=COUNT_MAX as u8 {
            check(Divisor { all: None, plain: true }, &sums(number));
        }
        let sums = (0_u8..70).map(|place| [0.1 * f32::from(place), 0.3 + f32::from(place % 3)]).collect::<Vec<_>>();
        check(Divisor { all: None, plain: false }, &sums);
        check(Divisor { all: Some(1.7), plain: true }, &sums);
    }
}
