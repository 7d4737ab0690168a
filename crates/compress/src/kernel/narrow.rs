//! What eight lanes found, as the indices of chunks in order: what `arrange` does, with vectors half as wide.

use std::arch::x86_64::*;

use crate::codec::{Field, Ground, Walk};
use crate::kernel::network::two_chunks;
use crate::kernel::places::{Found, List, MOST, Row};
use crate::kernel::select::LANES_OF;
use crate::kernel::wide::LANE;

/// Lanes of a vector.
const EIGHT: usize = LANE / 2;
/// Vectors of the indices of a chunk.
const PARTS: usize = MOST / LANE;

/// Turns what was found into the indices of all chunks, in order.
#[target_feature(enable = "avx2,popcnt")]
pub(super) fn put(ground: &Ground, (found, vectors): (&mut Found, usize), (walks, indices): (&mut [Walk], &mut [u16])) {
    let (rows, lists) = found.parts();
    for (eight, (walks, lists)) in walks.chunks_mut(EIGHT).zip(lists.chunks_mut(EIGHT)).enumerate() {
        let counts = collect(&rows[eight / 2..], (vectors, eight % 2), lists);
        walks.iter_mut().zip(counts).for_each(|(walk, count)| walk.fault |= count != walk.count);
    }
    for (walks, lists) in walks.chunks_mut(2).zip(lists.chunks(2)) {
        let mut both = [[_mm256_set1_epi16(-1); PARTS]; 2];
        for ((walk, list), parts) in walks.iter_mut().zip(lists).zip(&mut both) {
            *parts = indices_of(ground, walk, list);
        }
        sort(&mut both);
        walks.iter().zip(&both).for_each(|(walk, parts)| keep(parts, &mut indices[walk.values()]));
    }
}

/// Puts what each lane of a half of a vector found together, and tells how much it is. No lane must have found more than there is room for.
#[target_feature(enable = "avx2,popcnt")]
fn collect(found: &[Row], (vectors, half): (usize, usize), lists: &mut [List]) -> [usize; EIGHT] {
    let (mut counts, mut columns) = ([0; EIGHT], [_mm256_setzero_si256(); EIGHT]);
    for steps in found.chunks(vectors * EIGHT) {
        for (column, row) in columns.iter_mut().zip(steps.iter().step_by(vectors)) {
            let row: &[u32; EIGHT] = &row.as_chunks().0[half];
            // SAFETY: there are eight.
            *column = unsafe { _mm256_loadu_si256(row.as_ptr().cast()) };
        }
        transpose(&mut columns);
        for ((&these, list), count) in columns.iter().zip(&mut *lists).zip(&mut counts) {
            let none = _mm256_cmpeq_epi32(these, _mm256_setzero_si256());
            let some = !_mm256_movemask_ps(_mm256_castsi256_ps(none)) & 0xff;
            let room: &mut [u32] = &mut list[*count..*count + EIGHT];
            // SAFETY: there are eight lanes for each mask, and room for eight.
            unsafe {
                let lanes = _mm256_loadu_si256(LANES_OF[some as usize].as_ptr().cast());
                _mm256_storeu_si256(room.as_mut_ptr().cast(), _mm256_permutevar8x32_epi32(these, lanes));
            }
            *count += some.count_ones() as usize;
        }
    }
    counts
}

