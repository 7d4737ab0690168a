//! AVX2.

use std::arch::x86_64::*;

use crate::codec::{RAW_MAX, Round};
use crate::kernel::Avx2;
use crate::kernel::network::Quarters;
use crate::kernel::tables::{EIGHT, LANE, LANES_OF, RANKS};
use crate::kernel::twins::{Task, Twins};
use crate::kernel::vectors::{Job, NO_UPPER, Vectors, methods};

#[target_feature(enable = "avx2,popcnt,lzcnt,bmi1,bmi2")]
pub(super) fn run<J: Job>(job: J, proof: Avx2) -> J::Result {
    job.run(proof)
}

#[target_feature(enable = "avx2,popcnt,lzcnt,bmi1,bmi2")]
#[inline(never)]
fn apart<T: Task>(task: T, proof: Avx2) -> T::Result {
    task.run(proof)
}

impl Vectors for Avx2 {
    const COUNT: usize = EIGHT;
    type Vector = __m256i;
    type Mask = __m256i;
    type Numbers = [__m256i; 2];

    methods! {
        number(number: u32) -> __m256i { _mm256_set1_epi32(number as i32) }
        load(numbers: &[u32]) -> __m256i { _mm256_loadu_si256(numbers[..EIGHT].as_ptr().cast()) }
        widen(numbers: &[u16]) -> __m256i { _mm256_cvtepu16_epi32(_mm_loadu_si128(numbers[..EIGHT].as_ptr().cast())) }
        pack(mask: __m256i, vector: __m256i, numbers: &mut [u32]) -> usize {
            let (packed, count) = packed(mask, vector);
            _mm256_storeu_si256(numbers[..EIGHT].as_mut_ptr().cast(), packed);
            count
        }
        store(vector: __m256i, numbers: &mut [u32]) -> () { _mm256_storeu_si256(numbers[..EIGHT].as_mut_ptr().cast(), vector) }
        store_halves(vector: __m256i, numbers: &mut [[u8; 2]]) -> () {
            _mm_storeu_si128(numbers[..EIGHT].as_mut_ptr().cast(), halves(vector))
        }
        pack_halves(mask: __m256i, vector: __m256i, numbers: &mut [[u8; 2]]) -> usize {
            let (packed, count) = packed(mask, vector);
            _mm_storeu_si128(numbers[..EIGHT].as_mut_ptr().cast(), halves(packed));
            count
        }
        high(one: __m256i, other: __m256i) -> __m256i {
            let even = _mm256_srli_epi64::<32>(_mm256_mul_epu32(one, other));
            let odd = _mm256_mul_epu32(_mm256_srli_epi64::<32>(one), _mm256_srli_epi64::<32>(other));
            _mm256_blend_epi32::<0b1010_1010>(even, odd)
        }
        left_by(vector: __m256i, places: __m256i) -> __m256i { _mm256_sllv_epi32(vector, places) }
        right_by(vector: __m256i, places: __m256i) -> __m256i { _mm256_srlv_epi32(vector, places) }
        numbers(numbers: [u32; LANE]) -> [__m256i; 2] {
            [0, EIGHT].map(|half| _mm256_loadu_si256(numbers[half..half + EIGHT].as_ptr().cast()))
        }
        look_up_number(numbers: &[__m256i; 2], places: __m256i) -> __m256i {
            let [lower, upper] = numbers.map(|half| _mm256_castsi256_ps(_mm256_permutevar8x32_epi32(half, places)));
            let in_upper = _mm256_castsi256_ps(_mm256_slli_epi32::<28>(places));
            _mm256_castps_si256(_mm256_blendv_ps(lower, upper, in_upper))
        }
        and(one: __m256i, other: __m256i) -> __m256i { _mm256_and_si256(one, other) }
        or(one: __m256i, other: __m256i) -> __m256i { _mm256_or_si256(one, other) }
        add(one: __m256i, other: __m256i) -> __m256i { _mm256_add_epi32(one, other) }
        sub(one: __m256i, other: __m256i) -> __m256i { _mm256_sub_epi32(one, other) }
        multiply(one: __m256i, other: __m256i) -> __m256i { _mm256_mullo_epi32(one, other) }
        left(vector: __m256i, places: u32) -> __m256i { _mm256_sll_epi32(vector, _mm_cvtsi32_si128(places as i32)) }
        right(vector: __m256i, places: u32) -> __m256i { _mm256_srl_epi32(vector, _mm_cvtsi32_si128(places as i32)) }
        reach(one: __m256i, other: __m256i) -> __m256i { _mm256_cmpeq_epi32(_mm256_max_epi32(one, other), one) }
        only(mask: __m256i, vector: __m256i) -> __m256i { _mm256_and_si256(mask, vector) }
        choose(mask: __m256i, vector: __m256i, others: __m256i) -> __m256i { _mm256_blendv_epi8(others, vector, mask) }
        table(bytes: [u8; LANE]) -> __m256i { _mm256_broadcastsi128_si256(_mm_loadu_si128(bytes.as_ptr().cast())) }
        look_up(table: __m256i, places: __m256i) -> __m256i {
            _mm256_shuffle_epi8(table, _mm256_or_si256(places, _mm256_set1_epi32(NO_UPPER as i32)))
        }
        fours<PIECE>(pieces: &[u8]) -> __m256i {
            let numbers = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            let places = _mm256_mullo_epi32(numbers, _mm256_set1_epi32(PIECE as i32));
            _mm256_i32gather_epi32::<1>(pieces[..PIECE * (EIGHT - 1) + 4].as_ptr().cast(), places)
        }
        spread(bits: u64, bytes: &mut [u8; 64]) -> () {
            let bit_of = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
            let byte_of = _mm256_setr_epi64x(0, 0x0101_0101_0101_0101, 0x0202_0202_0202_0202, 0x0303_0303_0303_0303);
            for (half, bytes) in [bits as i32, (bits >> 32) as i32].into_iter().zip(bytes.as_chunks_mut::<32>().0) {
                let all = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32(half), byte_of), bit_of);
                _mm256_storeu_si256(bytes.as_mut_ptr().cast(), _mm256_min_epu8(all, _mm256_set1_epi8(1)));
            }
        }
        any(mask: __m256i) -> bool { _mm256_testz_si256(mask, mask) == 0 }
        either(one: __m256i, other: __m256i) -> __m256i { _mm256_or_si256(one, other) }
        without(one: __m256i, other: __m256i) -> __m256i { _mm256_andnot_si256(other, one) }
        small(states: __m256i) -> __m256i {
            _mm256_cmpeq_epi32(_mm256_srli_epi32::<{ RAW_MAX as i32 }>(states), _mm256_setzero_si256())
        }
        words(mask: __m256i, round: &mut Round<'_>) -> __m256i { words(mask, round) }
    }
}

