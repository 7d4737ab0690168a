//! Asymmetric numeral systems: entropy coding with several states side by side.
//!
//! A state is a number in `2^20..2^52`. Coding a symbol that owns `start..start + share` of
//! `2^bits` slots turns the state `x` into `x / share * 2^bits + x mod share + start`, after its lower 32 bits have been
//! written out if the result would not fit. Reading undoes this, so that symbols are written in the reverse order. What a
//! chosen among equally good places is put into a state instead, `x * choices + choice`, and carries what follows; until the next
//! place the state is then that many times as large. A reader must end with all states at their smallest and no words left:
//! hardly any damage leaves that intact.

use std::cell::Cell;

use crate::codec::model::{DISTANCE_MAX, Distance, Distances, Place, SKIP, Walk};

/// Bits of a slot number of a table of shares.
pub(crate) const SHARE_BITS: u32 = 8;
/// Bits of a slot number of a table of distances.
pub(crate) const DISTANCE_BITS: u32 = 10;
/// Smallest state between symbols, and the first.
const LEAST_BITS: u32 = 20;
const LEAST: u64 = 1 << LEAST_BITS;
const WORD_BITS: u32 = 32;
/// Bytes of a state at the beginning.
const STATE_BYTES: usize = 7;
/// Most states.
pub(crate) const LANES: usize = 8;
/// Sections of more values than this have all states, others one.
const FEW: usize = 4096;

