//! What sixteen lanes found, as the indices of chunks in order.

use std::arch::x86_64::*;

use crate::codec::{Field, Ground, LANES, Walk};
use crate::kernel::Avx512;
use crate::kernel::found::{Found, List, Row};
use crate::kernel::network;
use crate::kernel::places::MOST;
use crate::kernel::tables::LANE;

/// Puts what each lane of a vector found together, and tells how much it is. No lane must have found more than there is room for.
#[target_feature(enable = "avx512f,popcnt")]
fn collect(found: &[Row], vectors: usize, lists: &mut [List]) -> [usize; LANE] {
    let (mut counts, mut columns) = ([0; LANE], [_mm512_setzero_si512(); LANE]);
    for steps in found.chunks(vectors * LANE) {
        for (column, row) in columns.iter_mut().zip(steps.iter().step_by(vectors)) {
            // SAFETY: there are sixteen.
            *column = unsafe { _mm512_loadu_si512(row.as_ptr().cast()) };
        }
        transpose(&mut columns);
        for ((&these, list), count) in columns.iter().zip(&mut *lists).zip(&mut counts) {
            let some = _mm512_test_epi32_mask(these, these);
            let room: &mut [u32] = &mut list[*count..*count + LANE];
            // SAFETY: there is room for sixteen.
            unsafe { _mm512_storeu_si512(room.as_mut_ptr().cast(), _mm512_maskz_compress_epi32(some, these)) };
            *count += some.count_ones() as usize;
        }
    }
    counts
}

/// Makes columns of rows.
#[target_feature(enable = "avx512f")]
#[inline]
fn transpose(all: &mut [__m512i; LANE]) {
    for four in all.as_chunks_mut::<4>().0 {
        let [a, b, c, d] = *four;
        let (one, two) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
        let (three, four_) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
        let (low, high) = (_mm512_unpacklo_epi64(one, three), _mm512_unpackhi_epi64(one, three));
        *four = [low, high, _mm512_unpacklo_epi64(two, four_), _mm512_unpackhi_epi64(two, four_)];
    }
    // A quarter of vector `4 a + b` has column `4 * quarter + b` of rows `4 a` to `4 a + 3` now.
    for b in 0..4 {
        [all[b], all[4 + b], all[8 + b], all[12 + b]] = quarters([all[b], all[4 + b], all[8 + b], all[12 + b]]);
    }
}

/// The first quarters of four vectors, their second ones, and so on.
#[target_feature(enable = "avx512f")]
#[inline]
fn quarters([a, b, c, d]: [__m512i; 4]) -> [__m512i; 4] {
    let even = |a, b| _mm512_shuffle_i32x4::<0b10_00_10_00>(a, b);
    let odd = |a, b| _mm512_shuffle_i32x4::<0b11_01_11_01>(a, b);
    let (lower, upper) = ([even(a, b), odd(a, b)], [even(c, d), odd(c, d)]);
    [even(lower[0], upper[0]), even(lower[1], upper[1]), odd(lower[0], upper[0]), odd(lower[1], upper[1])]
}

