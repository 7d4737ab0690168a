//! What levels do to sums and parameters, and the step of a row by vectors.

use std::arch::x86_64::*;

use crate::kernel::sums;
use crate::kernel::tables::{EIGHT, LANE};
use crate::kernel::{Avx2, Avx512};
use crate::outer::{Arithmetic, COUNT_MAX, Divisor, EverySum, PANEL_MAX, Sum};
use crate::section::Run;

impl Arithmetic for Avx2 {
    #[inline(always)]
    fn add(self, run: Run<'_>, factors: [f32; 2], all: &mut EverySum) {
        // SAFETY: the value proves that the machine has the instructions.
        unsafe { sums::add(run, factors, all) }
    }

    #[inline(always)]
    fn step(self, divisor: Divisor, parameters: &mut [f32], sums: &mut [Sum], rate: f32) {
        // SAFETY: as above.
        unsafe { step_narrow(divisor, parameters, sums, rate) }
    }
}

impl Arithmetic for Avx512 {
    /// Four chunks: as was best on an Intel machine, whose first cache holds the sums of a chunk and a half.
    const PANEL: usize = PANEL_MAX;

    #[inline(always)]
    fn add(self, run: Run<'_>, factors: [f32; 2], all: &mut EverySum) {
        // Proof of the one is proof of the other.
        Avx2(()).add(run, factors, all);
    }

    #[inline(always)]
    fn step(self, divisor: Divisor, parameters: &mut [f32], sums: &mut [Sum], rate: f32) {
        // SAFETY: the value proves that the machine has the instructions.
        unsafe { step_wide(divisor, parameters, sums, rate) }
    }
}

/// Does what [`Divisor::step`] does.
#[target_feature(enable = "avx512f")]
#[inline]
fn step_wide(divisor: Divisor, parameters: &mut [f32], sums: &mut [Sum], rate: f32) {
    let (None, true) = (divisor.all, divisor.plain) else { return divisor.step(parameters, sums, rate) };
    let ((whole, rest), (whole_sums, rest_sums)) = (parameters.as_chunks_mut(), sums.as_chunks_mut());
    for (parameters, sums) in whole.iter_mut().zip(whole_sums) {
        step_sixteen(parameters, sums, rate);
    }
    divisor.step(rest, rest_sums, rate);
}

/// The same with vectors half as wide.
#[target_feature(enable = "avx2")]
#[inline]
fn step_narrow(divisor: Divisor, parameters: &mut [f32], sums: &mut [Sum], rate: f32) {
    if divisor.all.is_some() {
        return divisor.step(parameters, sums, rate);
    }
    let ((whole, rest), (whole_sums, rest_sums)) = (parameters.as_chunks_mut(), sums.as_chunks_mut());
    for (parameters, sums) in whole.iter_mut().zip(whole_sums) {
        step_eight(parameters, sums, rate);
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

#[target_feature(enable = "avx2")]
#[inline]
fn step_eight(parameters: &mut [f32; EIGHT], sums: &mut [Sum; EIGHT], rate: f32) {
    let halves = sums.as_flattened_mut().as_mut_ptr();
    // SAFETY: there are eight of two numbers.
    let [one, two] = unsafe {
        let both = [_mm256_loadu_ps(halves), _mm256_loadu_ps(halves.add(EIGHT))];
        _mm256_storeu_ps(halves, _mm256_setzero_ps());
        _mm256_storeu_ps(halves.add(EIGHT), _mm256_setzero_ps());
        both
    };
    let (sum, weight) = (_mm256_shuffle_ps::<0b10_00_10_00>(one, two), _mm256_shuffle_ps::<0b11_01_11_01>(one, two));
    let sent = _mm256_cmp_ps::<_CMP_GT_OQ>(weight, _mm256_setzero_ps());
    let mean = _mm256_div_ps(sum, _mm256_blendv_ps(_mm256_set1_ps(1.0), weight, sent));
    let step = _mm256_mul_ps(_mm256_set1_ps(rate), mean);
    // Of the shuffled quarters the second and the third change places.
    let step = _mm256_castpd_ps(_mm256_permute4x64_pd::<0b11_01_10_00>(_mm256_castps_pd(step)));
    // SAFETY: there are eight.
    unsafe {
        let parameter = _mm256_loadu_ps(parameters.as_ptr());
        _mm256_storeu_ps(parameters.as_mut_ptr(), _mm256_sub_ps(parameter, step));
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
        type Step<'a> = &'a dyn Fn(&mut [f32], &mut [Sum]);
        let run = |step: Step<'_>| {
            let (mut parameters, mut sums) = (vec![0.0_f32; sums.len()], sums.to_vec());
            step(&mut parameters, &mut sums);
            assert!(sums.iter().flatten().all(|&number| number == 0.0));
            parameters.iter().map(|number| number.to_bits()).collect::<Vec<_>>()
        };
        let expected = run(&|parameters, sums| divisor.step(parameters, sums, -1.0));
        let wide = Avx512::detect().map(|level| run(&|parameters, sums| level.step(divisor, parameters, sums, -1.0)));
        let narrow = Avx2::detect().map(|level| run(&|parameters, sums| level.step(divisor, parameters, sums, -1.0)));
        assert!([wide, narrow].into_iter().flatten().all(|found| found == expected), "{divisor:?}");
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
