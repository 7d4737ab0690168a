//! How far the next value is from the last one.
//!
//! Elements that are chosen independently of each other lie at distances with a geometric distribution. A distance is coded as a
//! segment, and as the place in it, of which all are taken to be equally probable.

use std::sync::LazyLock;

use crate::codec::ans::Slots;

/// Bits of a slot number of a table of distances.
pub(crate) const DISTANCE_BITS: u32 = 6;
const SLOTS: usize = 1 << DISTANCE_BITS;
/// Most bits of a place in a unit: with one more for a longer segment, a raw number has them.
const LOW_MAX: u32 = 14;
/// Slots of the segments of each table. The first so many are one unit long, the others two; the last slot stands for all of
/// them being passed over.
///
/// Table `t` is for `2 + (t + 1/2) / 4` units from one value to the next on average, and among all with few segments and about one value
/// in 64 passed over that which costs least.
const SEGMENTS: [(usize, &[u8]); 8] = [
    (7, &[24, 15, 9, 6, 4, 2, 1, 2]),
    (8, &[22, 14, 10, 6, 4, 3, 2, 1, 1]),
    (7, &[20, 14, 10, 7, 4, 3, 2, 2, 1]),
    (6, &[19, 13, 9, 7, 5, 3, 4, 2, 1]),
    (5, &[17, 13, 9, 7, 5, 6, 3, 2, 1]),
    (8, &[16, 12, 9, 7, 5, 4, 3, 2, 3, 1, 1]),
    (7, &[15, 12, 9, 7, 5, 4, 3, 4, 2, 1, 1]),
    (8, &[15, 11, 9, 7, 5, 4, 3, 2, 3, 2, 1, 1]),
];

static TABLES: LazyLock<Vec<Distances>> =
    LazyLock::new(|| SEGMENTS.iter().map(|&(single, shares)| Distances::new(single, shares)).collect());

/// Most segments of a table, with the one that says that all are passed over and with none.
pub(crate) const SEGMENTS_MAX: usize = 16;

/// A segment of units, or all of them passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Its number, from 1 on.
    pub(crate) number: u8,
    /// Its first unit; if it is passed over, the unit behind it.
    pub(crate) base: u8,
    /// Whether it is two units long.
    pub(crate) double: bool,
    pub(crate) skip: bool,
}

/// What a slot says, packed: the slots of its segment (bits 0 to 5), how far it is above the first of them (6 to 11), the
/// segment's base (12 to 16), whether it is double (17), and whether it is not passed over (31).
#[derive(Debug, Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Slot(pub(crate) u32);

impl Slot {
    fn new(segment: Segment, Slots { start, share }: Slots, slot: u32) -> Slot {
        let flags = u32::from(segment.double) << 17 | u32::from(!segment.skip) << 31;
        Slot(share | (slot - start) << 6 | u32::from(segment.base) << 12 | flags)
    }

    #[inline(always)]
    pub(crate) fn share(self) -> u32 {
        self.0 & 0x3f
    }

    #[inline(always)]
    pub(crate) fn above(self) -> u32 {
        self.0 >> 6 & 0x3f
    }

    #[inline(always)]
    pub(crate) fn base(self) -> u32 {
        self.0 >> 12 & 0x1f
    }

    #[inline(always)]
    pub(crate) fn double(self) -> u32 {
        self.0 >> 17 & 1
    }

    #[inline(always)]
    pub(crate) fn skip(self) -> bool {
        self.0 >> 31 == 0
    }
}

/// The same in tables of bytes, which vectors look up without going to memory.
#[derive(Debug, Default)]
pub(crate) struct Bytes {
    /// The number of each slot's segment, sixteen slots after the others.
    pub(crate) segments: [[u8; 16]; SLOTS / 16],
    /// By the segment's number: its slots, the first of them, and its base.
    pub(crate) share: [u8; SEGMENTS_MAX],
    pub(crate) start: [u8; SEGMENTS_MAX],
    pub(crate) base: [u8; SEGMENTS_MAX],
    /// The number of each unit's segment.
    pub(crate) units: [u8; 16],
    /// The number of the last segment of one unit, and of the one that is passed over, behind all others.
    pub(crate) single: u8,
    pub(crate) passed: u8,
}

impl Bytes {
    fn own(&mut self, segment: Segment, Slots { start, share }: Slots) {
        let number = usize::from(segment.number);
        self.segments.as_flattened_mut()[start as usize..(start + share) as usize].fill(segment.number);
        (self.share[number], self.start[number]) = (share as u8, start as u8);
        self.base[number] = segment.base;
        if segment.skip {
            self.passed = segment.number;
            return;
        }
        self.units[segment.base.into()..][..1 + usize::from(segment.double)].fill(segment.number);
        if !segment.double {
            self.single = segment.number;
        }
    }
}

