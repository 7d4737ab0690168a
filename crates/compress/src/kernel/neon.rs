//! NEON.

use std::arch::aarch64::*;

use crate::codec::{RAW_MAX, Round};
use crate::kernel::Neon;
use crate::kernel::network::Quarters;
use crate::kernel::tables::{BYTES_OF, EIGHT, HALVES_OF, LANE, RANKS};
use crate::kernel::twins::{Task, Twins};
use crate::kernel::vectors::{Job, NO_UPPER, Vectors, methods};

/// Every machine for which this is compiled has the instructions, so that nothing is to be compiled apart.
pub(super) fn run<J: Job>(job: J, proof: Neon) -> J::Result {
    job.run(proof)
}

#[inline(never)]
fn apart<T: Task>(task: T, proof: Neon) -> T::Result {
    task.run(proof)
}

/// Eight numbers.
type Eight = [uint32x4_t; 2];
/// 32 bytes.
type Both = [uint8x16_t; 2];

/// The bit of each of eight lanes in a mask.
const BIT_OF: [u8; LANE] = [1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128];

/// An instruction with both registers of some arguments.
macro_rules! both {
    ($instruction:ident($($argument:ident),*)) => {
        [$instruction($($argument[0]),*), $instruction($($argument[1]),*)]
    };
}

/// The same with lanes wider than bytes.
macro_rules! both_as {
    ($to:ident, $from:ident, $instruction:ident($($argument:ident),*)) => {
        [$from($instruction($($to($argument[0])),*)), $from($instruction($($to($argument[1])),*))]
    };
}

macro_rules! halves {
    ($instruction:ident($($argument:ident),*)) => {
        both_as!(vreinterpretq_u16_u8, vreinterpretq_u8_u16, $instruction($($argument),*))
    };
}

macro_rules! words {
    ($instruction:ident($($argument:ident),*)) => {
        both_as!(vreinterpretq_u32_u8, vreinterpretq_u8_u32, $instruction($($argument),*))
    };
}

/// A bit for each lane.
#[inline(always)]
pub(super) fn mask_of(mask: Eight) -> usize {
    const BITS: [u32; EIGHT] = [1, 2, 4, 8, 16, 32, 64, 128];
    // SAFETY: every machine has the instructions; there are eight numbers.
    unsafe {
        let bits = [vld1q_u32(BITS.as_ptr()), vld1q_u32(BITS[4..].as_ptr())];
        vaddvq_u32(vorrq_u32(vandq_u32(mask[0], bits[0]), vandq_u32(mask[1], bits[1]))) as usize
    }
}

/// The lower halves of numbers.
#[inline(always)]
fn lower_halves(vector: Eight) -> uint8x16_t {
    // SAFETY: every machine has the instructions.
    unsafe {
        let [one, other] = both!(vreinterpretq_u16_u32(vector));
        vreinterpretq_u8_u16(vuzp1q_u16(one, other))
    }
}

/// Puts the lower halves of some of eight numbers, one after the other.
#[inline(always)]
pub(super) fn pack_lower(mask: usize, vector: Eight) -> uint8x16_t {
    // SAFETY: every machine has the instructions; there are sixteen bytes.
    unsafe { vqtbl1q_u8(lower_halves(vector), vld1q_u8(HALVES_OF[mask & 255].as_ptr().cast())) }
}

/// A bit for each byte of each of four vectors of masks.
#[inline(always)]
pub(super) fn bits_of([a, b, c, d]: [uint8x16_t; 4]) -> u64 {
    // SAFETY: every machine has the instructions; there are sixteen bytes.
    unsafe {
        let bits = vld1q_u8(BIT_OF.as_ptr());
        let [a, b, c, d] = [vandq_u8(a, bits), vandq_u8(b, bits), vandq_u8(c, bits), vandq_u8(d, bits)];
        let eighths = vpaddq_u8(vpaddq_u8(a, b), vpaddq_u8(c, d));
        vgetq_lane_u64::<0>(vreinterpretq_u64_u8(vpaddq_u8(eighths, eighths)))
    }
}

