//! The `k` largest values of a chunk.
//!
//! 1. The elements are dealt to at least `k` groups; the `k`-th largest of the groups' maxima is at most the `k`-th
//!    largest element, since `k` different elements reach it.
//! 2. Keys that reach that bound, usually about a hundred, are listed.
//! 3. Bisection finds a threshold that exactly `k` of them reach, or the key at which ties have to be broken.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    _mm_packus_epi32, _mm_storeu_si128, _mm256_and_si256, _mm256_castsi256_ps, _mm256_castsi256_si128,
    _mm256_cmpeq_epi32, _mm256_cmpgt_epi32, _mm256_extracti128_si256, _mm256_loadu_si256, _mm256_max_epu32,
    _mm256_movemask_epi8, _mm256_movemask_ps, _mm256_packs_epi16, _mm256_packs_epi32, _mm256_permutevar8x32_epi32,
    _mm256_set1_epi32, _mm256_setr_epi32, _mm256_setzero_si256, _mm512_and_si512, _mm512_cmpge_epu32_mask,
    _mm512_loadu_si512, _mm512_set1_epi32,
};

use crate::kernel::Plain;
#[cfg(target_arch = "x86_64")]
use crate::kernel::{Avx2, Avx512, tables::LANES_OF};
#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
use crate::kernel::{Neon, neon};
use crate::layout::Block;

const MAGNITUDE: u32 = 0x7fff_ffff;

/// What values are compared by: the bits of the magnitude.
#[inline(always)]
pub(crate) fn key(value: f32) -> u32 {
    value.to_bits() & MAGNITUDE
}

/// Elements of which a word has a bit each.
const WORD: usize = u64::BITS as usize;
/// Candidates that are listed without asking; buffers have room for one vector more than they need.
const FEW: usize = 4;
const VECTOR: usize = 8;
/// Most groups.
const GROUPS: usize = 256;

/// A chunk as its rows lie in its band.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chunk<'a> {
    pub(crate) band: &'a [f32],
    pub(crate) block: Block,
}

/// Candidates for selection, in the order of their positions.
#[derive(Debug, Default)]
pub(crate) struct Candidates {
    /// The chunk in one piece, where it is needed so.
    chunk: Vec<f32>,
    keys: Vec<u32>,
    places: Vec<u32>,
    count: usize,
}

impl Candidates {
    fn clear(&mut self, room: usize) {
        self.count = 0;
        if self.keys.len() < room + VECTOR {
            self.keys.resize(room + VECTOR, 0);
            self.places.resize(room + VECTOR, 0);
        }
    }

    /// Finds the elements whose key is at least `least`, in order.
    #[inline(always)]
    fn find(&mut self, compact: impl Compact, Chunk { band, block }: Chunk<'_>, least: u32) {
        self.clear(block.len());
        for row in 0..block.rows {
            let (whole, rest) = band[block.run(row)].as_chunks();
            let first = row * block.width;
            for (first, values) in (first..).step_by(WORD).zip(whole) {
                self.list(first, compact.reach(values, least));
            }
            if !rest.is_empty() {
                let mut values = [0.0; WORD];
                values[..rest.len()].copy_from_slice(rest);
                let there = (1 << rest.len()) - 1;
                self.list(first + WORD * whole.len(), compact.reach(&values, least) & there);
            }
        }
        let places = block.places();
        for (to, &place) in self.keys.iter_mut().zip(&self.places[..self.count]) {
            *to = key(band[places.of(place as u16)]);
        }
    }

    /// Lists the set bits of a word: a few in any case, since a branch for each would be foretold badly.
    #[inline(always)]
    fn list(&mut self, first: usize, word: u64) {
        let (first, mut rest) = (first as u32, word);
        for place in &mut self.places[self.count..self.count + FEW] {
            *place = first + rest.trailing_zeros();
            rest &= rest.wrapping_sub(1);
        }
        let count = self.count + word.count_ones() as usize;
        for place in &mut self.places[(self.count + FEW).min(count)..count] {
            *place = first + rest.trailing_zeros();
            rest &= rest.wrapping_sub(1);
        }
        self.count = count;
    }

    /// A key that at least `k` elements reach (or 0), and the largest key.
    #[inline(always)]
    fn bounds(&mut self, Chunk { band, block }: Chunk<'_>, k: usize) -> (u32, u32) {
        self.chunk.clear();
        for row in 0..block.rows {
            self.chunk.extend_from_slice(&band[block.run(row)]);
        }
        bounds(&self.chunk, k)
    }

