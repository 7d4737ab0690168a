//! The reading side of the code.

use crate::codec::ans::{Bit, Coding, LANES, LEAST, SHARE_BITS, STATE_BYTES, Slots, Symbols, WORD_BITS, Zeros};
use crate::codec::ans::{bits_in_turn, even_bits_in_turn, pairs_in_turn};
use crate::codec::model::{Element, Ground, Path, Shares, Walk};
use crate::kernel::Level;
use crate::kernel::{
    bits::{self, Bits, Headers, Pairs},
    gather::Lists,
    thirty_two::{Group, Places},
};
#[cfg(target_arch = "x86_64")]
use crate::kernel::{found, sixteen::Task};

/// What a section is read from.
pub(crate) trait Source: Coding {
    /// Whether more was read than there is.
    fn is_overrun(&self) -> bool;

    /// Whether everything was read and is as a writer would have it.
    fn is_exhausted(&self) -> bool;

    /// Whether it finds the ways of a writer again.
    fn plans(&self) -> bool {
        false
    }
}

/// States, and the words that follow.
pub(crate) struct Stream<'a> {
    pub(crate) states: [u32; LANES],
    pub(crate) words: &'a [[u8; 2]],
    /// The next word. What comes past the end is zeros.
    pub(crate) next: usize,
    /// The last words, and zeros.
    last: [[u8; 2]; 2 * LANES],
}

impl<'a> Stream<'a> {
    pub(crate) fn new(states: [u32; LANES], words: &'a [[u8; 2]]) -> Stream<'a> {
        let mut last = [[0; 2]; 2 * LANES];
        let tail = &words[words.len().saturating_sub(LANES)..];
        last[..tail.len()].copy_from_slice(tail);
        Stream { states, words, next: 0, last }
    }

    #[inline(always)]
    pub(crate) fn state(&self, lane: usize) -> u32 {
        self.states[lane & (LANES - 1)]
    }

    /// Keeps a state, refilled if it has become small.
    #[inline(always)]
    pub(crate) fn refill(&mut self, lane: usize, state: u32) {
        self.states[lane & (LANES - 1)] = self.refilled(state);
    }

    /// The state, refilled if it has become small.
    #[inline(always)]
    pub(crate) fn refilled(&mut self, state: u32) -> u32 {
        let word = u16::from_le_bytes(self.words.get(self.next).copied().unwrap_or_default());
        let short = state < LEAST;
        self.next += usize::from(short);
        // Without a branch that nobody could predict.
        let mask = 0_u32.wrapping_sub(short.into());
        state << (mask & WORD_BITS) | u32::from(word) & mask
    }

    /// The next words. Nothing is called on the way to them, since a caller that has its vectors in registers would have to put them all away.
    #[inline(always)]
    pub(crate) fn round(&self) -> Round<'_> {
        let words = self.words.get(self.next..).and_then(<[_]>::first_chunk);
        let words = words.unwrap_or_else(|| {
            let passed = self.next.saturating_sub(self.words.len().saturating_sub(LANES));
            self.last[passed.min(LANES)..].first_chunk().unwrap_or(&[[0; 2]; LANES])
        });
        Round { words, used: 0 }
    }

    /// So many words from the next one on.
    #[inline(always)]
    pub(crate) fn window<'b, const N: usize>(&self, end: &'b mut [[u8; 2]; N]) -> &'b [[u8; 2]; N]
    where
        'a: 'b,
    {
        let words: &'a [[u8; 2]] = self.words;
        let rest = words.get(self.next..).unwrap_or_default();
        rest.first_chunk().unwrap_or_else(|| {
            *end = [[0; 2]; N];
            end[..rest.len()].copy_from_slice(rest);
            end
        })
    }
}

/// As many words as all states take once.
pub(crate) struct Round<'a> {
    words: &'a [[u8; 2]; LANES],
    /// How many of them were taken.
    pub(crate) used: usize,
}

impl Round<'_> {
    /// The words for so many states, none of which had one.
    #[inline(always)]
    pub(crate) fn next<const N: usize>(&self) -> &[[u8; 2]; N] {
        self.words[self.used.min(LANES - N)..].first_chunk().unwrap_or(&[[0; 2]; N])
    }
}

/// Reads what a [`Writer`] wrote.
pub(crate) struct Reader<'a> {
    lanes: usize,
    stream: Stream<'a>,
    pub(crate) spare: Order,
    level: Level,
}

/// What is known of a group of chunks, and where their indices are to be put.
pub(crate) type Ways<'a> = (&'a Ground, &'a mut [Walk], &'a mut [u16]);

/// Memory to put the indices of a group in order.
#[derive(Debug, Default)]
pub(crate) struct Order {
    elements: Vec<Element>,
    bits: Vec<u64>,
    /// For the vectors of each kind.
    #[cfg(target_arch = "x86_64")]
    found: Option<found::Found>,
    lists: Option<Box<Lists>>,
}