/// The largest key of each eight elements.
#[inline(always)]
pub(super) fn maxima(row: &[f32; 64]) -> [u32; EIGHT] {
    let mut maxima = [0; EIGHT];
    for (maxima, half) in maxima.as_chunks_mut::<4>().0.iter_mut().zip(row.as_chunks::<32>().0) {
        // SAFETY: every machine has the instructions; there are four numbers each, and there is room for as many.
        unsafe {
            let magnitude = vdupq_n_u32(u32::MAX >> 1);
            let group = |first: usize| {
                let four = |first: usize| vandq_u32(vld1q_u32(half[first..first + 4].as_ptr().cast()), magnitude);
                vmaxq_u32(four(first), four(first + 4))
            };
            let (one, other) = (vpmaxq_u32(group(0), group(8)), vpmaxq_u32(group(16), group(24)));
            vst1q_u32(maxima.as_mut_ptr(), vpmaxq_u32(one, other));
        }
    }
    maxima
}

/// Which keys are at least `least`, the first in the lowest place.
#[inline(always)]
pub(super) fn reach(keys: &[u32; 64], least: u32) -> u64 {
    // SAFETY: every machine has the instructions; there are four numbers each.
    unsafe {
        let least = vdupq_n_u32(least);
        let four = |keys: &[u32; 4]| vreinterpretq_u16_u32(vcgeq_u32(vld1q_u32(keys.as_ptr()), least));
        let sixteen = |keys: &[u32; LANE]| {
            let [a, b, c, d] = [0, 4, 8, 12].map(|place| four(keys[place..].first_chunk().unwrap_or(&[0; 4])));
            vuzp1q_u8(vreinterpretq_u8_u16(vuzp1q_u16(a, b)), vreinterpretq_u8_u16(vuzp1q_u16(c, d)))
        };
        let [a, b, c, d] =
            [0, LANE, 2 * LANE, 3 * LANE].map(|place| sixteen(keys[place..].first_chunk().unwrap_or(&[0; LANE])));
        bits_of([a, b, c, d])
    }
}

/// Puts those of eight places whose keys are at least `least` at the beginning, and tells how many they are. Only those of some lanes count.
#[inline(always)]
pub(super) fn choose(
    (keys, places): (&[u32; EIGHT], &[u32; EIGHT]),
    (least, valid): (u32, usize),
    room: &mut [u16; EIGHT],
) -> usize {
    // SAFETY: every machine has the instructions; there are eight numbers each, and there is room for as many.
    unsafe {
        let load = |numbers: &[u32; EIGHT]| [vld1q_u32(numbers.as_ptr()), vld1q_u32(numbers[4..].as_ptr())];
        let (keys, least) = (load(keys), [vdupq_n_u32(least); 2]);
        let mask = mask_of(both!(vcgeq_u32(keys, least))) & valid;
        vst1q_u8(room.as_mut_ptr().cast(), pack_lower(mask, load(places)));
        mask.count_ones() as usize
    }
}

impl Vectors for Neon {
    const COUNT: usize = EIGHT;
    type Vector = Eight;
    type Mask = Eight;
    type Numbers = uint8x16x4_t;

