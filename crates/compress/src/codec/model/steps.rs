//! Numbers coded by their difference from a guess.

use crate::codec::range::{Bit, Coding};

/// Widest difference, in bits after the first.
const WIDTH_MAX: usize = 11;

/// Learns how large differences are.
#[derive(Debug)]
pub(crate) struct Steps {
    zero: Bit,
    down: Bit,
    longer: [Bit; WIDTH_MAX],
    tops: [Bit; WIDTH_MAX + 1],
}

impl Steps {
    pub(crate) fn new() -> Steps {
        let even = Bit::new(1 << 15, 2);
        Steps { zero: Bit::new(10_000, 2), down: even, longer: [even; WIDTH_MAX], tops: [even; WIDTH_MAX + 1] }
    }

    /// Codes `value`, which is less than 2^12 away from `guess`. What a decoder returns may be any number.
    pub(crate) fn code(&mut self, coding: &mut impl Coding, guess: u16, value: u16) -> u16 {
        let difference = i32::from(value) - i32::from(guess);
        if coding.bit(&mut self.zero, difference == 0) {
            return guess;
        }
        let down = coding.bit(&mut self.down, difference < 0);
        let size = self.size(coding, difference.unsigned_abs()) as u16;
        if down { guess.wrapping_sub(size) } else { guess.wrapping_add(size) }
    }

    /// A number from 1 on: how many bits follow the first, the next one, and the rest.
    fn size(&mut self, coding: &mut impl Coding, size: u32) -> u32 {
        let bits = size.max(1).ilog2() as usize;
        let mut width = 0;
        while width < WIDTH_MAX && coding.bit(&mut self.longer[width], width < bits) {
            width += 1;
        }
        if width == 0 {
            return 1;
        }
        let rest = width as u32 - 1;
        let top = coding.bit(&mut self.tops[width], size >> rest & 1 == 1);
        let low = coding.raw(rest, size & ((1 << rest) - 1));
        (2 | u32::from(top)) << rest | low
    }
}
