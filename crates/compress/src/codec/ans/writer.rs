//! The writing side of the code.

use std::cell::Cell;

use crate::codec::ans::Slots;
use crate::codec::ans::{Coding, LANES, LEAST, RAW_MAX, SHARE_BITS, Symbols, WORD_BITS};
use crate::codec::model::{Ground, Step, Targets, Walk, plan};

/// Collects symbols and writes them in reverse.
pub(crate) struct Writer {
    lanes: usize,
    spare: Spare,
    /// Symbols that may take two words.
    wide: usize,
}

/// Memory of a writer.
#[derive(Default)]
struct Spare {
    symbols: Vec<Symbol>,
    /// The steps of each chunk of a group.
    steps: [Vec<Step>; LANES],
    targets: Targets,
    words: Vec<[u8; 2]>,
}

#[derive(Clone, Copy)]
struct Symbol {
    lane: u8,
    /// Bits of its slots, and of the raw number behind it.
    bits: u8,
    width: u8,
    /// Whether the state is not refilled between the symbol before and this one.
    second: bool,
    start: u8,
    share: u16,
    raw: u16,
}

thread_local! {
    /// The memory of the thread's last writer, since to ask the system for it again for each section takes time.
    static SPARE: Cell<Option<Box<Spare>>> = const { Cell::new(None) };
}

impl Writer {
    pub(crate) fn new(lanes: usize) -> Writer {
        Writer { lanes, spare: *SPARE.take().unwrap_or_default(), wide: 0 }
    }

    #[inline(always)]
    fn push(&mut self, lane: usize, step: Step, second: bool) {
        let Step { bits, slots: Slots { start, share }, raw, width } = step;
        self.wide += usize::from(bits + width > RAW_MAX);
        let (bits, width) = (bits as u8, width as u8);
        let symbol =
            Symbol { lane: lane as u8, bits, width, second, start: start as u8, share: share as u16, raw: raw as u16 };
        self.spare.symbols.push(symbol);
    }

    /// Appends the states, then the words in the order of reading.
    pub(crate) fn finish(mut self, bytes: &mut Vec<u8>) {
        let (symbols, mut words) = (std::mem::take(&mut self.spare.symbols), std::mem::take(&mut self.spare.words));
        let place = symbols.len() + self.wide;
        // What was written before does not matter.
        words.resize(place.max(words.len()), [0; 2]);
        let mut output = Output { states: [LEAST; LANES], words, place };
        let mut reversed = symbols.iter().rev();
        while let Some(symbol) = reversed.next() {
            output.write(symbol, || reversed.next());
        }
        output.states[..self.lanes].iter().for_each(|state| bytes.extend_from_slice(&state.to_le_bytes()));
        bytes.extend_from_slice(output.words[output.place..place].as_flattened());
        (self.spare.symbols, self.spare.words) = (symbols, output.words);
        self.spare.symbols.clear();
        SPARE.set(Some(Box::new(self.spare)));
    }
}

/// States, and words, of which the last ones are written first.
struct Output {
    states: [u32; LANES],
    words: Vec<[u8; 2]>,
    /// The last word that was written.
    place: usize,
}

impl Output {
    /// Writes a symbol; of a pair the second one, which is met first, with the one before it.
    #[inline(always)]
    fn write<'a>(&mut self, symbol: &Symbol, before: impl FnOnce() -> Option<&'a Symbol>) {
        let lane = usize::from(symbol.lane) & (LANES - 1);
        let (bits, width, share) = (u32::from(symbol.bits), u32::from(symbol.width), u32::from(symbol.share));
        if symbol.second {
            let Some(first) = before() else { return };
            let state = self.room(lane, share * u32::from(first.share), 2 * SHARE_BITS);
            self.states[lane] = put(put(state, symbol), first);
        } else if bits + width > RAW_MAX {
            let state = self.room(lane, 1, width);
            self.states[lane] = state << width | u32::from(symbol.raw);
            self.states[lane] = put(self.room(lane, share, bits), symbol);
        } else {
            let state = self.room(lane, share, bits + width);
            self.states[lane] = put(state << width | u32::from(symbol.raw), symbol);
        }
    }

    /// The state, made small enough for a symbol of so many slots of `2^bits` to be put into it.
    #[inline(always)]
    fn room(&mut self, lane: usize, share: u32, bits: u32) -> u32 {
        let state = self.states[lane];
        // Nobody could predict whether there is a word: each symbol writes one, and few of them stay.
        let full = u64::from(state) >= u64::from(share) << (32 - bits);
        if let Some(word) = self.words.get_mut(self.place.wrapping_sub(1)) {
            *word = (state as u16).to_le_bytes();
        }
        self.place -= usize::from(full);
        state >> (WORD_BITS * u32::from(full))
    }
}

#[inline(always)]
fn put(state: u32, symbol: &Symbol) -> u32 {
    let (whole, rest) = divide(state, symbol.share);
    (whole << symbol.bits) + rest + u32::from(symbol.start)
}

/// Reciprocals of all that a state is divided by, in 2^-64, rounded up.
static RECIPROCALS: [u64; SHARE_MAX + 1] = {
    let mut reciprocals = [0; SHARE_MAX + 1];
    let mut divisor = 2;
    while divisor <= SHARE_MAX {
        reciprocals[divisor] = u64::MAX / divisor as u64 + 1;
        divisor += 1;
    }
    reciprocals
};
const SHARE_MAX: usize = 1 << SHARE_BITS;

/// Quotient and rest: several times as fast as the machine's own division.
#[inline(always)]
pub(super) fn divide(number: u32, divisor: u16) -> (u32, u32) {
    let whole = ((u128::from(number) * u128::from(RECIPROCALS[usize::from(divisor)])) >> 64) as u32;
    // There is no reciprocal of one.
    let whole = if divisor == 1 { number } else { whole };
    (whole, number - whole * u32::from(divisor))
}

impl Coding for Writer {
    #[inline(always)]
    fn lanes(&self) -> usize {
        self.lanes
    }

    #[inline(always)]
    fn symbol(&mut self, lane: usize, table: impl Symbols, value: u32) -> u32 {
        self.push(lane, Step { bits: SHARE_BITS, slots: table.slots(value), raw: 0, width: 0 }, false);
        value
    }

    #[inline(always)]
    fn pair(&mut self, lane: usize, tables: [impl Symbols; 2], values: [u32; 2]) -> [u32; 2] {
        for (second, (table, &value)) in [false, true].into_iter().zip(tables.iter().zip(&values)) {
            self.push(lane, Step { bits: SHARE_BITS, slots: table.slots(value), raw: 0, width: 0 }, second);
        }
        values
    }

    #[inline(always)]
    fn raw(&mut self, lane: usize, width: u32, value: u32) -> u32 {
        self.push(lane, Step::raw(value, width), false);
        value
    }

    #[inline(always)]
    fn places(&mut self, ground: &Ground, walks: &mut [Walk], indices: &mut [u16]) {
        let mut steps = std::mem::take(&mut self.spare.steps);
        for (walk, steps) in walks.iter().zip(&mut steps) {
            plan((ground, walk), &indices[walk.values()], &mut self.spare.targets, |step| steps.push(step));
        }
        let most = steps.iter().map(Vec::len).max().unwrap_or(0);
        for turn in 0..most {
            let these = steps[..walks.len()].iter().enumerate();
            these.filter_map(|(lane, steps)| Some((lane, steps.get(turn)?))).for_each(|(lane, &step)| {
                self.push(lane, step, false);
            });
        }
        steps.iter_mut().for_each(Vec::clear);
        self.spare.steps = steps;
    }
}