impl<'a> Reader<'a> {
    /// `None` if the bytes do not even hold the states, or a part of a word.
    pub(crate) fn new(bytes: &'a [u8], lanes: usize, level: Level) -> Option<Reader<'a>> {
        let (first, rest) = bytes.split_at_checked(STATE_BYTES * lanes)?;
        let mut states = [LEAST; LANES];
        for (state, bytes) in states.iter_mut().zip(first.as_chunks().0) {
            *state = u32::from_le_bytes(*bytes);
        }
        let (words, part) = rest.as_chunks();
        let sound = part.is_empty() && states.iter().all(|&state| state >= LEAST);
        sound.then_some(Reader { lanes, stream: Stream::new(states, words), spare: Order::default(), level })
    }

    /// The symbol of a state's slot, and the state without it.
    #[inline(always)]
    fn take(state: u32, table: impl Symbols) -> (u32, u32) {
        let slot = state & ((1 << SHARE_BITS) - 1);
        let symbol = table.symbol(slot);
        let Slots { start, share } = table.slots(symbol);
        (symbol, share * (state >> SHARE_BITS) + slot.wrapping_sub(start))
    }

    /// Reads the bits of each chunk at once, if all states have a full one and the machine has vectors.
    #[inline(always)]
    fn bits_at_once(&mut self, counts: &[usize; LANES], zeros: Option<Zeros<'_>>, bits: &mut [u8]) -> bool {
        let full = self.lanes > 1 && counts[..self.lanes].iter().all(|&count| count == bits::VALUES);
        let job = Bits { stream: &mut self.stream, zeros, chunks: bits.as_chunks_mut().0 };
        full && self.level.run(job).is_some()
    }

    #[cfg(target_arch = "x86_64")]
    fn task<'b>(&'b mut self, (ground, walks, indices): Ways<'b>) -> Task<'b, 'a> {
        Task { stream: &mut self.stream, found: self.spare.found.get_or_insert_default(), ground, walks, indices }
    }

    /// Whether it is worth while to read from two at a time.
    #[inline(always)]
    pub(crate) fn pairs(level: Level) -> bool {
        level != Level::Plain
    }

    /// Reads the indices of a group from each of two readers.
    #[inline(always)]
    pub(crate) fn places_of_two([one, other]: [&mut Reader<'_>; 2], [ways, other_ways]: [Ways<'_>; 2]) {
        let ((ground, walks, indices), (other_ground, other_walks, other_indices)) = (ways, other_ways);
        #[cfg(target_arch = "x86_64")]
        if let Level::Avx512(proof) = one.level
            && Task::read_two(
                proof,
                [one.task((ground, walks, indices)), other.task((other_ground, other_walks, other_indices))],
            )
        {
            return;
        }
        let both = Places {
            lists: &mut one.spare.lists,
            groups: [
                Group { stream: &mut one.stream, ground, walks, indices },
                Group { stream: &mut other.stream, ground: other_ground, walks: other_walks, indices: other_indices },
            ],
        };
        if one.level.run_twins(both) == Some(true) {
            return;
        }
        one.places(ground, walks, indices);
        other.places(other_ground, other_walks, other_indices);
    }

    /// Takes a step of each chunk that has values left, and tells whether there were any.
    #[inline(always)]
    fn turn(&mut self, ground: &Ground, walks: &[Walk], (paths, ends): (&mut [Path], &mut [usize])) -> bool {
        let mut open = false;
        for (lane, ((walk, path), end)) in walks.iter().zip(paths).zip(ends).enumerate() {
            if *end < walk.values().end {
                let (element, found) = path.step((ground, walk), &mut self.stream, lane);
                self.spare.elements[*end] = element;
                *end += usize::from(found);
                open = true;
            }
        }
        open
    }

    /// Reads the indices of a group chunk by chunk, in turn.
    #[inline(always)]
    fn walk(&mut self, ground: &Ground, walks: &mut [Walk], indices: &mut [u16]) {
        self.spare.elements.resize(indices.len() + 1, Element(0));
        let (mut paths, mut ends) = ([Path::default(); LANES], [0; LANES]);
        for ((walk, path), end) in walks.iter_mut().zip(&mut paths).zip(&mut ends) {
            ground.lay(walk, self.level);
            (*path, *end) = (Path::new(walk), walk.first);
        }
        while self.turn(ground, walks, (&mut paths, &mut ends)) {}
        for walk in walks {
            let (sides, found, values) = (ground.sides(walk), &self.spare.elements, walk.values());
            let indices = &mut indices[values.clone()];
            for (index, &element) in indices.iter_mut().zip(&found[values]) {
                *index = walk.index(sides, element);
            }
            if !walk.fault {
                sort(indices, walk.cut.elements, &mut self.spare.bits);
            }
        }
    }
}