    fn keys(&self) -> &[u32] {
        &self.keys[..self.count]
    }
}

/// Finds keys that reach a bound. A value of an implementing type proves that the machine has the instructions that it uses.
pub(crate) trait Compact: Copy {
    /// Which values have magnitude bits of at least `least`, the first in the lowest place.
    fn reach(self, values: &[f32; WORD], least: u32) -> u64;

    /// Appends the positions of the candidates whose key is at least `least`.
    fn choose(self, candidates: &Candidates, least: u32, indices: &mut Vec<u16>);
}

/// Element by element, without branches.
impl Compact for Plain {
    #[inline(always)]
    fn reach(self, values: &[f32; WORD], least: u32) -> u64 {
        values.iter().rev().fold(0, |word, &value| word << 1 | u64::from(key(value) >= least))
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
    fn reach(self, values: &[f32; WORD], least: u32) -> u64 {
        // SAFETY: `self` proves that the machine has AVX2.
        unsafe { reach_avx2(values, least) }
    }

    #[inline(always)]
    fn choose(self, candidates: &Candidates, least: u32, indices: &mut Vec<u16>) {
        // SAFETY: `self` proves that the machine has AVX2.
        unsafe { choose_avx2(candidates, least, indices) };
    }
}

/// Four elements in each register.
#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
impl Compact for Neon {
    #[inline(always)]
    fn reach(self, values: &[f32; WORD], least: u32) -> u64 {
        neon::reach(values, least)
    }

    #[inline(always)]
    fn choose(self, candidates: &Candidates, least: u32, indices: &mut Vec<u16>) {
        let (start, vectors) = (indices.len(), candidates.count.div_ceil(VECTOR));
        indices.resize(start + VECTOR * vectors, 0);
        let (keys, places) = (candidates.keys.as_chunks().0, candidates.places.as_chunks().0);
        let mut count = start;
        for (vector, (keys, places)) in keys.iter().zip(places).take(vectors).enumerate() {
            let valid = 0xff >> (VECTOR * (vector + 1)).saturating_sub(candidates.count);
            let Some(room) = indices[count..].first_chunk_mut() else { break };
            count += neon::choose((keys, places), (least, valid), room);
        }
        indices.truncate(count);
    }
}

/// Sixteen elements at once.
#[cfg(target_arch = "x86_64")]
impl Compact for Avx512 {
    #[inline(always)]
    fn reach(self, values: &[f32; WORD], least: u32) -> u64 {
        // SAFETY: `self` proves that the machine has AVX-512.
        unsafe { reach_avx512(values, least) }
    }

