//! What a coder's model makes of a payload: a reader that adds up the information of what it reads.

use crate::codec::ans::{Coding, DISTANCE_BITS, Reader, SHARE_BITS, Source, Symbols};
use crate::codec::model::{Place, SKIP, Walk};

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
    fn reader(&self) -> &Reader<'_> {
        &self.reader
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

    /// A cell is worth the shares of its places.
    fn places(&mut self, walks: &mut [Walk<'_>], places: &mut [Place]) {
        self.reader.places(walks, places);
        for walk in walks.iter().filter(|walk| !walk.fault) {
            let mut end = 0;
            for place in &places[walk.first..walk.first + walk.count] {
                let (line, column) = walk.line_and_column(place.index);
                let cell = walk.cell(line, column);
                let distances = (cell.start - end..cell.start - end + cell.size).map(|distance| distance >> walk.low);
                let share = distances.map(|segment| share(walk, segment)).sum::<f64>();
                *self.bits += f64::from(DISTANCE_BITS + walk.low) - share.log2();
                end = cell.end;
            }
        }
    }
}

/// Slots of a segment, in parts of one if others are skipped first.
fn share(walk: &Walk<'_>, segment: u32) -> f64 {
    let share = |symbol| f64::from(walk.distances.slots(symbol).share);
    let skip = share(SKIP) / f64::from(1 << DISTANCE_BITS);
    share(segment % SKIP) * (0..segment / SKIP).fold(1.0, |all, _| all * skip)
}
