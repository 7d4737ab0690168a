//! The lines of a band, or the columns of a block, class by class.

use std::arch::x86_64::*;

use crate::codec::{ByClass, CLASSES};
use crate::kernel::Avx512;
use crate::kernel::places::MOST;
use crate::kernel::wide::LANE;

/// Sorts the members of a group by the class in their marks, and tells where each class begins, if they are few enough.
pub(crate) fn sort(_: Avx512, marks: &[[u8; 2]], sorted: &mut [u16]) -> Option<ByClass> {
    // SAFETY: the value proves that the machine has the instructions.
    (marks.len() <= MOST).then(|| unsafe { sort_few(marks, sorted) })
}

#[target_feature(enable = "avx512f,avx512bw,popcnt")]
fn sort_few(marks: &[[u8; 2]], sorted: &mut [u16]) -> ByClass {
    let there = u64::MAX.checked_shr(MOST as u32 - marks.len() as u32).unwrap_or(0);
    let half = |mask: u64, from: usize| {
        // SAFETY: only those marks are read that there are.
        let marks = unsafe { _mm512_maskz_loadu_epi16(mask as __mmask32, marks.as_ptr().wrapping_add(from).cast()) };
        _mm512_and_si512(marks, _mm512_set1_epi16(0xff))
    };
    let halves = [half(there, 0), half(there >> 32, MOST / 2)];
    let first = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    let (mut starts, mut all, mut end) = ([marks.len() as u16; 8], [0_u16; MOST + LANE], 0);
    for (class, start) in (0_i16..).zip(&mut starts[..CLASSES]) {
        *start = end as u16;
        let [lower, upper] = halves.map(|half| _mm512_cmpeq_epi16_mask(half, _mm512_set1_epi16(class)));
        let members = (u64::from(upper) << 32 | u64::from(lower)) & there;
        for quarter in 0..MOST / LANE {
            let mask = (members >> (LANE * quarter)) as __mmask16;
            let numbers = _mm512_add_epi32(first, _mm512_set1_epi32((LANE * quarter) as i32));
            let members = _mm512_cvtepi32_epi16(_mm512_maskz_compress_epi32(mask, numbers));
            let room: &mut [u16] = &mut all[end..end + LANE];
            // SAFETY: there is room for sixteen.
            unsafe { _mm256_storeu_si256(room.as_mut_ptr().cast(), members) };
            end += mask.count_ones() as usize;
        }
    }
    sorted.copy_from_slice(&all[..sorted.len()]);
    starts
}
