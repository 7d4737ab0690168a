//! The working memory that a library takes for attention.

use super::Attention;
use crate::device::Device;
use crate::error::DeviceError;
use crate::plain::Element;
use crate::trust;

/// Bytes for the sequences that are done at a time. More are done one part after the other.
const MANY: usize = 1 << 30;
/// Bytes for a single sequence.
const ONE: usize = 2 << 30;
/// What a pass takes besides scores and gradients: cuDNN 9.19 takes less than 4 KiB.
const ASIDE: usize = 1 << 20;
/// Scores are held in whole tiles of so many rows and columns.
const TILE: usize = 128;

impl Attention {
    /// Bytes of a device's memory that a library takes at most for both passes over up to so many sequences of this length, in
    /// numbers of 16 bits. The library is refused what needs more, so this is a bound where it is used; elsewhere nothing is taken.
    #[must_use]
    pub fn working_bytes(&self, sequences: usize) -> usize {
        if !self.is_common() || sequences == 0 {
            return 0;
        }
        let (small, few) = trust::problem(self);
        self.needs(self.at_once(sequences)).max(small.needs(small.at_once(few)))
    }

    /// Whether the device has the memory left that a library will take there, which it does at the first pass only.
    ///
    /// # Errors
    /// If it has not.
    pub fn check_room<E: Element>(&self, device: &Device, sequences: usize) -> Result<(), DeviceError> {
        let bytes = if self.trusted::<E>(device) { self.working_bytes(sequences) } else { 0 };
        device.room::<u32>(bytes.div_ceil(size_of::<u32>())).map(drop)
    }

    /// How many of some sequences may go backward at a time; 0 if one alone needs too much.
    pub(crate) fn at_once(&self, sequences: usize) -> usize {
        match sequences.min((MANY - ASIDE) / self.each()) {
            0 if self.needs(1) <= ONE => sequences.min(1),
            many => many,
        }
    }

    /// Bytes for the backward pass over so many sequences at a time.
    fn needs(&self, sequences: usize) -> usize {
        self.each().saturating_mul(sequences).saturating_add(ASIDE)
    }

    /// Bytes for the backward pass over one sequence: two for each score, since its sums shall have a fixed order; and where
    /// query heads share keys and values, each one's part of the gradients by them.
    fn each(&self) -> usize {
        let Attention { heads, kv_heads, width, length } = *self;
        let tiled = length.next_multiple_of(TILE);
        let scores = tiled.saturating_mul(tiled).saturating_mul(2);
        let parts = if kv_heads < heads { 2 * 2 * tiled * width } else { 0 };
        scores.saturating_add(parts).saturating_mul(heads)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the library planned for an H100 (`examples/plans.rs`): sequences at a time, and bytes of the backward pass.
    fn check([heads, kv_heads, width, length]: [usize; 4], sequences: usize, (at_once, planned): (usize, usize)) {
        let shape = Attention { heads, kv_heads, width, length };
        let (most, bound) = (shape.at_once(sequences), shape.working_bytes(sequences));
        assert!(at_once <= most && planned <= shape.needs(at_once), "{shape:?}: {most} {bound}");
        assert!(planned <= bound && bound <= ONE, "{shape:?}: {bound}");
    }

    #[test]
    fn the_bound_holds_for_what_the_library_plans() {
        check([16, 16, 64, 2048], 16, (4, 536_871_168));
        check([8, 8, 256, 2048], 8, (8, 536_871_168));
        check([32, 8, 128, 2048], 2, (2, 603_980_032));
        check([6, 2, 40, 77], 3, (3, 812_032));
        check([6, 2, 40, 513], 2, (2, 9_832_704));
        check([4, 4, 64, 16], 4, (4, 262_400));
        check([5, 5, 64, 129], 1, (1, 491_776));
        check([16, 16, 128, 8000], 2, (1, 2_064_384_256));
    }

    #[test]
    fn more_sequences_never_need_less_and_few_need_little() {
        let shape = Attention { heads: 16, kv_heads: 16, width: 64, length: 2048 };
        let bounds = (0..40).map(|sequences| shape.working_bytes(sequences)).collect::<Vec<_>>();
        assert!(bounds.is_sorted(), "{bounds:?}");
        assert_eq!(
            (bounds[0], bounds[1], bounds[39]),
            (0, 16 * 2 * 2048 * 2048 + ASIDE, 7 * 16 * 2 * 2048 * 2048 + ASIDE)
        );
        // Too long for the library's backward pass: it may still go forward.
        let long = Attention { length: 1 << 20, ..shape };
        assert_eq!((long.at_once(3), long.at_once(0)), (0, 0));
        assert_eq!(long.working_bytes(3), 2 * 16 * 2 * 512 * 512 + ASIDE);
        // Heads that no library is asked for.
        assert_eq!(Attention { width: 12, ..shape }.working_bytes(4), 0);
        assert_eq!(Attention { kv_heads: 0, ..shape }.working_bytes(4), 0);
    }
}
