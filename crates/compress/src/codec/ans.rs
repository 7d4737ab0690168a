//! Asymmetric numeral systems: entropy coding with several states side by side.
//!
//! A state is a number in `2^16..2^32`. Coding a symbol that owns `start..start + share` of
//! `2^bits` slots turns the state `x` into `x / share * 2^bits + x mod share + start`, after its lower 16 bits have been
//! written out if the result would not fit. Reading undoes this, so that symbols are written in the reverse order. A reader must
//! end with all states at their smallest and no words left: hardly any damage leaves that intact.

mod reader;
mod writer;

use std::ops::Range;

use crate::codec::model::{Ground, Shares, Walk};
use crate::kernel::{Level, leans::lean};

pub(crate) use reader::{Order, Reader, Source, Stream, Ways};
pub(crate) use writer::Writer;
pub(crate) use {reader::Round, writer::Output};

/// Bits of a slot number of a table of shares.
pub(crate) const SHARE_BITS: u32 = 8;
/// Bits that a state can give before it must be refilled.
pub(crate) const RAW_MAX: u32 = 16;
/// Smallest state, and the first.
const LEAST: u32 = 1 << RAW_MAX;
const WORD_BITS: u32 = 16;
/// Bytes of a state at the beginning.
const STATE_BYTES: usize = 4;
/// Most states.
pub(crate) const LANES: usize = 32;
/// Sections of more values than this have half of all states, others one.
const FEW: usize = 1 << 12;
/// Sections of more values than this have all states.
const MANY: usize = 1 << 14;

/// Number of states for a section of at most so many values.
pub(crate) fn lanes(values: usize) -> usize {
    if values > MANY {
        LANES
    } else if values > FEW {
        LANES / 2
    } else {
        1
    }
}

/// The slots of a symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slots {
    pub(crate) start: u32,
    pub(crate) share: u32,
}

/// Symbols of one table, of which one is found by its slot.
pub(crate) trait Symbols: Copy {
    /// Slots of a symbol, out of 2^8.
    fn slots(&self, symbol: u32) -> Slots;
    /// The symbol of a slot.
    fn symbol(&self, slot: u32) -> u32;
}

/// A bit, of which 0 owns so many slots.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bit(pub(crate) u32);

impl Symbols for Bit {
    #[inline(always)]
    fn slots(&self, symbol: u32) -> Slots {
        // Without a branch that nobody could predict.
        let mask = 0_u32.wrapping_sub(symbol);
        Slots { start: self.0 & mask, share: self.0 ^ ((self.0 ^ ((1 << SHARE_BITS) - self.0)) & mask) }
    }

    #[inline(always)]
    fn symbol(&self, slot: u32) -> u32 {
        u32::from(slot >= self.0)
    }
}

/// Half of the slots: those of 0 if 1 is as probable.
pub(crate) const EVEN: u8 = 1 << (SHARE_BITS - 1);

/// The slots of 0 of many bits.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Zeros<'a> {
    All(u8),
    /// Those of each, which are [`EVEN`] or this number.
    Each(&'a [u8], u8),
}

impl Zeros<'_> {
    #[inline(always)]
    fn of(self, value: usize) -> Bit {
        Bit(u32::from(match self {
            Zeros::All(slots) => slots,
            Zeros::Each(slots, _) => slots[value],
        }))
    }
}

/// Both directions of coding, so that a model is written once. A writer takes the values that it is given; a reader returns
/// others, whatever it is given.
pub(crate) trait Coding {
    /// Number of states.
    fn lanes(&self) -> usize;

    /// The vector instructions that it uses.
    fn level(&self) -> Level {
        Level::Plain
    }

    /// A symbol of a table.
    fn symbol(&mut self, lane: usize, table: impl Symbols, value: u32) -> u32;

    /// Two symbols, of which a state holds both before it must be refilled.
    fn pair(&mut self, lane: usize, tables: [impl Symbols; 2], values: [u32; 2]) -> [u32; 2];

    /// A number of `width <= RAW_MAX` equally probable bits.
    fn raw(&mut self, lane: usize, width: u32, value: u32) -> u32;

    /// The indices of the values of a group of chunks, one chunk for each state: a step of each in turn.
    fn places(&mut self, ground: &Ground, walks: &mut [Walk], indices: &mut [u16]);

    /// A bit and symbols of tables of sixteen of each state in turn, if all can be had at once: bits that are 0, and no last symbols.
    #[inline(always)]
    fn symbols<const M: usize, const N: usize>(
        &mut self,
        _zero: Bit,
        _tables: [&Shares<M>; N],
    ) -> Option<[[u32; N]; LANES]> {
        None
    }

