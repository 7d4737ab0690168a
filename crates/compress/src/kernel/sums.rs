//! Sums of what peers sent, two at a time.

use std::arch::x86_64::*;

use crate::kernel::tables::EIGHT;
use crate::kernel::{Plain, Term};
use crate::outer::{Arithmetic, EverySum};
use crate::section::{Run, RunValues};

/// Does what [`Arithmetic::add`] does.
///
/// # Safety
/// The machine must have AVX2.
#[inline(always)]
pub(super) unsafe fn add(run: Run<'_>, factors: [f32; 2], sums: &mut EverySum) {
    if let RunValues::Coded(codes, table) = run.values
        && let Some(values) = table.few()
    {
        // SAFETY: as the caller guarantees.
        unsafe { add_few((run.indices, codes), values, factors, sums) }
    } else {
        Plain.add(run, factors, sums);
    }
}

/// Adds values that have few codes.
#[target_feature(enable = "avx2")]
#[inline]
fn add_few((indices, codes): (&[u16], &[u8]), values: [f32; 4], [coefficient, weight]: [f32; 2], sums: &mut EverySum) {
    let terms = values.map(|value| coefficient * value);
    let [a, b, c, d] = terms;
    let both = [_mm256_setr_ps(a, b, c, d, a, b, c, d), _mm256_set1_ps(weight)];
    let ((eights, rest), (of_codes, rest_codes)) = (indices.as_chunks(), codes.as_chunks());
    for (indices, codes) in eights.iter().zip(of_codes) {
        add_eight(indices, codes, both, sums);
    }
    for (&index, &code) in rest.iter().zip(rest_codes) {
        Term::new([terms[usize::from(code) % terms.len()], weight]).add(&mut sums[usize::from(index)]);
    }
}

/// Adds terms by their codes, and a weight, to sums of which no two are the same.
#[target_feature(enable = "avx2")]
#[inline]
fn add_eight(indices: &[u16; EIGHT], codes: &[u8; EIGHT], [terms, weight]: [__m256; 2], sums: &mut EverySum) {
    // SAFETY: there are eight.
    let codes = unsafe { _mm256_cvtepu8_epi32(_mm_loadl_epi64(codes.as_ptr().cast())) };
    let terms = _mm256_permutevar_ps(terms, codes);
    let (near, far) = (_mm256_unpacklo_ps(terms, weight), _mm256_unpackhi_ps(terms, weight));
    let ([a, c], [b, d]) = (quarters(near), quarters(far));
    for (pair, &places) in [a, b, c, d].into_iter().zip(indices.as_chunks().0) {
        add_two(places, pair, sums);
    }
}

#[target_feature(enable = "avx2")]
#[inline]
fn quarters(vector: __m256) -> [__m128; 2] {
    [_mm256_castps256_ps128(vector), _mm256_extractf128_ps::<1>(vector)]
}

#[target_feature(enable = "avx2")]
#[inline]
fn add_two(places: [u16; 2], pair: __m128, sums: &mut EverySum) {
    // A sum moves like one number twice as long.
    let sums = sums.as_mut_ptr().cast::<f64>();
    // SAFETY: there is a sum for every index.
    unsafe {
        let [one, other] = places.map(|place| sums.add(usize::from(place)));
        let both = _mm_loadh_pd(_mm_load_sd(one), other);
        let both = _mm_castps_pd(_mm_add_ps(_mm_castpd_ps(both), pair));
        _mm_storel_pd(one, both);
        _mm_storeh_pd(other, both);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Avx2;
    use crate::quantise::{Scales, Table};
    use crate::settings::Quantiser;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn vectors_add_as_plain_code_does(
            runs in prop::collection::vec(prop::collection::btree_map(0_u16..90, any::<u8>(), 0..80), 0..4),
            quantiser in prop::sample::select(vec![Quantiser::SignScale, Quantiser::TwoLevels, Quantiser::FourBits]),
            high in 1_u16..=1793, factors in prop::array::uniform2(0.1_f32..3.0),
        ) {
            let Some(vectors) = Avx2::detect() else { return Ok(()) };
            let table = Table::of_scales(quantiser, Scales { low: high / 2, high });
            let codes = 1_u32 << quantiser.code_bits();
            let none = || vec![[0.0; 2]; size_of::<EverySum>() / size_of::<[f32; 2]>()];
            let mut sums: [Box<EverySum>; 2] = [none(), none()].map(|sums| sums.try_into().unwrap());
            for run in runs {
                let values = run.into_iter().map(|(index, code)| (index, (u32::from(code) % codes) as u8));
                let (indices, codes) = values.unzip::<_, _, Vec<_>, Vec<_>>();
                let run = Run { indices: &indices, values: RunValues::Coded(&codes, table), least: 0.0 };
                Plain.add(run, factors, &mut sums[0]);
                vectors.add(run, factors, &mut sums[1]);
            }
            let bits = |sums: &EverySum| sums.as_flattened().iter().map(|sum| sum.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(&sums[0]), bits(&sums[1]));
        }
    }
}
