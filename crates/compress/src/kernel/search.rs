//! How many of some ascending numbers are at most a given one: the search for a symbol.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m256i, _mm256_cmpeq_epi16, _mm256_loadu_si256, _mm256_min_epu16, _mm256_movemask_epi8, _mm256_set1_epi16,
    _mm512_cmple_epu16_mask, _mm512_loadu_si512, _mm512_mask_cmple_epu16_mask, _mm512_maskz_loadu_epi16,
    _mm512_set1_epi16,
};

use crate::kernel::Plain;
#[cfg(target_arch = "x86_64")]
use crate::kernel::{Avx2, Avx512};

/// Counts all that are small enough, which takes no branch. A value of an implementing type proves that the machine has
/// the instructions that it uses.
pub(crate) trait Search: Copy {
    /// The number of `sums` that are at most `place`.
    fn reached(self, sums: &[u16], place: u16) -> usize;
}

impl Search for Plain {
    #[inline(always)]
    fn reached(self, sums: &[u16], place: u16) -> usize {
        usize::from(sums.iter().map(|&sum| u16::from(sum <= place)).sum::<u16>())
    }
}

#[cfg(target_arch = "x86_64")]
impl Search for Avx2 {
    #[inline(always)]
    fn reached(self, sums: &[u16], place: u16) -> usize {
        let vectors = sums.chunks_exact(16);
        let rest = Plain.reached(vectors.remainder(), place);
        // SAFETY: the vectors have sixteen elements, and `self` proves that the machine has AVX2.
        vectors.map(|vector| unsafe { reached_avx2(vector, place) }).sum::<usize>() + rest
    }
}

/// # Safety
/// The slice must have sixteen elements.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx2,popcnt")]
unsafe fn reached_avx2(sums: &[u16], place: u16) -> usize {
    // SAFETY: the caller promises sixteen elements.
    let sums = unsafe { _mm256_loadu_si256(sums.as_ptr().cast::<__m256i>()) };
    let reached = _mm256_cmpeq_epi16(_mm256_min_epu16(sums, _mm256_set1_epi16(place as i16)), sums);
    _mm256_movemask_epi8(reached).count_ones() as usize / 2
}

#[cfg(target_arch = "x86_64")]
impl Search for Avx512 {
    #[inline(always)]
    fn reached(self, sums: &[u16], place: u16) -> usize {
        // SAFETY: `self` proves that the machine has AVX-512.
        unsafe { reached_avx512(sums, place) }
    }
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f,avx512bw,popcnt")]
fn reached_avx512(sums: &[u16], place: u16) -> usize {
    let place = _mm512_set1_epi16(place as i16);
    let vectors = sums.chunks_exact(32);
    let rest = vectors.remainder();
    let mut count = 0;
    for vector in vectors {
        // SAFETY: the vector has 32 elements.
        let sums = unsafe { _mm512_loadu_si512(vector.as_ptr().cast()) };
        count += _mm512_cmple_epu16_mask(sums, place).count_ones();
    }
    let mask = (1_u32 << rest.len()) - 1;
    // SAFETY: only the elements of the mask are read, which are those of the slice.
    let sums = unsafe { _mm512_maskz_loadu_epi16(mask, rest.as_ptr().cast()) };
    (count + _mm512_mask_cmple_epu16_mask(mask, sums, place).count_ones()) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn all_searches_agree(mut sums in prop::collection::vec(any::<u16>(), 0..200), place: u16) {
            sums.sort_unstable();
            let expected = sums.partition_point(|&sum| sum <= place);
            prop_assert_eq!(Plain.reached(&sums, place), expected);
            #[cfg(target_arch = "x86_64")]
            {
                prop_assert!(Avx2::detect().is_none_or(|avx2| avx2.reached(&sums, place) == expected));
                prop_assert!(Avx512::detect().is_none_or(|avx512| avx512.reached(&sums, place) == expected));
            }
        }
    }
}
