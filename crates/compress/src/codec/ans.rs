//! Asymmetric numeral systems: entropy coding with tables, several states side by side.
//!
//! A state is a number in `2^16..2^32`. Coding a symbol that owns `start..start + share` of 2^11 slots turns the state `x`
//! into `x / share * 2^11 + x mod share + start`, after its lower 16 bits have been written out if the result would not
//! fit. Reading undoes this, so that symbols are written in the reverse order. Symbols take turns among the states, which
//! a processor can work on at the same time. A reader must end with all states at 2^16 and no bytes left: a section has
//! exactly one encoding, and hardly any damage leaves that intact.

use crate::codec::model::Tables;

/// Bits of a slot number.
pub(crate) const SLOT_BITS: u32 = 11;
/// Slots that the symbols of a table share.
pub(crate) const SLOTS: u16 = 1 << SLOT_BITS;
const SLOT_MASK: u32 = SLOTS as u32 - 1;
/// Smallest state, and the first.
const LEAST: u32 = 1 << 16;
/// Most states.
pub(crate) const LANES: usize = 8;
/// Sections of more values than this have all states, others one.
const FEW: usize = 4096;

/// Number of states for a section of at most so many values.
pub(crate) fn lanes(values: usize) -> usize {
    if values > FEW { LANES } else { 1 }
}

/// Both directions of coding, so that a model is written once. A writer takes the values that it is given; a reader
/// returns others, whatever it is given. Symbols come in phases: `turn` counts them, and says whose state is next.
pub(crate) trait Coding {
    /// A symbol of a table.
    fn symbol(&mut self, turn: usize, tables: &Tables, table: u32, value: u32) -> u32;

    /// The same for a symbol known not to be less than `from`: the slots from there on are stretched to all.
    fn symbol_from(&mut self, turn: usize, tables: &Tables, place: (u32, u32), value: u32) -> u32;

    /// A bit, of which 0 owns the slots below a border and 1 the others. Both own some.
    fn bit(&mut self, turn: usize, border: u32, value: u32) -> u32;

    /// A number of `width <= 11` equally probable bits.
    fn raw(&mut self, turn: usize, width: u32, value: u32) -> u32;

    /// Whether this is a reader.
    fn reads(&self) -> bool;

    /// A number of up to 22 equally probable bits, the upper ones first, each part a phase.
    fn number(&mut self, width: u32, value: u32) -> u32 {
        let high = self.raw(0, width.saturating_sub(SLOT_BITS), value >> SLOT_BITS);
        let low = self.raw(0, width.min(SLOT_BITS), value & SLOT_MASK);
        high << SLOT_BITS | low
    }
}

/// First slot of an element `offset` slots into `room` slots that are stretched to all.
#[inline(always)]
pub(crate) fn stretched(offset: u32, room: u32) -> u32 {
    (offset << SLOT_BITS).div_ceil(room)
}

/// Slots on one side of a border, without a branch that nobody could predict.
#[inline(always)]
fn side(border: u32, value: u32) -> (u32, u32) {
    let mask = 0_u32.wrapping_sub(value);
    (border & mask, border + ((u32::from(SLOTS) - border) & mask))
}

/// Collects symbols and writes them in reverse.
pub(crate) struct Writer {
    lanes: usize,
    /// State, start, and share less one of each symbol.
    symbols: Vec<u32>,
}

impl Writer {
    pub(crate) fn new(lanes: usize) -> Writer {
        Writer { lanes, symbols: Vec::new() }
    }

    #[inline(always)]
    fn push(&mut self, turn: usize, start: u32, end: u32) {
        let lane = (turn & (self.lanes - 1)) as u32;
        self.symbols.push(lane << (2 * SLOT_BITS) | start << SLOT_BITS | (end - start - 1));
    }

    /// Appends the states, then the words in the order of reading.
    pub(crate) fn finish(self, bytes: &mut Vec<u8>) {
        let mut states = [LEAST; LANES];
        let mut words = vec![[0; 2]; self.symbols.len()];
        let mut place = words.len();
        for symbol in self.symbols.iter().rev() {
            let (share, start) = ((symbol & SLOT_MASK) + 1, symbol >> SLOT_BITS & SLOT_MASK);
            let state = &mut states[(symbol >> (2 * SLOT_BITS)) as usize & (LANES - 1)];
            // Every second symbol or so gives a word, which nobody could predict: each writes one, and few of them stay.
            let full = u64::from(*state) >= u64::from(share) << (32 - SLOT_BITS);
            words[place - 1] = (*state as u16).to_le_bytes();
            place -= usize::from(full);
            let rest = *state >> (16 * u32::from(full));
            *state = ((rest / share) << SLOT_BITS) + rest % share + start;
        }
        states[..self.lanes].iter().for_each(|state| bytes.extend_from_slice(&state.to_le_bytes()));
        bytes.extend_from_slice(words[place..].as_flattened());
    }
}

