//! The writing side of the code.

use std::cell::Cell;

use crate::codec::ans::{
    Bit, Coding, EVEN, LANES, LEAST, RAW_MAX, SHARE_BITS, Slots, Symbols, WORD_BITS, Zeros, bits_in_turn,
};
use crate::codec::model::DISTANCE_BITS;
use crate::codec::model::{Distances, Ground, Step, Targets, Walk, plan};
use crate::kernel::Level;
use crate::kernel::bits::VALUES;
use crate::kernel::coded::{Kinds, WriteBits};
use crate::kernel::plan::{Planned, Rows, plan_at_once};
use crate::kernel::steps::Write;

/// Collects symbols and writes them in reverse.
pub(crate) struct Writer {
    lanes: usize,
    spare: Spare,
    level: Level,
}

/// Memory of a writer.
#[derive(Default)]
struct Spare {
    symbols: Vec<Symbol>,
    /// Steps from value to value: of each turn a row, in which the last state is the first. A state that takes none has one that says nothing.
    steps: Vec<Step>,
    /// Kinds of bits: of each state a full chunk, that of the last one first.
    bits: Vec<u8>,
    blocks: Vec<Block>,
    targets: Targets,
    planned: Planned,
    words: Vec<[u8; 2]>,
}

#[derive(Clone, Copy)]
struct Symbol {
    lane: u8,
    /// Bits of its slots, or of a raw number.
    bits: u8,
    /// Whether the state is not refilled between the symbol before and this one.
    second: bool,
    start: u16,
    share: u16,
}

/// What is written of all states at once: which symbols were there before it, and where it begins.
#[derive(Clone, Copy)]
struct Block {
    before: usize,
    first: usize,
    content: Content,
}

#[derive(Clone, Copy)]
enum Content {
    /// Steps with such segments.
    Steps(&'static Distances, u32),
    Bits(Kinds),
}

thread_local! {
    /// The memory of the thread's last writer, since to ask the system for it again for each section takes time.
    static SPARE: Cell<Option<Box<Spare>>> = const { Cell::new(None) };
}

impl Writer {
    pub(crate) fn new(lanes: usize, level: Level) -> Writer {
        Writer { lanes, spare: *SPARE.take().unwrap_or_default(), level }
    }

    #[inline(always)]
    fn push(&mut self, lane: usize, bits: u32, slots: Slots, second: bool) {
        let Slots { start, share } = slots;
        let symbol = Symbol { lane: lane as u8, bits: bits as u8, second, start: start as u16, share: share as u16 };
        self.spare.symbols.push(symbol);
    }

    /// Appends the states, then the words in the order of reading.
    pub(crate) fn finish(mut self, bytes: &mut Vec<u8>) {
        let mut words = std::mem::take(&mut self.spare.words);
        let Spare { symbols, steps, bits, blocks, .. } = &self.spare;
        // A step takes two words at most, and vectors are written whole. What was there before does not matter.
        words.resize((symbols.len() + 2 * steps.len() + bits.len() + LANES).max(words.len()), [0; 2]);
        let mut output = Output { states: [LEAST; LANES], words, place: 0 };
        let (mut symbols, mut steps, mut bits) = (&symbols[..], &steps[..], &bits[..]);
        for &Block { before, first, content } in blocks.iter().rev() {
            let later;
            (symbols, later) = symbols.split_at(before);
            output.symbols(later);
            match content {
                Content::Steps(distances, low) => {
                    let these;
                    (steps, these) = steps.split_at(first);
                    self.write_steps(&mut output, (distances, low), these);
                }
                Content::Bits(kinds) => {
                    let these;
                    (bits, these) = bits.split_at(first);
                    self.write_bits(&mut output, &kinds, these);
                }
            }
        }
        output.symbols(symbols);
        output.states[..self.lanes].iter().for_each(|state| bytes.extend_from_slice(&state.to_le_bytes()));
        bytes.extend(output.words[..output.place].iter().rev().flatten());
        let Spare { symbols, steps, bits, blocks, words, .. } = &mut self.spare;
        symbols.clear();
        steps.clear();
        bits.clear();
        blocks.clear();
        *words = output.words;
        SPARE.set(Some(Box::new(self.spare)));
    }

