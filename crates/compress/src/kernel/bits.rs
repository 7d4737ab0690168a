//! Bits and pairs of symbols of sixteen chunks at once.

use std::arch::x86_64::{
    __m512i, __mmask16, _mm256_storeu_si256, _mm512_add_epi32, _mm512_and_si512, _mm512_cmpge_epu32_mask,
    _mm512_cvtepi32_epi16, _mm512_i32gather_epi32, _mm512_loadu_si512, _mm512_mask_add_epi32, _mm512_mask_or_epi32,
    _mm512_mask_sub_epi32, _mm512_maskz_set1_epi8, _mm512_mullo_epi32, _mm512_or_si512, _mm512_permutexvar_epi32,
    _mm512_set1_epi32, _mm512_setr_epi32, _mm512_setzero_si512, _mm512_slli_epi32, _mm512_srli_epi32,
    _mm512_storeu_si512, _mm512_sub_epi32,
};

use crate::codec::{LANES, RAW_MAX, SHARE_BITS, Stream, Zeros};
use crate::kernel::Avx512;
use crate::kernel::wide::{LANE, filled, load, numbers, refill, small, store, words};

/// Values of a full chunk.
pub(crate) const VALUES: usize = 64;
const ALL: __mmask16 = __mmask16::MAX;

/// Bits of the values of as many full chunks as there are states, of which nothing is known.
pub(crate) fn even(_: Avx512, stream: &mut Stream<'_>, chunks: &mut [[u8; VALUES]]) {
    // SAFETY: the value proves that the machine has the instructions.
    unsafe {
        match chunks.len() {
            LANE => take_even::<1>(stream, chunks),
            _ => take_even::<{ LANES / LANE }>(stream, chunks),
        }
    }
}

/// Bits of the values of as many full chunks as there are states.
pub(crate) fn coded(_: Avx512, stream: &mut Stream<'_>, zeros: Zeros<'_>, chunks: &mut [[u8; VALUES]]) {
    // SAFETY: the value proves that the machine has the instructions.
    unsafe {
        match chunks.len() {
            LANE => take_coded::<1>(stream, zeros, chunks),
            _ => take_coded::<{ LANES / LANE }>(stream, zeros, chunks),
        }
    }
}

/// Pairs of symbols, one of each state in turn. The tables tell where symbols begin, and the end of the last.
pub(crate) fn pairs(_: Avx512, stream: &mut Stream<'_>, tables: [&[u16]; 2], rounds: (usize, &mut [[u8; 2]])) {
    // SAFETY: the value proves that the machine has the instructions.
    unsafe {
        match rounds.0 {
            LANE => take_pairs::<1>(stream, tables, rounds.1),
            _ => take_pairs::<{ LANES / LANE }>(stream, tables, rounds.1),
        }
    }
}

/// A 0 of which it is known how many slots it has, and a symbol of each of one or two tables, of each state in turn: if all are such, and no symbol is
/// the last of 16. Otherwise nothing is read.
pub(crate) fn symbols<const N: usize>(
    _: Avx512,
    stream: &mut Stream<'_>,
    (lanes, zero): (usize, u32),
    tables: [&[u16]; N],
) -> Option<[[u32; N]; LANES]> {
    let before = stream.next;
    // SAFETY: the value proves that the machine has the instructions.
    let found = unsafe {
        match lanes {
            LANE => take_symbols::<1, N>(stream, zero, tables),
            _ => take_symbols::<{ LANES / LANE }, N>(stream, zero, tables),
        }
    };
    if found.is_none() {
        stream.next = before;
    }
    found
}

#[target_feature(enable = "avx512f,avx512bw,popcnt")]
fn take_even<const V: usize>(stream: &mut Stream<'_>, chunks: &mut [[u8; VALUES]]) {
    let mut halves = [[_mm512_setzero_si512(); 2]; V];
    for turn in 0..VALUES / RAW_MAX as usize {
        for (vector, halves) in halves.iter_mut().enumerate() {
            let (states, half) = (load(stream, vector), &mut halves[turn / 2]);
            *half = match turn % 2 {
                0 => _mm512_and_si512(states, _mm512_set1_epi32(0xffff)),
                _ => _mm512_or_si512(*half, _mm512_slli_epi32::<RAW_MAX>(states)),
            };
            let states = refill(_mm512_srli_epi32::<RAW_MAX>(states), ALL, stream);
            store(stream, vector, states);
        }
    }
    spread(&halves, chunks);
}