    methods! {
        number(number: u32) -> Eight { [vdupq_n_u32(number); 2] }
        load(numbers: &[u32]) -> Eight { [vld1q_u32(numbers[..4].as_ptr()), vld1q_u32(numbers[4..EIGHT].as_ptr())] }
        widen(numbers: &[u16]) -> Eight {
            let halves = vld1q_u16(numbers[..EIGHT].as_ptr());
            [vmovl_u16(vget_low_u16(halves)), vmovl_high_u16(halves)]
        }
        pack(mask: Eight, vector: Eight, numbers: &mut [u32]) -> usize {
            let mask = mask_of(mask);
            let lanes = vmovl_u8(vld1_u8(BYTES_OF[mask].as_ptr()));
            let lanes = [vmovl_u16(vget_low_u16(lanes)), vmovl_high_u16(lanes)];
            let table = uint8x16x2_t(vreinterpretq_u8_u32(vector[0]), vreinterpretq_u8_u32(vector[1]));
            let (each, first) = (vdupq_n_u32(0x0404_0404), vdupq_n_u32(0x0302_0100));
            for (lanes, numbers) in lanes.into_iter().zip(numbers[..EIGHT].as_chunks_mut::<4>().0) {
                let places = vreinterpretq_u8_u32(vmlaq_u32(first, lanes, each));
                vst1q_u32(numbers.as_mut_ptr(), vreinterpretq_u32_u8(vqtbl2q_u8(table, places)));
            }
            mask.count_ones() as usize
        }
        store(vector: Eight, numbers: &mut [u32]) -> () {
            vst1q_u32(numbers[..4].as_mut_ptr(), vector[0]);
            vst1q_u32(numbers[4..EIGHT].as_mut_ptr(), vector[1]);
        }
        store_halves(vector: Eight, numbers: &mut [[u8; 2]]) -> () {
            vst1q_u8(numbers[..EIGHT].as_mut_ptr().cast(), lower_halves(vector));
        }
        pack_halves(mask: Eight, vector: Eight, numbers: &mut [[u8; 2]]) -> usize {
            let mask = mask_of(mask);
            vst1q_u8(numbers[..EIGHT].as_mut_ptr().cast(), pack_lower(mask, vector));
            mask.count_ones() as usize
        }
        high(one: Eight, other: Eight) -> Eight {
            let high = |one, other| {
                let (even, odd) = (vmull_u32(vget_low_u32(one), vget_low_u32(other)), vmull_high_u32(one, other));
                vuzp2q_u32(vreinterpretq_u32_u64(even), vreinterpretq_u32_u64(odd))
            };
            [high(one[0], other[0]), high(one[1], other[1])]
        }
        left_by(vector: Eight, places: Eight) -> Eight {
            let places = both!(vreinterpretq_s32_u32(places));
            both!(vshlq_u32(vector, places))
        }
        right_by(vector: Eight, places: Eight) -> Eight {
            let places = both!(vreinterpretq_s32_u32(places));
            let places = both!(vnegq_s32(places));
            both!(vshlq_u32(vector, places))
        }
        numbers(numbers: [u32; LANE]) -> uint8x16x4_t { vld1q_u8_x4(numbers.as_ptr().cast()) }
        look_up_number(numbers: &uint8x16x4_t, places: Eight) -> Eight {
            let look_up = |places| {
                let bytes = vmlaq_u32(vdupq_n_u32(0x0302_0100), places, vdupq_n_u32(0x0404_0404));
                vreinterpretq_u32_u8(vqtbl4q_u8(*numbers, vreinterpretq_u8_u32(bytes)))
            };
            [look_up(places[0]), look_up(places[1])]
        }
        and(one: Eight, other: Eight) -> Eight { both!(vandq_u32(one, other)) }
        or(one: Eight, other: Eight) -> Eight { both!(vorrq_u32(one, other)) }
        add(one: Eight, other: Eight) -> Eight { both!(vaddq_u32(one, other)) }
        sub(one: Eight, other: Eight) -> Eight { both!(vsubq_u32(one, other)) }
        multiply(one: Eight, other: Eight) -> Eight { both!(vmulq_u32(one, other)) }
        left(vector: Eight, places: u32) -> Eight {
            let places = [vdupq_n_s32(places as i32); 2];
            both!(vshlq_u32(vector, places))
        }
        right(vector: Eight, places: u32) -> Eight {
            let places = [vdupq_n_s32(-(places as i32)); 2];
            both!(vshlq_u32(vector, places))
        }
        reach(one: Eight, other: Eight) -> Eight { both!(vcgeq_u32(one, other)) }
        only(mask: Eight, vector: Eight) -> Eight { both!(vandq_u32(mask, vector)) }
        choose(mask: Eight, vector: Eight, others: Eight) -> Eight { both!(vbslq_u32(mask, vector, others)) }
        any(mask: Eight) -> bool { vmaxvq_u32(vorrq_u32(mask[0], mask[1])) != 0 }
        either(one: Eight, other: Eight) -> Eight { both!(vorrq_u32(one, other)) }
        without(one: Eight, other: Eight) -> Eight { both!(vbicq_u32(one, other)) }
        table(bytes: [u8; LANE]) -> Eight { [vreinterpretq_u32_u8(vld1q_u8(bytes.as_ptr())); 2] }
        look_up(table: Eight, places: Eight) -> Eight {
            let upper = [vdupq_n_u32(NO_UPPER); 2];
            let (table, places) = (both!(vreinterpretq_u8_u32(table)), both!(vorrq_u32(places, upper)));
            let places = both!(vreinterpretq_u8_u32(places));
            let found = both!(vqtbl1q_u8(table, places));
            both!(vreinterpretq_u32_u8(found))
        }
        fours<PIECE>(pieces: &[u8]) -> Eight {
            let mut numbers = [0; EIGHT];
            for (lane, number) in numbers.iter_mut().enumerate() {
                *number = pieces[PIECE * lane..].first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes));
            }
            [vld1q_u32(numbers.as_ptr()), vld1q_u32(numbers[4..].as_ptr())]
        }
        spread(bits: u64, bytes: &mut [u8; 64]) -> () {
            const BYTE_OF: [u8; LANE] = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1];
            let (byte_of, bit_of) = (vld1q_u8(BYTE_OF.as_ptr()), vld1q_u8(BIT_OF.as_ptr()));
            for (quarter, bytes) in bytes.as_chunks_mut::<LANE>().0.iter_mut().enumerate() {
                let sixteen = vreinterpretq_u8_u16(vdupq_n_u16((bits >> (LANE * quarter)) as u16));
                let set = vtstq_u8(vqtbl1q_u8(sixteen, byte_of), bit_of);
                vst1q_u8(bytes.as_mut_ptr(), vandq_u8(set, vdupq_n_u8(1)));
            }
        }
        small(states: Eight) -> Eight {
            let least = [vdupq_n_u32(1 << RAW_MAX); 2];
            both!(vcltq_u32(states, least))
        }
        words(mask: Eight, round: &mut Round<'_>) -> Eight {
            let mask = mask_of(mask);
            let (words, ranks) = (vld1q_u8(round.next::<EIGHT>().as_ptr().cast()), vld1q_u8(RANKS[mask].as_ptr().cast()));
            round.used += mask.count_ones() as usize;
            let halves = vreinterpretq_u16_u8(vqtbl1q_u8(words, ranks));
            [vmovl_u16(vget_low_u16(halves)), vmovl_high_u16(halves)]
        }
    }
}

