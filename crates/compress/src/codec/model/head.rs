//! What a section says before its code: the shares of all symbols.

use crate::codec::ans::{SHARE_BITS, Slots, Symbols};
use crate::codec::model::marks::CLASSES;
use crate::settings::Quantiser;

/// Symbols for the difference of a scale from its guess.
pub(crate) const STEPS: usize = 16;
/// Magnitudes of the quantiser with four bits.
const EIGHT: usize = 8;
const ALL: u16 = 1 << SHARE_BITS;
/// What the first byte says is there.
const LINES: u8 = 1;
const COLUMNS: u8 = 2;
const LEANINGS: u8 = 4;

/// Where the slots of the symbols of a table begin, and the end of the last: `M - 1` symbols.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shares<const M: usize>([u16; M]);

impl<const M: usize> Shares<M> {
    /// From the slots of all symbols but the last, if they are not too many.
    pub(crate) fn new(shares: &[u8]) -> Option<Shares<M>> {
        let (mut starts, mut sum) = ([ALL; M], 0);
        for (start, share) in starts.iter_mut().zip(shares.iter().map(|&share| u16::from(share)).chain([0])) {
            *start = sum;
            sum += share;
        }
        (sum <= ALL).then_some(Shares(starts))
    }

    pub(crate) fn starts(&self) -> &[u16] {
        &self.0
    }
}

impl<const M: usize> Symbols for &Shares<M> {
    #[inline(always)]
    fn slots(&self, symbol: u32) -> Slots {
        let (start, end) = (self.0[symbol as usize], self.0[symbol as usize + 1]);
        Slots { start: u32::from(start), share: u32::from(end - start) }
    }

    #[inline(always)]
    fn symbol(&self, slot: u32) -> u32 {
        self.0[1..M - 1].iter().map(|&start| u32::from(slot >= u32::from(start))).sum()
    }
}

/// What is said of lines, or of columns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Side {
    /// Slots of all classes but the last.
    pub(crate) classes: Option<[u8; CLASSES - 1]>,
    /// Slots of no leaning.
    pub(crate) leans: Option<u8>,
}

impl Side {
    /// Whether nothing is said.
    pub(crate) fn is_plain(&self) -> bool {
        *self == Side::default()
    }

    /// The tables of classes and of leanings.
    pub(crate) fn tables(&self) -> Option<[Shares<{ CLASSES + 1 }>; 2]> {
        let leans = self.leans.map(|none| [none, ((ALL - u16::from(none)) / 2) as u8]);
        let classes = self.classes.as_ref().map_or(&[][..], |classes| &classes[..]);
        Some([Shares::new(classes)?, Shares::new(leans.as_ref().map_or(&[][..], |leans| &leans[..]))?])
    }
}

/// The head of a section.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) lines: Side,
    pub(crate) columns: Side,
    /// Slots of a sign that is as both leanings have it.
    pub(crate) agree: u8,
    /// How fast the shares of differences fall, for the upper scale and for the distance of both.
    pub(crate) falls: [u8; 2],
    /// Slots of the lower level, or of all magnitudes but the last.
    pub(crate) levels: [u8; EIGHT - 1],
}

impl Head {
    /// How many bytes of `falls` and `levels` a quantiser needs.
    fn lengths(quantiser: Quantiser) -> (usize, usize) {
        let levels = match quantiser {
            Quantiser::TwoLevels | Quantiser::Compatible => 1,
            Quantiser::FourBits => EIGHT - 1,
            _ => 0,
        };
        (quantiser.scales(), levels)
    }

    pub(crate) fn write(&self, quantiser: Quantiser, bytes: &mut Vec<u8>) {
        let flag = |said: bool, flag| if said { flag } else { 0 };
        let (lines, columns) = (self.lines.classes, self.columns.classes);
        let leanings = self.lines.leans.zip(self.columns.leans);
        bytes
            .push(flag(lines.is_some(), LINES) | flag(columns.is_some(), COLUMNS) | flag(leanings.is_some(), LEANINGS));
        lines.iter().chain(&columns).for_each(|classes| bytes.extend_from_slice(classes));
        leanings.iter().for_each(|&(line, column)| bytes.extend_from_slice(&[line, column, self.agree]));
        let (falls, levels) = Head::lengths(quantiser);
        bytes.extend_from_slice(&self.falls[..falls]);
        bytes.extend_from_slice(&self.levels[..levels]);
    }