    /// To which signs the elements of a group lean.
    #[inline(always)]
    fn leans(&self, ground: &Ground, walks: &[Walk], indices: &[u16], leans: &mut Vec<u8>) {
        if !lean(self.level(), ground, walks, indices, leans) {
            leans_one_by_one(ground, walks, indices, leans);
        }
    }

    /// A bit of each value of a group, two of a chunk in turn.
    #[inline(always)]
    fn bits(&mut self, counts: &[usize; LANES], zeros: Zeros<'_>, bits: &mut [u8]) {
        bits_in_turn(self, counts, zeros, bits);
    }

    /// The same if both values are equally probable: as many as a raw number has.
    #[inline(always)]
    fn even_bits(&mut self, counts: &[usize; LANES], bits: &mut [u8]) {
        even_bits_in_turn(self, counts, bits);
    }

    /// Pairs of symbols of two tables, of one state after the other.
    #[inline(always)]
    fn pairs<const M: usize>(&mut self, tables: [&Shares<M>; 2], pairs: &mut [[u8; 2]]) {
        pairs_in_turn(self, tables, pairs);
    }
}

#[inline(always)]
fn leans_one_by_one(ground: &Ground, walks: &[Walk], indices: &[u16], leans: &mut Vec<u8>) {
    leans.clear();
    for walk in walks {
        let (sides, indices) = (ground.sides(walk), &indices[walk.values()]);
        leans.extend(indices.iter().map(|&index| walk.lean(sides, index)));
    }
}

#[inline(always)]
fn bits_in_turn(coding: &mut (impl Coding + ?Sized), counts: &[usize; LANES], zeros: Zeros<'_>, bits: &mut [u8]) {
    in_turn(*counts, 2, |lane, range| match &mut bits[range.clone()] {
        [one, two] => {
            let tables = [zeros.of(range.start), zeros.of(range.start + 1)];
            let found = coding.pair(lane, tables, [u32::from(*one), u32::from(*two)]);
            (*one, *two) = (found[0] as u8, found[1] as u8);
        }
        bits => bits.iter_mut().for_each(|bit| {
            *bit = coding.symbol(lane, zeros.of(range.start), u32::from(*bit)) as u8;
        }),
    });
}

#[inline(always)]
fn even_bits_in_turn(coding: &mut (impl Coding + ?Sized), counts: &[usize; LANES], bits: &mut [u8]) {
    in_turn(*counts, RAW_MAX as usize, |lane, range| {
        let bits = &mut bits[range];
        let given = gather(bits);
        let number = coding.raw(lane, bits.len() as u32, given);
        // A writer takes what it is given.
        if number != given {
            spread(bits, number);
        }
    });
}

#[inline(always)]
fn pairs_in_turn<const M: usize>(coding: &mut (impl Coding + ?Sized), tables: [&Shares<M>; 2], pairs: &mut [[u8; 2]]) {
    let lanes = coding.lanes();
    for (turn, pair) in pairs.iter_mut().enumerate() {
        *pair = coding.pair(turn % lanes, tables, pair.map(u32::from)).map(|symbol| symbol as u8);
    }
}

/// Gives `visit` the values of the chunks of a group, a few of each chunk in turn.
#[inline(always)]
pub(crate) fn in_turn(counts: [usize; LANES], step: usize, mut visit: impl FnMut(usize, Range<usize>)) {
    let most = counts.iter().max().copied().unwrap_or(0);
    for value in (0..most).step_by(step) {
        let mut first = 0;
        for (lane, count) in counts.into_iter().enumerate() {
            if value < count {
                visit(lane, first + value..first + (value + step).min(count));
            }
            first += count;
        }
    }
}

/// The lowest bits of eight bytes.
const LOWEST: u64 = u64::MAX / 255;

/// Up to 16 bits, the first in the lowest place.
#[inline(always)]
fn gather(bits: &[u8]) -> u32 {
    let (eights, rest) = bits.as_chunks();
    let rest = rest.iter().rev().fold(0, |number, &bit| number << 1 | u32::from(bit & 1));
    // The product has the lowest bit of each byte in its highest one.
    let eight = |bits: &[u8; 8]| (u64::from_le_bytes(*bits) & LOWEST).wrapping_mul(0x0102_0408_1020_4080) >> 56;
    eights.iter().rev().fold(rest, |number, bits| number << 8 | eight(bits) as u32)
}

/// Puts such bits back.
#[inline(always)]
fn spread(bits: &mut [u8], number: u32) {
    bits.iter_mut().zip(0..).for_each(|(bit, place)| *bit = (number >> place & 1) as u8);
}

#[cfg(test)]
mod tests;
