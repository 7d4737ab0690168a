//! Eight states of a code as a vector.

use std::arch::x86_64::*;

use crate::codec::{RAW_MAX, Round};
use crate::kernel::tables::{EIGHT, LANES_OF, RANKS};

/// Which states have become small.
#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn small(states: __m256i) -> __m256i {
    _mm256_cmpeq_epi32(_mm256_srli_epi32::<{ RAW_MAX as i32 }>(states), _mm256_setzero_si256())
}

/// The next words, one for each of some lanes.
#[target_feature(enable = "avx2,popcnt")]
#[inline]
pub(super) fn words(of: __m256i, round: &mut Round<'_>) -> __m256i {
    let mask = _mm256_movemask_ps(_mm256_castsi256_ps(of)) as usize & 0xff;
    // SAFETY: there are eight words.
    let words = unsafe { _mm_loadu_si128(round.next::<EIGHT>().as_ptr().cast()) };
    // SAFETY: there are sixteen bytes.
    let bytes = unsafe { _mm_loadu_si128(RANKS[mask].as_ptr().cast()) };
    round.used += mask.count_ones() as usize;
    _mm256_cvtepu16_epi32(_mm_shuffle_epi8(words, bytes))
}

/// The numbers of some lanes, one after the other, and how many they are.
#[target_feature(enable = "avx2,popcnt")]
#[inline]
pub(super) fn packed(of: __m256i, numbers: __m256i) -> (__m256i, usize) {
    let mask = _mm256_movemask_ps(_mm256_castsi256_ps(of)) as u8;
    // SAFETY: there are eight numbers.
    let lanes = unsafe { _mm256_loadu_si256(LANES_OF[usize::from(mask)].as_ptr().cast()) };
    (_mm256_permutevar8x32_epi32(numbers, lanes), mask.count_ones() as usize)
}

/// The lower halves of numbers.
#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn halves(numbers: __m256i) -> __m128i {
    let lower = _mm256_and_si256(numbers, _mm256_set1_epi32(0xffff));
    _mm_packus_epi32(_mm256_castsi256_si128(lower), _mm256_extracti128_si256::<1>(lower))
}
