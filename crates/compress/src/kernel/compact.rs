//! What selection does with many elements at once.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use crate::kernel::Plain;
#[cfg(target_arch = "x86_64")]
use crate::kernel::select::MAGNITUDE;
use crate::kernel::select::{Candidates, Elements, GROUP, GROUPS, ROW, Threshold, emit, key};
#[cfg(target_arch = "x86_64")]
use crate::kernel::{Avx2, Avx512, tables::LANES_OF};
#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
use crate::kernel::{Neon, neon};

/// Finds keys that reach a bound. A value of an implementing type proves that the machine has the instructions that it uses.
pub(crate) trait Compact: Copy {
    /// The largest key of each group of a row.
    fn maxima(self, row: &[f32; ROW]) -> [u32; GROUPS];

    /// Which keys are at least `least`, the first in the lowest place.
    fn reach(self, keys: &[u32; ROW], least: u32) -> u64;

    /// Puts the keys that are at least `least`, and their places among all elements, at the beginning of lists, which have room for all elements of some
    /// groups and one more; tells how many they are.
    fn collect(self, elements: Elements<'_>, groups: &[u32], least: u32, lists: [&mut [u32]; 2]) -> usize;

    /// Appends the positions of the candidates whose key is at least `least`.
    fn choose(self, candidates: &Candidates, least: u32, indices: &mut Vec<u16>);
}

/// Element by element, without branches.
#[inline(always)]
fn collect(elements: Elements<'_>, groups: &[u32], least: u32, [keys, places]: [&mut [u32]; 2]) -> usize {
    let mut count = 0;
    for &group in groups {
        let values = elements.values[elements.first_of(group)..].iter().take(GROUP);
        for (place, &value) in (GROUP as u32 * group..).zip(values) {
            (keys[count], places[count]) = (key(value), place);
            count += usize::from(key(value) >= least);
        }
    }
    count
}

impl Compact for Plain {
    #[inline(always)]
    fn maxima(self, row: &[f32; ROW]) -> [u32; GROUPS] {
        let mut maxima = [0; GROUPS];
        for (largest, group) in maxima.iter_mut().zip(row.as_chunks::<GROUP>().0) {
            *largest = group.iter().fold(0, |largest, &value| largest.max(key(value)));
        }
        maxima
    }

    #[inline(always)]
    fn reach(self, keys: &[u32; ROW], least: u32) -> u64 {
        keys.iter().rev().fold(0, |word, &key| word << 1 | u64::from(key >= least))
    }

    #[inline(always)]
    fn collect(self, elements: Elements<'_>, groups: &[u32], least: u32, lists: [&mut [u32]; 2]) -> usize {
        collect(elements, groups, least, lists)
    }

    #[inline(always)]
    fn choose(self, candidates: &Candidates, least: u32, indices: &mut Vec<u16>) {
        emit(candidates, Threshold { least, ties: usize::MAX }, indices);
    }
}

/// Eight elements at once.
#[cfg(target_arch = "x86_64")]
impl Compact for Avx2 {
    #[inline(always)]
    fn maxima(self, row: &[f32; ROW]) -> [u32; GROUPS] {
        // SAFETY: `self` proves that the machine has AVX2.
        unsafe { maxima_avx2(row) }
    }

    #[inline(always)]
    fn reach(self, keys: &[u32; ROW], least: u32) -> u64 {
        // SAFETY: as above.
        unsafe { reach_avx2(keys, least) }
    }

    #[inline(always)]
    fn collect(self, elements: Elements<'_>, groups: &[u32], least: u32, lists: [&mut [u32]; 2]) -> usize {
        // SAFETY: as above.
        unsafe { collect_avx2(elements, groups, least, lists) }
    }

    #[inline(always)]
    fn choose(self, candidates: &Candidates, least: u32, indices: &mut Vec<u16>) {
        // SAFETY: as above.
        unsafe { choose_avx2(candidates, least, indices) };
    }
}

/// Four elements in each register.
#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
impl Compact for Neon {
    #[inline(always)]
    fn maxima(self, row: &[f32; ROW]) -> [u32; GROUPS] {
        neon::maxima(row)
    }

    #[inline(always)]
    fn reach(self, keys: &[u32; ROW], least: u32) -> u64 {
        neon::reach(keys, least)
    }

