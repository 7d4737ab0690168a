//! The places of eight chunks at once, where vectors are no wider.

use std::arch::x86_64::*;

use crate::codec::{Bytes, DISTANCE_BITS, Field, Ground, LANES, RAW_MAX, Round, Stream, Walk};
use crate::kernel::Avx2;
use crate::kernel::narrow::put;
use crate::kernel::places::{Begin, Found, Row, suits};
use crate::kernel::select::LANES_OF;
use crate::kernel::wide::LANE;

/// Lanes of a vector.
pub(super) const EIGHT: usize = LANE / 2;

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

/// Fields that are looked up at once: a gather takes longer than many steps.
const AHEAD: usize = 4;

/// The table of distances in registers, and the bits of a place in a unit.
struct Table {
    /// The numbers of the slots' segments.
    segments: [__m256i; 4],
    /// What a segment has, by its number.
    share: __m256i,
    start: __m256i,
    units: __m256i,
    low: __m256i,
}

/// Eight chunks on their way. A mask has all bits of a lane set or none.
#[derive(Clone, Copy)]
struct Eight {
    states: __m256i,
    /// The field, and the number of its next element: of a lane that has no values left one behind all fields.
    field: __m256i,
    rank: __m256i,
    /// Where the field behind it lies behind the first walk, and where the last one lies.
    at: __m256i,
    last: __m256i,
    /// One less than how many values are still to be found.
    left: __m256i,
    /// Whether the next element has a value.
    pending: __m256i,
}

/// Takes steps until all values are found.
#[target_feature(enable = "avx2,popcnt")]
fn take<const V: usize>(stream: &mut Stream<'_>, found: &mut Found, (ground, walks): (&Ground, &[Walk])) {
    let mut all = std::array::from_fn::<_, V, _>(|vector| begin(stream, walks, vector));
    let (table, mut count) = (Table::new(ground), 0);
    let mut ahead = [[[_mm256_setzero_si256(); AHEAD]; 2]; V];
    let turns: &mut [[[Row; V]; AHEAD]] = found.room(V).as_chunks_mut().0.as_chunks_mut().0;
    for rows in turns {
        let mut open = 0;
        for (eight, ahead) in all.as_flattened_mut().iter_mut().zip(ahead.as_flattened_mut()) {
            open |= !_mm256_movemask_ps(_mm256_castsi256_ps(eight.left)) & 0xff;
            eight.at = _mm256_min_epi32(eight.at, eight.last);
            // SAFETY: each lane stands in a field of its walk, at last in the one behind all others, of which there are enough.
            *ahead = unsafe { fields_ahead(eight.at, walks.as_ptr().cast()) };
        }
        if open == 0 {
            break;
        }
        turn::<3, V>(&mut all, &mut ahead, &table, stream, &mut rows[0]);
        turn::<2, V>(&mut all, &mut ahead, &table, stream, &mut rows[1]);
        turn::<1, V>(&mut all, &mut ahead, &table, stream, &mut rows[2]);
        turn::<0, V>(&mut all, &mut ahead, &table, stream, &mut rows[3]);
        count += AHEAD * V;
    }
    found.keep(count, V);
    for (states, eight) in stream.states.as_chunks_mut().0.iter_mut().zip(all.as_flattened()) {
        *states = numbers(eight.states);
    }
}

#[target_feature(enable = "avx2,popcnt")]
#[inline]
fn turn<const REST: usize, const V: usize>(
    all: &mut [[Eight; 2]; V],
    ahead: &mut [[[__m256i; AHEAD]; 2]; V],
    table: &Table,
    stream: &mut Stream<'_>,
    rows: &mut [Row; V],
) {
    let mut round = stream.round();
    for ((pair, ahead), row) in all.iter_mut().zip(ahead).zip(rows) {
        for ((eight, ahead), row) in pair.iter_mut().zip(ahead).zip(row.as_chunks_mut().0) {
            *row = numbers(step::<REST>(eight, ahead, table, &mut round));
        }
    }
    stream.next += round.used;
}

