//! What a coder's model makes of a payload: a reader that adds up the information of what it reads.

use crate::codec::ans::{Coding, Reader, SLOTS, Source, stretched};
use crate::codec::model::Tables;

/// Reads, and adds up the bits that each symbol is worth by its share of the slots.
pub(crate) struct Gauge {
    reader: Reader,
    pub(crate) bits: f64,
}

impl Gauge {
    pub(crate) fn new(reader: Reader) -> Gauge {
        Gauge { reader, bits: 0.0 }
    }

    fn add(&mut self, share: u32) {
        self.bits += (f64::from(SLOTS) / f64::from(share)).log2();
    }
}

impl Source for Gauge {
    fn reader(&self) -> &Reader {
        &self.reader
    }
}

impl Coding for Gauge {
    fn symbol(&mut self, turn: usize, tables: &Tables, table: u32, _: u32) -> u32 {
        let symbol = self.reader.symbol(turn, tables, table, 0);
        let (start, end) = tables.slots(table, symbol);
        self.add(end - start);
        symbol
    }

    fn symbol_from(&mut self, turn: usize, tables: &Tables, (table, from): (u32, u32), _: u32) -> u32 {
        let symbol = self.reader.symbol_from(turn, tables, (table, from), 0);
        let base = tables.slots(table, from).0;
        let (room, (start, end)) = (u32::from(SLOTS) - base, tables.slots(table, symbol));
        self.add(stretched(end - base, room) - stretched(start - base, room));
        symbol
    }

    fn bit(&mut self, turn: usize, border: u32, _: u32) -> u32 {
        let bit = self.reader.bit(turn, border, 0);
        self.add(if bit == 0 { border } else { u32::from(SLOTS) - border });
        bit
    }

    fn raw(&mut self, turn: usize, width: u32, _: u32) -> u32 {
        self.bits += f64::from(width);
        self.reader.raw(turn, width, 0)
    }

    fn reads(&self) -> bool {
        true
    }
}
