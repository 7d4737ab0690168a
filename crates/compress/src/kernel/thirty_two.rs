//! The places of as many chunks as there can be states at once, where vectors have 256 bits.
//!
//! States are words of 32 bits, numbers of elements have 16 and all else has 8, so that a step takes four vectors of states, two of
//! numbers and one of everything else. Bytes lie in the order of the lanes. What comes of unpacking and packing them has
//! the lanes 0 to 7 and 16 to 23 in the first vector of halves, and 0 to 3 and 16 to 19 in the first vector of words.

use std::arch::x86_64::*;
use std::hint::black_box;

use crate::codec::{DISTANCE_BITS, Ground, LANES, RAW_MAX, Stream, Walk};
use crate::kernel::Avx2;
use crate::kernel::eight::{EIGHT, RANKS};
use crate::kernel::gather::{LARGEST, Lists, OCTAVES, Row};
use crate::kernel::narrow::put;
use crate::kernel::places::{STEPS, suits};
use crate::kernel::wide::LANE;

/// A group of chunks, of which the indices are to be read from a stream.
pub(crate) struct Group<'a, 'b> {
    pub(crate) stream: &'a mut Stream<'b>,
    pub(crate) ground: &'a Ground,
    pub(crate) walks: &'a mut [Walk],
    pub(crate) indices: &'a mut [u16],
}

/// Reads the indices of a group, or of two of which each has half of the lanes, if they are such as this can read.
pub(crate) fn read<const N: usize>(_: Avx2, lists: &mut Lists, mut groups: [Group<'_, '_>; N]) -> bool {
    let suits = groups.iter().all(|group| suits(group.ground, group.walks) && group.walks.len() <= LANES / N);
    if suits {
        // SAFETY: the value proves that the machine has the instructions.
        unsafe { take(lists, &mut groups) };
    }
    suits
}

/// Two vectors of halves.
type Halves = [__m256i; 2];
/// Four vectors of words.
type Wide = [__m256i; 4];

/// Takes steps until all values are found.
#[target_feature(enable = "avx2,popcnt")]
fn take<const N: usize>(lists: &mut Lists, groups: &mut [Group<'_, '_>; N]) {
    for (Group { ground, walks, .. }, first) in groups.iter_mut().zip(firsts::<N>()) {
        lists.lay(ground, first, walks);
    }
    let (mut lanes, table) = (Lanes::new(lists, groups), Table::new([groups[0].ground, groups[N - 1].ground]));
    let mut ends = [[[0; 2]; WORDS]; N];
    let zero = _mm256_setzero_si256();
    let mut rows = [Row { ranks: [zero; 2], fields: zero }; EIGHT];
    for _ in 0..STEPS / EIGHT {
        if lanes.none_left() {
            break;
        }
        let (mut ahead, before) = (lanes.look_ahead(lists), lanes.left);
        let mut streams: [_; N] = std::array::from_fn(|_| Words { all: &[[0; 2]; WORDS], used: 0 });
        for ((words, group), end) in streams.iter_mut().zip(&*groups).zip(&mut ends) {
            words.all = group.stream.window(end);
        }
        for (rest, row) in (0..EIGHT).rev().zip(&mut rows) {
            *row = lanes.turn((rest, &mut ahead), &table, &mut streams);
        }
        for (words, group) in streams.iter().zip(&mut *groups) {
            group.stream.next += words.used;
        }
        lists.append(&rows, _mm256_sub_epi8(lanes.first, before));
    }
    let (left, states) = (bytes(lanes.left), lanes.states());
    for (Group { stream, ground, walks, indices }, first) in groups.iter_mut().zip(firsts::<N>()) {
        stream.states[..LANES / N].copy_from_slice(&states[first..first + LANES / N]);
        walks.iter_mut().zip(&left[first..]).for_each(|(walk, &left)| walk.fault |= left != u8::MAX);
        put(ground, &mut lists.found()[first..], (walks, indices));
    }
}

/// As many words as eight steps can take, and what a vector goes beyond.
const WORDS: usize = EIGHT * LANES + EIGHT;