impl Quarters for Avx2 {
    type Vector = __m256i;

    methods! {
        table(bytes: [u8; LANE]) -> __m256i { _mm256_broadcastsi128_si256(_mm_loadu_si128(bytes.as_ptr().cast())) }
        look_up(table: __m256i, places: __m256i) -> __m256i { _mm256_shuffle_epi8(table, places) }
        least(one: __m256i, other: __m256i) -> __m256i { _mm256_min_epu16(one, other) }
        most(one: __m256i, other: __m256i) -> __m256i { _mm256_max_epu16(one, other) }
        zip_halves(one: __m256i, other: __m256i) -> [__m256i; 2] {
            [_mm256_unpacklo_epi16(one, other), _mm256_unpackhi_epi16(one, other)]
        }
        zip_words(one: __m256i, other: __m256i) -> [__m256i; 2] {
            [_mm256_unpacklo_epi32(one, other), _mm256_unpackhi_epi32(one, other)]
        }
        zip_pairs(one: __m256i, other: __m256i) -> [__m256i; 2] {
            [_mm256_unpacklo_epi64(one, other), _mm256_unpackhi_epi64(one, other)]
        }
    }
}

impl Twins for Avx2 {
    type Twin = __m128i;

    #[inline(always)]
    fn apart<T: Task>(self, task: T) -> T::Result {
        // SAFETY: the value proves that the machine has the instructions.
        unsafe { apart(task, self) }
    }

