//! AVX-512.

use std::arch::x86_64::*;

use crate::codec::Round;
use crate::kernel::network::Quarters;
use crate::kernel::tables::LANE;
use crate::kernel::vectors::{Job, NO_UPPER, Vectors, methods};
use crate::kernel::{Avx512, wide};

#[target_feature(enable = "avx512f,avx512bw,avx2,popcnt,lzcnt,bmi1,bmi2")]
pub(super) fn run<J: Job>(job: J, proof: Avx512) -> J::Result {
    job.run(proof)
}

impl Vectors for Avx512 {
    const COUNT: usize = LANE;
    type Vector = __m512i;
    type Mask = __mmask16;
    type Numbers = __m512i;

    #[inline(always)]
    fn any(self, mask: __mmask16) -> bool {
        mask != 0
    }

    #[inline(always)]
    fn either(self, one: __mmask16, other: __mmask16) -> __mmask16 {
        one | other
    }

    #[inline(always)]
    fn without(self, one: __mmask16, other: __mmask16) -> __mmask16 {
        one & !other
    }

    methods! {
        number(number: u32) -> __m512i { _mm512_set1_epi32(number as i32) }
        load(numbers: &[u32]) -> __m512i { _mm512_loadu_si512(numbers[..LANE].as_ptr().cast()) }
        widen(numbers: &[u16]) -> __m512i { _mm512_cvtepu16_epi32(_mm256_loadu_si256(numbers[..LANE].as_ptr().cast())) }
        pack(mask: __mmask16, vector: __m512i, numbers: &mut [u32]) -> usize {
            _mm512_storeu_si512(numbers[..LANE].as_mut_ptr().cast(), _mm512_maskz_compress_epi32(mask, vector));
            mask.count_ones() as usize
        }
        store(vector: __m512i, numbers: &mut [u32]) -> () { _mm512_storeu_si512(numbers[..LANE].as_mut_ptr().cast(), vector) }
        store_halves(vector: __m512i, numbers: &mut [[u8; 2]]) -> () {
            _mm256_storeu_si256(numbers[..LANE].as_mut_ptr().cast(), _mm512_cvtepi32_epi16(vector))
        }
        pack_halves(mask: __mmask16, vector: __m512i, numbers: &mut [[u8; 2]]) -> usize {
            let packed = _mm512_cvtepi32_epi16(_mm512_maskz_compress_epi32(mask, vector));
            _mm256_storeu_si256(numbers[..LANE].as_mut_ptr().cast(), packed);
            mask.count_ones() as usize
        }
        high(one: __m512i, other: __m512i) -> __m512i {
            let even = _mm512_srli_epi64::<32>(_mm512_mul_epu32(one, other));
            let odd = _mm512_mul_epu32(_mm512_srli_epi64::<32>(one), _mm512_srli_epi64::<32>(other));
            _mm512_mask_blend_epi32(0xaaaa, even, odd)
        }
        left_by(vector: __m512i, places: __m512i) -> __m512i { _mm512_sllv_epi32(vector, places) }
        right_by(vector: __m512i, places: __m512i) -> __m512i { _mm512_srlv_epi32(vector, places) }
        numbers(numbers: [u32; LANE]) -> __m512i { _mm512_loadu_si512(numbers.as_ptr().cast()) }
        look_up_number(numbers: &__m512i, places: __m512i) -> __m512i { _mm512_permutexvar_epi32(places, *numbers) }
        and(one: __m512i, other: __m512i) -> __m512i { _mm512_and_si512(one, other) }
        or(one: __m512i, other: __m512i) -> __m512i { _mm512_or_si512(one, other) }
        add(one: __m512i, other: __m512i) -> __m512i { _mm512_add_epi32(one, other) }
        sub(one: __m512i, other: __m512i) -> __m512i { _mm512_sub_epi32(one, other) }
        multiply(one: __m512i, other: __m512i) -> __m512i { _mm512_mullo_epi32(one, other) }
        left(vector: __m512i, places: u32) -> __m512i { _mm512_sll_epi32(vector, _mm_cvtsi32_si128(places as i32)) }
        right(vector: __m512i, places: u32) -> __m512i { _mm512_srl_epi32(vector, _mm_cvtsi32_si128(places as i32)) }
        reach(one: __m512i, other: __m512i) -> __mmask16 { _mm512_cmpge_epi32_mask(one, other) }
        only(mask: __mmask16, vector: __m512i) -> __m512i { _mm512_maskz_mov_epi32(mask, vector) }
        choose(mask: __mmask16, vector: __m512i, others: __m512i) -> __m512i {
            _mm512_mask_blend_epi32(mask, others, vector)
        }
        table(bytes: [u8; LANE]) -> __m512i { _mm512_broadcast_i32x4(_mm_loadu_si128(bytes.as_ptr().cast())) }
        look_up(table: __m512i, places: __m512i) -> __m512i {
            _mm512_shuffle_epi8(table, _mm512_or_si512(places, _mm512_set1_epi32(NO_UPPER as i32)))
        }
        fours<PIECE>(pieces: &[u8]) -> __m512i {
            let numbers = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
            let places = _mm512_mullo_epi32(numbers, _mm512_set1_epi32(PIECE as i32));
            _mm512_i32gather_epi32::<1>(places, pieces[..PIECE * (LANE - 1) + 4].as_ptr().cast())
        }
        spread(bits: u64, bytes: &mut [u8; 64]) -> () {
            _mm512_storeu_si512(bytes.as_mut_ptr().cast(), _mm512_maskz_set1_epi8(bits, 1))
        }
        small(states: __m512i) -> __mmask16 { wide::small(states) }
        words(mask: __mmask16, round: &mut Round<'_>) -> __m512i { wide::words(mask, round) }
    }
}

impl Quarters for Avx512 {
    type Vector = __m512i;

    methods! {
        table(bytes: [u8; LANE]) -> __m512i { _mm512_broadcast_i32x4(_mm_loadu_si128(bytes.as_ptr().cast())) }
        look_up(table: __m512i, places: __m512i) -> __m512i { _mm512_shuffle_epi8(table, places) }
        least(one: __m512i, other: __m512i) -> __m512i { _mm512_min_epu16(one, other) }
        most(one: __m512i, other: __m512i) -> __m512i { _mm512_max_epu16(one, other) }
        zip_halves(one: __m512i, other: __m512i) -> [__m512i; 2] {
            [_mm512_unpacklo_epi16(one, other), _mm512_unpackhi_epi16(one, other)]
        }
        zip_words(one: __m512i, other: __m512i) -> [__m512i; 2] {
            [_mm512_unpacklo_epi32(one, other), _mm512_unpackhi_epi32(one, other)]
        }
        zip_pairs(one: __m512i, other: __m512i) -> [__m512i; 2] {
            [_mm512_unpacklo_epi64(one, other), _mm512_unpackhi_epi64(one, other)]
        }
    }
}
