//! The places of eight chunks at once, where vectors are no wider.

use std::arch::x86_64::*;

use crate::codec::{DISTANCE_BITS, Field, Ground, LANES, RAW_MAX, Stream, Walk};
use crate::kernel::Avx2;
use crate::kernel::narrow::put;
use crate::kernel::places::{Begin, Found, suits};
use crate::kernel::wide::LANE;

/// Lanes of a vector.
const EIGHT: usize = LANE / 2;

/// Reads the indices of a group of chunks, if they are such as this can read.
pub(crate) fn read(
    _: Avx2,
    stream: &mut Stream<'_>,
    found: &mut Found,
    (ground, walks, indices): (&Ground, &mut [Walk], &mut [u16]),
) -> bool {
    let (suits, vectors) = (suits(ground, walks), walks.len().div_ceil(LANE));
    if suits {
        // SAFETY: the value proves that the machine has the instructions.
        unsafe {
            match vectors {
                1 => take::<1>(stream, found, (ground, walks)),
                _ => take::<{ LANES / LANE }>(stream, found, (ground, walks)),
            }
            put(ground, (found, vectors), (walks, indices));
        }
    }
    suits
}

/// Eight chunks on their way. A mask has all bits of a lane set or none.
#[derive(Clone, Copy)]
struct Eight {
    states: __m256i,
    /// The field, and the number of its next element.
    field: __m256i,
    rank: __m256i,
    /// The field behind it; where that lies behind the first walk, and where the last one lies.
    next: __m256i,
    at: __m256i,
    last: __m256i,
    /// How many values are still to be found.
    left: __m256i,
    /// Whether the next element has a value.
    pending: __m256i,
}

/// Takes steps until all values are found.
#[target_feature(enable = "avx2,popcnt")]
fn take<const V: usize>(stream: &mut Stream<'_>, found: &mut Found, (ground, walks): (&Ground, &[Walk])) {
    let mut all = std::array::from_fn::<_, V, _>(|vector| begin(stream, walks, vector));
    let mut count = 0;
    for rows in found.room(V).chunks_exact_mut(V) {
        let mut left = _mm256_setzero_si256();
        all.as_flattened().iter().for_each(|eight| left = _mm256_or_si256(left, eight.left));
        if _mm256_testz_si256(left, left) != 0 {
            break;
        }
        for (pair, row) in all.iter_mut().zip(rows) {
            for (eight, row) in pair.iter_mut().zip(row.as_chunks_mut().0) {
                // SAFETY: each lane stands in a field of its walk, at last in the one behind all others.
                *row = numbers(unsafe { step(eight, ground, stream, walks) });
            }
        }
        count += V;
    }
    found.keep(count, V);
    for (states, eight) in stream.states.as_chunks_mut().0.iter_mut().zip(all.as_flattened()) {
        *states = numbers(eight.states);
    }
}

#[target_feature(enable = "avx2")]
#[inline]
fn begin(stream: &Stream<'_>, walks: &[Walk], vector: usize) -> [Eight; 2] {
    let begin = Begin::new(walks, vector);
    let half = |numbers: &[u32], half: usize| {
        let numbers: &[u32; EIGHT] = &numbers.as_chunks().0[half];
        // SAFETY: there are eight.
        unsafe { _mm256_loadu_si256(numbers.as_ptr().cast()) }
    };
    let eight = |number| Eight {
        states: half(&stream.states, 2 * vector + number),
        field: half(&begin.field, number),
        rank: _mm256_setzero_si256(),
        next: half(&begin.next, number),
        at: half(&begin.at, number),
        last: half(&begin.last, number),
        left: half(&begin.left, number),
        pending: _mm256_setzero_si256(),
    };
    [eight(0), eight(1)]
}

