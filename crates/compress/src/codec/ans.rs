//! Asymmetric numeral systems: entropy coding with tables, several states side by side.
//!
//! A state is a number in `2^16..2^32`. Coding a symbol that owns `start..start + share` of 2^15 slots turns the state `x`
//! into `x / share * 2^15 + x mod share + start`, after its lower 16 bits have been written out if the result would not
//! fit. Reading undoes this, so that symbols are written in the reverse order. Symbols take turns among the states, which
//! a processor can work on at the same time. A reader must end with all states at 2^16 and no bytes left: a section has
//! exactly one encoding, and hardly any damage leaves that intact.

use crate::kernel::Search;

/// Bits of a slot number.
pub(crate) const SLOT_BITS: u32 = 15;
/// Slots that the symbols of a table share.
pub(crate) const SLOTS: u16 = 1 << SLOT_BITS;
/// Smallest state, and the first.
const LEAST: u32 = 1 << 16;
/// Most states.
const LANES_MAX: usize = 4;
/// Sections of more values than this use all states.
const FEW: usize = 1024;

/// Number of states for a section of at most so many values.
pub(crate) fn lanes(values: usize) -> usize {
    if values > FEW { LANES_MAX } else { 1 }
}

/// Both directions of coding, so that a model is written once. A writer takes the value that it is given and returns it;
/// a reader ignores the argument and returns what it reads. Turn `turn` belongs to one of the states; a phase counts its
/// turns from zero and ends with [`Coding::end_phase`].
pub(crate) trait Coding {
    /// A symbol below `sums.len() - 1`, where symbol `s` owns the slots `sums[s]..sums[s + 1]`, at least one.
    fn symbol(&mut self, turn: usize, sums: &[u16], value: usize) -> usize;

    /// The same for a symbol known not to be less than `from`: the slots from `sums[from]` on are stretched to all.
    fn symbol_from(&mut self, turn: usize, sums: &[u16], from: usize, value: usize) -> usize;

    /// A number of `width <= 15` equally probable bits.
    fn raw(&mut self, turn: usize, width: u32, value: u32) -> u32;

    /// Whether this is a reader.
    fn reads(&self) -> bool;

    /// The next phase begins with the first state.
    fn end_phase(&mut self);

    /// A number of up to 30 equally probable bits, in a phase of its own.
    fn number(&mut self, width: u32, value: u32) -> u32 {
        let high = self.raw(0, width.saturating_sub(SLOT_BITS), value >> SLOT_BITS);
        self.end_phase();
        let low = self.raw(0, width.min(SLOT_BITS), value & u32::from(SLOTS - 1));
        self.end_phase();
        high << SLOT_BITS | low
    }
}

/// First slot of an element `offset` slots into a stretch of `room` that is stretched to all slots.
#[inline]
fn stretched(offset: u16, room: u16) -> u32 {
    (u32::from(offset) << SLOT_BITS).div_ceil(u32::from(room))
}

/// Collects symbols and writes them in reverse.
pub(crate) struct Writer {
    lanes: usize,
    /// Start and share less one of each symbol.
    symbols: Vec<(u16, u16)>,
}

/// A symbol that owns all slots changes no state.
const NOTHING: (u16, u16) = (0, SLOTS - 1);

impl Writer {
    pub(crate) fn new(lanes: usize) -> Writer {
        Writer { lanes, symbols: Vec::new() }
    }

    #[inline]
    fn push(&mut self, start: u32, end: u32) {
        self.symbols.push((start as u16, (end - start - 1) as u16));
    }

    /// Appends the states, then the words in the order of reading.
    pub(crate) fn finish(self, bytes: &mut Vec<u8>) {
        let mut states = [LEAST; LANES_MAX];
        let mut words = Vec::with_capacity(self.symbols.len() / 2);
        for turn in self.symbols.chunks(self.lanes).rev() {
            for (state, &symbol) in states.iter_mut().zip(turn).rev() {
                *state = advance(*state, symbol, &mut words);
            }
        }
        states[..self.lanes].iter().for_each(|state| bytes.extend_from_slice(&state.to_le_bytes()));
        words.iter().rev().for_each(|word: &u16| bytes.extend_from_slice(&word.to_le_bytes()));
    }
}