/// The next words of a stream, and how many of them were taken.
struct Words<'a> {
    all: &'a [[u8; 2]; WORDS],
    used: usize,
}

/// The first lane of each group.
fn firsts<const N: usize>() -> impl Iterator<Item = usize> {
    (0..LANES).step_by(LANES / N)
}

/// The table of distances in registers, and the bits of a place in a unit.
struct Table {
    /// The numbers of the slots' segments.
    segments: [__m256i; 4],
    /// What a segment has, by its number.
    share: __m256i,
    start: __m256i,
    base: __m256i,
    /// The number of the last segment of one unit, and of the one that is passed over.
    single: __m256i,
    passed: __m256i,
    low: __m256i,
}

impl Table {
    #[target_feature(enable = "avx2")]
    #[inline]
    fn new([one, other]: [&Ground; 2]) -> Table {
        let (a, b) = (&one.distances.bytes, &other.distances.bytes);
        // SAFETY: there are sixteen of each.
        unsafe {
            Table {
                segments: [
                    pair(&a.segments[0], &b.segments[0]),
                    pair(&a.segments[1], &b.segments[1]),
                    pair(&a.segments[2], &b.segments[2]),
                    pair(&a.segments[3], &b.segments[3]),
                ],
                share: pair(&a.share, &b.share),
                start: pair(&a.start, &b.start),
                base: pair(&a.base, &b.base),
                single: pair(&[a.single; LANE], &[b.single; LANE]),
                passed: pair(&[a.passed; LANE], &[b.passed; LANE]),
                low: pair(&[one.low as u8; LANE], &[other.low as u8; LANE]),
            }
        }
    }

    /// The segments that some slots are of.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn segments(&self, slots: __m256i) -> __m256i {
        let [a, b, c, d] = self.segments;
        let (odd, upper) = (_mm256_slli_epi16::<3>(slots), _mm256_slli_epi16::<2>(slots));
        let one = _mm256_blendv_epi8(_mm256_shuffle_epi8(a, slots), _mm256_shuffle_epi8(b, slots), odd);
        let other = _mm256_blendv_epi8(_mm256_shuffle_epi8(c, slots), _mm256_shuffle_epi8(d, slots), odd);
        _mm256_blendv_epi8(one, other, upper)
    }
}

/// All chunks on their way. A mask has all bits of a lane set or none.
struct Lanes {
    /// The lower and the upper halves of the states.
    states: [Halves; 2],
    /// The field, and by how much the number of its next element is beyond its end: inside negative, and never so in a lane that has no values left.
    field: Halves,
    beyond: Halves,
    octaves: __m256i,
    /// The number of the field, and that of what is behind all fields.
    number: __m256i,
    last: __m256i,
    /// One less than how many values are still to be found, and than how many there are.
    left: __m256i,
    first: __m256i,
    /// Whether the next element has a value.
    pending: __m256i,
}

/// The fields that follow.
type Ahead = [Halves; EIGHT];

impl Lanes {
    #[target_feature(enable = "avx2")]
    #[inline]
    fn new<const N: usize>(lists: &Lists, groups: &[Group<'_, '_>; N]) -> Lanes {
        let (mut last, mut first, mut states) = ([0; LANES], [u8::MAX; LANES], [0; LANES]);
        for (Group { stream, walks, .. }, lane) in groups.iter().zip(firsts::<N>()) {
            states[lane..lane + LANES / N].copy_from_slice(&stream.states[..LANES / N]);
            for ((last, first), walk) in last[lane..].iter_mut().zip(&mut first[lane..]).zip(walks.iter()) {
                (*last, *first) = (walk.used as u8, (walk.count as u8).wrapping_sub(1));
            }
        }
        let (first, zero) = (vector(&first), _mm256_setzero_si256());
        let field = lists.firsts();
        Lanes {
            states: halves_of_words(&states),
            field,
            beyond: open([less(field[0]), less(field[1])], first),
            octaves: octaves(field),
            number: zero,
            last: vector(&last),
            left: first,
            first,
            pending: zero,
        }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn none_left(&self) -> bool {
        _mm256_movemask_epi8(self.left) == -1
    }

    /// Looks up the next fields.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn look_ahead(&mut self, lists: &Lists) -> Ahead {
        self.number = _mm256_min_epu8(self.number, self.last);
        // SAFETY: what is behind all fields has no larger number.
        unsafe { lists.fields_behind(self.number) }
    }