#[target_feature(enable = "avx512f,avx512bw,popcnt")]
fn take_coded<const V: usize>(stream: &mut Stream<'_>, zeros: Zeros<'_>, chunks: &mut [[u8; VALUES]]) {
    let lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    let lane = _mm512_slli_epi32::<{ VALUES.ilog2() }>(lane);
    let mut states: [__m512i; V] = [_mm512_setzero_si512(); V];
    (0..V).for_each(|vector| states[vector] = load(stream, vector));
    let mut halves = [[_mm512_setzero_si512(); 2]; V];
    let mut slots = [_mm512_setzero_si512(); V];
    for turn in 0..VALUES / 2 {
        for vector in 0..V {
            if turn % 2 == 0 {
                slots[vector] = four(zeros, lane, (vector, turn / 2));
            }
            let half = &mut halves[vector][turn / 16];
            let ([one, two], left) = two_bits(states[vector], slots[vector]);
            *half = _mm512_mask_or_epi32(*half, one, *half, _mm512_set1_epi32(1 << (2 * (turn % 16))));
            *half = _mm512_mask_or_epi32(*half, two, *half, _mm512_set1_epi32(2 << (2 * (turn % 16))));
            states[vector] = refill(left, ALL, stream);
            slots[vector] = _mm512_srli_epi32::<16>(slots[vector]);
        }
    }
    (0..V).for_each(|vector| store(stream, vector, states[vector]));
    spread(&halves, chunks);
}

/// The slots of 0 of values 4n to 4n + 3 of each chunk of a vector.
#[target_feature(enable = "avx512f")]
#[inline]
fn four(zeros: Zeros<'_>, chunks: __m512i, (vector, number): (usize, usize)) -> __m512i {
    match zeros {
        Zeros::All(slots) => _mm512_set1_epi32(i32::from_ne_bytes([slots; 4])),
        Zeros::Each(slots) => {
            let slots: &[u8; VALUES * LANE] = &slots.as_chunks().0[vector];
            // SAFETY: sixteen chunks have so many values, and the last four of the last are read last.
            unsafe { _mm512_i32gather_epi32::<1>(chunks, slots[4 * number..].as_ptr().cast()) }
        }
    }
}

/// Takes a bit of which 0 has so many slots.
#[target_feature(enable = "avx512f")]
#[inline]
fn bit(states: __m512i, zero: __m512i) -> (__mmask16, __m512i) {
    let slot = _mm512_and_si512(states, _mm512_set1_epi32(0xff));
    let one = _mm512_cmpge_epu32_mask(slot, zero);
    let share = _mm512_mask_sub_epi32(zero, one, _mm512_set1_epi32(1 << SHARE_BITS), zero);
    let above = _mm512_mask_sub_epi32(slot, one, slot, zero);
    (one, _mm512_add_epi32(_mm512_mullo_epi32(share, _mm512_srli_epi32::<SHARE_BITS>(states)), above))
}

/// Takes two bits, of whose zeros the lower bytes have the slots.
#[target_feature(enable = "avx512f")]
#[inline]
fn two_bits(states: __m512i, slots: __m512i) -> ([__mmask16; 2], __m512i) {
    let slot = |slots| _mm512_and_si512(slots, _mm512_set1_epi32(0xff));
    let (one, states) = bit(states, slot(slots));
    let (two, states) = bit(states, slot(_mm512_srli_epi32::<8>(slots)));
    ([one, two], states)
}

/// A byte for each bit. Of each vector of chunks there are the lower and the upper halves.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn spread(halves: &[[__m512i; 2]], chunks: &mut [[u8; VALUES]]) {
    for (halves, chunks) in halves.iter().zip(chunks.chunks_mut(LANE)) {
        let (lower, upper) = (numbers(halves[0]), numbers(halves[1]));
        for (chunk, (lower, upper)) in chunks.iter_mut().zip(lower.into_iter().zip(upper)) {
            let bits = u64::from(upper) << 32 | u64::from(lower);
            // SAFETY: there is room for 64.
            unsafe { _mm512_storeu_si512(chunk.as_mut_ptr().cast(), _mm512_maskz_set1_epi8(bits, 1)) };
        }
    }
}

/// Where the symbols of a table begin.
struct Starts<'a> {
    all: &'a [u16],
    vector: __m512i,
}

