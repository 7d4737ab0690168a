//! Vectors of a code's states, of both widths: what is written once for both.

use std::arch::x86_64::*;

use crate::codec::{RAW_MAX, Round};
use crate::kernel::eight::EIGHT;
use crate::kernel::wide::LANE;
use crate::kernel::{Avx2, Avx512, Level, eight, wide};

/// Something to be done with the vectors of a machine.
pub(crate) trait Job {
    /// What comes of it.
    type Result;

    /// Does it. Compiled once for each level, hence to be inlined with all that it calls.
    fn run<I: Vectors>(self, vectors: I) -> Self::Result;
}

impl Level {
    /// Does it, if the machine has vectors.
    #[inline(always)]
    pub(crate) fn run<J: Job>(self, job: J) -> Option<J::Result> {
        match self {
            Level::Plain => None,
            // SAFETY: the value proves that the machine has the instructions.
            Level::Avx2(proof) => Some(unsafe { run_avx2(job, proof) }),
            // SAFETY: as above.
            Level::Avx512(proof) => Some(unsafe { run_avx512(job, proof) }),
        }
    }
}

#[target_feature(enable = "avx2,popcnt,lzcnt,bmi1,bmi2")]
fn run_avx2<J: Job>(job: J, proof: Avx2) -> J::Result {
    job.run(proof)
}

#[target_feature(enable = "avx512f,avx512bw,avx2,popcnt,lzcnt,bmi1,bmi2")]
fn run_avx512<J: Job>(job: J, proof: Avx512) -> J::Result {
    job.run(proof)
}

/// Of four bytes, all but the lowest are such as no table has.
const NO_UPPER: i32 = 0x8080_8000_u32 as i32;

/// Vectors of numbers of 32 bits. A value of an implementing type proves that the machine has the instructions.
pub(crate) trait Vectors: Copy {
    /// How many numbers a vector has.
    const COUNT: usize;
    /// A vector.
    type Vector: Copy;
    /// Some of its lanes.
    type Mask: Copy;
    /// Sixteen numbers to look up.
    type Numbers: Copy;