    /// A step of each lane that has values left, after which so many follow before fields are looked up again. Returns what was found.
    #[target_feature(enable = "avx2,popcnt")]
    #[inline]
    fn turn<const N: usize>(
        &mut self,
        (rest, ahead): (usize, &mut Ahead),
        table: &Table,
        streams: &mut [Words<'_>; N],
    ) -> Row {
        let zero = _mm256_setzero_si256();
        let [one, other] = self.beyond;
        let inside = [_mm256_srai_epi16::<15>(one), _mm256_srai_epi16::<15>(other)];
        let within = _mm256_packs_epi16(inside[0], inside[1]);
        // Inside a field: the slot's segment. Behind it: the next field. Nobody goes on behind the last.
        let [one, other] = self.states[0];
        let slots = of_halves([_mm256_and_si256(one, half(0x3f)), _mm256_and_si256(other, half(0x3f))]);
        let segments = table.segments(slots);
        let pending = _mm256_blendv_epi8(self.pending, _mm256_cmpgt_epi8(table.passed, segments), within);
        let field = choose(inside, self.field, ahead[0]);
        let octaves = octaves(field);
        // The bits that follow, and how far they lead.
        let from = _mm256_blendv_epi8(self.octaves, table.low, within);
        let to = _mm256_blendv_epi8(octaves, self.octaves, within);
        let finer = _mm256_sub_epi8(from, to);
        let double = _mm256_and_si256(_mm256_cmpgt_epi8(segments, table.single), within);
        let width = _mm256_and_si256(pending, _mm256_sub_epi8(finer, double));
        let share = _mm256_shuffle_epi8(table.share, segments);
        let above = _mm256_sub_epi8(slots, _mm256_shuffle_epi8(table.start, segments));
        let (mut states, mut raw) = (words(self.states), [zero; 4]);
        for (place, ((states, raw), inside)) in states.iter_mut().zip(&mut raw).zip(words([inside, inside])).enumerate()
        {
            let whole = _mm256_mullo_epi32(_mm256_srli_epi32::<{ DISTANCE_BITS as i32 }>(*states), word(share, place));
            let state = _mm256_blendv_epi8(*states, _mm256_add_epi32(whole, word(above, place)), inside);
            let width = word(width, place);
            *states = _mm256_srlv_epi32(state, width);
            *raw = _mm256_sub_epi32(state, _mm256_sllv_epi32(*states, width));
        }
        let raw = of_words(raw);
        self.states = refill(states, streams);
        for place in 0..rest {
            ahead[place] = choose(inside, ahead[place], ahead[place + 1]);
        }
        let number = _mm256_add_epi8(self.number, _mm256_add_epi8(within, byte(1)));
        let mut beyond = [zero; 2];
        let (bases, powers) = (halves(_mm256_shuffle_epi8(table.base, segments), zero), powers(finer));
        for place in 0..2 {
            let (old, less) = (self.beyond[place], less(field[place]));
            let further = _mm256_mullo_epi16(_mm256_blendv_epi8(old, bases[place], inside[place]), powers[place]);
            let from = _mm256_blendv_epi8(less, old, inside[place]);
            beyond[place] = _mm256_add_epi16(_mm256_add_epi16(further, from), raw[place]);
        }
        let ends = _mm256_packs_epi16(beyond[0], beyond[1]);
        let found = _mm256_and_si256(pending, _mm256_cmpgt_epi8(zero, ends));
        let ranks = [_mm256_sub_epi16(beyond[0], less(field[0])), _mm256_sub_epi16(beyond[1], less(field[1]))];
        let counts = halves(found, found);
        let left = _mm256_add_epi8(self.left, found);
        (self.field, self.octaves, self.number) = (field, octaves, number);
        (self.left, self.pending) = (left, _mm256_andnot_si256(found, pending));
        self.beyond = open([_mm256_sub_epi16(beyond[0], counts[0]), _mm256_sub_epi16(beyond[1], counts[1])], left);
        Row { ranks, fields: _mm256_or_si256(number, _mm256_and_si256(found, byte(Row::FOUND))) }
    }

    /// The states in order.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn states(&self) -> [u32; LANES] {
        let mut all = [0; LANES];
        let quarters: &mut [[u32; 4]] = all.as_chunks_mut().0;
        for (place, states) in words(self.states).into_iter().enumerate() {
            let halves = [_mm256_castsi256_si128(states), _mm256_extracti128_si256::<1>(states)];
            for (half, states) in halves.into_iter().enumerate() {
                // SAFETY: there are four.
                unsafe { _mm_storeu_si128(quarters[4 * half + place].as_mut_ptr().cast(), states) };
            }
        }
        all
    }
}

