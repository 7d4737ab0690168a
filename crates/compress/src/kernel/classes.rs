//! The lines of a band, or the columns of a block, class by class.

use std::arch::x86_64::*;

use crate::codec::{ByClass, CLASSES};
use crate::kernel::Level;
use crate::kernel::eight::EIGHT;
use crate::kernel::gather::BYTES_OF;
use crate::kernel::places::MOST;
use crate::kernel::wide::LANE;

/// Sorts the members of a group by the class in their marks, and tells where each class begins, if they are few enough and the machine has
/// vectors.
pub(crate) fn sort(level: Level, marks: &[[u8; 2]], sorted: &mut [u16]) -> Option<ByClass> {
    match level {
        _ if marks.len() > MOST => None,
        Level::Plain => None,
        // SAFETY: the value proves that the machine has the instructions.
        Level::Avx2(_) => Some(unsafe { sort_bytes(marks, sorted) }),
        // SAFETY: as above.
        Level::Avx512(_) => Some(unsafe { sort_few(marks, sorted) }),
    }
}

/// The same with vectors of bytes, of which eight are put together at once.
#[target_feature(enable = "avx2,popcnt")]
fn sort_bytes(marks: &[[u8; 2]], sorted: &mut [u16]) -> ByClass {
    let mut few = [[u8::MAX; 2]; MOST];
    few[..marks.len()].copy_from_slice(marks);
    let halves: &[[[u8; 2]; LANE]] = few.as_chunks().0;
    let load = |place: usize| {
        // SAFETY: there are sixteen.
        let marks = unsafe { _mm256_loadu_si256(halves[place].as_ptr().cast()) };
        _mm256_and_si256(marks, _mm256_set1_epi16(0xff))
    };
    // What is packed lies half by half: the quarters in the middle change places.
    let both = |one, other| _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi16(one, other));
    let (lower, upper) = (both(load(0), load(1)), both(load(2), load(3)));
    let (mut starts, mut all, mut end) = ([marks.len() as u16; 8], [0_u8; MOST + EIGHT], 0);
    for (class, start) in (0_i8..).zip(&mut starts[..CLASSES]) {
        *start = end as u16;
        let class = _mm256_set1_epi8(class);
        let [lower, upper] = [_mm256_cmpeq_epi8(lower, class), _mm256_cmpeq_epi8(upper, class)];
        let mask = u64::from(_mm256_movemask_epi8(upper) as u32) << 32 | u64::from(_mm256_movemask_epi8(lower) as u32);
        for eighth in 0..MOST / EIGHT {
            let mask = (mask >> (EIGHT * eighth)) as u8;
            let members = u64::from_le_bytes(BYTES_OF[usize::from(mask)]) + 0x0808_0808_0808_0808 * eighth as u64;
            all[end..end + EIGHT].copy_from_slice(&members.to_le_bytes());
            end += mask.count_ones() as usize;
        }
    }
    for (member, &byte) in sorted.iter_mut().zip(&all) {
        *member = byte.into();
    }
    starts
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
