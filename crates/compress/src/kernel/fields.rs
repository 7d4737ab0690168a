//! The fields of a chunk, sixteen at once.

use std::arch::x86_64::*;

use crate::codec::{FIELDS_ROOM, Field, WALK_ROOM};
use crate::kernel::Avx512;
use crate::kernel::wide::LANE;

/// Lays out the fields of those pairs of which there are elements, and tells how many they are. No pair must have more than `2^15` lines or
/// columns, nor more than `2^31` elements; behind the pairs there must be none.
pub(crate) fn lay(
    _: Avx512,
    pairs: &[Field],
    counts: [&[u16; FIELDS_ROOM]; 2],
    fields: &mut [Field; WALK_ROOM],
) -> usize {
    // SAFETY: the value proves that the machine has the instructions.
    unsafe { lay_out(pairs, counts, fields) }
}

#[target_feature(enable = "avx512f,avx512bw,popcnt")]
fn lay_out(pairs: &[Field], [lines, columns]: [&[u16; FIELDS_ROOM]; 2], fields: &mut [Field; WALK_ROOM]) -> usize {
    let mut used = 0;
    let counts = lines.as_chunks::<LANE>().0.iter().zip(columns.as_chunks::<LANE>().0);
    for (pairs, (lines, columns)) in pairs.chunks(LANE).zip(counts) {
        let mask = (1_u32 << pairs.len()).wrapping_sub(1) as __mmask16;
        let room: &mut [Field] = &mut fields[used..used + LANE];
        // SAFETY: there are as many pairs as the mask says, sixteen counts, and room for sixteen fields.
        unsafe {
            let widened = |counts: &[u16; LANE]| _mm512_cvtepu16_epi32(_mm256_loadu_si256(counts.as_ptr().cast()));
            let len = _mm512_madd_epi16(widened(lines), widened(columns));
            let pairs = _mm512_maskz_loadu_epi32(mask, pairs.as_ptr().cast());
            let some = _mm512_mask_test_epi32_mask(mask, len, len);
            let all = _mm512_maskz_compress_epi32(some, _mm512_or_si512(pairs, len));
            _mm512_storeu_si512(room.as_mut_ptr().cast(), all);
            used += some.count_ones() as usize;
        }
    }
    used
}