/// The fields of each lane from the next one on.
///
/// # Safety
/// There must be so many behind `fields`.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn fields_ahead(at: __m256i, fields: *const i32) -> [__m256i; AHEAD] {
    let at = numbers(at);
    let mut all = [_mm256_setzero_si256(); AHEAD];
    for (lane, all) in all.iter_mut().enumerate() {
        // SAFETY: as the caller guarantees.
        let [a, b] = unsafe { [0, 4].map(|half| _mm_loadu_si128(fields.add(at[half + lane] as usize).cast())) };
        *all = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(a), b);
    }
    let [a, b, c, d] = all;
    let (lower, upper) = (_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
    let (lower_2, upper_2) = (_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
    [
        _mm256_unpacklo_epi64(lower, lower_2),
        _mm256_unpackhi_epi64(lower, lower_2),
        _mm256_unpacklo_epi64(upper, upper_2),
        _mm256_unpackhi_epi64(upper, upper_2),
    ]
}

impl Table {
    #[target_feature(enable = "avx2")]
    #[inline]
    fn new(ground: &Ground) -> Table {
        let table = &ground.distances.bytes;
        let sixteen = |bytes: &[u8; LANE]| {
            // SAFETY: there are sixteen.
            _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) })
        };
        Table {
            segments: [0, 1, 2, 3].map(|quarter| sixteen(&table.segments[quarter])),
            share: sixteen(&table.share),
            start: sixteen(&table.start),
            units: sixteen(&table.units),
            low: number(ground.low),
        }
    }

    /// Share and units of the segments that some slots are of, and how far the slots are above the first ones.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn look_up(&self, states: __m256i) -> [__m256i; 3] {
        let slot = _mm256_and_si256(states, number(0x3f));
        let [a, b, c, d] = self.segments;
        // A byte whose upper bit is set is none of a table.
        let place = _mm256_or_si256(slot, number(0x8080_8000));
        let of = |table| _mm256_shuffle_epi8(table, place);
        let (odd, upper) = (_mm256_slli_epi32::<3>(place), _mm256_slli_epi32::<2>(place));
        let segment =
            _mm256_blendv_epi8(_mm256_blendv_epi8(of(a), of(b), odd), _mm256_blendv_epi8(of(c), of(d), odd), upper);
        let start = _mm256_shuffle_epi8(self.start, segment);
        [
            _mm256_shuffle_epi8(self.share, segment),
            _mm256_shuffle_epi8(self.units, segment),
            _mm256_sub_epi32(slot, start),
        ]
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
    let eight = |place| {
        let left = _mm256_sub_epi32(half(&begin.left, place), number(1));
        Eight {
            states: half(&stream.states, 2 * vector + place),
            field: half(&begin.field, place),
            rank: closed(_mm256_setzero_si256(), left),
            at: half(&begin.at, place),
            last: half(&begin.last, place),
            left,
            pending: _mm256_setzero_si256(),
        }
    };
    [eight(0), eight(1)]
}

/// A step of each lane that has values left. Returns what was found: the number of an element and the classes of its field.
#[target_feature(enable = "avx2,popcnt")]
#[inline]
fn step<const REST: usize>(
    all: &mut Eight,
    ahead: &mut [__m256i; AHEAD],
    table: &Table,
    round: &mut Round<'_>,
) -> __m256i {
    let Eight { states, field, rank, at, last, left, pending } = *all;
    let (len, octaves) = (len(field), octaves(field));
    let inside = _mm256_cmpgt_epi32(len, rank);
    // Inside a field: the slot's segment.
    let [share, units, above] = table.look_up(states);
    let whole = _mm256_mullo_epi32(share, _mm256_srli_epi32::<{ DISTANCE_BITS as i32 }>(states));
    let states = _mm256_blendv_epi8(states, _mm256_add_epi32(whole, above), inside);
    let taken = _mm256_cmpgt_epi32(number(Bytes::SKIP.into()), units);
    let pending = _mm256_blendv_epi8(pending, taken, inside);
    // Behind it: the next field. Nobody goes on behind the last.
    let field = _mm256_blendv_epi8(ahead[0], field, inside);
    for place in 0..REST {
        ahead[place] = _mm256_blendv_epi8(ahead[place + 1], ahead[place], inside);
    }
    let at = _mm256_add_epi32(at, _mm256_add_epi32(inside, number(1)));
    // The bits that follow, and how far they lead.
    let base = _mm256_and_si256(units, number(Bytes::BASE.into()));
    let double = _mm256_srli_epi32::<{ Bytes::DOUBLE as i32 }>(_mm256_and_si256(
        units,
        _mm256_and_si256(inside, number(1 << Bytes::DOUBLE)),
    ));
    let unit = _mm256_sub_epi32(table.low, octaves);
    let finer = _mm256_blendv_epi8(_mm256_sub_epi32(octaves, self::octaves(field)), unit, inside);
    let width = _mm256_and_si256(pending, _mm256_add_epi32(finer, double));
    let shifted = _mm256_srlv_epi32(states, width);
    let raw = _mm256_sub_epi32(states, _mm256_sllv_epi32(shifted, width));
    let states = refill(shifted, round);
    let further = _mm256_sllv_epi32(_mm256_blendv_epi8(_mm256_sub_epi32(rank, len), base, inside), finer);
    let rank = _mm256_add_epi32(_mm256_add_epi32(further, _mm256_and_si256(rank, inside)), raw);
    let found = _mm256_and_si256(pending, _mm256_cmpgt_epi32(self::len(field), rank));
    let left = _mm256_add_epi32(left, found);
    *all = Eight {
        states,
        field,
        at,
        last,
        rank: closed(_mm256_sub_epi32(rank, found), left),
        left,
        pending: _mm256_andnot_si256(found, pending),
    };
    // Nothing is `NONE`.
    _mm256_and_si256(found, _mm256_or_si256(rank, _mm256_and_si256(field, number(Field::OF_ELEMENT))))
}