/// The lower and the upper halves of words.
#[target_feature(enable = "avx2")]
#[inline]
fn halves_of_words(all: &[u32; LANES]) -> [Halves; 2] {
    let (quarters, mut words): (&[[u32; 4]], _) = (all.as_chunks().0, [_mm256_setzero_si256(); 4]);
    for (place, words) in words.iter_mut().enumerate() {
        // SAFETY: there are four.
        *words = unsafe { pair(&quarters[place], &quarters[4 + place]) };
    }
    let [a, b, c, d] = words;
    [of_words([lower(a), lower(b), lower(c), lower(d)]), of_words([upper(a), upper(b), upper(c), upper(d)])]
}

/// Gives each state that has become small a word.
#[target_feature(enable = "avx2,popcnt")]
#[inline]
fn refill<const N: usize>(states: Wide, streams: &mut [Words<'_>; N]) -> [Halves; 2] {
    let ([a, b, c, d], zero) = (states, _mm256_setzero_si256());
    let lower = of_words([lower(a), lower(b), lower(c), lower(d)]);
    let upper = of_words([upper(a), upper(b), upper(c), upper(d)]);
    let small = [_mm256_cmpeq_epi16(upper[0], zero), _mm256_cmpeq_epi16(upper[1], zero)];
    let mask = _mm256_movemask_epi8(_mm256_packs_epi16(small[0], small[1])) as u32;
    let mut eights = [_mm_setzero_si128(); 4];
    for (place, eight) in eights.iter_mut().enumerate() {
        *eight = next(&mut streams[place * N / 4], mask >> (EIGHT * place) & 0xff);
    }
    let [a, b, c, d] = eights;
    [choose(small, [join(a, c), join(b, d)], lower), choose(small, lower, upper)]
}

/// The next words, one for each of some lanes of eight.
#[target_feature(enable = "avx2,popcnt")]
#[inline]
fn next(words: &mut Words<'_>, mask: u32) -> __m128i {
    debug_assert!(words.used + EIGHT <= WORDS);
    // SAFETY: no lane takes more than a word in each of eight steps, and there are eight more; there are sixteen bytes.
    let (next, ranks) = unsafe {
        (
            _mm_loadu_si128(words.all.as_ptr().add(words.used).cast()),
            _mm_loadu_si128(RANKS[mask as usize % RANKS.len()].as_ptr().cast()),
        )
    };
    words.used += mask.count_ones() as usize;
    _mm_shuffle_epi8(next, ranks)
}

/// How far the next elements are beyond the ends of their fields: of a lane that has no values left they are not inside.
#[target_feature(enable = "avx2")]
#[inline]
fn open(beyond: Halves, left: __m256i) -> Halves {
    let least = halves(_mm256_setzero_si256(), _mm256_andnot_si256(left, byte(0x80)));
    [_mm256_max_epi16(beyond[0], least[0]), _mm256_max_epi16(beyond[1], least[1])]
}

/// The negative number of a field's elements.
#[target_feature(enable = "avx2")]
#[inline]
fn less(field: __m256i) -> __m256i {
    _mm256_or_si256(field, half(LARGEST.wrapping_neg()))
}

/// The octaves of fields.
#[target_feature(enable = "avx2")]
#[inline]
fn octaves([one, other]: Halves) -> __m256i {
    of_halves([_mm256_srli_epi16::<{ OCTAVES }>(one), _mm256_srli_epi16::<{ OCTAVES }>(other)])
}

/// Two to the power of numbers below 16.
#[target_feature(enable = "avx2")]
#[inline]
fn powers(numbers: __m256i) -> Halves {
    let (few, many) = (_mm_set1_epi64x(0), _mm_set1_epi64x(0x8040_2010_0804_0201_u64 as i64));
    let table = |table| _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), numbers);
    halves(table(_mm_unpacklo_epi64(many, few)), table(_mm_unpacklo_epi64(few, many)))
}