/// A table of segments.
#[derive(Debug)]
pub(crate) struct Distances {
    pub(crate) bytes: Bytes,
    pub(crate) by_slot: [Slot; SLOTS],
    /// The slots of each segment by its number; what takes none has number 0.
    pub(crate) slots: [Slots; SEGMENTS_MAX],
    /// The segment that a unit is in.
    by_unit: Vec<Segment>,
    passed: Segment,
}

impl Distances {
    fn new(single: usize, shares: &[u8]) -> Distances {
        let passed = Segment { number: shares.len() as u8 + 1, base: 0, double: false, skip: true };
        let slots = [Slots { start: 0, share: 1 }; SEGMENTS_MAX];
        let mut table =
            Distances { bytes: Bytes::default(), by_slot: [Slot(0); SLOTS], slots, by_unit: Vec::new(), passed };
        let mut start = 0;
        for (number, share) in (1..).zip(shares.iter().map(|&share| u32::from(share))) {
            let (base, double) = (table.by_unit.len() as u8, usize::from(number) > single);
            let segment = Segment { number, base, double, skip: false };
            table.own(segment, Slots { start, share });
            table.by_unit.extend(std::iter::repeat_n(segment, 1 + usize::from(double)));
            start += share;
        }
        table.passed.base = table.by_unit.len() as u8;
        table.own(table.passed, Slots { start: SLOTS as u32 - 1, share: 1 });
        table
    }

    fn own(&mut self, segment: Segment, slots: Slots) {
        let Slots { start, share } = slots;
        self.slots[usize::from(segment.number)] = slots;
        (start..start + share).for_each(|slot| self.by_slot[slot as usize] = Slot::new(segment, slots, slot));
        self.bytes.own(segment, slots);
    }

    /// The slots of a segment, and the bits of their numbers.
    #[inline(always)]
    pub(crate) fn slots_of(&self, segment: u8) -> (Slots, u32) {
        (self.slots[usize::from(segment) % SEGMENTS_MAX], if segment == 0 { 0 } else { DISTANCE_BITS })
    }

    /// The segment of a unit, or what passes all of them.
    #[inline(always)]
    pub(crate) fn segment(&self, unit: u32) -> Segment {
        *self.by_unit.get(unit as usize).unwrap_or(&self.passed)
    }
}

/// The table, and the bits of a place in a unit, for an element's weight and so many values of a section; weights count in eighths.
pub(crate) fn table_of(eighths: u64, values: usize) -> (&'static Distances, u32) {
    let mean = (eighths / values.max(1) as u64).max(16);
    let low = (mean.ilog2() - 4).min(LOW_MAX);
    // Eighths of an octave, linear between powers of two.
    (&TABLES[(mean >> (low + 1)).min(15) as usize - 8], low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_near_the_distribution_that_they_are_for() {
        for (table, eighth) in TABLES.iter().zip(0_u8..) {
            let mean = 2.0 + (f64::from(eighth) + 0.5) / 4.0;
            let after = |unit: usize| (-(unit as f64) / mean).exp();
            let share = |segment: Segment| f64::from(table.slots[usize::from(segment.number)].share) / SLOTS as f64;
            let cost = |(unit, &segment): (usize, &Segment)| {
                (after(unit) - after(unit + 1)) * (f64::from(u8::from(segment.double)) - share(segment).log2())
            };
            let passed = after(table.by_unit.len());
            let costs = table.by_unit.iter().enumerate().map(cost).sum::<f64>() - passed * share(table.passed).log2();
            let ideal = (mean * std::f64::consts::E).log2();
            assert!(costs / (1.0 - passed) < ideal + 0.02, "table {eighth}: {costs} against {ideal} bits");
        }
    }

    #[test]
    fn slots_say_what_segments_are() {
        for table in TABLES.iter() {
            let segments = (0..=table.by_unit.len() as u32).map(|unit| table.segment(unit));
            for (number, slot) in (0..).zip(table.by_slot) {
                let slots = |segment: &Segment| table.slots[usize::from(segment.number)];
                let owner = segments.clone().find(|segment| slots(segment).start + slot.above() == number).unwrap();
                assert!(slot.above() < slot.share() && slot.share() == slots(&owner).share);
                assert_eq!((slot.base(), slot.double() == 1), (owner.base.into(), owner.double));
                assert_eq!(slot.skip(), owner.skip);
            }
        }
    }

    #[test]
    fn units_suit_the_distance() {
        let check = |mean: u64, table: usize, low| {
            let (found, bits) = table_of(8 * 64 * mean, 64);
            assert!(std::ptr::eq(found, &raw const TABLES[table]) && bits == low, "mean {mean}");
        };
        check(1, 0, 0);
        check(2, 0, 0);
        check(3, 4, 0);
        check(64, 0, 5);
        check(127, 7, 5);
        check(1 << 15, 0, 14);
        check(1 << 40, 7, 14);
    }
}
