//! Sixteen states of a code as a vector.

use std::arch::x86_64::{
    __m512i, __mmask16, _mm256_loadu_si256, _mm512_cvtepu16_epi32, _mm512_loadu_si512, _mm512_mask_cmplt_epu32_mask,
    _mm512_mask_slli_epi32, _mm512_maskz_expand_epi32, _mm512_or_si512, _mm512_set1_epi32, _mm512_storeu_si512,
};

use crate::codec::{RAW_MAX, Stream};

/// Lanes of a vector.
pub(super) const LANE: usize = 16;

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

/// Gives each of some states that has become small a word.
#[target_feature(enable = "avx512f,popcnt")]
#[inline]
pub(super) fn refill(states: __m512i, of: __mmask16, stream: &mut Stream<'_>) -> __m512i {
    let short = _mm512_mask_cmplt_epu32_mask(of, states, _mm512_set1_epi32(1 << RAW_MAX));
    // SAFETY: there are sixteen words.
    let words = unsafe { _mm256_loadu_si256(stream.ahead().as_ptr().cast()) };
    stream.next += short.count_ones() as usize;
    let words = _mm512_maskz_expand_epi32(short, _mm512_cvtepu16_epi32(words));
    _mm512_or_si512(_mm512_mask_slli_epi32::<RAW_MAX>(states, short, states), words)
}