impl Quarters for Neon {
    type Vector = Both;

    methods! {
        table(bytes: [u8; LANE]) -> Both { [vld1q_u8(bytes.as_ptr()); 2] }
        look_up(table: Both, places: Both) -> Both { both!(vqtbl1q_u8(table, places)) }
        least(one: Both, other: Both) -> Both { halves!(vminq_u16(one, other)) }
        most(one: Both, other: Both) -> Both { halves!(vmaxq_u16(one, other)) }
        zip_halves(one: Both, other: Both) -> [Both; 2] {
            [halves!(vzip1q_u16(one, other)), halves!(vzip2q_u16(one, other))]
        }
        zip_words(one: Both, other: Both) -> [Both; 2] {
            [words!(vzip1q_u32(one, other)), words!(vzip2q_u32(one, other))]
        }
        zip_pairs(one: Both, other: Both) -> [Both; 2] {
            [
                both_as!(vreinterpretq_u64_u8, vreinterpretq_u8_u64, vzip1q_u64(one, other)),
                both_as!(vreinterpretq_u64_u8, vreinterpretq_u8_u64, vzip2q_u64(one, other)),
            ]
        }
    }
}

impl Twins for Neon {
    type Twin = uint8x16_t;

    #[inline(always)]
    fn apart<T: Task>(self, task: T) -> T::Result {
        apart(task, self)
    }