/// Makes columns of rows.
#[target_feature(enable = "avx2")]
#[inline]
fn transpose(all: &mut [__m256i; EIGHT]) {
    for four in all.as_chunks_mut::<4>().0 {
        let [a, b, c, d] = *four;
        let (one, two) = (_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
        let (three, other) = (_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
        let (low, high) = (_mm256_unpacklo_epi64(one, three), _mm256_unpackhi_epi64(one, three));
        *four = [low, high, _mm256_unpacklo_epi64(two, other), _mm256_unpackhi_epi64(two, other)];
    }
    for place in 0..EIGHT / 2 {
        [all[place], all[EIGHT / 2 + place]] = halves([all[place], all[EIGHT / 2 + place]]);
    }
}

/// The lower halves of two vectors, and the upper ones.
#[target_feature(enable = "avx2")]
#[inline]
fn halves([one, other]: [__m256i; 2]) -> [__m256i; 2] {
    [_mm256_permute2x128_si256::<0x20>(one, other), _mm256_permute2x128_si256::<0x31>(one, other)]
}

/// Sorts the 64 numbers of each of two chunks.
#[target_feature(enable = "avx2")]
#[inline]
fn sort([one, other]: &mut [[__m256i; PARTS]; 2]) {
    let mut rows = [_mm256_setzero_si256(); 8];
    for ((pair, &one), &other) in rows.as_chunks_mut().0.iter_mut().zip(&*one).zip(&*other) {
        *pair = halves([one, other]);
    }
    two_chunks::sort(&mut rows);
    for ((pair, one), other) in rows.as_chunks().0.iter().zip(one).zip(other) {
        [*one, *other] = halves(*pair);
    }
}

#[target_feature(enable = "avx2")]
#[inline]
fn keep(parts: &[__m256i; PARTS], indices: &mut [u16]) {
    let mut all = [0; MOST];
    for (&part, all) in parts.iter().zip(all.as_chunks_mut::<LANE>().0) {
        // SAFETY: there is room for sixteen.
        unsafe { _mm256_storeu_si256(all.as_mut_ptr().cast(), part) };
    }
    indices.copy_from_slice(&all[..indices.len()]);
}

/// The indices of a chunk in no order, and `u16::MAX`.
#[target_feature(enable = "avx2")]
#[inline]
fn indices_of(ground: &Ground, walk: &mut Walk, list: &List) -> [__m256i; PARTS] {
    let (chunk, mut parts) = (Chunk::new(ground, walk), [_mm256_setzero_si256(); PARTS]);
    for (number, (part, found)) in parts.iter_mut().zip(list.as_chunks().0).enumerate() {
        let (indices, sound) = chunk.indices(found, walk.count.saturating_sub(LANE * number));
        *part = indices;
        walk.fault |= !sound;
    }
    parts
}

/// What tells the index of an element from the number and the classes.
struct Chunk {
    /// By class: the first of the sorted lines or columns, how many columns, and `2^16` divided by that.
    line_starts: __m256i,
    column_starts: __m256i,
    columns: __m256i,
    quotients: __m256i,
    /// Sorted lines and columns, as bytes.
    line: [__m256i; PARTS],
    column: [__m256i; PARTS],
    length: __m256i,
    elements: __m256i,
}

impl Chunk {
    #[target_feature(enable = "avx2")]
    #[inline]
    fn new(ground: &Ground, walk: &Walk) -> Chunk {
        let (lines, columns) = ground.sides(walk);
        let eight = |numbers: &[u16; 8]| {
            // SAFETY: there are eight; no class is above them.
            _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(numbers.as_ptr().cast()) })
        };
        Chunk {
            line_starts: eight(&lines.classes.starts),
            column_starts: eight(&columns.classes.starts),
            columns: eight(&columns.classes.counts),
            quotients: eight(&columns.classes.quotients),
            line: bytes(lines.sorted),
            column: bytes(columns.sorted),
            length: _mm256_set1_epi16(walk.cut.length as i16),
            elements: _mm256_set1_epi16(walk.cut.elements as i16),
        }
    }

    /// The indices of up to sixteen elements, `u16::MAX` where there is none, and whether all are of the chunk.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn indices(&self, found: &[u32; LANE], count: usize) -> (__m256i, bool) {
        let [one, two] = first_of(found, count);
        // In whatever order, since indices are sorted later.
        let lower = |numbers| _mm256_and_si256(numbers, _mm256_set1_epi32(0xffff));
        let number = _mm256_packus_epi32(lower(one), lower(two));
        let classes = _mm256_packus_epi32(_mm256_srli_epi32::<16>(one), _mm256_srli_epi32::<16>(two));
        let line_class = class::<{ Field::LINE as i32 - 16 }>(classes);
        let column_class = class::<{ Field::COLUMN as i32 - 16 }>(classes);
        // The row, or one less, and what is left of the number.
        let columns = of_class(self.columns, column_class);
        let row = _mm256_mulhi_epu16(number, of_class(self.quotients, column_class));
        let rest = _mm256_sub_epi16(number, _mm256_mullo_epi16(row, columns));
        let less = _mm256_cmpgt_epi16(columns, rest);
        let row = _mm256_add_epi16(_mm256_add_epi16(row, _mm256_set1_epi16(1)), less);
        let rest = _mm256_sub_epi16(rest, _mm256_andnot_si256(less, columns));
        let line = member(&self.line, _mm256_add_epi16(of_class(self.line_starts, line_class), row));
        let column = member(&self.column, _mm256_add_epi16(of_class(self.column_starts, column_class), rest));
        let index = _mm256_add_epi16(_mm256_mullo_epi16(line, self.length), column);
        let none = _mm256_cmpeq_epi16(classes, _mm256_setzero_si256());
        // The field behind all others is of a class that does not exist. No index is above 64 lines of 64.
        let nowhere = _mm256_or_si256(
            _mm256_cmpeq_epi16(line_class, _mm256_set1_epi16(7)),
            _mm256_cmpgt_epi16(index, _mm256_sub_epi16(self.elements, _mm256_set1_epi16(1))),
        );
        (_mm256_or_si256(index, none), _mm256_testc_si256(none, nowhere) != 0)
    }
}

