//! What thirty-two lanes go through and find, chunk by chunk.

use std::arch::x86_64::*;
use std::hint::black_box;

use crate::codec::{FIELDS_ROOM, Field, Ground, LANES, Walk};
use crate::kernel::eight::EIGHT;
use crate::kernel::network::two_chunks::turn;
use crate::kernel::places::MOST;
use crate::kernel::thirty_two::{bytes, halves, join, words as fours};
use crate::kernel::wide::LANE;

/// What was found in a step: the numbers of elements, and of their fields with [`Row::FOUND`].
#[derive(Clone, Copy)]
pub(super) struct Row {
    pub(super) ranks: [__m256i; 2],
    pub(super) fields: __m256i,
}

impl Row {
    /// The bit of a lane that found something.
    pub(super) const FOUND: u8 = 1 << 7;
}

/// A field has 16 bits here: in those from this one on how many octaves more probable than the least ones its elements are, and below by how many
/// elements it is smaller than the largest.
pub(super) const OCTAVES: i32 = 12;
/// Elements of the largest field.
pub(super) const LARGEST: u16 = 1 << OCTAVES;
/// What is behind all fields.
const BEHIND: u16 = 0;
/// Fields of a chunk, what is behind them, and as much as vectors go beyond.
const ROOM: usize = FIELDS_ROOM + LANE;

/// The fields of each chunk, and what was found in it.
#[derive(Debug)]
pub(crate) struct Lists {
    fields: [[u16; ROOM]; LANES],
    chunks: [Found; LANES],
}

/// What was found in a chunk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    /// By the number of a field what is said of it.
    pub(super) classes: [u8; ROOM],
    /// The numbers of elements, and of their fields, or what has no [`Row::FOUND`].
    pub(super) ranks: [u16; MOST + EIGHT],
    pub(super) fields: [u8; MOST + EIGHT],
}

impl Default for Lists {
    fn default() -> Lists {
        let none = Found { classes: [0; ROOM], ranks: [0; MOST + EIGHT], fields: [0; MOST + EIGHT] };
        Lists { fields: [[BEHIND; ROOM]; LANES], chunks: [none; LANES] }
    }
}

impl Lists {
    /// Lays out the fields of some chunks.
    #[target_feature(enable = "avx2,popcnt")]
    pub(super) fn lay(&mut self, ground: &Ground, first: usize, walks: &mut [Walk]) {
        let pairs = Pairs::new(&ground.pairs);
        let (all, chunks) = (&mut self.fields[first..], &mut self.chunks[first..]);
        for ((walk, fields), found) in walks.iter_mut().zip(&mut *all).zip(chunks) {
            let (counts, mut used) = (ground.counts(walk), 0);
            for from in (0..FIELDS_ROOM).step_by(LANE) {
                used += pairs.lay(counts, from, (&mut fields[used..], &mut found.classes[used..]));
            }
            fields[used..used + LANE].fill(BEHIND);
            found.classes[used..used + LANE].fill(u8::MAX);
            walk.used = used;
        }
        for fields in &mut all[walks.len()..] {
            fields[..LANE].fill(BEHIND);
        }
    }

    /// The first field of each lane.
    #[target_feature(enable = "avx2")]
    #[inline]
    pub(super) fn firsts(&self) -> [__m256i; 2] {
        // SAFETY: there are enough fields.
        unsafe { self.eight_from(&[0; LANES])[0] }
    }

    /// The fields behind those of some numbers.
    ///
    /// # Safety
    /// No number is above [`FIELDS_ROOM`].
    #[target_feature(enable = "avx2")]
    #[inline]
    pub(super) unsafe fn fields_behind(&self, numbers: __m256i) -> [[__m256i; 2]; EIGHT] {
        // SAFETY: as the caller guarantees.
        unsafe { self.eight_from(&bytes(_mm256_add_epi8(numbers, _mm256_set1_epi8(1)))) }
    }

    /// Eight fields of each lane from a number on.
    ///
    /// # Safety
    /// There are as many.
    #[target_feature(enable = "avx2")]
    #[inline]
    unsafe fn eight_from(&self, first: &[u8; LANES]) -> [[__m256i; 2]; EIGHT] {
        debug_assert!(first.iter().all(|&first| usize::from(first) + EIGHT <= ROOM));
        let (mut all, mut ahead) = ([[_mm256_setzero_si256(); EIGHT]; 2], [[_mm256_setzero_si256(); 2]; EIGHT]);
        for (lane, vector) in all.as_flattened_mut().iter_mut().enumerate() {
            // SAFETY: as the caller guarantees.
            *vector = unsafe {
                let eight = |lane: usize| _mm_loadu_si128(self.fields[lane].as_ptr().add(first[lane].into()).cast());
                join(eight(lane), eight(LANE + lane))
            };
        }
        let [one, other] = &mut all;
        turn(one);
        turn(other);
        for (ahead, (&one, &other)) in ahead.iter_mut().zip(one.iter().zip(&*other)) {
            *ahead = [one, other];
        }
        ahead
    }