/// A step of each lane that has values left. Returns what was found: the number of an element and the classes of its field.
///
/// # Safety
/// The lanes must stand in fields of the walks.
#[target_feature(enable = "avx2,popcnt")]
#[inline]
unsafe fn step(all: &mut Eight, ground: &Ground, stream: &mut Stream<'_>, walks: &[Walk]) -> __m256i {
    let Eight { states, field, rank, next, at, last, left, pending } = *all;
    let open = _mm256_cmpgt_epi32(left, number(0));
    let (len, octaves) = (len(field), octaves(field));
    let inside = _mm256_and_si256(open, _mm256_cmpgt_epi32(len, rank));
    let behind = _mm256_andnot_si256(inside, open);
    // Inside a field: the slot's segment.
    let slot = _mm256_and_si256(states, number(0x3f));
    // SAFETY: a table has 64 slots.
    let slot = unsafe { _mm256_i32gather_epi32::<4>(ground.distances.by_slot.as_ptr().cast(), slot) };
    let share = _mm256_and_si256(slot, number(0x3f));
    let above = _mm256_and_si256(_mm256_srli_epi32::<6>(slot), number(0x3f));
    let base = _mm256_and_si256(_mm256_srli_epi32::<12>(slot), number(0x1f));
    let double = _mm256_and_si256(_mm256_srli_epi32::<17>(slot), number(1));
    let taken = _mm256_srai_epi32::<31>(slot);
    let whole = _mm256_mullo_epi32(share, _mm256_srli_epi32::<{ DISTANCE_BITS as i32 }>(states));
    let states = _mm256_blendv_epi8(states, _mm256_add_epi32(whole, above), inside);
    let pending = _mm256_or_si256(_mm256_and_si256(inside, taken), _mm256_and_si256(behind, pending));
    // Behind it: the next field. Nobody goes on behind the last.
    let field = _mm256_blendv_epi8(field, next, behind);
    let at = _mm256_min_epi32(_mm256_sub_epi32(at, behind), last);
    // SAFETY: as the caller guarantees; there is a field behind all that have elements, which nobody leaves.
    let next = unsafe { _mm256_mask_i32gather_epi32::<4>(next, walks.as_ptr().cast(), at, behind) };
    // The bits that follow.
    let unit = _mm256_sub_epi32(number(ground.low), octaves);
    let finer = _mm256_sub_epi32(octaves, self::octaves(field));
    let width = _mm256_and_si256(pending, _mm256_blendv_epi8(_mm256_add_epi32(unit, double), finer, behind));
    let raw = _mm256_andnot_si256(_mm256_sllv_epi32(number(u32::MAX), width), states);
    let states = refill(_mm256_srlv_epi32(states, width), open, stream);
    let ahead = _mm256_add_epi32(rank, _mm256_sllv_epi32(base, unit));
    let rest = _mm256_sllv_epi32(_mm256_sub_epi32(rank, len), finer);
    let rank = _mm256_add_epi32(_mm256_blendv_epi8(ahead, rest, behind), raw);
    let found = _mm256_and_si256(pending, _mm256_cmpgt_epi32(self::len(field), rank));
    *all = Eight {
        states,
        field,
        rank: _mm256_sub_epi32(rank, found),
        next,
        at,
        last,
        left: _mm256_add_epi32(left, found),
        pending: _mm256_andnot_si256(found, pending),
    };
    // Nothing is `NONE`.
    _mm256_and_si256(found, _mm256_or_si256(rank, _mm256_and_si256(field, number(Field::OF_ELEMENT))))
}

#[target_feature(enable = "avx2")]
#[inline]
fn number(number: u32) -> __m256i {
    _mm256_set1_epi32(number as i32)
}

#[target_feature(enable = "avx2")]
#[inline]
fn numbers(vector: __m256i) -> [u32; EIGHT] {
    let mut numbers = [0; EIGHT];
    // SAFETY: there is room for eight.
    unsafe { _mm256_storeu_si256(numbers.as_mut_ptr().cast(), vector) };
    numbers
}

#[target_feature(enable = "avx2")]
#[inline]
fn len(field: __m256i) -> __m256i {
    _mm256_and_si256(field, number(Field::LEN))
}

#[target_feature(enable = "avx2")]
#[inline]
fn octaves(field: __m256i) -> __m256i {
    _mm256_srli_epi32::<{ Field::OCTAVES as i32 }>(field)
}

/// Gives each of some states that has become small a word.
#[target_feature(enable = "avx2,popcnt")]
#[inline]
fn refill(states: __m256i, of: __m256i, stream: &mut Stream<'_>) -> __m256i {
    let upper = _mm256_srli_epi32::<{ RAW_MAX as i32 }>(states);
    let short = _mm256_and_si256(of, _mm256_cmpeq_epi32(upper, number(0)));
    let mask = _mm256_movemask_ps(_mm256_castsi256_ps(short)) as usize & 0xff;
    // SAFETY: there are sixteen words.
    let words = unsafe { _mm_loadu_si128(stream.ahead().as_ptr().cast()) };
    // SAFETY: there are eight numbers.
    let ranks = unsafe { _mm256_loadu_si256(RANKS[mask].as_ptr().cast()) };
    let words = _mm256_permutevar8x32_epi32(_mm256_cvtepu16_epi32(words), ranks);
    stream.next += mask.count_ones() as usize;
    let filled = _mm256_or_si256(_mm256_slli_epi32::<{ RAW_MAX as i32 }>(states), words);
    _mm256_blendv_epi8(states, filled, short)
}

/// For each mask of eight lanes, how many lanes before each of them are set.
static RANKS: [[u32; EIGHT]; 256] = {
    let mut table = [[0; EIGHT]; 256];
    let (mut mask, mut lane) = (0, 1);
    while mask < 256 {
        table[mask][lane] = table[mask][lane - 1] + (mask >> (lane - 1) & 1) as u32;
        lane += 1;
        if lane == EIGHT {
            (mask, lane) = (mask + 1, 1);
        }
    }
    table
};