impl Starts<'_> {
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn new(all: &[u16]) -> Starts<'_> {
        let mut numbers = [0_u32; LANE];
        numbers.iter_mut().zip(all).for_each(|(number, &start)| *number = start.into());
        // SAFETY: there are sixteen.
        Starts { all, vector: unsafe { _mm512_loadu_si512(numbers.as_ptr().cast()) } }
    }

    /// Takes a symbol.
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn take(&self, states: __m512i) -> (__m512i, __m512i) {
        let slot = _mm512_and_si512(states, _mm512_set1_epi32(0xff));
        let mut symbol = _mm512_setzero_si512();
        for &start in &self.all[1..self.all.len() - 1] {
            let reached = _mm512_cmpge_epu32_mask(slot, _mm512_set1_epi32(start.into()));
            symbol = _mm512_mask_add_epi32(symbol, reached, symbol, _mm512_set1_epi32(1));
        }
        let start = _mm512_permutexvar_epi32(symbol, self.vector);
        let end = _mm512_permutexvar_epi32(_mm512_add_epi32(symbol, _mm512_set1_epi32(1)), self.vector);
        let (share, above) = (_mm512_sub_epi32(end, start), _mm512_sub_epi32(slot, start));
        (symbol, _mm512_add_epi32(_mm512_mullo_epi32(share, _mm512_srli_epi32::<SHARE_BITS>(states)), above))
    }
}

#[target_feature(enable = "avx512f,avx512bw,popcnt")]
fn take_pairs<const V: usize>(stream: &mut Stream<'_>, [one, two]: [&[u16]; 2], pairs: &mut [[u8; 2]]) {
    let (one, two) = (Starts::new(one), Starts::new(two));
    for pairs in pairs.chunks_exact_mut(V * LANE) {
        for (vector, pairs) in pairs.chunks_exact_mut(LANE).enumerate() {
            let (first, states) = one.take(load(stream, vector));
            let (second, states) = two.take(states);
            let states = refill(states, ALL, stream);
            store(stream, vector, states);
            let both = _mm512_or_si512(first, _mm512_slli_epi32::<8>(second));
            // SAFETY: there is room for sixteen pairs.
            unsafe { _mm256_storeu_si256(pairs.as_mut_ptr().cast(), _mm512_cvtepi32_epi16(both)) };
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,popcnt")]
fn take_symbols<const V: usize, const N: usize>(
    stream: &mut Stream<'_>,
    zero: u32,
    tables: [&[u16]; N],
) -> Option<[[u32; N]; LANES]> {
    let tables = tables.map(|table| Starts::new(table));
    let (mut all, mut after) = ([[0; N]; LANES], [_mm512_setzero_si512(); V]);
    for vector in 0..V {
        let (others, states) = bit(load(stream, vector), _mm512_set1_epi32(zero as i32));
        if others != 0 || small(states, ALL) != 0 {
            return None;
        }
        let (symbols, states) = match &tables[..] {
            [one, two] => two_symbols([one, two], states, stream),
            _ => {
                let (symbol, states) = tables[0].take(states);
                ([symbol; 2], refill(states, ALL, stream))
            }
        };
        after[vector] = states;
        for (place, symbols) in symbols.into_iter().take(N).enumerate() {
            if _mm512_cmpge_epu32_mask(symbols, _mm512_set1_epi32(LANE as i32 - 1)) != 0 {
                return None;
            }
            let lanes = all[LANE * vector..].iter_mut().zip(numbers(symbols));
            lanes.for_each(|(all, symbol)| all[place] = symbol);
        }
    }
    (0..V).for_each(|vector| store(stream, vector, after[vector]));
    Some(all)
}

/// Two symbols of each state, each refilled. A state that is refilled for the first is so large then that it is not for the second: whether it is for the
/// second is known of all others before any word is.
#[target_feature(enable = "avx512f,avx512bw,popcnt")]
#[inline]
fn two_symbols([one, two]: [&Starts<'_>; 2], states: __m512i, stream: &mut Stream<'_>) -> ([__m512i; 2], __m512i) {
    let (first, states) = one.take(states);
    let early = small(states, ALL);
    let late = small(two.take(states).1, !early);
    let words = words(early | late, stream);
    let (second, states) = two.take(filled(states, early, words));
    ([first, second], filled(states, late, words))
}
