//! Sixteen states of a code as a vector.

use std::arch::x86_64::{
    __m512i, __mmask16, _mm256_loadu_si256, _mm512_cmplt_epu32_mask, _mm512_cvtepu16_epi32, _mm512_loadu_si512,
    _mm512_mask_or_epi32, _mm512_maskz_expand_epi32, _mm512_set1_epi32, _mm512_slli_epi32, _mm512_storeu_si512,
};

use crate::codec::{RAW_MAX, Round, Stream};
use crate::kernel::tables::LANE;

/// The states of a stream from a lane on.
#[target_feature(enable = "avx512f")]
#[inline]
pub(super) fn load(stream: &Stream<'_>, vector: usize) -> __m512i {
    let states: &[u32; LANE] = &stream.states.as_chunks().0[vector];
    // SAFETY: there are sixteen.
    unsafe { _mm512_loadu_si512(states.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f")]
#[inline]
pub(super) fn store(stream: &mut Stream<'_>, vector: usize, states: __m512i) {
    stream.states.as_chunks_mut().0[vector] = numbers(states);
}

#[target_feature(enable = "avx512f")]
#[inline]
pub(super) fn numbers(vector: __m512i) -> [u32; LANE] {
    let mut numbers = [0; LANE];
    // SAFETY: there is room for sixteen.
    unsafe { _mm512_storeu_si512(numbers.as_mut_ptr().cast(), vector) };
    numbers
}

/// Gives each state that has become small a word.
#[target_feature(enable = "avx512f,popcnt")]
#[inline]
pub(super) fn refill(states: __m512i, round: &mut Round<'_>) -> __m512i {
    let short = small(states);
    let words = words(short, round);
    filled(states, short, words)
}

/// Which states have become small.
#[target_feature(enable = "avx512f")]
#[inline]
pub(super) fn small(states: __m512i) -> __mmask16 {
    _mm512_cmplt_epu32_mask(states, _mm512_set1_epi32(1 << RAW_MAX))
}

/// The next words, one for each of some lanes.
#[target_feature(enable = "avx512f,popcnt")]
#[inline]
pub(super) fn words(of: __mmask16, round: &mut Round<'_>) -> __m512i {
    // SAFETY: there are sixteen words.
    let words = unsafe { _mm256_loadu_si256(round.next::<LANE>().as_ptr().cast()) };
    round.used += of.count_ones() as usize;
    _mm512_maskz_expand_epi32(of, _mm512_cvtepu16_epi32(words))
}

/// States, some of which are given their words.
#[target_feature(enable = "avx512f")]
#[inline]
pub(super) fn filled(states: __m512i, of: __mmask16, words: __m512i) -> __m512i {
    _mm512_mask_or_epi32(states, of, _mm512_slli_epi32::<RAW_MAX>(states), words)
}