#[inline]
fn advance(mut state: u32, (start, less): (u16, u16), words: &mut Vec<u16>) -> u32 {
    let share = u32::from(less) + 1;
    if u64::from(state) >= u64::from(share) << (32 - SLOT_BITS) {
        words.push(state as u16);
        state >>= 16;
    }
    ((state / share) << SLOT_BITS) + state % share + u32::from(start)
}

impl Coding for Writer {
    #[inline]
    fn symbol(&mut self, _: usize, sums: &[u16], value: usize) -> usize {
        self.push(u32::from(sums[value]), u32::from(sums[value + 1]));
        value
    }

    #[inline]
    fn symbol_from(&mut self, _: usize, sums: &[u16], from: usize, value: usize) -> usize {
        let room = SLOTS - sums[from];
        let slot = |symbol: usize| stretched(sums[symbol] - sums[from], room);
        self.push(slot(value), slot(value + 1));
        value
    }

    #[inline]
    fn raw(&mut self, _: usize, width: u32, value: u32) -> u32 {
        let share = u32::from(SLOTS) >> width;
        self.push(value * share, (value + 1) * share);
        value
    }

    fn reads(&self) -> bool {
        false
    }

    #[inline]
    fn end_phase(&mut self) {
        while !self.symbols.len().is_multiple_of(self.lanes) {
            self.symbols.push(NOTHING);
        }
    }
}

/// Reads what a [`Writer`] wrote.
pub(crate) struct Reader<'a, S> {
    search: S,
    bytes: &'a [u8],
    place: usize,
    mask: usize,
    states: [u32; LANES_MAX],
}

impl<'a, S: Search> Reader<'a, S> {
    /// `None` if the bytes do not even hold the states.
    pub(crate) fn new(search: S, bytes: &'a [u8], lanes: usize) -> Option<Reader<'a, S>> {
        let mut states = [LEAST; LANES_MAX];
        for (state, bytes) in states.iter_mut().zip(bytes.chunks_exact(4)).take(lanes) {
            *state = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        let place = 4 * lanes;
        let sound = bytes.len() >= place && states.iter().all(|&state| state >= LEAST);
        sound.then_some(Reader { search, bytes, place, mask: lanes - 1, states })
    }

    /// Whether more was read than there is.
    pub(crate) fn is_overrun(&self) -> bool {
        self.place > self.bytes.len()
    }

    /// Whether everything was read and is as a writer would have it.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.place == self.bytes.len() && self.states.iter().all(|&state| state == LEAST)
    }

    #[inline(always)]
    fn slot(&self, turn: usize) -> u32 {
        self.states[turn & self.mask] & u32::from(SLOTS - 1)
    }

    /// Takes out a symbol that owns `start..end`.
    #[inline(always)]
    fn take(&mut self, turn: usize, start: u32, end: u32) {
        let state = &mut self.states[turn & self.mask];
        let slot = *state & u32::from(SLOTS - 1);
        *state = (end - start) * (*state >> SLOT_BITS) + slot - start;
        // Past the end there are zeros; `is_overrun` tells.
        let word = self.bytes.get(self.place..self.place + 2).map_or(0, |word| u16::from_le_bytes([word[0], word[1]]));
        let short = *state < LEAST;
        *state = if short { *state << 16 | u32::from(word) } else { *state };
        self.place += 2 * usize::from(short);
    }
}

impl<S: Search> Coding for Reader<'_, S> {
    #[inline(always)]
    fn symbol(&mut self, turn: usize, sums: &[u16], _: usize) -> usize {
        let slot = self.slot(turn);
        let value = self.search.reached(&sums[1..sums.len() - 1], slot as u16);
        self.take(turn, u32::from(sums[value]), u32::from(sums[value + 1]));
        value
    }

    #[inline(always)]
    fn symbol_from(&mut self, turn: usize, sums: &[u16], from: usize, _: usize) -> usize {
        let room = SLOTS - sums[from];
        let place = sums[from] + ((self.slot(turn) * u32::from(room)) >> SLOT_BITS) as u16;
        let value = self.search.reached(&sums[1..sums.len() - 1], place);
        let slot = |symbol: usize| stretched(sums[symbol] - sums[from], room);
        self.take(turn, slot(value), slot(value + 1));
        value
    }