    #[inline(always)]
    fn choose(self, candidates: &Candidates, least: u32, indices: &mut Vec<u16>) {
        // SAFETY: a machine with AVX-512 has AVX2.
        unsafe { choose_avx2(candidates, least, indices) };
    }
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx2")]
fn reach_avx2(values: &[f32; WORD], least: u32) -> u64 {
    let (magnitude, less) = (_mm256_set1_epi32(MAGNITUDE as i32), _mm256_set1_epi32(least as i32 - 1));
    let in_order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    let mut halves = [0_u32; 2];
    for (half, values) in halves.iter_mut().zip(values.as_chunks::<{ WORD / 2 }>().0) {
        let mut eights = [_mm256_setzero_si256(); 4];
        for (eight, values) in eights.iter_mut().zip(values.as_chunks::<8>().0) {
            // SAFETY: there are eight.
            let keys = _mm256_and_si256(unsafe { _mm256_loadu_si256(values.as_ptr().cast()) }, magnitude);
            *eight = _mm256_cmpgt_epi32(keys, less);
        }
        let [a, b, c, d] = eights;
        let bytes = _mm256_packs_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
        *half = _mm256_movemask_epi8(_mm256_permutevar8x32_epi32(bytes, in_order)) as u32;
    }
    u64::from(halves[1]) << (WORD / 2) | u64::from(halves[0])
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f")]
fn reach_avx512(values: &[f32; WORD], least: u32) -> u64 {
    let (magnitude, least) = (_mm512_set1_epi32(MAGNITUDE as i32), _mm512_set1_epi32(least as i32));
    let mut word = 0;
    for (place, values) in (0..).step_by(16).zip(values.as_chunks::<16>().0) {
        // SAFETY: there are sixteen.
        let keys = _mm512_and_si512(unsafe { _mm512_loadu_si512(values.as_ptr().cast()) }, magnitude);
        word |= u64::from(_mm512_cmpge_epu32_mask(keys, least)) << place;
    }
    word
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

/// Appends the positions of the `k` values of largest magnitude in ascending order; of equal ones the lower position
/// wins. Magnitudes whose bits are below `floor` are left out: 1 leaves out zeros. The values must be finite. The largest keys of
/// some groups of them may be known, of which each element is in one.
#[inline(always)]
pub(crate) fn select(
    compact: impl Compact,
    (chunk, peaks): (Chunk<'_>, &[u32]),
    (k, floor): (usize, u32),
    candidates: &mut Candidates,
    indices: &mut Vec<u16>,
) {
    let (bound, largest) = if peaks.len() < k { candidates.bounds(chunk, k) } else { bounds_of(peaks, k) };
    let least = bound.max(floor);
    candidates.find(compact, chunk, least);
    let threshold = match candidates.count <= k {
        true => Threshold { least, ties: usize::MAX },
        false => bisect(candidates.keys(), k, least, largest + 1),
    };
    match threshold.ties {
        usize::MAX => compact.choose(candidates, threshold.least, indices),
        _ => emit(candidates, threshold, indices),
    }
}

/// Keys from `least` on are selected, but only the first `ties` of those equal to it.
#[derive(Debug, Clone, Copy)]
struct Threshold {
    least: u32,
    ties: usize,
}

#[inline(always)]
fn emit(candidates: &Candidates, threshold: Threshold, indices: &mut Vec<u16>) {
    let Threshold { least, mut ties } = threshold;
    let start = indices.len();
    indices.resize(start + candidates.count, 0);
    let mut count = start;
    for (&key, &place) in candidates.keys().iter().zip(&candidates.places) {
        let tie = key == least;
        let take = key > least || (tie && ties > 0);
        ties -= usize::from(tie && ties > 0);
        indices[count] = place as u16;
        count += usize::from(take);
    }
    indices.truncate(count);
}

/// A key that at least `k` elements reach (or 0), and the largest key.
#[inline(always)]
fn bounds(chunk: &[f32], k: usize) -> (u32, u32) {
    match k {
        0..=16 => bounds_of(&maxima::<16>(chunk), k),
        17..=32 => bounds_of(&maxima::<32>(chunk), k),
        33..=64 => bounds_of(&maxima::<64>(chunk), k),
        65..=128 => bounds_of(&maxima::<128>(chunk), k),
        129..=GROUPS => bounds_of(&maxima::<GROUPS>(chunk), k),
        _ => (0, bounds_of(&maxima::<64>(chunk), 64).1),
    }
}

/// The largest key of each of some groups.
#[inline(always)]
fn maxima<const G: usize>(chunk: &[f32]) -> [u32; G] {
    let mut maxima = [0_u32; G];
    let mut runs = chunk.chunks_exact(G);
    for run in runs.by_ref() {
        maxima.iter_mut().zip(run).for_each(|(largest, &value)| *largest = (*largest).max(key(value)));
    }
    let rest = maxima.iter_mut().zip(runs.remainder());
    rest.for_each(|(largest, &value)| *largest = (*largest).max(key(value)));
    maxima
}

/// The same of the largest keys of at least `k` groups. A few more may reach the bound: to find the best takes longer.
#[inline(always)]
fn bounds_of(maxima: &[u32], k: usize) -> (u32, u32) {
    let (mut bound, largest) = maxima.iter().fold((u32::MAX, 0), |(least, most), &key| (key.min(least), key.max(most)));
    // Invariant: at least `k` reach `bound`, fewer than `k` reach `end`.
    let (mut end, mut count) = (largest + 1, maxima.len());
    while count > k + k / 8 && end - bound > 1 {
        let middle = bound + (end - bound) / 2;
        let reached = reaching(maxima, middle);
        if reached < k {
            end = middle;
        } else {
            (bound, count) = (middle, reached);
        }
    }
    (bound, largest)
}

/// A threshold that `k` of more than `k` keys in `least..end` reach.
#[inline(always)]
fn bisect(keys: &[u32], k: usize, mut least: u32, mut end: u32) -> Threshold {
    // Invariant: more than `k` keys reach `least`, fewer than `k` reach `end`.
    while end - least > 1 {
        let middle = least + (end - least) / 2;
        let count = reaching(keys, middle);
        if count == k {
            return Threshold { least: middle, ties: usize::MAX };
        }
        if count > k {
            least = middle;
        } else {
            end = middle;
        }
    }
    Threshold { least, ties: k - reaching(keys, end) }
}

#[inline(always)]
fn reaching(keys: &[u32], least: u32) -> usize {
    keys.iter().map(|&key| u32::from(key >= least)).sum::<u32>() as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(chunk: &[f32], k: usize, expected: &[u16]) {
        check_with(Plain, chunk, k, expected);
        #[cfg(target_arch = "x86_64")]
        {
            Avx2::detect().into_iter().for_each(|avx2| check_with(avx2, chunk, k, expected));
            Avx512::detect().into_iter().for_each(|avx512| check_with(avx512, chunk, k, expected));
        }
        #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
        if let Some(crate::kernel::Level::Neon(neon)) = crate::kernel::Level::of(crate::Instructions::Neon) {
            check_with(neon, chunk, k, expected);
        }
    }

    fn check_with(compact: impl Compact, chunk: &[f32], k: usize, expected: &[u16]) {
        let mut indices = vec![7];
        let peaks = chunk.iter().map(|&value| key(value)).collect::<Vec<_>>();
        // In one row, or in some that lie apart.
        let rows = (1..=70).rev().find(|&rows| chunk.len().is_multiple_of(rows)).unwrap();
        let width = chunk.len() / rows;
        let apart = chunk.chunks(width).flat_map(|row| [&[f32::NAN; 3][..], row].concat()).collect::<Vec<_>>();
        let whole = Chunk { band: chunk, block: Block { start: 0, rows: 1, width: chunk.len(), stride: chunk.len() } };
        let apart = Chunk { band: &apart, block: Block { start: 3, rows, width, stride: width + 3 } };
        for (chunk, peaks) in [(whole, &[][..]), (whole, &peaks), (apart, &[]), (apart, &peaks)] {
            select(compact, (chunk, peaks), (k, 1), &mut Candidates::default(), &mut indices);
            assert_eq!(&indices[1..], expected);
            indices.truncate(1);
        }
    }

    /// By sorting: magnitude descending, then position ascending.
    fn expected(chunk: &[f32], k: usize) -> Vec<u16> {
        let mut order = (0..chunk.len() as u16).filter(|&i| chunk[i as usize] != 0.0).collect::<Vec<_>>();
        order.sort_by(|&a, &b| chunk[b as usize].abs().total_cmp(&chunk[a as usize].abs()).then(a.cmp(&b)));
        order.truncate(k);
        order.sort_unstable();
        order
    }

    #[test]
    fn the_lower_position_wins_a_tie() {
        check(&[1.0, -2.0, 2.0, 2.0, -1.0], 2, &[1, 2]);
        check(&[1.0, 1.0, 1.0], 1, &[0]);
        check(&[0.0, -0.0, 3.0], 2, &[2]);
        check(&[0.0; 5], 3, &[]);
        check(&[1.0; 4096], 64, &(0..64).collect::<Vec<_>>());
        check(&[f32::MIN_POSITIVE / 2.0, 1.0], 2, &[0, 1]);
    }

    #[test]
    fn zeros_are_taken_if_asked_for() {
        let mut indices = Vec::new();
        let block = Block { start: 0, rows: 1, width: 4, stride: 4 };
        let chunk = Chunk { band: &[0.0, -0.0, 3.0, 0.0], block };
        select(Plain, (chunk, &[]), (3, 0), &mut Candidates::default(), &mut indices);
        assert_eq!(indices, [0, 1, 2]);
    }

    proptest! {
        #[test]
        fn selection_is_that_of_a_sort(small in prop::collection::vec(-4_i8..=4, 1..700), k in 1_usize..700) {
            let chunk = small.iter().map(|&v| f32::from(v) / 2.0).collect::<Vec<_>>();
            let k = k.min(chunk.len());
            check(&chunk, k, &expected(&chunk, k));
        }

        #[test]
        fn selection_of_distinct_values(chunk in prop::collection::vec(-1e3_f32..1e3, 1..700), k in 1_usize..700) {
            let k = k.min(chunk.len());
            check(&chunk, k, &expected(&chunk, k));
        }
    }
}