/// Number of states for a section of at most so many values.
pub(crate) fn lanes(values: usize) -> usize {
    if values > FEW { LANES } else { 1 }
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

/// Both directions of coding, so that a model is written once. A writer takes the values that it is given; a reader returns
/// others, whatever it is given.
pub(crate) trait Coding {
    /// Number of states.
    fn lanes(&self) -> usize;

    /// A symbol of a table.
    fn symbol(&mut self, lane: usize, table: impl Symbols, value: u32) -> u32;

    /// Two symbols, of which a state holds both before it must be refilled.
    fn pair(&mut self, lane: usize, tables: [impl Symbols; 2], values: [u32; 2]) -> [u32; 2];

    /// A number of `width <= 16` equally probable bits.
    fn raw(&mut self, lane: usize, width: u32, value: u32) -> u32;

    /// The places of the values of a group of chunks, one chunk for each state: value by value, in turn.
    fn places(&mut self, walks: &mut [Walk<'_>], places: &mut [Place]);
}

/// Collects symbols and writes them in reverse.
pub(crate) struct Writer {
    lanes: usize,
    symbols: Vec<Symbol>,
    /// Most symbols for skipped segments.
    skips: usize,
    /// The choices of the last place of each state.
    choices: [u16; LANES],
}

#[derive(Clone, Copy)]
struct Symbol {
    lane: u8,
    kind: Kind,
    /// How many times as large the state is when a reader comes to this symbol.
    choices: u16,
    /// What it owns, or for a place: how far its cell begins behind the end of the last one, and how many choices it has.
    slots: Slots,
}

#[derive(Clone, Copy)]
enum Kind {
    /// Slots out of so many bits.
    Bits(u8),
    /// The second symbol of a pair.
    Second,
    /// A place, with the number of its table of distances and of the bits below it.
    Place(u8, u8),
}

thread_local! {
    /// The memory of the thread's last writer, since to ask the system for it again for each section takes time.
    static SPARE: Cell<Vec<Symbol>> = const { Cell::new(Vec::new()) };
}

impl Writer {
    pub(crate) fn new(lanes: usize) -> Writer {
        Writer { lanes, symbols: SPARE.take(), skips: 0, choices: [1; LANES] }
    }

    #[inline(always)]
    fn push(&mut self, lane: usize, kind: Kind, slots: Slots) {
        let choices = self.choices[lane & (LANES - 1)];
        self.symbols.push(Symbol { lane: lane as u8, kind, choices, slots });
    }

    /// Appends the states, then the words in the order of reading.
    pub(crate) fn finish(mut self, bytes: &mut Vec<u8>) {
        let states = self.choices.map(|choices| LEAST * u64::from(choices));
        let places = self.symbols.len() + self.skips;
        let mut output = Output { states, words: vec![[0; 4]; places], place: places };
        let mut symbols = self.symbols.iter().rev();
        while let Some(symbol) = symbols.next() {
            output.write(symbol, || symbols.next());
        }
        output.states[..self.lanes]
            .iter()
            .for_each(|state| bytes.extend_from_slice(&state.to_le_bytes()[..STATE_BYTES]));
        bytes.extend_from_slice(output.words[output.place..].as_flattened());
        self.symbols.clear();
        SPARE.set(self.symbols);
    }
}

/// States, and words, of which the last ones are written first.
struct Output {
    states: [u64; LANES],
    words: Vec<[u8; 4]>,
    /// The last word that was written.
    place: usize,
}

impl Output {
    /// Writes a symbol; of a pair the second one, which is met first, with the one before it.
    #[inline(always)]
    fn write<'a>(&mut self, symbol: &Symbol, before: impl FnOnce() -> Option<&'a Symbol>) {
        match symbol.kind {
            Kind::Bits(bits) => self.put(symbol, symbol.slots, u32::from(bits)),
            Kind::Second => before().into_iter().for_each(|first| self.put_pair(first, symbol)),
            Kind::Place(table, low) => self.put_place(symbol, usize::from(table), u32::from(low)),
        }
    }

    /// The state, made small enough for a symbol of so many slots of `2^bits` to be put into it.
    #[inline(always)]
    fn state(&mut self, symbol: &Symbol, share: u32, bits: u32) -> &mut u64 {
        let state = &mut self.states[usize::from(symbol.lane) & (LANES - 1)];
        let limit = (u64::from(share) * u64::from(symbol.choices)) << (LEAST_BITS + WORD_BITS - bits);
        // Nobody could predict whether there is a word: each symbol writes one, and few of them stay.
        let full = *state >= limit;
        if let Some(word) = self.words.get_mut(self.place.wrapping_sub(1)) {
            *word = (*state as u32).to_le_bytes();
        }
        self.place -= usize::from(full);
        *state >>= u64::from(WORD_BITS) * u64::from(full);
        state
    }

    #[inline(always)]
    fn put(&mut self, symbol: &Symbol, slots: Slots, bits: u32) {
        let state = self.state(symbol, slots.share, bits);
        *state = put(*state, slots, bits);
    }

    #[inline(always)]
    fn put_pair(&mut self, first: &Symbol, second: &Symbol) {
        let state = self.state(first, first.slots.share * second.slots.share, 2 * SHARE_BITS);
        *state = put(put(*state, second.slots, SHARE_BITS), first.slots, SHARE_BITS);
    }

    /// What the state holds chooses a place in the cell, and then the distance to it is put in.
    #[inline(always)]
    fn put_place(&mut self, symbol: &Symbol, table: usize, low: u32) {
        let Slots { start, share: size } = symbol.slots;
        let state = &mut self.states[usize::from(symbol.lane) & (LANES - 1)];
        let (whole, choice) = divide(*state, size);
        *state = whole;
        let distance = start + choice;
        let distances = Distances::of(table);
        let (segment, rest) = (distance >> low, distance & ((1 << low) - 1));
        let slots = distances.slots(segment % SKIP);
        let state = self.state(symbol, slots.share, DISTANCE_BITS + low);
        *state = put(*state << low | u64::from(rest), slots, DISTANCE_BITS);
        for _ in 0..segment / SKIP {
            self.put(symbol, distances.slots(SKIP), DISTANCE_BITS);
        }
    }
}

#[inline(always)]
fn put(state: u64, Slots { start, share }: Slots, bits: u32) -> u64 {
    let (whole, rest) = divide(state, share);
    (whole << bits) + u64::from(rest + start)
}

/// Reciprocals of all that a state is divided by, in 2^-64.
static RECIPROCALS: [u64; DIVISOR_MAX + 1] = {
    let mut reciprocals = [u64::MAX; DIVISOR_MAX + 1];
    let mut divisor = 2;
    while divisor <= DIVISOR_MAX {
        reciprocals[divisor] = ((1_u128 << 64) / divisor as u128) as u64;
        divisor += 1;
    }
    reciprocals
};
const DIVISOR_MAX: usize = 1 << DISTANCE_BITS;

/// Quotient and rest: several times as fast as the machine's own division.
#[inline(always)]
fn divide(number: u64, divisor: u32) -> (u64, u32) {
    let reciprocal = RECIPROCALS[divisor as usize];
    // The quotient, or one less.
    let whole = ((u128::from(number) * u128::from(reciprocal)) >> 64) as u64;
    let rest = (number - whole * u64::from(divisor)) as u32;
    let more = rest >= divisor;
    (whole + u64::from(more), rest - if more { divisor } else { 0 })
}

impl Coding for Writer {
    #[inline(always)]
    fn lanes(&self) -> usize {
        self.lanes
    }

    #[inline(always)]
    fn symbol(&mut self, lane: usize, table: impl Symbols, value: u32) -> u32 {
        self.push(lane, Kind::Bits(SHARE_BITS as u8), table.slots(value));
        value
    }

    #[inline(always)]
    fn pair(&mut self, lane: usize, tables: [impl Symbols; 2], values: [u32; 2]) -> [u32; 2] {
        self.push(lane, Kind::Bits(SHARE_BITS as u8), tables[0].slots(values[0]));
        self.push(lane, Kind::Second, tables[1].slots(values[1]));
        values
    }

    #[inline(always)]
    fn raw(&mut self, lane: usize, width: u32, value: u32) -> u32 {
        self.push(lane, Kind::Bits(width as u8), Slots { start: value, share: 1 });
        value
    }

    #[inline(always)]
    fn places(&mut self, walks: &mut [Walk<'_>], places: &mut [Place]) {
        let most = walks.iter().map(|walk| walk.count).max().unwrap_or(0);
        for value in 0..most {
            for (lane, walk) in walks.iter_mut().enumerate().filter(|(_, walk)| value < walk.count) {
                let place = &mut places[walk.first + value];
                let (line, column) = walk.line_and_column(place.index);
                let cell = walk.cell(line, column);
                place.lean = cell.lean;
                let slots = Slots { start: cell.start - walk.end, share: cell.size };
                self.push(lane, Kind::Place(walk.table as u8, walk.low as u8), slots);
                self.skips += ((slots.start + slots.share) >> walk.low) as usize / SKIP as usize;
                self.choices[lane & (LANES - 1)] = cell.size as u16;
                walk.end = cell.end;
            }
        }
    }
}

/// What a section is read from.
pub(crate) trait Source: Coding {
    /// The reader, which knows where it stands.
    fn reader(&self) -> &Reader<'_>;
}

impl Source for Reader<'_> {
    fn reader(&self) -> &Reader<'_> {
        self
    }
}

/// Reads what a [`Writer`] wrote.
pub(crate) struct Reader<'a> {
    lanes: usize,
    words: &'a [[u8; 4]],
    /// The next word. What comes past the end is zeros; `is_overrun` tells.
    next: usize,
    states: [u64; LANES],
    /// Below this they are refilled.
    least: [u64; LANES],
}