    /// Appends what was found in eight steps behind so many things of each chunk.
    #[target_feature(enable = "avx2")]
    #[inline]
    pub(super) fn append(&mut self, rows: &[Row; EIGHT], counts: __m256i) {
        let (counts, mut masks) = (bytes(_mm256_min_epu8(counts, _mm256_set1_epi8(MOST as i8))), [[0; 4]; EIGHT]);
        let (mut fields, mut ranks) = ([_mm256_setzero_si256(); EIGHT], [[_mm256_setzero_si256(); EIGHT]; 2]);
        for (number, row) in rows.iter().enumerate() {
            fields[number] = row.fields;
            [ranks[0][number], ranks[1][number]] = row.ranks;
        }
        let fields = columns(fields);
        for (&fields, masks) in fields.iter().zip(&mut masks) {
            *masks = (_mm256_movemask_epi8(fields) as u32).to_le_bytes();
        }
        let masks = black_box(&masks);
        for (number, (&fields, &[a, b, c, d])) in fields.iter().zip(masks).enumerate() {
            let packed = _mm256_shuffle_epi8(fields, join(places_of_bytes(a, b), places_of_bytes(c, d)));
            self.keep_fields(2 * number, &counts, _mm256_castsi256_si128(packed));
            self.keep_fields(LANE + 2 * number, &counts, _mm256_extracti128_si256::<1>(packed));
        }
        for (half, ranks) in ranks.iter_mut().enumerate() {
            turn(ranks);
            for (number, &ranks) in ranks.iter().enumerate() {
                let lane = EIGHT * half + number;
                let mask = &masks[lane / 2];
                let packed = _mm256_shuffle_epi8(ranks, join(places_of(mask[lane % 2]), places_of(mask[2 + lane % 2])));
                self.keep_ranks(lane, &counts, _mm256_castsi256_si128(packed));
                self.keep_ranks(LANE + lane, &counts, _mm256_extracti128_si256::<1>(packed));
            }
        }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn keep_ranks(&mut self, lane: usize, counts: &[u8; LANES], ranks: __m128i) {
        // SAFETY: no count is above `MOST`: there is room for eight more.
        unsafe {
            let room = self.chunks[lane].ranks.as_mut_ptr().add(counts[lane].into());
            _mm_storeu_si128(room.cast(), ranks);
        }
    }

    /// The same of the fields of two lanes.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn keep_fields(&mut self, lane: usize, counts: &[u8; LANES], fields: __m128i) {
        for (lane, fields) in [(lane, fields), (lane + 1, _mm_unpackhi_epi64(fields, fields))] {
            // SAFETY: as above.
            unsafe {
                let room = self.chunks[lane].fields.as_mut_ptr().add(counts[lane].into());
                _mm_storel_epi64(room.cast(), fields);
            }
        }
    }

    /// What was found in each chunk.
    pub(super) fn found(&mut self) -> &mut [Found; LANES] {
        &mut self.chunks
    }
}

/// The places of those of eight halves that are set.
#[target_feature(enable = "avx2")]
#[inline]
fn places_of(mask: u8) -> __m128i {
    // SAFETY: there are sixteen bytes.
    unsafe { _mm_loadu_si128(HALVES_OF[usize::from(mask)].as_ptr().cast()) }
}

/// The places of those of eight bytes, and of the next eight, that are set.
#[target_feature(enable = "avx2")]
#[inline]
fn places_of_bytes(one: u8, other: u8) -> __m128i {
    // SAFETY: there are eight.
    let (one, other) = unsafe {
        (
            _mm_loadl_epi64(BYTES_OF[usize::from(one)].as_ptr().cast()),
            _mm_loadl_epi64(BYTES_OF[usize::from(other)].as_ptr().cast()),
        )
    };
    _mm_add_epi8(_mm_unpacklo_epi64(one, other), _mm_set_epi64x(0x0808_0808_0808_0808, 0))
}

/// What is said of each pair of classes: its octaves as a field has them, and the classes.
struct Pairs {
    octaves: [u16; FIELDS_ROOM],
    classes: [u8; FIELDS_ROOM],
}