    /// The head at the beginning of some bytes, and what follows.
    pub(crate) fn read(bytes: &[u8], quantiser: Quantiser) -> Option<(Head, &[u8])> {
        let (&flags, mut rest) = bytes.split_first()?;
        if flags > LINES | COLUMNS | LEANINGS {
            return None;
        }
        let mut head = Head::default();
        for (flag, side) in [(LINES, &mut head.lines), (COLUMNS, &mut head.columns)] {
            if flags & flag != 0 {
                side.classes = Some(take(&mut rest)?);
            }
        }
        if flags & LEANINGS != 0 {
            let [line, column, agree] = take(&mut rest)?;
            (head.lines.leans, head.columns.leans, head.agree) = (Some(line), Some(column), agree);
        }
        let (falls, levels) = Head::lengths(quantiser);
        for slot in head.falls[..falls].iter_mut().chain(&mut head.levels[..levels]) {
            [*slot] = take(&mut rest)?;
        }
        (head.lines.tables().is_some() && head.columns.tables().is_some() && head.eighths().is_some())
            .then_some((head, rest))
    }

    /// The table of differences of the upper scales, or of the distances of both.
    pub(crate) fn steps(&self, which: usize) -> Shares<{ STEPS + 1 }> {
        let mut weights = [0_u32; STEPS];
        let mut weight = ALL.into();
        for pair in 0..=STEPS / 2 {
            // Both signs of a difference are equally probable.
            weights[(2 * pair).saturating_sub(1)..(2 * pair + 1).min(STEPS)].fill(weight);
            weight = (weight * u32::from(self.falls[which])) >> SHARE_BITS;
        }
        let (sum, room) = (weights.iter().sum::<u32>(), u32::from(ALL) - STEPS as u32);
        let (mut starts, mut start) = ([ALL; STEPS + 1], ALL);
        for (slot, weight) in starts.iter_mut().zip(weights).rev().take(STEPS - 1) {
            start -= 1 + (room * weight / sum) as u16;
            *slot = start;
        }
        starts[0] = 0;
        Shares(starts)
    }

    /// The table of eight magnitudes.
    pub(crate) fn eighths(&self) -> Option<Shares<{ EIGHT + 1 }>> {
        Shares::new(&self.levels)
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_head_is_read_as_it_was_written_or_refused(
            classes in prop::option::of(any::<[u8; CLASSES - 1]>()), leans in prop::option::of(any::<[u8; 3]>()),
            falls in any::<[u8; 2]>(), levels in any::<[u8; EIGHT - 1]>(),
            quantiser in prop::sample::select(Quantiser::ALL.to_vec()),
        ) {
            let mut head = Head { falls, levels, ..Head::default() };
            (head.lines.classes, head.columns.leans) = (classes, leans.map(|leans| leans[1]));
            (head.lines.leans, head.agree) = (leans.map(|leans| leans[0]), leans.map_or(0, |leans| leans[2]));
            let mut bytes = Vec::new();
            head.write(quantiser, &mut bytes);
            let sum = |shares: &[u8]| shares.iter().map(|&share| u32::from(share)).sum::<u32>();
            let fits = classes.is_none_or(|classes| sum(&classes) <= 256)
                && (quantiser != Quantiser::FourBits || sum(&levels) <= 256);
            let read = Head::read(&bytes, quantiser);
            prop_assert_eq!(read.is_some(), fits);
            let (used, rest) = (Head::lengths(quantiser), bytes.len());
            if let Some((read, left)) = read {
                prop_assert!(left.is_empty());
                prop_assert_eq!((read.lines, read.columns, read.agree), (head.lines, head.columns, head.agree));
                prop_assert_eq!(&read.falls[..used.0], &falls[..used.0]);
                prop_assert_eq!(&read.levels[..used.1], &levels[..used.1]);
            }
            prop_assert!((0..rest).all(|length| Head::read(&bytes[..length], quantiser).is_none()));
        }

        #[test]
        fn every_difference_has_slots(falls in any::<[u8; 2]>()) {
            let table = &Head { falls, ..Head::default() }.steps(0);
            let shares = (0..STEPS as u32).map(|symbol| table.slots(symbol).share).collect::<Vec<_>>();
            prop_assert_eq!(shares.iter().sum::<u32>(), u32::from(ALL));
            prop_assert!(shares.windows(2).all(|pair| pair[0] >= pair[1]) && shares.iter().all(|&share| share > 0));
            let is_owned = |slot: u32| {
                let slots = table.slots(table.symbol(slot));
                (slots.start..slots.start + slots.share).contains(&slot)
            };
            prop_assert!((0..256).all(is_owned));
        }
    }
}
