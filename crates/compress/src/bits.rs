//! Bit strings, least significant bit first.

/// Appends numbers of up to 32 bits to bytes.
pub(crate) struct BitWriter<'a> {
    bytes: &'a mut Vec<u8>,
    pending: u64,
    used: u32,
}

impl<'a> BitWriter<'a> {
    pub(crate) fn new(bytes: &'a mut Vec<u8>) -> BitWriter<'a> {
        BitWriter { bytes, pending: 0, used: 0 }
    }

    /// Appends the `width` low bits of `value`; the bits above must be zero.
    pub(crate) fn put(&mut self, value: u32, width: u32) {
        debug_assert!(width <= 32 && u64::from(value) < 1 << width);
        self.pending |= u64::from(value) << self.used;
        self.used += width;
        if self.used >= 32 {
            self.bytes.extend_from_slice(&(self.pending as u32).to_le_bytes());
            self.pending >>= 32;
            self.used -= 32;
        }
    }

    /// Fills the last byte with zero bits.
    pub(crate) fn finish(self) {
        let whole = self.used.div_ceil(8) as usize;
        self.bytes.extend_from_slice(&self.pending.to_le_bytes()[..whole]);
    }
}

/// Bits that a reader sees at once, wherever it stands in a byte.
const WINDOW: u32 = 57;

/// Reads what a [`BitWriter`] wrote.
pub(crate) struct BitReader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> BitReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> BitReader<'a> {
        BitReader { bytes, position: 0 }
    }

    /// The next `width <= 32` bits, or `None` past the end.
    #[inline]
    pub(crate) fn take(&mut self, width: u32) -> Option<u32> {
        let end = self.position + width as usize;
        if end > self.bytes.len() * 8 {
            return None;
        }
        let number = self.window() & ((1 << width) - 1);
        self.position = end;
        Some(number as u32)
    }

    /// The next numbers of `width` bits, 1 to 32, as many as there is room for; `None` if there are not so many.
    #[inline(always)]
    pub(crate) fn take_all(&mut self, width: u32, numbers: &mut [u32]) -> Option<()> {
        if self.position + numbers.len() * width as usize > self.bytes.len() * 8 {
            return None;
        }
        match WINDOW / width {
            0 | 1 => self.take_groups::<1>(width, numbers),
            2 => self.take_groups::<2>(width, numbers),
            3 => self.take_groups::<3>(width, numbers),
            _ => self.take_groups::<4>(width, numbers),
        }
        Some(())
    }

    /// Looks once for `N` numbers, which the compiler can take apart all at once.
    #[inline(always)]
    fn take_groups<const N: usize>(&mut self, width: u32, numbers: &mut [u32]) {
        let mask = (1_u64 << width) - 1;
        let mut groups = numbers.chunks_exact_mut(N);
        for group in groups.by_ref() {
            let window = self.window();
            group.iter_mut().zip(0..).for_each(|(number, place)| *number = (window >> (place * width) & mask) as u32);
            self.position += N * width as usize;
        }
        for number in groups.into_remainder() {
            *number = (self.window() & mask) as u32;
            self.position += width as usize;
        }
    }

    /// At least the next [`WINDOW`] bits, zeros past the end.
    #[inline(always)]
    fn window(&self) -> u64 {
        let rest = &self.bytes[self.position / 8..];
        let window = match rest.first_chunk::<8>() {
            Some(window) => u64::from_le_bytes(*window),
            None => rest.iter().rev().fold(0, |window, &byte| window << 8 | u64::from(byte)),
        };
        window >> (self.position % 8)
    }

    /// Whether only zero bits of the last byte are left.
    pub(crate) fn is_exhausted(&self) -> bool {
        let left = self.bytes.len() * 8 - self.position;
        left < 8 && (left == 0 || self.bytes[self.position / 8] >> (self.position % 8) == 0)
    }
}

/// Bits that hold every number below `count`.
pub(crate) fn width_of(count: usize) -> u32 {
    usize::BITS - count.saturating_sub(1).leading_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn reads_what_was_written(numbers in prop::collection::vec((any::<u32>(), 0_u32..=32), 0..200)) {
            let numbers = numbers.into_iter().map(|(v, w)| ((u64::from(v) & ((1 << w) - 1)) as u32, w)).collect::<Vec<_>>();
            let mut bytes = Vec::new();
            let mut writer = BitWriter::new(&mut bytes);
            numbers.iter().for_each(|&(value, width)| writer.put(value, width));
            writer.finish();
            let bits = numbers.iter().map(|n| n.1 as usize).sum::<usize>();
            prop_assert_eq!(bytes.len(), bits.div_ceil(8));
            let mut reader = BitReader::new(&bytes);
            for (value, width) in numbers {
                prop_assert_eq!(reader.take(width), Some(value));
            }
            prop_assert!(reader.is_exhausted());
        }

        #[test]
        fn many_at_once_are_what_one_by_one_are(bytes in prop::collection::vec(any::<u8>(), 0..60), width in 1_u32..=32) {
            let (mut one, mut many) = (BitReader::new(&bytes), BitReader::new(&bytes));
            let (first, count) = (one.take(3), (bytes.len() * 8).saturating_sub(3) / width as usize);
            prop_assert_eq!(many.take(3), first);
            let mut numbers = vec![0; count];
            prop_assert_eq!(many.take_all(width, &mut vec![0; count + 1]), None);
            prop_assert_eq!(many.take_all(width, &mut numbers), Some(()));
            for number in numbers {
                prop_assert_eq!(one.take(width), Some(number));
            }
            prop_assert_eq!(one.position, many.position);
        }
    }

    #[test]
    fn widths() {
        assert_eq!([1, 2, 3, 4096, 4097].map(width_of), [0, 1, 2, 12, 13]);
    }

    #[test]
    fn left_over_bits_are_noticed() {
        assert!(!BitReader::new(&[0]).is_exhausted());
        let mut reader = BitReader::new(&[0b1000_0001]);
        assert_eq!(reader.take(4), Some(1));
        assert!(!reader.is_exhausted());
    }
}