impl<'a> Reader<'a> {
    /// `None` if the bytes do not even hold the states, or a part of a word.
    pub(crate) fn new(bytes: &'a [u8], lanes: usize) -> Option<Reader<'a>> {
        let (first, rest) = bytes.split_at_checked(STATE_BYTES * lanes)?;
        let mut states = [LEAST; LANES];
        for (state, bytes) in states.iter_mut().zip(first.chunks_exact(STATE_BYTES)) {
            *state = bytes.iter().rev().fold(0, |state, &byte| state << 8 | u64::from(byte));
        }
        let (words, part) = rest.as_chunks();
        let sound = part.is_empty() && states.iter().all(|state| (LEAST..LEAST << WORD_BITS).contains(state));
        sound.then_some(Reader { lanes, words, next: 0, states, least: [LEAST; LANES] })
    }

    /// Whether more was read than there is.
    pub(crate) fn is_overrun(&self) -> bool {
        self.next > self.words.len()
    }

    /// Whether everything was read and is as a writer would have it.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.next == self.words.len() && self.states == self.least
    }

    #[inline(always)]
    fn state(&self, lane: usize) -> u64 {
        self.states[lane & (LANES - 1)]
    }

    /// Keeps a state, refilled if it has become small.
    #[inline(always)]
    fn refill(&mut self, lane: usize, state: u64) {
        let lane = lane & (LANES - 1);
        let word = u32::from_le_bytes(self.words.get(self.next).copied().unwrap_or_default());
        let short = state < self.least[lane];
        self.next += usize::from(short);
        // Without a branch that nobody could predict.
        let mask = 0_u64.wrapping_sub(short.into());
        self.states[lane] = state << (mask & u64::from(WORD_BITS)) | u64::from(word) & mask;
    }

