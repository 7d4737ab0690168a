//! What eight lanes found, as the indices of chunks in order: what `arrange` does, with vectors half as wide.

use std::arch::x86_64::*;

use crate::codec::{Cut, Ground, Tables, Walk};
use crate::kernel::network::two_chunks;
use crate::kernel::places::{Found, List, MOST, NONE, Row};
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
    for (walks, lists) in walks.chunks_mut(2).zip(lists.chunks_mut(2)) {
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
fn indices_of(ground: &Ground, walk: &mut Walk, list: &mut List) -> [__m256i; PARTS] {
    if walk.count < MOST {
        list[walk.count..].fill(NONE);
    }
    let mut parts = [_mm256_setzero_si256(); PARTS];
    let (lines, columns) = ground.sides(walk);
    let (Some(lines), Some(columns)) = (lines.tables, columns.tables) else {
        walk.fault = true;
        return parts;
    };
    let chunk = Chunk::new((lines, columns), &walk.cut);
    for (parts, found) in parts.as_chunks_mut().0.iter_mut().zip(list.as_chunks().0) {
        let (indices, sound) = chunk.indices(found);
        *parts = indices;
        walk.fault |= !sound;
    }
    parts
}

/// What tells the index of an element from the number and the classes.
struct Chunk<'a> {
    lines: &'a Tables,
    columns: &'a Tables,
    /// Of each two bytes one is the length of a line, and one is one.
    length: __m256i,
    elements: __m256i,
}

impl Chunk<'_> {
    #[target_feature(enable = "avx2")]
    #[inline]
    fn new<'a>((lines, columns): (&'a Tables, &'a Tables), cut: &Cut) -> Chunk<'a> {
        Chunk {
            lines,
            columns,
            length: _mm256_set1_epi16(0x0100 | cut.length as i16),
            elements: _mm256_set1_epi16(cut.elements as i16),
        }
    }

    /// The indices of up to 32 elements, `u16::MAX` where there is none, and whether all are of the chunk.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn indices(&self, found: &[u32; 2 * LANE]) -> ([__m256i; 2], bool) {
        let (zero, one) = (_mm256_setzero_si256(), _mm256_set1_epi8(1));
        // In whatever order, since indices are sorted later.
        let ([number, other], classes) = parts_of(found);
        let of_line = _mm256_and_si256(classes, _mm256_set1_epi8(CLASS));
        let of_column = _mm256_and_si256(_mm256_srli_epi16::<3>(classes), _mm256_set1_epi8(CLASS));
        let columns = of(&self.columns.counts, of_column);
        let quotients = [0, 1].map(|half| of(&self.columns.quotients[half], of_column));
        // The row, or one less, and what is left of the number.
        let divided = |number, columns, quotient| {
            let row = _mm256_mulhi_epu16(number, quotient);
            (row, _mm256_sub_epi16(number, _mm256_mullo_epi16(row, columns)))
        };
        let lower =
            divided(number, _mm256_unpacklo_epi8(columns, zero), _mm256_unpacklo_epi8(quotients[0], quotients[1]));
        let upper =
            divided(other, _mm256_unpackhi_epi8(columns, zero), _mm256_unpackhi_epi8(quotients[0], quotients[1]));
        let (row, rest) = (_mm256_packus_epi16(lower.0, upper.0), _mm256_packus_epi16(lower.1, upper.1));
        let less = _mm256_cmpgt_epi8(columns, rest);
        let row = _mm256_add_epi8(_mm256_add_epi8(row, one), less);
        let rest = _mm256_sub_epi8(rest, _mm256_andnot_si256(less, columns));
        let line = member(self.lines, _mm256_add_epi8(of(&self.lines.starts, of_line), row));
        let column = member(self.columns, _mm256_add_epi8(of(&self.columns.starts, of_column), rest));
        let indices = [_mm256_unpacklo_epi8(line, column), _mm256_unpackhi_epi8(line, column)]
            .map(|pairs| _mm256_maddubs_epi16(pairs, self.length));
        let none = _mm256_cmpeq_epi8(classes, zero);
        let none = [_mm256_unpacklo_epi8(none, none), _mm256_unpackhi_epi8(none, none)];
        // The field behind all others is of a class that does not exist. No index is above 64 lines of 64.
        let inside = |place: usize| _mm256_or_si256(none[place], _mm256_cmpgt_epi16(self.elements, indices[place]));
        let inside = _mm256_and_si256(inside(0), inside(1));
        let exist = _mm256_cmpgt_epi8(_mm256_set1_epi8(CLASS), of_line);
        let sound = _mm256_movemask_epi8(_mm256_and_si256(inside, exist)) == -1;
        ([0, 1].map(|place| _mm256_or_si256(indices[place], none[place])), sound)
    }
}

/// Twice a class.
const CLASS: i8 = 7 << 1;

/// The numbers of elements in their fields, sixteen and sixteen, and what is said of the fields, as bytes in the order of both.
#[target_feature(enable = "avx2")]
#[inline]
fn parts_of(found: &[u32; 2 * LANE]) -> ([__m256i; 2], __m256i) {
    let [a, b, c, d] = [0, 1, 2, 3].map(|part| {
        let eight: &[u32; EIGHT] = &found.as_chunks().0[part];
        // SAFETY: there are eight.
        unsafe { _mm256_loadu_si256(eight.as_ptr().cast()) }
    });
    let lower = |numbers| _mm256_and_si256(numbers, _mm256_set1_epi32(0xffff));
    let upper = _mm256_srli_epi32::<16>;
    let classes = [_mm256_packus_epi32(upper(a), upper(b)), _mm256_packus_epi32(upper(c), upper(d))];
    let numbers = [_mm256_packus_epi32(lower(a), lower(b)), _mm256_packus_epi32(lower(c), lower(d))];
    (numbers, _mm256_packus_epi16(classes[0], classes[1]))
}

/// What a table has for each class.
#[target_feature(enable = "avx2")]
#[inline]
fn of(table: &[u8; 16], class: __m256i) -> __m256i {
    // SAFETY: there are sixteen.
    _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(table.as_ptr().cast()) }), class)
}

/// The members at some places, sorted.
#[target_feature(enable = "avx2")]
#[inline]
fn member(tables: &Tables, places: __m256i) -> __m256i {
    let [a, b, c, d] = [0, 1, 2, 3].map(|part| of(&tables.sorted.as_chunks().0[part], places));
    let (odd, upper) = (_mm256_slli_epi16::<3>(places), _mm256_slli_epi16::<2>(places));
    _mm256_blendv_epi8(_mm256_blendv_epi8(a, b, odd), _mm256_blendv_epi8(c, d, odd), upper)
}