#[target_feature(enable = "avx2")]
#[inline]
fn choose(mask: Halves, one: Halves, other: Halves) -> Halves {
    [_mm256_blendv_epi8(other[0], one[0], mask[0]), _mm256_blendv_epi8(other[1], one[1], mask[1])]
}

/// Bytes with upper bytes as halves.
#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn halves(bytes: __m256i, uppers: __m256i) -> Halves {
    [_mm256_unpacklo_epi8(bytes, uppers), _mm256_unpackhi_epi8(bytes, uppers)]
}

/// Lower and upper halves as words.
#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn words([lower, upper]: [Halves; 2]) -> Wide {
    let ([a, b], [c, d]) = (lower, upper);
    [_mm256_unpacklo_epi16(a, c), _mm256_unpackhi_epi16(a, c), _mm256_unpacklo_epi16(b, d), _mm256_unpackhi_epi16(b, d)]
}

/// The bytes of a vector of words.
#[target_feature(enable = "avx2")]
#[inline]
fn word(bytes: __m256i, place: usize) -> __m256i {
    let none = 0x8080_8000_u32 as i32;
    let first = none + 4 * place as i32;
    let places = _mm256_broadcastsi128_si256(_mm_setr_epi32(first, first + 1, first + 2, first + 3));
    _mm256_shuffle_epi8(bytes, places)
}

/// Halves as bytes, and words as halves, if they are small enough.
#[target_feature(enable = "avx2")]
#[inline]
fn of_halves([one, other]: Halves) -> __m256i {
    _mm256_packus_epi16(one, other)
}

#[target_feature(enable = "avx2")]
#[inline]
fn of_words([a, b, c, d]: Wide) -> Halves {
    [_mm256_packus_epi32(a, b), _mm256_packus_epi32(c, d)]
}

#[target_feature(enable = "avx2")]
#[inline]
fn lower(words: __m256i) -> __m256i {
    _mm256_blend_epi16::<0b1010_1010>(words, _mm256_setzero_si256())
}

#[target_feature(enable = "avx2")]
#[inline]
fn upper(words: __m256i) -> __m256i {
    _mm256_srli_epi32::<{ RAW_MAX as i32 }>(words)
}

#[target_feature(enable = "avx2")]
#[inline]
fn byte(byte: u8) -> __m256i {
    _mm256_set1_epi8(byte as i8)
}

#[target_feature(enable = "avx2")]
#[inline]
fn half(half: u16) -> __m256i {
    _mm256_set1_epi16(half as i16)
}

#[target_feature(enable = "avx2")]
#[inline]
fn vector(bytes: &[u8; LANES]) -> __m256i {
    // SAFETY: there are as many as a vector has.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn bytes(vector: __m256i) -> [u8; LANES] {
    let mut bytes = [0; LANES];
    // SAFETY: there is room for as many as a vector has.
    unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), vector) };
    // Taken out of the vector one by one they would take twice as many instructions.
    *black_box(&bytes)
}

/// Sixteen bytes and sixteen bytes.
///
/// # Safety
/// There must be as many.
#[target_feature(enable = "avx2")]
#[inline]
pub(super) unsafe fn pair<T>(one: &[T], other: &[T]) -> __m256i {
    // SAFETY: as the caller guarantees.
    unsafe { join(_mm_loadu_si128(one.as_ptr().cast()), _mm_loadu_si128(other.as_ptr().cast())) }
}

#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn join(one: __m128i, other: __m128i) -> __m256i {
    _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(one), other)
}