    #[inline(always)]
    fn join(self, one: uint8x16_t, other: uint8x16_t) -> Both {
        [one, other]
    }

    #[inline(always)]
    fn one(self, vector: Both) -> uint8x16_t {
        vector[0]
    }

    #[inline(always)]
    fn other(self, vector: Both) -> uint8x16_t {
        vector[1]
    }

    #[inline(always)]
    unsafe fn load<T>(self, from: *const T) -> uint8x16_t {
        // SAFETY: as the caller guarantees.
        unsafe { vld1q_u8(from.cast()) }
    }

    #[inline(always)]
    unsafe fn load_eight<T>(self, from: *const T) -> uint8x16_t {
        // SAFETY: as the caller guarantees.
        unsafe { vcombine_u8(vld1_u8(from.cast()), vdup_n_u8(0)) }
    }

    #[inline(always)]
    unsafe fn store<T>(self, twin: uint8x16_t, to: *mut T) {
        // SAFETY: as the caller guarantees.
        unsafe { vst1q_u8(to.cast(), twin) };
    }

    #[inline(always)]
    unsafe fn store_eight<T>(self, twin: uint8x16_t, to: *mut T) {
        // SAFETY: as the caller guarantees.
        unsafe { vst1_u8(to.cast(), vget_low_u8(twin)) };
    }

    #[inline(always)]
    fn right_halves<const PLACES: i32>(self, halves: Both) -> Both {
        let right = |half| {
            // SAFETY: every machine has the instructions.
            unsafe { vreinterpretq_u8_u16(vshrq_n_u16::<PLACES>(vreinterpretq_u16_u8(half))) }
        };
        halves.map(right)
    }

    #[inline(always)]
    fn right_words<const PLACES: i32>(self, words: Both) -> Both {
        let right = |half| {
            // SAFETY: as above.
            unsafe { vreinterpretq_u8_u32(vshrq_n_u32::<PLACES>(vreinterpretq_u32_u8(half))) }
        };
        words.map(right)
    }