impl Coding for Writer {
    #[inline(always)]
    fn symbol(&mut self, turn: usize, tables: &Tables, table: u32, value: u32) -> u32 {
        let (start, end) = tables.slots(table, value);
        self.push(turn, start, end);
        value
    }

    #[inline(always)]
    fn symbol_from(&mut self, turn: usize, tables: &Tables, (table, from): (u32, u32), value: u32) -> u32 {
        let (base, _) = tables.slots(table, from);
        let (room, (start, end)) = (u32::from(SLOTS) - base, tables.slots(table, value));
        self.push(turn, stretched(start - base, room), stretched(end - base, room));
        value
    }

    #[inline(always)]
    fn bit(&mut self, turn: usize, border: u32, value: u32) -> u32 {
        let (start, end) = side(border, value);
        self.push(turn, start, end);
        value
    }

    #[inline(always)]
    fn raw(&mut self, turn: usize, width: u32, value: u32) -> u32 {
        let share = u32::from(SLOTS) >> width;
        self.push(turn, value * share, (value + 1) * share);
        value
    }

    #[inline(always)]
    fn reads(&self) -> bool {
        false
    }
}

/// What a section is read from.
pub(crate) trait Source: Coding {
    /// The reader, which knows where it stands.
    fn reader(&self) -> &Reader;
}

impl Source for Reader {
    fn reader(&self) -> &Reader {
        self
    }
}

/// Reads what a [`Writer`] wrote.
pub(crate) struct Reader {
    mask: usize,
    /// What comes past the end is zeros; `is_overrun` tells.
    words: Vec<u16>,
    place: usize,
    states: [u32; LANES],
}

impl Reader {
    /// `None` if the bytes do not even hold the states, or half a word.
    pub(crate) fn new(bytes: &[u8], lanes: usize) -> Option<Reader> {
        let mut states = [LEAST; LANES];
        let (first, rest) = bytes.split_at_checked(4 * lanes)?;
        for (state, bytes) in states.iter_mut().zip(first.chunks_exact(4)) {
            *state = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        let sound = rest.len().is_multiple_of(2) && states.iter().all(|&state| state >= LEAST);
        let words = rest.chunks_exact(2).map(|word| u16::from_le_bytes([word[0], word[1]])).collect::<Vec<_>>();
        sound.then_some(Reader { mask: lanes - 1, words, place: 0, states })
    }

    /// Whether more was read than there is.
    pub(crate) fn is_overrun(&self) -> bool {
        self.place > self.words.len()
    }

    /// Whether everything was read and is as a writer would have it.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.place == self.words.len() && self.states.iter().all(|&state| state == LEAST)
    }

    #[inline(always)]
    fn state(&mut self, turn: usize) -> &mut u32 {
        &mut self.states[turn & self.mask & (LANES - 1)]
    }

    /// Takes a symbol out of a state and refills it if it has become small.
    #[inline(always)]
    fn take(&mut self, turn: usize, start: u32, end: u32) {
        let word = self.words.get(self.place).copied().unwrap_or(0);
        let state = self.state(turn);
        let left = (end - start) * (*state >> SLOT_BITS) + (*state & SLOT_MASK) - start;
        let short = left < LEAST;
        *state = if short { left << 16 | u32::from(word) } else { left };
        self.place += usize::from(short);
    }
}

impl Coding for Reader {
    #[inline(always)]
    fn symbol(&mut self, turn: usize, tables: &Tables, table: u32, _: u32) -> u32 {
        let symbol = tables.symbol(table, *self.state(turn) & SLOT_MASK);
        let (start, end) = tables.slots(table, symbol);
        self.take(turn, start, end);
        symbol
    }

    #[inline(always)]
    fn symbol_from(&mut self, turn: usize, tables: &Tables, (table, from): (u32, u32), _: u32) -> u32 {
        let (base, _) = tables.slots(table, from);
        let (slot, room) = (*self.state(turn) & SLOT_MASK, u32::from(SLOTS) - base);
        let symbol = tables.symbol(table, base + ((slot * room) >> SLOT_BITS));
        let (start, end) = tables.slots(table, symbol);
        self.take(turn, stretched(start - base, room), stretched(end - base, room));
        symbol
    }

