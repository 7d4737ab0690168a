//! What a coder's model makes of a payload: a reader that adds up the information of what it reads.

use crate::codec::ans::{Coding, Reader, SHARE_BITS, Source, Symbols};
use crate::codec::model::{Ground, Targets, Walk, plan};
use crate::kernel::Level;

/// Reads, and adds up the bits that each symbol is worth by its share of the slots.
pub(crate) struct Gauge<'a> {
    reader: Reader<'a>,
    bits: &'a mut f64,
}

impl<'a> Gauge<'a> {
    pub(crate) fn new(reader: Reader<'a>, bits: &'a mut f64) -> Gauge<'a> {
        Gauge { reader, bits }
    }

    /// What `share` of `2^bits` slots is worth.
    fn add(&mut self, share: u32, bits: u32) {
        *self.bits += f64::from(bits) - f64::from(share).log2();
    }
}

impl Source for Gauge<'_> {
    fn is_overrun(&self) -> bool {
        self.reader.is_overrun()
    }

    fn is_exhausted(&self) -> bool {
        self.reader.is_exhausted()
    }

    fn plans(&self) -> bool {
        true
    }
}

impl Coding for Gauge<'_> {
    fn lanes(&self) -> usize {
        self.reader.lanes()
    }

    fn symbol(&mut self, lane: usize, table: impl Symbols, _: u32) -> u32 {
        let symbol = self.reader.symbol(lane, table, 0);
        self.add(table.slots(symbol).share, SHARE_BITS);
        symbol
    }

    fn pair(&mut self, lane: usize, tables: [impl Symbols; 2], _: [u32; 2]) -> [u32; 2] {
        let symbols = self.reader.pair(lane, tables, [0; 2]);
        tables.iter().zip(symbols).for_each(|(table, symbol)| self.add(table.slots(symbol).share, SHARE_BITS));
        symbols
    }

    fn raw(&mut self, lane: usize, width: u32, _: u32) -> u32 {
        self.add(1, width);
        self.reader.raw(lane, width, 0)
    }

    fn places(&mut self, ground: &Ground, walks: &mut [Walk], indices: &mut [u16]) {
        self.reader.places(ground, walks, indices);
        let mut targets = Targets::default();
        for walk in walks.iter().filter(|walk| !walk.fault) {
            targets.find(Level::Plain, ground, walk, &indices[walk.values()]);
            plan(ground, &targets, |step| {
                let (slots, bits) = ground.distances.slots_of(step.segment());
                self.add(slots.share, bits + step.width());
            });
        }
    }
}
