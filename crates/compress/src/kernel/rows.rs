//! A step of a row of parameters.

use std::arch::x86_64::*;

use crate::kernel::Avx512;
use crate::kernel::wide::LANE;
use crate::outer::{Divisor, Sum};

/// Sums below this are divided by the machine: of larger ones no remainder is too small to be a number.
const LEAST: f32 = f32::from_bits((127 - 100) << 23);

/// Does what [`Divisor::step`] does.
#[target_feature(enable = "avx512f")]
#[inline]
pub(crate) fn step(_: Avx512, divisor: Divisor, parameters: &mut [f32], sums: &mut [Sum], rate: f32) {
    let Divisor::Counts(all) = divisor else { return divisor.step(parameters, sums, rate) };
    let ((whole, rest), (whole_sums, rest_sums)) = (parameters.as_chunks_mut(), sums.as_chunks_mut());
    for (parameters, sums) in whole.iter_mut().zip(whole_sums) {
        step_sixteen(all, parameters, sums, rate);
    }
    divisor.step(rest, rest_sums, rate);
}

#[target_feature(enable = "avx512f")]
#[inline]
fn step_sixteen(all: Option<f32>, parameters: &mut [f32; LANE], sums: &mut [Sum; LANE], rate: f32) {
    let [sum, weight] = apart(sums);
    let weight = all.map_or(weight, |all| _mm512_set1_ps(all));
    let step = _mm512_mul_ps(_mm512_set1_ps(rate), quotient(sum, weight));
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

/// Sums divided by whole numbers up to 255, to the last bit as by a division; those by 0 are 0.
///
/// A machine takes as long for sixteen divisions as for thirty products. One step of Newton's makes of an estimated reciprocal one that is off by
/// less than 2^-22 of it, so that the quotient is off by less than three of its last places. What is left of the sum then is known to the last
/// bit, and dividing that is off by less than 2^-20 of a last place. A sum has 24 bits: the quotient by an odd factor of up to 8
/// bits is never half way from one number to the next, but at least 2^-9 of a last place away from there, so that it is rounded as it would be if
/// it were known.
#[target_feature(enable = "avx512f")]
#[inline]
fn quotient(sum: __m512, number: __m512) -> __m512 {
    let number = _mm512_max_ps(number, _mm512_set1_ps(1.0));
    let estimate = _mm512_rcp14_ps(number);
    let wrong = _mm512_fnmadd_ps(number, estimate, _mm512_set1_ps(1.0));
    let reciprocal = _mm512_fmadd_ps(estimate, wrong, estimate);
    let first = _mm512_mul_ps(sum, reciprocal);
    let rest = _mm512_fnmadd_ps(first, number, sum);
    let quotient = _mm512_fmadd_ps(rest, reciprocal, first);
    // One less, without its sign: zero is above all others then.
    let bits = _mm512_and_si512(_mm512_castps_si512(sum), _mm512_set1_epi32(i32::MAX));
    let bits = _mm512_sub_epi32(bits, _mm512_set1_epi32(1));
    let small = _mm512_cmplt_epu32_mask(bits, _mm512_set1_epi32(LEAST.to_bits() as i32 - 1));
    if small == 0 { quotient } else { _mm512_div_ps(sum, number) }
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
            for (bits, exponent) in (near - 2..=near + 2).zip([0, -20, 60, -90, -149]) {
                let scaled = f64::from(f32::from_bits(bits)) * f64::from(exponent).exp2();
                sums.extend([[scaled as f32, number.into()], [-scaled as f32, number.into()]]);
            }
            mantissa += 9_973;
        }
        sums
    }

    #[test]
    fn vectors_step_as_plain_code_does() {
        for number in 1..=u8::MAX {
            let sums = sums(number);
            check(Divisor::Counts(None), &sums);
            check(Divisor::Counts(Some(number.into())), &sums);
        }
        let sums = (0_u8..70).map(|place| [0.1 * f32::from(place), 0.3 + f32::from(place % 3)]).collect::<Vec<_>>();
        check(Divisor::Weights(None), &sums);
        check(Divisor::Weights(Some(1.7)), &sums);
    }
}