impl Source for Reader<'_> {
    fn is_overrun(&self) -> bool {
        self.stream.next > self.stream.words.len()
    }

    fn is_exhausted(&self) -> bool {
        self.stream.next == self.stream.words.len() && self.stream.states == [LEAST; LANES]
    }
}

impl Coding for Reader<'_> {
    #[inline(always)]
    fn lanes(&self) -> usize {
        self.lanes
    }

    #[inline(always)]
    fn level(&self) -> Level {
        self.level
    }

    #[inline(always)]
    fn symbol(&mut self, lane: usize, table: impl Symbols, _: u32) -> u32 {
        let (symbol, state) = Reader::take(self.stream.state(lane), table);
        self.stream.refill(lane, state);
        symbol
    }

    #[inline(always)]
    fn pair(&mut self, lane: usize, [one, two]: [impl Symbols; 2], _: [u32; 2]) -> [u32; 2] {
        let (first, state) = Reader::take(self.stream.state(lane), one);
        let (second, state) = Reader::take(state, two);
        self.stream.refill(lane, state);
        [first, second]
    }

    #[inline(always)]
    fn raw(&mut self, lane: usize, width: u32, _: u32) -> u32 {
        let state = self.stream.state(lane);
        self.stream.refill(lane, state >> width);
        state & ((1 << width) - 1)
    }

    #[inline(always)]
    fn places(&mut self, ground: &Ground, walks: &mut [Walk], indices: &mut [u16]) {
        #[cfg(target_arch = "x86_64")]
        if let Level::Avx512(proof) = self.level
            && self.task((ground, walks, indices)).read(proof)
        {
            return;
        }
        let groups = [Group { stream: &mut self.stream, ground, walks, indices }];
        if self.level.run_twins(Places { lists: &mut self.spare.lists, groups }) == Some(true) {
            return;
        }
        self.walk(ground, walks, indices);
    }

    #[inline(always)]
    fn symbols<const M: usize, const N: usize>(
        &mut self,
        zero: Bit,
        tables: [&Shares<M>; N],
    ) -> Option<[[u32; N]; LANES]> {
        if self.lanes > 1 {
            let (stream, tables) = (&mut self.stream, tables.map(Shares::starts));
            return self.level.run(Headers { stream, zero: zero.0, tables, lanes: self.lanes }).flatten();
        }
        None
    }

    #[inline(always)]
    fn bits(&mut self, counts: &[usize; LANES], zeros: Zeros<'_>, bits: &mut [u8]) {
        if self.bits_at_once(counts, Some(zeros), bits) {
            return;
        }
        bits_in_turn(self, counts, zeros, bits);
    }

    #[inline(always)]
    fn even_bits(&mut self, counts: &[usize; LANES], bits: &mut [u8]) {
        if self.bits_at_once(counts, None, bits) {
            return;
        }
        even_bits_in_turn(self, counts, bits);
    }

    #[inline(always)]
    fn pairs<const M: usize>(&mut self, tables: [&Shares<M>; 2], pairs: &mut [[u8; 2]]) {
        if self.lanes > 1 {
            let (rounds, rest) = pairs.split_at_mut(pairs.len() / self.lanes * self.lanes);
            let (stream, tables_) = (&mut self.stream, tables.map(Shares::starts));
            if self.level.run(Pairs { stream, tables: tables_, lanes: self.lanes, pairs: rounds }).is_some() {
                return pairs_in_turn(self, tables, rest);
            }
        }
        pairs_in_turn(self, tables, pairs);
    }
}

/// Few enough numbers to compare each with all.
const FEW: usize = 64;

/// Sorts different numbers below `end`.
#[inline(always)]
fn sort(numbers: &mut [u16], end: usize, bits: &mut Vec<u64>) {
    if numbers.len() > FEW {
        return sort_many(numbers, end, bits);
    }
    let (mut all, mut places, mut sorted) = ([u16::MAX; FEW], [0_u16; FEW], [0; FEW]);
    all[..numbers.len()].copy_from_slice(numbers);
    for number in all {
        places.iter_mut().zip(all).for_each(|(place, other)| *place += u16::from(number < other));
    }
    for (&number, place) in numbers.iter().zip(places) {
        sorted[usize::from(place) % FEW] = number;
    }
    numbers.copy_from_slice(&sorted[..numbers.len()]);
}

/// Sorts numbers by a bit for each that there might be.
#[inline(always)]
fn sort_many(numbers: &mut [u16], end: usize, bits: &mut Vec<u64>) {
    bits.clear();
    bits.resize(end.div_ceil(64), 0);
    numbers.iter().for_each(|&number| bits[usize::from(number >> 6)] |= 1 << (number & 63));
    let mut slots = numbers.iter_mut();
    for (first, word) in (0_u16..).step_by(64).zip(bits) {
        let mut rest = *word;
        while rest != 0 {
            if let Some(slot) = slots.next() {
                *slot = first + rest.trailing_zeros() as u16;
            }
            rest &= rest - 1;
        }
    }
}