    /// The symbol of a state's slot, and the state without it.
    #[inline(always)]
    fn take(state: u64, table: impl Symbols) -> (u32, u64) {
        let slot = state as u32 & ((1 << SHARE_BITS) - 1);
        let symbol = table.symbol(slot);
        let Slots { start, share } = table.slots(symbol);
        (symbol, u64::from(share) * (state >> SHARE_BITS) + u64::from(slot.wrapping_sub(start)))
    }

    /// How far the next place is from the end of the last cell; the state is refilled.
    #[inline(always)]
    fn distance(&mut self, lane: usize, walk: &Walk<'_>) -> u32 {
        let mut skipped = 0_u32;
        loop {
            let state = self.state(lane);
            let slot = state as usize & ((1 << DISTANCE_BITS) - 1);
            let Distance { symbol, share, above } = Distance::unpack(walk.distances.by_slot[slot]);
            let state = share * (state >> DISTANCE_BITS) + above;
            if symbol != SKIP {
                let low = state as u32 & ((1 << walk.low) - 1);
                self.least[lane & (LANES - 1)] = LEAST;
                self.refill(lane, state >> walk.low);
                return skipped + (symbol << walk.low | low);
            }
            self.refill(lane, state);
            skipped += SKIP << walk.low;
            if skipped > DISTANCE_MAX {
                return skipped;
            }
        }
    }
}

impl Reader<'_> {
    /// The next place of a chunk. Which place of its cell it is goes into the state.
    #[inline(always)]
    fn place(&mut self, lane: usize, walk: &mut Walk<'_>) -> Place {
        let at = walk.end.wrapping_add(self.distance(lane, walk));
        let (index, cell) = walk.find(at);
        let (size, choice) = (u64::from(cell.size), u64::from(at.wrapping_sub(cell.start)));
        self.states[lane] = self.states[lane].wrapping_mul(size).wrapping_add(choice);
        self.least[lane] = LEAST * size;
        walk.end = cell.end;
        Place { index, lean: cell.lean }
    }
}

impl Coding for Reader<'_> {
    #[inline(always)]
    fn lanes(&self) -> usize {
        self.lanes
    }

    #[inline(always)]
    fn symbol(&mut self, lane: usize, table: impl Symbols, _: u32) -> u32 {
        let (symbol, state) = Reader::take(self.state(lane), table);
        self.refill(lane, state);
        symbol
    }

    #[inline(always)]
    fn pair(&mut self, lane: usize, [one, two]: [impl Symbols; 2], _: [u32; 2]) -> [u32; 2] {
        let (first, state) = Reader::take(self.state(lane), one);
        let (second, state) = Reader::take(state, two);
        self.refill(lane, state);
        [first, second]
    }

    #[inline(always)]
    fn raw(&mut self, lane: usize, width: u32, _: u32) -> u32 {
        let state = self.state(lane);
        self.refill(lane, state >> width);
        state as u32 & ((1 << width) - 1)
    }

    #[inline(always)]
    fn places(&mut self, walks: &mut [Walk<'_>], places: &mut [Place]) {
        let most = walks.iter().map(|walk| walk.count).max().unwrap_or(0);
        for value in 0..most {
            for (lane, walk) in walks.iter_mut().enumerate().filter(|(_, walk)| value < walk.count) {
                places[walk.first + value] = self.place(lane & (LANES - 1), walk);
            }
        }
    }
}

#[cfg(test)]
mod tests;