    #[inline(always)]
    fn bit(&mut self, turn: usize, border: u32, _: u32) -> u32 {
        // The sign of a difference, so that no comparison is made a branch of.
        let bit = (border - 1).wrapping_sub(*self.state(turn) & SLOT_MASK) >> 31;
        let (start, end) = side(border, bit);
        self.take(turn, start, end);
        bit
    }

    #[inline(always)]
    fn raw(&mut self, turn: usize, width: u32, _: u32) -> u32 {
        let bits = SLOT_BITS - width;
        let number = (*self.state(turn) & SLOT_MASK) >> bits;
        self.take(turn, number << bits, (number + 1) << bits);
        number
    }

    #[inline(always)]
    fn reads(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Phase {
        Whole(Vec<u32>),
        From(Vec<(u32, u32)>),
        Bits(Vec<(u32, u32)>),
        Raw(u32, Vec<u32>),
        Number(u32, u32),
    }

    fn tables() -> Tables {
        let mut tables = Tables::new(2, 8, true);
        for table in 0..2 {
            tables.set(table, &[0, 1, 2, 1000, 1001, 1700, 2000, 2047, SLOTS]);
        }
        tables
    }

    fn phase() -> impl Strategy<Value = Phase> {
        let many = |one| prop::collection::vec(one, 0..20);
        let from = prop::collection::vec((0_u32..8, 0_u32..8).prop_map(|(a, b)| (a.min(b), a.max(b))), 0..20);
        let raw = (0_u32..=11).prop_flat_map(move |width| {
            prop::collection::vec(0..1_u32 << width, 0..20).prop_map(move |values| Phase::Raw(width, values))
        });
        let number =
            (0_u32..=22, any::<u32>()).prop_map(|(width, value)| Phase::Number(width, value & ((1 << width) - 1)));
        let bits = prop::collection::vec((1..u32::from(SLOTS), 0_u32..2), 0..20).prop_map(Phase::Bits);
        prop_oneof![bits, many(0_u32..8).prop_map(Phase::Whole), from.prop_map(Phase::From), raw, number]
    }

    /// Codes the phases; a reader is given wrong values, which it must ignore.
    fn run(coding: &mut impl Coding, phases: &[Phase], known: bool) -> Vec<u32> {
        let tables = tables();
        let hint = |value: u32| if known { value } else { 0 };
        let mut all = Vec::new();
        for phase in phases {
            let table = |turn: usize| (turn % 2) as u32;
            match phase {
                Phase::Whole(values) => all.extend(
                    values.iter().enumerate().map(|(t, &value)| coding.symbol(t, &tables, table(t), hint(value))),
                ),
                Phase::From(pairs) => all.extend(pairs.iter().enumerate().map(|(t, &(from, value))| {
                    coding.symbol_from(t, &tables, (table(t), from), hint(value).max(from))
                })),
                Phase::Bits(pairs) => {
                    all.extend(pairs.iter().enumerate().map(|(t, &(border, value))| coding.bit(t, border, hint(value))))
                }
                Phase::Raw(width, values) => {
                    all.extend(values.iter().enumerate().map(|(t, &value)| coding.raw(t, *width, hint(value))));
                }
                Phase::Number(width, value) => all.push(coding.number(*width, hint(*value))),
            }
        }
        all
    }

    proptest! {
        #[test]
        fn reads_what_was_written_and_nothing_else(
            phases in prop::collection::vec(phase(), 0..40), lanes in prop::sample::select(vec![1_usize, 8]),
            change in any::<(prop::sample::Index, u8)>(),
        ) {
            let mut writer = Writer::new(lanes);
            let written = run(&mut writer, &phases, true);
            let mut bytes = Vec::new();
            writer.finish(&mut bytes);
            let read = |bytes: &[u8]| {
                let mut reader = Reader::new(bytes, lanes)?;
                let read = run(&mut reader, &phases, false);
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
        let mut tables = Tables::new(1, 2, true);
        tables.set(0, &[0, 3 << 9, SLOTS]);
        let mut writer = Writer::new(8);
        for turn in 0..10_000 {
            writer.symbol(turn, &tables, 0, u32::from(turn % 4 == 0));
        }
        let mut bytes = Vec::new();
        writer.finish(&mut bytes);
        let bits = 10_000.0 * (0.75 * (4.0_f64 / 3.0).log2() + 0.25 * 2.0);
        assert!((bytes.len() as f64) < bits / 8.0 * 1.001 + 32.0, "{} {}", bytes.len(), bits / 8.0);
    }
}
