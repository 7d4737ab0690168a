//! The lines of a band, or the columns of a block, class by class.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use crate::codec::{ByClass, CLASSES};
use crate::kernel::Level;
use crate::kernel::places::MOST;
use crate::kernel::tables::{BYTES_OF, EIGHT, LANE};
use crate::kernel::twins::{Task, Twins};

/// Sorts the members of a group by the class in their marks, and tells where each class begins, if they are few enough and the machine has
/// vectors.
pub(crate) fn sort(level: Level, marks: &[[u8; 2]], sorted: &mut [u16]) -> Option<ByClass> {
    match level {
        _ if marks.len() > MOST => None,
        // SAFETY: the value proves that the machine has the instructions.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512(_) => Some(unsafe { sort_few(marks, sorted) }),
        _ => level.run_twins(Sort { marks, sorted }),
    }
}

/// The same with vectors of bytes, of which eight are put together at once.
struct Sort<'a> {
    marks: &'a [[u8; 2]],
    sorted: &'a mut [u16],
}

impl Task for Sort<'_> {
    type Result = ByClass;

    #[inline(always)]
    fn run<I: Twins>(self, i: I) -> ByClass {
        let Sort { marks, sorted } = self;
        let mut few = [[u8::MAX; 2]; MOST];
        few[..marks.len()].copy_from_slice(marks);
        let (lower, upper) = few.split_at(MOST / 2);
        let (lower, upper) = (classes(i, lower), classes(i, upper));
        let (mut starts, mut all, mut end) = ([marks.len() as u16; 8], [0_u8; MOST + EIGHT], 0);
        for (class, start) in (0_u8..).zip(&mut starts[..CLASSES]) {
            *start = end as u16;
            let bits = |classes| u64::from(i.bits(i.equal_bytes(classes, i.byte(class))));
            let mask = bits(upper) << (MOST / 2) | bits(lower);
            if mask == 0 {
                continue;
            }
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
}

/// The classes of 32 marks.
#[inline(always)]
fn classes<I: Twins>(i: I, marks: &[[u8; 2]]) -> I::Vector {
    // SAFETY: there are four times eight.
    let [one, other] = unsafe { [i.pair(marks, &marks[LANE..]), i.pair(&marks[EIGHT..], &marks[LANE + EIGHT..])] };
    i.pack_halves(i.and(one, i.half(0xff)), i.and(other, i.half(0xff)))
}

#[cfg(target_arch = "x86_64")]
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