    #[inline(always)]
    fn collect(self, elements: Elements<'_>, groups: &[u32], least: u32, lists: [&mut [u32]; 2]) -> usize {
        collect(elements, groups, least, lists)
    }

    #[inline(always)]
    fn choose(self, candidates: &Candidates, least: u32, indices: &mut Vec<u16>) {
        let (start, vectors) = (indices.len(), candidates.count.div_ceil(GROUP));
        indices.resize(start + GROUP * vectors, 0);
        let (keys, places) = (candidates.keys.as_chunks().0, candidates.places.as_chunks().0);
        let mut count = start;
        for (vector, (keys, places)) in keys.iter().zip(places).take(vectors).enumerate() {
            let valid = 0xff >> (GROUP * (vector + 1)).saturating_sub(candidates.count);
            let Some(room) = indices[count..].first_chunk_mut() else { break };
            count += neon::choose((keys, places), (least, valid), room);
        }
        indices.truncate(count);
    }
}

/// Sixteen elements at once where they are many; with AVX-512 comes AVX2.
#[cfg(target_arch = "x86_64")]
impl Compact for Avx512 {
    #[inline(always)]
    fn maxima(self, row: &[f32; ROW]) -> [u32; GROUPS] {
        Avx2(()).maxima(row)
    }

    #[inline(always)]
    fn reach(self, keys: &[u32; ROW], least: u32) -> u64 {
        // SAFETY: `self` proves that the machine has AVX-512.
        unsafe { reach_avx512(keys, least) }
    }

    #[inline(always)]
    fn collect(self, elements: Elements<'_>, groups: &[u32], least: u32, lists: [&mut [u32]; 2]) -> usize {
        Avx2(()).collect(elements, groups, least, lists)
    }

