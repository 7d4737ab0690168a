//! What thirty-two lanes found, as the indices of chunks in order: what `arrange` does, with vectors half as wide.

use std::arch::x86_64::*;

use crate::codec::{Ground, Tables, Walk};
use crate::kernel::eight::EIGHT;
use crate::kernel::gather::Found;
use crate::kernel::network::two_chunks;
use crate::kernel::places::MOST;
use crate::kernel::thirty_two::{halves as halves_of, pair};
use crate::kernel::wide::LANE;

/// Vectors of the indices of a chunk.
const PARTS: usize = MOST / LANE;

/// Turns what was found into the indices of all chunks, in order.
#[target_feature(enable = "avx2")]
pub(super) fn put(ground: &Ground, found: &mut [Found], (walks, indices): (&mut [Walk], &mut [u16])) {
    for (walks, found) in walks.chunks_mut(2).zip(found.chunks_mut(2)) {
        let mut both = [[_mm256_set1_epi16(-1); PARTS]; 2];
        for ((walk, found), parts) in walks.iter_mut().zip(found).zip(&mut both) {
            *parts = indices_of(ground, walk, found);
        }
        let rows = sorted(&both);
        let (one, other) = walks.split_at_mut(1);
        keep::<0>(&rows, &mut one[0], indices);
        if let [other] = other {
            keep::<1>(&rows, other, indices);
        }
    }
}

/// The lower halves of two vectors, and the upper ones.
#[target_feature(enable = "avx2")]
#[inline]
fn halves([one, other]: [__m256i; 2]) -> [__m256i; 2] {
    [_mm256_permute2x128_si256::<0x20>(one, other), _mm256_permute2x128_si256::<0x31>(one, other)]
}

/// The 64 numbers of each of two chunks in order, eight of each in a row.
#[target_feature(enable = "avx2")]
#[inline]
fn sorted([one, other]: &[[__m256i; PARTS]; 2]) -> [__m256i; 8] {
    let mut rows = [_mm256_setzero_si256(); 8];
    for ((pair, &one), &other) in rows.as_chunks_mut().0.iter_mut().zip(one).zip(other) {
        *pair = halves([one, other]);
    }
    two_chunks::sort(&mut rows);
    rows
}

/// Keeps the numbers of one of two chunks. One that is too large is a fault.
#[target_feature(enable = "avx2")]
#[inline]
fn keep<const HALF: i32>(rows: &[__m256i; 8], walk: &mut Walk, indices: &mut [u16]) {
    let (indices, mut few) = (&mut indices[walk.values()], [0; MOST]);
    let all = if let ([all], []) = indices.as_chunks_mut() { all } else { &mut few };
    for (&row, all) in rows.iter().zip(all.as_chunks_mut::<EIGHT>().0) {
        // SAFETY: there is room for eight.
        unsafe { _mm_storeu_si128(all.as_mut_ptr().cast(), _mm256_extracti128_si256::<HALF>(row)) };
    }
    if indices.len() < MOST {
        indices.copy_from_slice(&few[..indices.len()]);
    }
    walk.fault |= indices.last().is_some_and(|&last| usize::from(last) >= walk.cut.elements);
}

/// The indices of a chunk in no order, and `u16::MAX`.
#[target_feature(enable = "avx2")]
#[inline]
fn indices_of(ground: &Ground, walk: &mut Walk, found: &mut Found) -> [__m256i; PARTS] {
    let mut parts = [_mm256_set1_epi16(-1); PARTS];
    let (lines, columns) = ground.sides(walk);
    let (Some(lines), Some(columns)) = (lines.tables, columns.tables) else {
        walk.fault = true;
        return parts;
    };
    if walk.count < MOST {
        found.fields[walk.count..].fill(0);
    }
    let chunk = Chunk { lines, columns, classes: &found.classes, length: walk.cut.length };
    let (ranks, fields) = (found.ranks.as_chunks().0, found.fields.as_chunks().0);
    let mut last = _mm256_setzero_si256();
    for ((parts, ranks), fields) in parts.as_chunks_mut().0.iter_mut().zip(ranks).zip(fields) {
        // SAFETY: there are 32.
        let fields = unsafe { _mm256_loadu_si256(std::ptr::from_ref::<[u8; 2 * LANE]>(fields).cast()) };
        let fields = _mm256_and_si256(fields, _mm256_set1_epi8(MOST as i8 - 1));
        *parts = chunk.indices(ranks, fields);
        last = _mm256_max_epu8(last, fields);
    }
    // What is behind all fields has no elements.
    walk.fault |= _mm256_movemask_epi8(_mm256_cmpgt_epi8(last, _mm256_set1_epi8(walk.used as i8 - 1))) != 0;
    if walk.count < MOST {
        leave_out(&mut parts, walk.count);
    }
    parts
}