    #[inline(always)]
    fn raw(&mut self, turn: usize, width: u32, _: u32) -> u32 {
        let bits = SLOT_BITS - width;
        let value = self.slot(turn) >> bits;
        self.take(turn, value << bits, (value + 1) << bits);
        value
    }

    fn reads(&self) -> bool {
        true
    }

    #[inline(always)]
    fn end_phase(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Plain;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Symbol {
        Whole(usize),
        From(usize, usize),
        Raw(u32, u32),
        Number(u32, u32),
        End,
    }

    const SUMS: [u16; 9] = [0, 1, 2, 1000, 1001, 30_000, 32_000, 32_767, SLOTS];

    fn symbol() -> impl Strategy<Value = Symbol> {
        let from = (0_usize..8, 0_usize..8).prop_map(|(a, b)| Symbol::From(a.min(b), a.max(b)));
        let raw = (0_u32..=15, any::<u32>()).prop_map(|(width, value)| Symbol::Raw(width, value & ((1 << width) - 1)));
        let number =
            (0_u32..=30, any::<u32>()).prop_map(|(width, value)| Symbol::Number(width, value & ((1 << width) - 1)));
        prop_oneof![(0_usize..8).prop_map(Symbol::Whole), from, raw, number, Just(Symbol::End)]
    }

    /// Codes the symbols; a reader is given wrong values, which it must ignore.
    fn run(coding: &mut impl Coding, symbols: &[Symbol], known: bool) -> Vec<usize> {
        let mut turn = 0;
        let mut code = |symbol: &Symbol| {
            let hint = |value: usize| if known { value } else { 0 };
            let value = match *symbol {
                Symbol::Whole(value) => coding.symbol(turn, &SUMS, hint(value)),
                Symbol::From(from, value) => coding.symbol_from(turn, &SUMS, from, hint(value)),
                Symbol::Raw(width, value) => coding.raw(turn, width, hint(value as usize) as u32) as usize,
                Symbol::Number(width, value) => {
                    coding.end_phase();
                    coding.number(width, hint(value as usize) as u32) as usize
                }
                Symbol::End => {
                    coding.end_phase();
                    0
                }
            };
            turn = if matches!(symbol, Symbol::End | Symbol::Number(..)) { 0 } else { turn + 1 };
            value
        };
        symbols.iter().map(&mut code).collect()
    }

    proptest! {
        #[test]
        fn reads_what_was_written_and_nothing_else(
            symbols in prop::collection::vec(symbol(), 0..300), lanes in prop::sample::select(vec![1_usize, 4]),
            change in any::<(prop::sample::Index, u8)>(),
        ) {
            let mut writer = Writer::new(lanes);
            let written = run(&mut writer, &symbols, true);
            let mut bytes = Vec::new();
            writer.finish(&mut bytes);
            let read = |bytes: &[u8]| {
                let mut reader = Reader::new(Plain, bytes, lanes)?;
                let read = run(&mut reader, &symbols, false);
                (reader.is_exhausted() && !reader.is_overrun()).then_some(read)
            };
            prop_assert_eq!(read(&bytes), Some(written.clone()));
            prop_assert_eq!(read(&[&bytes[..], &[0, 0]].concat()), None);
            // Another byte string is refused or says something else.
            let place = change.0.index(bytes.len());
            bytes[place] ^= change.1;
            prop_assert!(change.1 == 0 || read(&bytes) != Some(written));
        }
    }

    #[test]
    fn cost_is_that_of_the_shares() {
        let mut writer = Writer::new(4);
        for turn in 0..10_000 {
            writer.symbol(turn, &[0, 3 << 13, SLOTS], usize::from(turn % 4 == 0));
        }
        let mut bytes = Vec::new();
        writer.finish(&mut bytes);
        let bits = 10_000.0 * (0.75 * (4.0_f64 / 3.0).log2() + 0.25 * 2.0);
        assert!((bytes.len() as f64) < bits / 8.0 * 1.001 + 16.0, "{} {}", bytes.len(), bits / 8.0);
    }
}