/// So many of some numbers, and zeros.
#[target_feature(enable = "avx2")]
#[inline]
fn first_of(numbers: &[u32; LANE], count: usize) -> [__m256i; 2] {
    let places = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    let half = |numbers: &[u32; EIGHT], before: usize| {
        let there = _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32 - before as i32), places);
        // SAFETY: there are eight.
        _mm256_and_si256(there, unsafe { _mm256_loadu_si256(numbers.as_ptr().cast()) })
    };
    let (numbers, _) = numbers.as_chunks();
    [half(&numbers[0], 0), half(&numbers[1], EIGHT)]
}

/// Three bits of each number.
#[target_feature(enable = "avx2")]
#[inline]
fn class<const SHIFT: i32>(classes: __m256i) -> __m256i {
    _mm256_and_si256(_mm256_srli_epi16::<SHIFT>(classes), _mm256_set1_epi16(7))
}

/// What a table has for each class.
#[target_feature(enable = "avx2")]
#[inline]
fn of_class(table: __m256i, class: __m256i) -> __m256i {
    let bytes = _mm256_add_epi16(_mm256_mullo_epi16(class, _mm256_set1_epi16(0x0202)), _mm256_set1_epi16(0x0100));
    _mm256_shuffle_epi8(table, bytes)
}

/// What 64 bytes have at each place.
#[target_feature(enable = "avx2")]
#[inline]
fn member([a, b, c, d]: &[__m256i; PARTS], place: __m256i) -> __m256i {
    // The upper byte is none of the table.
    let in_part = _mm256_or_si256(_mm256_and_si256(place, _mm256_set1_epi16(15)), _mm256_set1_epi16(1 << 15));
    let of = |part: &__m256i| _mm256_shuffle_epi8(*part, in_part);
    let (odd, upper) = (_mm256_slli_epi16::<3>(place), _mm256_slli_epi16::<2>(place));
    let (low, high) = (_mm256_blendv_epi8(of(a), of(b), odd), _mm256_blendv_epi8(of(c), of(d), odd));
    _mm256_blendv_epi8(low, high, upper)
}

/// As many as 64 numbers as bytes, sixteen in both halves of a vector, and zeros.
#[target_feature(enable = "avx2")]
#[inline]
fn bytes(numbers: &[u16]) -> [__m256i; PARTS] {
    let (mut all, mut parts) = ([0_u16; MOST], [_mm256_setzero_si256(); PARTS]);
    let count = numbers.len().min(MOST);
    all[..count].copy_from_slice(&numbers[..count]);
    for (part, numbers) in parts.iter_mut().zip(all.as_chunks::<LANE>().0) {
        // SAFETY: there are sixteen.
        let numbers = unsafe { _mm256_loadu_si256(numbers.as_ptr().cast()) };
        let (low, high) = (_mm256_castsi256_si128(numbers), _mm256_extracti128_si256::<1>(numbers));
        *part = _mm256_broadcastsi128_si256(_mm_packus_epi16(low, high));
    }
    parts
}