/// Turns what was found into the indices of all chunks, in order. What takes long to wait for is done for all chunks before what follows.
#[target_feature(enable = "avx512f,avx512bw,popcnt")]
pub(super) fn put(
    proof: Avx512,
    ground: &Ground,
    (found, vectors): (&mut Found, usize),
    (walks, indices): (&mut [Walk], &mut [u16]),
) {
    let (rows, lists) = found.parts();
    for (vector, (walks, lists)) in walks.chunks_mut(LANE).zip(lists.chunks_mut(LANE)).enumerate() {
        let counts = collect(rows.get(vector..).unwrap_or_default(), vectors, lists);
        walks.iter_mut().zip(counts).for_each(|(walk, count)| walk.fault |= count != walk.count);
    }
    let mut all = [[_mm512_setzero_si512(); 2]; LANES];
    for ((walk, list), halves) in walks.iter_mut().zip(&*lists).zip(&mut all) {
        let chunk = Chunk::new(ground, walk);
        for (number, (half, found)) in halves.iter_mut().zip(list.as_chunks().0).enumerate() {
            let (indices, sound) = chunk.indices(found, walk.count.saturating_sub(2 * LANE * number));
            *half = indices;
            walk.fault |= !sound;
        }
    }
    for (walks, all) in walks.chunks(4).zip(all.as_chunks_mut().0) {
        sort(proof, all);
        walks.iter().zip(all).for_each(|(walk, halves)| keep(*halves, &mut indices[walk.values()]));
    }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn keep(halves: [__m512i; 2], indices: &mut [u16]) {
    let mut few = [0; MOST];
    let all = if let ([all], []) = indices.as_chunks_mut() { all } else { &mut few };
    for (half, all) in halves.into_iter().zip(all.as_chunks_mut::<{ 2 * LANE }>().0) {
        // SAFETY: there is room for 32.
        unsafe { _mm512_storeu_si512(all.as_mut_ptr().cast(), half) };
    }
    if indices.len() < MOST {
        indices.copy_from_slice(&few[..indices.len()]);
    }
}

/// What tells the index of an element from the number and the classes.
struct Chunk {
    /// By class: the first of the sorted lines or columns, how many columns, and `2^16` divided by that.
    line_starts: __m512i,
    column_starts: __m512i,
    columns: __m512i,
    quotients: __m512i,
    /// Sorted lines and columns.
    line: [__m512i; 2],
    column: [__m512i; 2],
    length: __m512i,
    elements: __m512i,
}

impl Chunk {
    #[target_feature(enable = "avx512f,avx512bw")]
    #[inline]
    fn new(ground: &Ground, walk: &Walk) -> Chunk {
        let (lines, columns) = ground.sides(walk);
        let eight = |numbers: &[u16; 8]| {
            // SAFETY: there are eight; no class is above them.
            _mm512_castsi128_si512(unsafe { _mm_loadu_si128(numbers.as_ptr().cast()) })
        };
        Chunk {
            line_starts: eight(&lines.classes.starts),
            column_starts: eight(&columns.classes.starts),
            columns: eight(&columns.classes.counts),
            quotients: eight(&columns.classes.quotients),
            line: two(lines.sorted),
            column: two(columns.sorted),
            length: _mm512_set1_epi16(walk.cut.length as i16),
            elements: _mm512_set1_epi16(walk.cut.elements as i16),
        }
    }

    /// The indices of up to 32 elements, `u16::MAX` where there is none, and whether all are of the chunk.
    #[target_feature(enable = "avx512f,avx512bw")]
    #[inline]
    fn indices(&self, found: &[u32; 2 * LANE], count: usize) -> (__m512i, bool) {
        let mask = u32::MAX.checked_shr((2 * LANE - count.min(2 * LANE)) as u32).unwrap_or(0);
        let [lower_mask, upper_mask] = [mask as __mmask16, (mask >> LANE) as __mmask16];
        // SAFETY: there are twice sixteen.
        let (one, two) = unsafe {
            let found = found.as_ptr().cast::<i32>();
            (_mm512_maskz_loadu_epi32(lower_mask, found), _mm512_maskz_loadu_epi32(upper_mask, found.add(LANE)))
        };
        // In whatever order, since indices are sorted later.
        let number = _mm512_packus_epi32(lower(one), lower(two));
        let classes = _mm512_packus_epi32(_mm512_srli_epi32::<16>(one), _mm512_srli_epi32::<16>(two));
        let class =
            |shift| _mm512_and_si512(_mm512_srlv_epi16(classes, _mm512_set1_epi16(shift)), _mm512_set1_epi16(7));
        let (line_class, column_class) = (class((Field::LINE - 16) as i16), class((Field::COLUMN - 16) as i16));
        let of = |class, table| _mm512_permutexvar_epi16(class, table);
        // The row, or one less, and what is left of the number.
        let columns = of(column_class, self.columns);
        let row = _mm512_mulhi_epu16(number, of(column_class, self.quotients));
        let rest = _mm512_sub_epi16(number, _mm512_mullo_epi16(row, columns));
        let more = _mm512_cmpge_epu16_mask(rest, columns);
        let row = _mm512_mask_add_epi16(row, more, row, _mm512_set1_epi16(1));
        let rest = _mm512_mask_sub_epi16(rest, more, rest, columns);
        let member =
            |[one, two]: [__m512i; 2], start, rank| _mm512_permutex2var_epi16(one, _mm512_add_epi16(start, rank), two);
        let line = member(self.line, of(line_class, self.line_starts), row);
        let column = member(self.column, of(column_class, self.column_starts), rest);
        let index = _mm512_add_epi16(_mm512_mullo_epi16(line, self.length), column);
        let none = _mm512_testn_epi16_mask(classes, classes);
        // The field behind all others is of a class that does not exist.
        let nowhere =
            _mm512_cmpeq_epi16_mask(line_class, _mm512_set1_epi16(7)) | _mm512_cmpge_epu16_mask(index, self.elements);
        (_mm512_mask_blend_epi16(none, index, _mm512_set1_epi16(-1)), nowhere & !none == 0)
    }
}

/// The lower halves of numbers.
#[target_feature(enable = "avx512f")]
#[inline]
fn lower(numbers: __m512i) -> __m512i {
    _mm512_and_si512(numbers, _mm512_set1_epi32(0xffff))
}

/// As many as 64 numbers, and zeros.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn two(numbers: &[u16]) -> [__m512i; 2] {
    let half = |numbers: &[u16]| {
        let mask = ((1_u64 << numbers.len().min(2 * LANE)) - 1) as __mmask32;
        // SAFETY: only so many are read.
        unsafe { _mm512_maskz_loadu_epi16(mask, numbers.as_ptr().cast()) }
    };
    let (one, two) = numbers.split_at(numbers.len().min(2 * LANE));
    [half(one), half(two)]
}

/// Sorts the 64 numbers of each of four chunks.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn sort(proof: Avx512, chunks: &mut [[__m512i; 2]; 4]) {
    let [a, b, c, d] = *chunks;
    let ([e, f, g, h], [i, j, k, l]) = (quarters([a[0], b[0], c[0], d[0]]), quarters([a[1], b[1], c[1], d[1]]));
    let mut rows = [e, f, g, h, i, j, k, l];
    network::sort(proof, &mut rows);
    let [e, f, g, h, i, j, k, l] = rows;
    let ([a, b, c, d], [e, f, g, h]) = (quarters([e, f, g, h]), quarters([i, j, k, l]));
    *chunks = [[a, e], [b, f], [c, g], [d, h]];
}