/// Makes the indices behind the first ones `u16::MAX`.
#[target_feature(enable = "avx2")]
fn leave_out(parts: &mut [__m256i; PARTS], count: usize) {
    const NONE: [u16; 2 * MOST] = {
        let (mut none, mut place) = ([0; 2 * MOST], MOST);
        while place < none.len() {
            none[place] = u16::MAX;
            place += 1;
        }
        none
    };
    let none = &NONE[MOST - count.min(MOST)..];
    for (part, none) in parts.as_chunks_mut::<2>().0.iter_mut().zip(none.chunks(2 * LANE)) {
        // SAFETY: there are 32.
        let [one, other] = unsafe { in_turn(none) };
        *part = [_mm256_or_si256(part[0], one), _mm256_or_si256(part[1], other)];
    }
}

/// Of 32 numbers the first and the third eight, and the second and the last.
///
/// # Safety
/// There must be as many.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn in_turn(numbers: &[u16]) -> [__m256i; 2] {
    // SAFETY: as the caller guarantees.
    unsafe { [pair(numbers, &numbers[LANE..]), pair(&numbers[EIGHT..], &numbers[LANE + EIGHT..])] }
}

/// What tells the index of an element from its number and its field.
struct Chunk<'a> {
    lines: &'a Tables,
    columns: &'a Tables,
    /// The classes of each field.
    classes: &'a [u8; MOST],
    /// Elements of a line.
    length: usize,
}

impl Chunk<'_> {
    /// The indices of 32 elements.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn indices(&self, ranks: &[u16; 2 * LANE], fields: __m256i) -> [__m256i; 2] {
        let (zero, one) = (_mm256_setzero_si256(), _mm256_set1_epi8(1));
        let classes = member(self.classes, fields);
        let of_line = _mm256_and_si256(classes, _mm256_set1_epi8(CLASS));
        let of_column = _mm256_and_si256(_mm256_srli_epi16::<3>(classes), _mm256_set1_epi8(CLASS));
        let columns = of(&self.columns.counts, of_column);
        let [low, high] = &self.columns.quotients;
        let quotients = halves_of(of(low, of_column), of(high, of_column));
        // The row, or one less, and what is left of the number.
        let (wide, mut rows, mut rests) = (halves_of(columns, zero), [zero; 2], [zero; 2]);
        // SAFETY: there are 32.
        for (place, number) in unsafe { in_turn(ranks) }.into_iter().enumerate() {
            rows[place] = _mm256_mulhi_epu16(number, quotients[place]);
            rests[place] = _mm256_sub_epi16(number, _mm256_mullo_epi16(rows[place], wide[place]));
        }
        let (row, rest) = (_mm256_packus_epi16(rows[0], rows[1]), _mm256_packus_epi16(rests[0], rests[1]));
        let less = _mm256_cmpgt_epi8(columns, rest);
        let row = _mm256_add_epi8(_mm256_add_epi8(row, one), less);
        let rest = _mm256_sub_epi8(rest, _mm256_andnot_si256(less, columns));
        let line = member(&self.lines.sorted, _mm256_add_epi8(of(&self.lines.starts, of_line), row));
        let column = member(&self.columns.sorted, _mm256_add_epi8(of(&self.columns.starts, of_column), rest));
        // Of each two bytes one is the length of a line, and one is one.
        let length = _mm256_set1_epi16(0x0100 | self.length as i16);
        let [one, other] = halves_of(line, column);
        [_mm256_maddubs_epi16(one, length), _mm256_maddubs_epi16(other, length)]
    }
}

/// Twice a class.
const CLASS: i8 = 7 << 1;

/// What a table has for each class.
#[target_feature(enable = "avx2")]
#[inline]
fn of(table: &[u8; 16], class: __m256i) -> __m256i {
    // SAFETY: there are sixteen.
    _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(table.as_ptr().cast()) }), class)
}

/// What a table of 64 has at some places.
#[target_feature(enable = "avx2")]
#[inline]
fn member(table: &[u8; MOST], places: __m256i) -> __m256i {
    let parts: &[[u8; LANE]] = table.as_chunks().0;
    let (odd, upper) = (_mm256_slli_epi16::<3>(places), _mm256_slli_epi16::<2>(places));
    let one = _mm256_blendv_epi8(of(&parts[0], places), of(&parts[1], places), odd);
    let other = _mm256_blendv_epi8(of(&parts[2], places), of(&parts[3], places), odd);
    _mm256_blendv_epi8(one, other, upper)
}