    /// One number in all lanes.
    fn number(self, number: u32) -> Self::Vector;
    /// The first numbers of a slice.
    fn load(self, numbers: &[u32]) -> Self::Vector;
    /// The first numbers of a slice of shorter ones.
    fn widen(self, numbers: &[u16]) -> Self::Vector;
    /// Puts the numbers of some lanes at the beginning of a slice that has room for all, and tells how many they are.
    fn pack(self, mask: Self::Mask, vector: Self::Vector, numbers: &mut [u32]) -> usize;
    /// Puts the numbers at the beginning of a slice.
    fn store(self, vector: Self::Vector, numbers: &mut [u32]);
    /// The same with their lower halves.
    fn store_halves(self, vector: Self::Vector, numbers: &mut [[u8; 2]]);
    /// The same with the lower halves of some lanes, one after the other; tells how many they are.
    fn pack_halves(self, mask: Self::Mask, vector: Self::Vector, numbers: &mut [[u8; 2]]) -> usize;
    fn and(self, one: Self::Vector, other: Self::Vector) -> Self::Vector;
    fn or(self, one: Self::Vector, other: Self::Vector) -> Self::Vector;
    fn add(self, one: Self::Vector, other: Self::Vector) -> Self::Vector;
    fn sub(self, one: Self::Vector, other: Self::Vector) -> Self::Vector;
    /// The lower halves of products.
    fn multiply(self, one: Self::Vector, other: Self::Vector) -> Self::Vector;
    /// The upper halves of products.
    fn high(self, one: Self::Vector, other: Self::Vector) -> Self::Vector;
    fn left(self, vector: Self::Vector, places: u32) -> Self::Vector;
    fn right(self, vector: Self::Vector, places: u32) -> Self::Vector;
    /// By as many places as each lane says; by 32 all that is left is zero.
    fn left_by(self, vector: Self::Vector, places: Self::Vector) -> Self::Vector;
    fn right_by(self, vector: Self::Vector, places: Self::Vector) -> Self::Vector;
    /// Where numbers are at least others: both are below `2^31`.
    fn reach(self, one: Self::Vector, other: Self::Vector) -> Self::Mask;
    /// The numbers of some lanes, zeros in the others.
    fn only(self, mask: Self::Mask, vector: Self::Vector) -> Self::Vector;
    /// The numbers of some lanes, and others in the others.
    fn choose(self, mask: Self::Mask, vector: Self::Vector, others: Self::Vector) -> Self::Vector;
    fn any(self, mask: Self::Mask) -> bool;
    fn either(self, one: Self::Mask, other: Self::Mask) -> Self::Mask;
    /// The lanes of one mask that another one has not.
    fn without(self, one: Self::Mask, other: Self::Mask) -> Self::Mask;
    /// Sixteen bytes to look up.
    fn table(self, bytes: [u8; LANE]) -> Self::Vector;
    /// What a table has at places below sixteen.
    fn look_up(self, table: Self::Vector, places: Self::Vector) -> Self::Vector;
    fn numbers(self, numbers: [u32; LANE]) -> Self::Numbers;
    /// The same of sixteen numbers.
    fn look_up_number(self, numbers: &Self::Numbers, places: Self::Vector) -> Self::Vector;
    /// The four bytes at the beginning of each of as many pieces as there are lanes.
    fn fours<const PIECE: usize>(self, pieces: &[u8]) -> Self::Vector;
    /// Bits as bytes.
    fn spread(self, bits: u64, bytes: &mut [u8; 64]);
    /// Which of some states have become small.
    fn small(self, states: Self::Vector) -> Self::Mask;
    /// The next words, one for each of some lanes.
    fn words(self, mask: Self::Mask, round: &mut Round<'_>) -> Self::Vector;

    /// States, some of which are given their words.
    #[inline(always)]
    fn filled(self, states: Self::Vector, mask: Self::Mask, words: Self::Vector) -> Self::Vector {
        self.choose(mask, self.or(self.left(states, RAW_MAX), words), states)
    }

    /// Gives each state that has become small a word.
    #[inline(always)]
    fn refill(self, states: Self::Vector, round: &mut Round<'_>) -> Self::Vector {
        let short = self.small(states);
        let words = self.words(short, round);
        self.filled(states, short, words)
    }
}

/// Methods of few instructions each.
macro_rules! methods {
    ($($name:ident $(<$piece:ident>)? ($($argument:ident: $type:ty),*) -> $result:ty { $($body:tt)* })*) => {
        $(
            #[inline(always)]
            fn $name $(<const $piece: usize>)? (self, $($argument: $type),*) -> $result {
                // SAFETY: the value proves that the machine has the instructions; slices are cut to what is read or written.
                unsafe { $($body)* }
            }
        )*
    };
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
            _mm512_shuffle_epi8(table, _mm512_or_si512(places, _mm512_set1_epi32(NO_UPPER)))
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
            let (packed, count) = eight::packed(mask, vector);
            _mm256_storeu_si256(numbers[..EIGHT].as_mut_ptr().cast(), packed);
            count
        }
        store(vector: __m256i, numbers: &mut [u32]) -> () { _mm256_storeu_si256(numbers[..EIGHT].as_mut_ptr().cast(), vector) }
        store_halves(vector: __m256i, numbers: &mut [[u8; 2]]) -> () {
            _mm_storeu_si128(numbers[..EIGHT].as_mut_ptr().cast(), eight::halves(vector))
        }
        pack_halves(mask: __m256i, vector: __m256i, numbers: &mut [[u8; 2]]) -> usize {
            let (packed, count) = eight::packed(mask, vector);
            _mm_storeu_si128(numbers[..EIGHT].as_mut_ptr().cast(), eight::halves(packed));
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
            _mm256_shuffle_epi8(table, _mm256_or_si256(places, _mm256_set1_epi32(NO_UPPER)))
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
        small(states: __m256i) -> __m256i { eight::small(states) }
        words(mask: __m256i, round: &mut Round<'_>) -> __m256i { eight::words(mask, round) }
    }
}