impl Pairs {
    #[inline(always)]
    fn new(pairs: &[Field; FIELDS_ROOM]) -> Pairs {
        Pairs {
            octaves: pairs.map(|pair| (pair.octaves() as u16) << OCTAVES),
            classes: pairs.map(|pair| (pair.0 >> (Field::LINE - 1)) as u8 & 0x7e),
        }
    }

    /// Lays out the fields of sixteen pairs, and tells how many they are.
    #[target_feature(enable = "avx2,popcnt")]
    #[inline]
    fn lay(
        &self,
        [lines, columns]: [&[u16; FIELDS_ROOM]; 2],
        from: usize,
        (fields, classes): (&mut [u16], &mut [u8]),
    ) -> usize {
        let load = |numbers: &[u16; FIELDS_ROOM]| {
            let numbers: &[u16] = &numbers[from..from + LANE];
            // SAFETY: there are sixteen.
            unsafe { _mm256_loadu_si256(numbers.as_ptr().cast()) }
        };
        let (zero, largest) = (_mm256_setzero_si256(), _mm256_set1_epi16(LARGEST as i16));
        let elements = _mm256_mullo_epi16(load(lines), load(columns));
        let mask = _mm256_movemask_epi8(_mm256_packs_epi16(_mm256_cmpgt_epi16(elements, zero), zero));
        let packed = _mm256_or_si256(load(&self.octaves), _mm256_sub_epi16(largest, elements));
        let halves = [_mm256_castsi256_si128(packed), _mm256_extracti128_si256::<1>(packed)];
        let mut used = 0;
        for (half, (packed, mask)) in halves.into_iter().zip([mask as u8, (mask >> 16) as u8]).enumerate() {
            let mask = usize::from(mask);
            let room: &mut [u16] = &mut fields[used..used + EIGHT];
            let of_room: &mut [u8] = &mut classes[used..used + EIGHT];
            let of_pairs: &[u8] = &self.classes[from + EIGHT * half..][..EIGHT];
            // SAFETY: there are eight of all, and there is room for as many.
            unsafe {
                let places = _mm_loadu_si128(HALVES_OF[mask].as_ptr().cast());
                _mm_storeu_si128(room.as_mut_ptr().cast(), _mm_shuffle_epi8(packed, places));
                let (places, bytes) =
                    (_mm_loadl_epi64(BYTES_OF[mask].as_ptr().cast()), _mm_loadl_epi64(of_pairs.as_ptr().cast()));
                _mm_storel_epi64(of_room.as_mut_ptr().cast(), _mm_shuffle_epi8(bytes, places));
            }
            used += mask.count_ones() as usize;
        }
        used
    }
}

/// Makes columns of rows of bytes: vector `n` has those of the lanes `2 n` and `2 n + 1`, and of those 16 behind them.
#[target_feature(enable = "avx2")]
#[inline]
fn columns([a, b, c, d, e, f, g, h]: [__m256i; EIGHT]) -> [__m256i; EIGHT] {
    let (upper, lower) = (fours([halves(a, b), halves(c, d)]), fours([halves(e, f), halves(g, h)]));
    let mut columns = [_mm256_setzero_si256(); EIGHT];
    for (pair, (upper, lower)) in columns.as_chunks_mut().0.iter_mut().zip(upper.into_iter().zip(lower)) {
        *pair = [_mm256_unpacklo_epi32(upper, lower), _mm256_unpackhi_epi32(upper, lower)];
    }
    columns
}

/// For each mask of eight bytes the numbers of those that are set.
pub(super) static BYTES_OF: [[u8; EIGHT]; 256] = {
    let (mut table, mut mask) = ([[0; EIGHT]; 256], 0);
    while mask < table.len() {
        let (mut byte, mut count) = (0, 0);
        while byte < EIGHT {
            if mask >> byte & 1 == 1 {
                table[mask][count] = byte as u8;
                count += 1;
            }
            byte += 1;
        }
        mask += 1;
    }
    table
};

/// The same of halves: the numbers of both bytes.
static HALVES_OF: [[[u8; 2]; EIGHT]; 256] = {
    let (mut table, mut mask) = ([[[0, 1]; EIGHT]; 256], 0);
    while mask < table.len() {
        let mut place = 0;
        while place < EIGHT {
            let half = BYTES_OF[mask][place];
            table[mask][place] = [2 * half, 2 * half + 1];
            place += 1;
        }
        mask += 1;
    }
    table
};
