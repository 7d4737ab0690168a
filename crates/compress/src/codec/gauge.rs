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
    fn symbols(&mut self, tables: &Tables, which: &[u32], values: &mut [u32]) {
        self.reader.symbols(tables, which, values);
        for (&table, &value) in which.iter().zip(&*values) {
            let (start, end) = tables.slots(table, value);
            self.add(end - start);
        }
    }

    fn symbols_from(&mut self, tables: &Tables, which: &[u32], from: &[u32], values: &mut [u32]) {
        self.reader.symbols_from(tables, which, from, values);
        for ((&table, &from), &value) in which.iter().zip(from).zip(&*values) {
            let base = tables.slots(table, from).0;
            let (room, (start, end)) = (u32::from(SLOTS) - base, tables.slots(table, value));
            self.add(stretched(end - base, room) - stretched(start - base, room));
        }
    }

    fn bits(&mut self, borders: &[u32], values: &mut [u32]) {
        self.reader.bits(borders, values);
        for (&border, &value) in borders.iter().zip(&*values) {
            self.add(if value == 0 { border } else { u32::from(SLOTS) - border });
        }
    }

    fn raw(&mut self, width: u32, values: &mut [u32]) {
        self.reader.raw(width, values);
        self.bits += f64::from(width) * values.len() as f64;
    }

    fn reads(&self) -> bool {
        true
    }
}