    methods! {
        behind(twin: uint8x16_t) -> uint8x16_t { vextq_u8::<8>(twin, twin) }
        shuffle(twin: uint8x16_t, places: uint8x16_t) -> uint8x16_t { vqtbl1q_u8(twin, places) }
        places(one: &[u8; EIGHT], other: &[u8; EIGHT]) -> uint8x16_t {
            vcombine_u8(vld1_u8(one.as_ptr()), vadd_u8(vld1_u8(other.as_ptr()), vdup_n_u8(EIGHT as u8)))
        }
        byte(byte: u8) -> Both { [vdupq_n_u8(byte); 2] }
        half(half: u16) -> Both { [vreinterpretq_u8_u16(vdupq_n_u16(half)); 2] }
        and(one: Both, other: Both) -> Both { both!(vandq_u8(one, other)) }
        or(one: Both, other: Both) -> Both { both!(vorrq_u8(one, other)) }
        without(mask: Both, other: Both) -> Both { both!(vbicq_u8(other, mask)) }
        choose(mask: Both, vector: Both, others: Both) -> Both { both!(vbslq_u8(mask, vector, others)) }
        look_up_far(table: &[Both; 4], places: Both) -> Both {
            let [a, b, c, d] = *table;
            [
                vqtbl4q_u8(uint8x16x4_t(a[0], b[0], c[0], d[0]), places[0]),
                vqtbl4q_u8(uint8x16x4_t(a[1], b[1], c[1], d[1]), places[1]),
            ]
        }
        bits(vector: Both) -> u32 {
            let signs = both!(vreinterpretq_s8_u8(vector));
            let [one, other] = both!(vcltzq_s8(signs));
            bits_of([one, other, one, other]) as u32
        }
        add_bytes(one: Both, other: Both) -> Both { both!(vaddq_u8(one, other)) }
        sub_bytes(one: Both, other: Both) -> Both { both!(vsubq_u8(one, other)) }
        least_bytes(one: Both, other: Both) -> Both { both!(vminq_u8(one, other)) }
        most_bytes(one: Both, other: Both) -> Both { both!(vmaxq_u8(one, other)) }
        equal_bytes(one: Both, other: Both) -> Both { both!(vceqq_u8(one, other)) }
        above_bytes(one: Both, other: Both) -> Both {
            let (one, other) = (both!(vreinterpretq_s8_u8(one)), both!(vreinterpretq_s8_u8(other)));
            both!(vcgtq_s8(one, other))
        }
        zip_bytes(one: Both, other: Both) -> [Both; 2] { [both!(vzip1q_u8(one, other)), both!(vzip2q_u8(one, other))] }
        pack_halves(one: Both, other: Both) -> Both { both!(vuzp1q_u8(one, other)) }
        indices(lines: Both, columns: Both, length: u8) -> [Both; 2] {
            let index = |lines, columns| {
                let lower = vmlal_u8(vmovl_u8(vget_low_u8(columns)), vget_low_u8(lines), vdup_n_u8(length));
                let upper = vmlal_high_u8(vmovl_high_u8(columns), lines, vdupq_n_u8(length));
                [vreinterpretq_u8_u16(lower), vreinterpretq_u8_u16(upper)]
            };
            let ([a, b], [c, d]) = (index(lines[0], columns[0]), index(lines[1], columns[1]));
            [[a, c], [b, d]]
        }
        add_halves(one: Both, other: Both) -> Both { halves!(vaddq_u16(one, other)) }
        sub_halves(one: Both, other: Both) -> Both { halves!(vsubq_u16(one, other)) }
        multiply_halves(one: Both, other: Both) -> Both { halves!(vmulq_u16(one, other)) }
        high(one: Both, other: Both) -> Both {
            let high = |one, other| {
                let (even, odd) = (vmull_u16(vget_low_u16(one), vget_low_u16(other)), vmull_high_u16(one, other));
                vuzp2q_u16(vreinterpretq_u16_u32(even), vreinterpretq_u16_u32(odd))
            };
            halves!(high(one, other))
        }
        most_halves(one: Both, other: Both) -> Both {
            both_as!(vreinterpretq_s16_u8, vreinterpretq_u8_s16, vmaxq_s16(one, other))
        }
        zero_halves(halves: Both) -> Both { halves!(vceqzq_u16(halves)) }
        negative_halves(halves: Both) -> Both { both_as!(vreinterpretq_s16_u8, vreinterpretq_u8_u16, vcltzq_s16(halves)) }
        pack_masks(one: Both, other: Both) -> Both { both!(vuzp1q_u8(one, other)) }
        negative(one: Both, other: Both) -> Both {
            let upper = both!(vuzp2q_u8(one, other));
            let upper = both!(vreinterpretq_s8_u8(upper));
            both!(vcltzq_s8(upper))
        }
        pack_words(one: Both, other: Both) -> Both { halves!(vuzp1q_u16(one, other)) }
        lower(one: Both, other: Both) -> Both { halves!(vuzp1q_u16(one, other)) }
        upper(one: Both, other: Both) -> Both { halves!(vuzp2q_u16(one, other)) }
        add_words(one: Both, other: Both) -> Both { words!(vaddq_u32(one, other)) }
        sub_words(one: Both, other: Both) -> Both { words!(vsubq_u32(one, other)) }
        multiply_words(one: Both, other: Both) -> Both { words!(vmulq_u32(one, other)) }
        right_by(words: Both, places: Both) -> Both {
            let right = |words, places| vshlq_u32(words, vnegq_s32(vreinterpretq_s32_u32(places)));
            words!(right(words, places))
        }
        left_by(words: Both, places: Both) -> Both {
            let left = |words, places| vshlq_u32(words, vreinterpretq_s32_u32(places));
            words!(left(words, places))
        }
    }
}
