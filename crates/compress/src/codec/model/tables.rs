//! Which symbol owns which slots, for many tables at once.

use crate::codec::ans::SLOTS;

/// Slots that are filled at once.
const RUN: usize = 64;
/// Room for the symbols of all slots, and for a run that ends behind them.
const INVERSE: usize = SLOTS as usize + RUN;

/// Running sums of the shares of the symbols of each table; for a reader also the symbol of every slot.
#[derive(Debug)]
pub(crate) struct Tables {
    /// Length of the running sums of one table: one more than it may have symbols.
    stride: usize,
    sums: Vec<u16>,
    inverse: Vec<u8>,
    reads: bool,
}

impl Tables {
    /// Room for tables of up to `symbols <= 256` symbols each.
    pub(crate) fn new(tables: usize, symbols: usize, reads: bool) -> Tables {
        let inverse = if reads { tables * INVERSE } else { 0 };
        Tables { stride: symbols + 1, sums: vec![0; tables * (symbols + 1)], inverse: vec![0; inverse], reads }
    }

    /// Gives a table its sums: the first is 0, the last [`SLOTS`], and each is above the one before.
    #[inline(always)]
    pub(crate) fn set(&mut self, table: usize, sums: &[u16]) {
        let start = table * self.stride;
        self.sums[start..start + sums.len()].copy_from_slice(sums);
        if self.reads {
            self.invert(table, sums);
        }
        debug_assert_eq!(sums.last(), Some(&SLOTS));
    }

    /// Fills in whole runs, which is faster than to the point; the next symbol overwrites what is too much.
    #[inline(always)]
    fn invert(&mut self, table: usize, sums: &[u16]) {
        let inverse = &mut self.inverse[table * INVERSE..(table + 1) * INVERSE];
        for (symbol, slots) in sums.windows(2).enumerate() {
            let (mut slot, end) = (usize::from(slots[0]), usize::from(slots[1]));
            while slot < end {
                inverse[slot..slot + RUN].fill(symbol as u8);
                slot += RUN;
            }
        }
    }

    /// The slots of a symbol.
    #[inline(always)]
    pub(crate) fn slots(&self, table: u32, symbol: u32) -> (u32, u32) {
        let place = table as usize * self.stride + symbol as usize;
        match self.sums.get(place..place + 2) {
            Some(pair) => (u32::from(pair[0]), u32::from(pair[1])),
            None => (0, u32::from(SLOTS)),
        }
    }

    /// The symbol of a slot.
    #[inline(always)]
    pub(crate) fn symbol(&self, table: u32, slot: u32) -> u32 {
        u32::from(self.inverse[table as usize * INVERSE + slot as usize])
    }
}
