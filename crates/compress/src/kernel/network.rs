//! A network that sorts the 64 numbers of as many chunks as a vector has quarters of 128 bits: the same for vectors of two widths.
//!
//! A vector holds eight numbers of each chunk, of which it makes a row: eight columns are sorted, made rows, and merged.

/// Comparisons of those that are four, two and one apart.
const FAR: [[usize; 2]; 4] = [[0, 4], [1, 5], [2, 6], [3, 7]];
const AFTER_NEXT: [[usize; 2]; 4] = [[0, 2], [1, 3], [4, 6], [5, 7]];
const NEXT: [[usize; 2]; 4] = [[0, 1], [2, 3], [4, 5], [6, 7]];

macro_rules! network {
    ($name:ident, $vector:ident, $features:literal, $falling:expr, [$min:ident, $max:ident, $shuffle:ident], [
        $low16:ident, $high16:ident, $low32:ident, $high32:ident, $low64:ident, $high64:ident
    ]) => {
        pub(super) mod $name {
            use std::arch::x86_64::*;
            use std::hint::black_box;

            use super::{AFTER_NEXT, FAR, NEXT};

            /// Sorts the numbers of each chunk: the first row has the smallest.
            #[target_feature(enable = $features)]
            #[inline]
            pub(in crate::kernel) fn sort(rows: &mut [$vector; 8]) {
                compare(rows, &AFTER_NEXT);
                compare(rows, &FAR);
                compare(rows, &NEXT);
                compare(rows, &[[2, 4], [3, 5]]);
                compare(rows, &[[1, 4], [3, 6]]);
                compare(rows, &[[1, 2], [3, 4], [5, 6]]);
                turn(rows);
                // Runs of one row, of two, of four. What is not known to the compiler is not taken apart by it into three shuffles.
                let falling = black_box($falling);
                let cross = |one, other| cross(one, other, falling);
                let [a, b, c, d, e, f, g, h] = *rows;
                let ([a, b], [c, d], [e, f], [g, h]) = (cross(a, b), cross(c, d), cross(e, f), cross(g, h));
                *rows = [a, b, c, d, e, f, g, h];
                clean(rows);
                let [a, b, c, d, e, f, g, h] = *rows;
                let ([a, d], [b, c], [e, h], [f, g]) = (cross(a, d), cross(b, c), cross(e, h), cross(f, g));
                *rows = [a, b, d, c, e, f, h, g];
                compare(rows, &NEXT);
                clean(rows);
                let [a, b, c, d, e, f, g, h] = *rows;
                let ([a, h], [b, g], [c, f], [d, e]) = (cross(a, h), cross(b, g), cross(c, f), cross(d, e));
                *rows = [a, b, c, d, h, g, f, e];
                compare(rows, &AFTER_NEXT);
                compare(rows, &NEXT);
                clean(rows);
            }

            /// Puts the smaller of each two numbers into the first of two rows.
            #[target_feature(enable = $features)]
            #[inline]
            fn compare<const N: usize>(rows: &mut [$vector; 8], pairs: &[[usize; 2]; N]) {
                for &[first, second] in pairs {
                    let (one, other) = (rows[first], rows[second]);
                    (rows[first], rows[second]) = ($min(one, other), $max(one, other));
                }
            }

            /// The smaller and the larger ones of a row's numbers and of those of another one, the last first.
            #[target_feature(enable = $features)]
            #[inline]
            fn cross(one: $vector, other: $vector, falling: $vector) -> [$vector; 2] {
                let other = $shuffle(other, falling);
                [$min(one, other), $max(one, other)]
            }

            /// Sorts rows that rise and then fall, or fall and then rise.
            #[target_feature(enable = $features)]
            #[inline]
            fn clean(rows: &mut [$vector; 8]) {
                turn(rows);
                compare(rows, &FAR);
                compare(rows, &AFTER_NEXT);
                compare(rows, &NEXT);
                turn(rows);
            }

            /// Makes rows of the columns of each chunk.
            #[target_feature(enable = $features)]
            #[inline]
            pub(in crate::kernel) fn turn(rows: &mut [$vector; 8]) {
                let [a, b, c, d, e, f, g, h] = *rows;
                let four = |a, b, c, d| {
                    let (one, two, three, four) = ($low16(a, b), $high16(a, b), $low16(c, d), $high16(c, d));
                    [$low32(one, three), $high32(one, three), $low32(two, four), $high32(two, four)]
                };
                let (upper, lower) = (four(a, b, c, d), four(e, f, g, h));
                for (pair, (upper, lower)) in rows.as_chunks_mut().0.iter_mut().zip(upper.into_iter().zip(lower)) {
                    *pair = [$low64(upper, lower), $high64(upper, lower)];
                }
            }
        }
    };
}

network!(
    four_chunks,
    __m512i,
    "avx512f,avx512bw",
    _mm512_set4_epi32(0x0100_0302, 0x0504_0706, 0x0908_0b0a, 0x0d0c_0f0e),
    [_mm512_min_epu16, _mm512_max_epu16, _mm512_shuffle_epi8],
    [
        _mm512_unpacklo_epi16,
        _mm512_unpackhi_epi16,
        _mm512_unpacklo_epi32,
        _mm512_unpackhi_epi32,
        _mm512_unpacklo_epi64,
        _mm512_unpackhi_epi64
    ]
);

network!(
    two_chunks,
    __m256i,
    "avx2",
    _mm256_broadcastsi128_si256(_mm_set_epi32(0x0100_0302, 0x0504_0706, 0x0908_0b0a, 0x0d0c_0f0e)),
    [_mm256_min_epu16, _mm256_max_epu16, _mm256_shuffle_epi8],
    [
        _mm256_unpacklo_epi16,
        _mm256_unpackhi_epi16,
        _mm256_unpacklo_epi32,
        _mm256_unpackhi_epi32,
        _mm256_unpacklo_epi64,
        _mm256_unpackhi_epi64
    ]
);