    #[inline(always)]
    unsafe fn load<T>(self, from: *const T) -> __m128i {
        // SAFETY: as the caller guarantees.
        unsafe { _mm_loadu_si128(from.cast()) }
    }

    #[inline(always)]
    unsafe fn load_eight<T>(self, from: *const T) -> __m128i {
        // SAFETY: as the caller guarantees.
        unsafe { _mm_loadl_epi64(from.cast()) }
    }

    #[inline(always)]
    unsafe fn store<T>(self, twin: __m128i, to: *mut T) {
        // SAFETY: as the caller guarantees.
        unsafe { _mm_storeu_si128(to.cast(), twin) };
    }

    #[inline(always)]
    unsafe fn store_eight<T>(self, twin: __m128i, to: *mut T) {
        // SAFETY: as the caller guarantees.
        unsafe { _mm_storel_epi64(to.cast(), twin) };
    }

    #[inline(always)]
    fn right_halves<const PLACES: i32>(self, halves: __m256i) -> __m256i {
        // SAFETY: the value proves that the machine has the instructions.
        unsafe { _mm256_srli_epi16::<PLACES>(halves) }
    }

    #[inline(always)]
    fn right_words<const PLACES: i32>(self, words: __m256i) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_srli_epi32::<PLACES>(words) }
    }

    methods! {
        join(one: __m128i, other: __m128i) -> __m256i {
            _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(one), other)
        }
        one(vector: __m256i) -> __m128i { _mm256_castsi256_si128(vector) }
        other(vector: __m256i) -> __m128i { _mm256_extracti128_si256::<1>(vector) }
        behind(twin: __m128i) -> __m128i { _mm_unpackhi_epi64(twin, twin) }
        shuffle(twin: __m128i, places: __m128i) -> __m128i { _mm_shuffle_epi8(twin, places) }
        places(one: &[u8; EIGHT], other: &[u8; EIGHT]) -> __m128i {
            let (one, other) = (_mm_loadl_epi64(one.as_ptr().cast()), _mm_loadl_epi64(other.as_ptr().cast()));
            _mm_add_epi8(_mm_unpacklo_epi64(one, other), _mm_set_epi64x(0x0808_0808_0808_0808, 0))
        }
        byte(byte: u8) -> __m256i { _mm256_set1_epi8(byte as i8) }
        half(half: u16) -> __m256i { _mm256_set1_epi16(half as i16) }
        and(one: __m256i, other: __m256i) -> __m256i { _mm256_and_si256(one, other) }
        or(one: __m256i, other: __m256i) -> __m256i { _mm256_or_si256(one, other) }
        without(mask: __m256i, other: __m256i) -> __m256i { _mm256_andnot_si256(mask, other) }
        choose(mask: __m256i, vector: __m256i, others: __m256i) -> __m256i { _mm256_blendv_epi8(others, vector, mask) }
        look_up_far(table: &[__m256i; 4], places: __m256i) -> __m256i {
            let [a, b, c, d] = table.map(|part| _mm256_shuffle_epi8(part, places));
            let (odd, upper) = (_mm256_slli_epi16::<3>(places), _mm256_slli_epi16::<2>(places));
            _mm256_blendv_epi8(_mm256_blendv_epi8(a, b, odd), _mm256_blendv_epi8(c, d, odd), upper)
        }
        bits(vector: __m256i) -> u32 { _mm256_movemask_epi8(vector) as u32 }
        add_bytes(one: __m256i, other: __m256i) -> __m256i { _mm256_add_epi8(one, other) }
        sub_bytes(one: __m256i, other: __m256i) -> __m256i { _mm256_sub_epi8(one, other) }
        least_bytes(one: __m256i, other: __m256i) -> __m256i { _mm256_min_epu8(one, other) }
        most_bytes(one: __m256i, other: __m256i) -> __m256i { _mm256_max_epu8(one, other) }
        equal_bytes(one: __m256i, other: __m256i) -> __m256i { _mm256_cmpeq_epi8(one, other) }
        above_bytes(one: __m256i, other: __m256i) -> __m256i { _mm256_cmpgt_epi8(one, other) }
        zip_bytes(one: __m256i, other: __m256i) -> [__m256i; 2] {
            [_mm256_unpacklo_epi8(one, other), _mm256_unpackhi_epi8(one, other)]
        }
        pack_halves(one: __m256i, other: __m256i) -> __m256i { _mm256_packus_epi16(one, other) }
        indices(lines: __m256i, columns: __m256i, length: u8) -> [__m256i; 2] {
            // Of each two bytes one is the length of a line, and one is one.
            let length = _mm256_set1_epi16(0x0100 | i16::from(length));
            let [one, other] = [_mm256_unpacklo_epi8(lines, columns), _mm256_unpackhi_epi8(lines, columns)];
            [_mm256_maddubs_epi16(one, length), _mm256_maddubs_epi16(other, length)]
        }
        add_halves(one: __m256i, other: __m256i) -> __m256i { _mm256_add_epi16(one, other) }
        sub_halves(one: __m256i, other: __m256i) -> __m256i { _mm256_sub_epi16(one, other) }
        multiply_halves(one: __m256i, other: __m256i) -> __m256i { _mm256_mullo_epi16(one, other) }
        high(one: __m256i, other: __m256i) -> __m256i { _mm256_mulhi_epu16(one, other) }
        most_halves(one: __m256i, other: __m256i) -> __m256i { _mm256_max_epi16(one, other) }
        zero_halves(halves: __m256i) -> __m256i { _mm256_cmpeq_epi16(halves, _mm256_setzero_si256()) }
        negative_halves(halves: __m256i) -> __m256i { _mm256_srai_epi16::<15>(halves) }
        negative(one: __m256i, other: __m256i) -> __m256i {
            _mm256_cmpgt_epi8(_mm256_setzero_si256(), _mm256_packs_epi16(one, other))
        }
        pack_masks(one: __m256i, other: __m256i) -> __m256i { _mm256_packs_epi16(one, other) }
        pack_words(one: __m256i, other: __m256i) -> __m256i { _mm256_packus_epi32(one, other) }
        lower(one: __m256i, other: __m256i) -> __m256i {
            let lower = |words| _mm256_blend_epi16::<0b1010_1010>(words, _mm256_setzero_si256());
            _mm256_packus_epi32(lower(one), lower(other))
        }
        upper(one: __m256i, other: __m256i) -> __m256i {
            let upper = |words| _mm256_srli_epi32::<{ RAW_MAX as i32 }>(words);
            _mm256_packus_epi32(upper(one), upper(other))
        }
        add_words(one: __m256i, other: __m256i) -> __m256i { _mm256_add_epi32(one, other) }
        sub_words(one: __m256i, other: __m256i) -> __m256i { _mm256_sub_epi32(one, other) }
        multiply_words(one: __m256i, other: __m256i) -> __m256i { _mm256_mullo_epi32(one, other) }
        right_by(words: __m256i, places: __m256i) -> __m256i { _mm256_srlv_epi32(words, places) }
        left_by(words: __m256i, places: __m256i) -> __m256i { _mm256_sllv_epi32(words, places) }
    }
}

/// The next words, one for each of some lanes.
#[target_feature(enable = "avx2,popcnt")]
#[inline]
fn words(of: __m256i, round: &mut Round<'_>) -> __m256i {
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
fn packed(of: __m256i, numbers: __m256i) -> (__m256i, usize) {
    let mask = _mm256_movemask_ps(_mm256_castsi256_ps(of)) as u8;
    // SAFETY: there are eight numbers.
    let lanes = unsafe { _mm256_loadu_si256(LANES_OF[usize::from(mask)].as_ptr().cast()) };
    (_mm256_permutevar8x32_epi32(numbers, lanes), mask.count_ones() as usize)
}

/// The lower halves of numbers.
#[target_feature(enable = "avx2")]
#[inline]
fn halves(numbers: __m256i) -> __m128i {
    let lower = _mm256_and_si256(numbers, _mm256_set1_epi32(0xffff));
    _mm_packus_epi32(_mm256_castsi256_si128(lower), _mm256_extracti128_si256::<1>(lower))
}