    #[inline(always)]
    fn write_steps(&self, output: &mut Output, (distances, low): (&Distances, u32), steps: &[Step]) {
        if self.lanes > 1 && low + 1 + DISTANCE_BITS <= RAW_MAX {
            let written = self.level.run(Write { output, distances, lanes: self.lanes, rows: steps });
            if written.is_some() {
                return;
            }
        }
        output.rows(distances, (self.lanes, steps));
    }

    #[inline(always)]
    fn write_bits(&self, output: &mut Output, kinds: &Kinds, bits: &[u8]) {
        if self.level.run(WriteBits { output, lanes: self.lanes, bits, kinds }).is_none() {
            output.bits(kinds, (self.lanes, bits));
        }
    }
}

/// Puts the steps to the values of a chunk into rows.
#[inline(always)]
fn put_steps(level: Level, ground: &Ground, (targets, planned): (&mut Targets, &mut Planned), mut rows: Rows<'_>) {
    if plan_at_once(level, ground, targets, planned, &mut rows) {
        return;
    }
    let mut number = 0;
    plan(ground, targets, |step| {
        rows.put(number, step);
        number += 1;
    });
}

/// States, and words, of which the last ones are written first.
pub(crate) struct Output {
    pub(crate) states: [u32; LANES],
    pub(crate) words: Vec<[u8; 2]>,
    /// Where the next word goes.
    pub(crate) place: usize,
}

impl Output {
    #[inline(always)]
    fn symbols(&mut self, symbols: &[Symbol]) {
        let mut reversed = symbols.iter().rev();
        while let Some(symbol) = reversed.next() {
            self.symbol(symbol, || reversed.next());
        }
    }

    /// Writes a symbol; of a pair the second one, which is met first, with the one before it.
    #[inline(always)]
    fn symbol<'a>(&mut self, symbol: &Symbol, before: impl FnOnce() -> Option<&'a Symbol>) {
        let (lane, share, slots) = (usize::from(symbol.lane) & (LANES - 1), u32::from(symbol.share), symbol.slots());
        if symbol.second {
            let Some(first) = before() else { return };
            self.pair(lane, [first.slots(), slots]);
        } else {
            self.states[lane] = put(self.room(lane, share, symbol.bits.into()), slots, symbol.bits.into());
        }
    }

    #[inline(always)]
    fn pair(&mut self, lane: usize, [first, second]: [Slots; 2]) {
        let state = self.room(lane, first.share * second.share, 2 * SHARE_BITS);
        self.states[lane] = put(put(state, second, SHARE_BITS), first, SHARE_BITS);
    }

    /// Does what [`WriteBits`] does.
    #[inline(always)]
    pub(crate) fn bits(&mut self, kinds: &Kinds, (lanes, bits): (usize, &[u8])) {
        let slots = |kind: u8| kinds[usize::from(kind) % kinds.len()];
        let chunks: &[[u8; VALUES]] = bits.as_chunks().0;
        for place in (0..VALUES).step_by(2).rev() {
            for (lane, chunk) in (0..lanes).rev().zip(chunks) {
                self.pair(lane & (LANES - 1), [slots(chunk[place]), slots(chunk[place + 1])]);
            }
        }
    }

    /// Writes rows of steps, the last row first.
    #[inline(always)]
    pub(crate) fn rows(&mut self, distances: &Distances, (lanes, rows): (usize, &[Step])) {
        for row in rows.chunks(lanes).rev() {
            (0..lanes).rev().zip(row).for_each(|(lane, &step)| self.step(lane, step, distances));
        }
    }

    #[inline(always)]
    fn step(&mut self, lane: usize, step: Step, distances: &Distances) {
        let (lane, width, raw) = (lane & (LANES - 1), step.width(), step.raw());
        let (slots, bits) = distances.slots_of(step.segment());
        let state = if bits + width > RAW_MAX {
            self.states[lane] = self.room(lane, 1, width) << width | raw;
            self.room(lane, slots.share, bits)
        } else {
            self.room(lane, slots.share, bits + width) << width | raw
        };
        self.states[lane] = put(state, slots, bits);
    }

