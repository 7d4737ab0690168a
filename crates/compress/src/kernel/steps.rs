//! Steps from value to value of sixteen chunks at once, written.

use std::arch::x86_64::*;

use crate::codec::{DISTANCE_BITS, Distances, LANES, Output, RAW_MAX, Slots, Step};
use crate::kernel::Avx512;
use crate::kernel::wide::{LANE, numbers};

/// Writes rows of steps, the last row first. A row has a step for each state, the last state first; none has more bits than a state gives
/// before it is refilled.
pub(crate) fn write(_: Avx512, output: &mut Output, distances: &Distances, (lanes, rows): (usize, &[Step])) {
    // SAFETY: the value proves that the machine has the instructions.
    unsafe {
        match lanes {
            LANE => write_rows::<1>(output, distances, rows),
            _ => write_rows::<{ LANES / LANE }>(output, distances, rows),
        }
    }
}

/// By the number of a segment: its slots, where they begin, and `2^(32 + shift)` divided by how many they are, rounded up; the shift is the
/// largest for which that has 32 bits (of one there is none). A state is below `2^26` times the slots, which are fewer than 32: its quotient is
/// exact.
struct Segments {
    share: __m512i,
    start: __m512i,
    reciprocal: __m512i,
    shift: __m512i,
}

impl Segments {
    #[target_feature(enable = "avx512f")]
    fn new(distances: &Distances) -> Segments {
        let vector = |of: fn(Slots) -> u32| {
            // SAFETY: there are sixteen.
            unsafe { _mm512_loadu_si512(distances.slots.map(of).as_ptr().cast()) }
        };
        Segments {
            share: vector(|slots| slots.share),
            start: vector(|slots| slots.start),
            reciprocal: vector(|slots| (1_u64 << (32 + shift(slots))).div_ceil(slots.share.into()) as u32),
            shift: vector(shift),
        }
    }
}

fn shift(slots: Slots) -> u32 {
    slots.share.next_power_of_two().ilog2().saturating_sub(1)
}

#[target_feature(enable = "avx512f,popcnt")]
fn write_rows<const V: usize>(output: &mut Output, distances: &Distances, rows: &[Step]) {
    let segments = Segments::new(distances);
    // States lie as rows do.
    let mut reversed = output.states;
    reversed[..V * LANE].reverse();
    let mut states = std::array::from_fn::<_, V, _>(|vector| {
        let states: &[u32; LANE] = &reversed.as_chunks().0[vector];
        // SAFETY: there are sixteen.
        unsafe { _mm512_loadu_si512(states.as_ptr().cast()) }
    });
    for row in rows.chunks_exact(V * LANE).rev() {
        for (states, steps) in states.iter_mut().zip(row.as_chunks().0) {
            *states = write_row(*states, steps, &segments, output);
        }
    }
    for (reversed, states) in reversed.as_chunks_mut().0.iter_mut().zip(states) {
        *reversed = numbers(states);
    }
    reversed[..V * LANE].reverse();
    output.states = reversed;
}

#[target_feature(enable = "avx512f,popcnt")]
#[inline]
fn write_row(states: __m512i, steps: &[Step; LANE], segments: &Segments, output: &mut Output) -> __m512i {
    let number = |number: u32| _mm512_set1_epi32(number as i32);
    // SAFETY: there are sixteen, of 32 bits each.
    let steps = unsafe { _mm512_loadu_si512(steps.as_ptr().cast()) };
    let (raw, segment) = (_mm512_and_si512(steps, number(0xffff)), _mm512_srli_epi32::<24>(steps));
    let width = _mm512_and_si512(_mm512_srli_epi32::<16>(steps), number(0xff));
    let coded = _mm512_test_epi32_mask(segment, segment);
    let of = |table| _mm512_permutexvar_epi32(segment, table);
    let share = of(segments.share);
    // Room for what comes.
    let all = _mm512_mask_add_epi32(width, coded, width, number(DISTANCE_BITS));
    let free = _mm512_srlv_epi32(states, _mm512_sub_epi32(number(u32::BITS), all));
    let full = _mm512_cmpge_epu32_mask(free, share);
    let words = _mm512_cvtepi32_epi16(_mm512_maskz_compress_epi32(full, states));
    let room: &mut [[u8; 2]] = &mut output.words[output.place..output.place + LANE];
    // SAFETY: there is room for sixteen words.
    unsafe { _mm256_storeu_si256(room.as_mut_ptr().cast(), words) };
    output.place += full.count_ones() as usize;
    let states = _mm512_mask_srli_epi32::<RAW_MAX>(states, full, states);
    let states = _mm512_or_si512(_mm512_sllv_epi32(states, width), raw);
    // `2^6 whole + rest + start`, where the rest is what `whole` times `share` leaves.
    let whole = _mm512_srlv_epi32(high(states, of(segments.reciprocal)), of(segments.shift));
    let whole = _mm512_mask_mov_epi32(whole, _mm512_cmpeq_epi32_mask(share, number(1)), states);
    let more = _mm512_mullo_epi32(whole, _mm512_sub_epi32(number(1 << DISTANCE_BITS), share));
    let more = _mm512_add_epi32(more, of(segments.start));
    _mm512_mask_add_epi32(states, coded, states, more)
}

/// The upper halves of products.
#[target_feature(enable = "avx512f")]
#[inline]
fn high(a: __m512i, b: __m512i) -> __m512i {
    let even = _mm512_srli_epi64::<32>(_mm512_mul_epu32(a, b));
    let odd = _mm512_mul_epu32(_mm512_srli_epi64::<32>(a), _mm512_srli_epi64::<32>(b));
    _mm512_mask_blend_epi32(0xaaaa, even, odd)
}