/// Ranks, behind all fields where nothing is left.
#[target_feature(enable = "avx2")]
#[inline]
fn closed(rank: __m256i, left: __m256i) -> __m256i {
    let all = [rank, number(Field::LEN), left].map(|vector| _mm256_castsi256_ps(vector));
    _mm256_castps_si256(_mm256_blendv_ps(all[0], all[1], all[2]))
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

/// Gives each state that has become small a word.
#[target_feature(enable = "avx2,popcnt")]
#[inline]
fn refill(states: __m256i, round: &mut Round<'_>) -> __m256i {
    let short = small(states);
    let words = words(short, round);
    let filled = _mm256_or_si256(_mm256_slli_epi32::<{ RAW_MAX as i32 }>(states), words);
    _mm256_blendv_epi8(states, filled, short)
}

/// Which states have become small.
#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn small(states: __m256i) -> __m256i {
    _mm256_cmpeq_epi32(_mm256_srli_epi32::<{ RAW_MAX as i32 }>(states), _mm256_setzero_si256())
}

/// The next words, one for each of some lanes.
#[target_feature(enable = "avx2,popcnt")]
#[inline]
pub(super) fn words(of: __m256i, round: &mut Round<'_>) -> __m256i {
    let mask = _mm256_movemask_ps(_mm256_castsi256_ps(of)) as usize & 0xff;
    // SAFETY: there are eight words.
    let words = unsafe { _mm_loadu_si128(round.next::<EIGHT>().as_ptr().cast()) };
    // SAFETY: there are sixteen bytes.
    let bytes = unsafe { _mm_loadu_si128(RANKS[mask].as_ptr().cast()) };
    round.used += mask.count_ones() as usize;
    _mm256_cvtepu16_epi32(_mm_shuffle_epi8(words, bytes))
}

/// The numbers of some lanes, one after the other, and how many they are.
#[target_feature(enable = "avx2,popcnt")]
#[inline]
pub(super) fn packed(of: __m256i, numbers: __m256i) -> (__m256i, usize) {
    let mask = _mm256_movemask_ps(_mm256_castsi256_ps(of)) as u8;
    // SAFETY: there are eight numbers.
    let lanes = unsafe { _mm256_loadu_si256(LANES_OF[usize::from(mask)].as_ptr().cast()) };
    (_mm256_permutevar8x32_epi32(numbers, lanes), mask.count_ones() as usize)
}

/// The lower halves of numbers.
#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn halves(numbers: __m256i) -> __m128i {
    let lower = _mm256_and_si256(numbers, number(0xffff));
    _mm_packus_epi32(_mm256_castsi256_si128(lower), _mm256_extracti128_si256::<1>(lower))
}

/// For each mask of eight lanes, how many lanes before each of them are set.
static RANKS: [[[u8; 2]; EIGHT]; 256] = {
    let mut table = [[[0, 1]; EIGHT]; 256];
    let (mut mask, mut lane) = (0, 1);
    while mask < 256 {
        let rank = table[mask][lane - 1][0] + 2 * (mask >> (lane - 1) & 1) as u8;
        table[mask][lane] = [rank, rank + 1];
        lane += 1;
        if lane == EIGHT {
            (mask, lane) = (mask + 1, 1);
        }
    }
    table
};