    /// The state, made small enough for a symbol of so many slots of `2^bits` to be put into it.
    #[inline(always)]
    fn room(&mut self, lane: usize, share: u32, bits: u32) -> u32 {
        let state = self.states[lane];
        // Nobody could predict whether there is a word: each symbol writes one, and few of them stay.
        let full = u64::from(state) >= u64::from(share) << (32 - bits);
        if let Some(word) = self.words.get_mut(self.place) {
            *word = (state as u16).to_le_bytes();
        }
        self.place += usize::from(full);
        state >> (WORD_BITS * u32::from(full))
    }
}

impl Symbol {
    #[inline(always)]
    fn slots(&self) -> Slots {
        Slots { start: self.start.into(), share: self.share.into() }
    }
}

#[inline(always)]
fn put(state: u32, Slots { start, share }: Slots, bits: u32) -> u32 {
    let (whole, rest) = divide(state, share as u16);
    (whole << bits) + rest + start
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
    fn level(&self) -> Level {
        self.level
    }

    #[inline(always)]
    fn symbol(&mut self, lane: usize, table: impl Symbols, value: u32) -> u32 {
        self.push(lane, SHARE_BITS, table.slots(value), false);
        value
    }

    #[inline(always)]
    fn pair(&mut self, lane: usize, tables: [impl Symbols; 2], values: [u32; 2]) -> [u32; 2] {
        for (second, (table, &value)) in [false, true].into_iter().zip(tables.iter().zip(&values)) {
            self.push(lane, SHARE_BITS, table.slots(value), second);
        }
        values
    }

    #[inline(always)]
    fn raw(&mut self, lane: usize, width: u32, value: u32) -> u32 {
        // Each number has a slot.
        self.push(lane, width, Slots { start: value, share: 1 }, false);
        value
    }

    #[inline(always)]
    fn places(&mut self, ground: &Ground, walks: &mut [Walk], indices: &mut [u16]) {
        let Spare { symbols, steps, blocks, targets, planned, .. } = &mut self.spare;
        let (lanes, first) = (self.lanes, steps.len());
        blocks.push(Block { before: symbols.len(), first, content: Content::Steps(ground.distances, ground.low) });
        for (lane, walk) in walks.iter_mut().enumerate() {
            ground.lay(walk, self.level);
            targets.find(self.level, ground, walk, &indices[walk.values()]);
            let rows = Rows { steps, lanes, first: first + lanes - 1 - lane };
            put_steps(self.level, ground, (targets, planned), rows);
        }
    }

    #[inline(always)]
    fn bits(&mut self, counts: &[usize; LANES], zeros: Zeros<'_>, bits: &mut [u8]) {
        let lanes = self.lanes;
        let full = lanes > 1 && counts[..lanes].iter().all(|&count| count == VALUES);
        let Some(kinds) = kinds(zeros).filter(|_| full) else {
            return bits_in_turn(self, counts, zeros, bits);
        };
        let Spare { symbols, bits: all, blocks, .. } = &mut self.spare;
        blocks.push(Block { before: symbols.len(), first: all.len(), content: Content::Bits(kinds) });
        match zeros {
            Zeros::All(_) => bits.rchunks(VALUES).for_each(|bits| all.extend_from_slice(bits)),
            Zeros::Each(slots, _) => {
                for (bits, slots) in bits.rchunks(VALUES).zip(slots.rchunks(VALUES)) {
                    all.extend(bits.iter().zip(slots).map(|(&bit, &slots)| u8::from(slots != EVEN) << 1 | bit));
                }
            }
        }
    }
}

/// The slots of each kind of bit, if none has all of them.
#[inline(always)]
fn kinds(zeros: Zeros<'_>) -> Option<Kinds> {
    let other = match zeros {
        Zeros::All(slots) => [slots, slots],
        Zeros::Each(_, slots) => [EVEN, slots],
    };
    let [a, b] = other.map(|slots| Bit(slots.into()));
    (!other.contains(&0)).then(|| [a.slots(0), a.slots(1), b.slots(0), b.slots(1)])
}