    #[inline(always)]
    fn choose(self, candidates: &Candidates, least: u32, indices: &mut Vec<u16>) {
        Avx2(()).choose(candidates, least, indices);
    }
}

/// The keys of eight elements.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx2")]
fn keys_of(values: &[f32; GROUP]) -> __m256i {
    // SAFETY: there are eight.
    let values = unsafe { _mm256_loadu_si256(values.as_ptr().cast()) };
    _mm256_and_si256(values, _mm256_set1_epi32(MAGNITUDE as i32))
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx2")]
fn maxima_avx2(row: &[f32; ROW]) -> [u32; GROUPS] {
    let mut keys = [_mm256_setzero_si256(); GROUPS];
    for (keys, values) in keys.iter_mut().zip(row.as_chunks().0) {
        *keys = keys_of(values);
    }
    let [a, b, c, d, e, f, g, h] = keys;
    // Halves of two, then of four, then of eight groups.
    let (ab, cd, ef, gh) = (larger_of_two(a, b), larger_of_two(c, d), larger_of_two(e, f), larger_of_two(g, h));
    let (abcd, efgh) = (larger_of_four(ab, cd), larger_of_four(ef, gh));
    let lower = _mm256_permute2x128_si256::<0x20>(abcd, efgh);
    let upper = _mm256_permute2x128_si256::<0x31>(abcd, efgh);
    let mut maxima = [0; GROUPS];
    // SAFETY: there is room for eight.
    unsafe { _mm256_storeu_si256(maxima.as_mut_ptr().cast(), _mm256_max_epi32(lower, upper)) };
    maxima
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx2")]
fn larger_of_two(one: __m256i, other: __m256i) -> __m256i {
    _mm256_max_epi32(_mm256_unpacklo_epi32(one, other), _mm256_unpackhi_epi32(one, other))
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx2")]
fn larger_of_four(one: __m256i, other: __m256i) -> __m256i {
    _mm256_max_epi32(_mm256_unpacklo_epi64(one, other), _mm256_unpackhi_epi64(one, other))
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx2")]
fn reach_avx2(keys: &[u32; ROW], least: u32) -> u64 {
    let less = _mm256_set1_epi32(least as i32 - 1);
    let in_order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    let mut halves = [0_u32; 2];
    for (half, keys) in halves.iter_mut().zip(keys.as_chunks::<{ ROW / 2 }>().0) {
        let mut eights = [_mm256_setzero_si256(); 4];
        for (eight, keys) in eights.iter_mut().zip(keys.as_chunks::<8>().0) {
            // SAFETY: there are eight.
            *eight = _mm256_cmpgt_epi32(unsafe { _mm256_loadu_si256(keys.as_ptr().cast()) }, less);
        }
        let [a, b, c, d] = eights;
        let bytes = _mm256_packs_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
        *half = _mm256_movemask_epi8(_mm256_permutevar8x32_epi32(bytes, in_order)) as u32;
    }
    u64::from(halves[1]) << (ROW / 2) | u64::from(halves[0])
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f")]
fn reach_avx512(keys: &[u32; ROW], least: u32) -> u64 {
    let least = _mm512_set1_epi32(least as i32);
    let mut word = 0;
    for (place, keys) in (0..).step_by(16).zip(keys.as_chunks::<16>().0) {
        // SAFETY: there are sixteen.
        let keys = unsafe { _mm512_loadu_si512(keys.as_ptr().cast()) };
        word |= u64::from(_mm512_cmpge_epu32_mask(keys, least)) << place;
    }
    word
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx2,popcnt")]
fn collect_avx2(elements: Elements<'_>, groups: &[u32], least: u32, [keys, places]: [&mut [u32]; 2]) -> usize {
    assert!(keys.len().min(places.len()) >= GROUP * (groups.len() + 1), "lists have room");
    let Some(last) = elements.values.len().checked_sub(GROUP) else { return 0 };
    let less = _mm256_set1_epi32(least as i32 - 1);
    let mut count = 0;
    for &group in groups {
        let first = elements.first_of(group);
        assert!(first <= last, "groups are of the chunk");
        // SAFETY: there are eight from there on.
        let found = keys_of(unsafe { &*elements.values.as_ptr().add(first).cast() });
        let mask = _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(found, less))) as usize & 0xff;
        // SAFETY: there are eight lanes; each group before added eight at most, so that there is room for eight more.
        unsafe {
            let lanes = _mm256_loadu_si256(LANES_OF[mask].as_ptr().cast());
            let found = _mm256_permutevar8x32_epi32(found, lanes);
            _mm256_storeu_si256(keys.as_mut_ptr().add(count).cast(), found);
            let first = _mm256_set1_epi32((GROUP as u32 * group) as i32);
            _mm256_storeu_si256(places.as_mut_ptr().add(count).cast(), _mm256_add_epi32(lanes, first));
        }
        count += mask.count_ones() as usize;
    }
    count
}

/// Eight candidates at once; those of the last vector that are none are passed over.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx2,popcnt")]
fn choose_avx2(candidates: &Candidates, least: u32, indices: &mut Vec<u16>) {
    let least = _mm256_set1_epi32(least as i32);
    let (start, vectors) = (indices.len(), candidates.count.div_ceil(8));
    indices.resize(start + 8 * vectors, 0);
    let (keys, places) = (&candidates.keys[..8 * vectors], &candidates.places[..8 * vectors]);
    let mut count = start;
    for (vector, (keys, places)) in keys.chunks_exact(8).zip(places.chunks_exact(8)).enumerate() {
        let valid = 0xff_u32 >> (8 * (vector + 1)).saturating_sub(candidates.count);
        // SAFETY: both runs have eight elements; there are at most `8 * vector` positions before those of this vector, so that
        // eight more fit.
        unsafe {
            let keys = _mm256_loadu_si256(keys.as_ptr().cast());
            let reached = _mm256_cmpeq_epi32(_mm256_max_epu32(keys, least), keys);
            let mask = _mm256_movemask_ps(_mm256_castsi256_ps(reached)) as u32 & valid;
            let lanes = _mm256_loadu_si256(LANES_OF[mask as usize & 255].as_ptr().cast());
            let chosen = _mm256_permutevar8x32_epi32(_mm256_loadu_si256(places.as_ptr().cast()), lanes);
            let (low, high) = (_mm256_castsi256_si128(chosen), _mm256_extracti128_si256::<1>(chosen));
            _mm_storeu_si128(indices.as_mut_ptr().add(count).cast(), _mm_packus_epi32(low, high));
            count += mask.count_ones() as usize;
        }
    }
    indices.truncate(count);
}
