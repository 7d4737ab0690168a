//! Bits and symbols of all states of a code at once.

use crate::codec::{LANES, RAW_MAX, Round, SHARE_BITS, Stream, Zeros};
use crate::kernel::tables::LANE;
use crate::kernel::vectors::{Job, Vectors};

/// Values of a full chunk.
pub(crate) const VALUES: usize = 64;
const SLOTS: u32 = 1 << SHARE_BITS;

/// Bits of the values of as many full chunks as there are states: of which nothing is known, or the slots of those that are 0.
pub(crate) struct Bits<'a, 'b> {
    pub(crate) stream: &'a mut Stream<'b>,
    pub(crate) zeros: Option<Zeros<'a>>,
    pub(crate) chunks: &'a mut [[u8; VALUES]],
}

impl Job for Bits<'_, '_> {
    type Result = ();

    #[inline(always)]
    fn run<I: Vectors>(self, vectors: I) {
        match self.chunks.len() / I::COUNT {
            1 => self.take::<I, 1>(vectors),
            2 => self.take::<I, 2>(vectors),
            _ => self.take::<I, 4>(vectors),
        }
    }
}

impl Bits<'_, '_> {
    #[inline(always)]
    fn take<I: Vectors, const V: usize>(self, vectors: I) {
        let halves = match self.zeros {
            None => take_even::<I, V>(vectors, self.stream),
            Some(zeros) => take_coded::<I, V>(vectors, self.stream, zeros),
        };
        spread(vectors, &halves, self.chunks);
    }
}

/// The lower and the upper halves of the bits of each vector of chunks.
type Halves<I, const V: usize> = [[<I as Vectors>::Vector; 2]; V];

#[inline(always)]
fn take_even<I: Vectors, const V: usize>(i: I, stream: &mut Stream<'_>) -> Halves<I, V> {
    let (mut halves, mut all) = ([[i.number(0); 2]; V], states::<I, V>(i, stream));
    for turn in 0..VALUES / RAW_MAX as usize {
        let mut round = stream.round();
        for (states, halves) in all.iter_mut().zip(&mut halves) {
            let half = &mut halves[turn / 2];
            *half = match turn % 2 {
                0 => i.and(*states, i.number((1 << RAW_MAX) - 1)),
                _ => i.or(*half, i.left(*states, RAW_MAX)),
            };
            *states = i.refill(i.right(*states, RAW_MAX), &mut round);
        }
        stream.next += round.used;
    }
    keep(i, stream, &all);
    halves
}

#[inline(always)]
fn take_coded<I: Vectors, const V: usize>(i: I, stream: &mut Stream<'_>, zeros: Zeros<'_>) -> Halves<I, V> {
    let (mut halves, mut slots) = ([[i.number(0); 2]; V], [i.number(0); V]);
    let mut states = states::<I, V>(i, stream);
    for turn in 0..VALUES / 2 {
        let mut round = stream.round();
        for vector in 0..V {
            if turn % 2 == 0 {
                slots[vector] = four(i, zeros, (vector, turn / 2));
            }
            let ([one, two], left) = two_bits(i, states[vector], slots[vector]);
            let place = 2 * (turn % 16);
            let both = i.or(i.only(one, i.number(1 << place)), i.only(two, i.number(2 << place)));
            let half = &mut halves[vector][turn / 16];
            *half = i.or(*half, both);
            states[vector] = i.refill(left, &mut round);
            slots[vector] = i.right(slots[vector], 2 * SHARE_BITS);
        }
        stream.next += round.used;
    }
    keep(i, stream, &states);
    halves
}

/// The slots of 0 of values 4n to 4n + 3 of each chunk of a vector.
#[inline(always)]
fn four<I: Vectors>(i: I, zeros: Zeros<'_>, (vector, number): (usize, usize)) -> I::Vector {
    match zeros {
        Zeros::All(slots) => i.number(u32::from_ne_bytes([slots; 4])),
        Zeros::Each(slots, _) => i.fours::<VALUES>(&slots[VALUES * I::COUNT * vector + 4 * number..]),
    }
}

/// Takes a bit of which 0 has so many slots.
#[inline(always)]
fn bit<I: Vectors>(i: I, states: I::Vector, zero: I::Vector) -> (I::Mask, I::Vector) {
    let slot = i.and(states, i.number(SLOTS - 1));
    let one = i.reach(slot, zero);
    let share = i.choose(one, i.sub(i.number(SLOTS), zero), zero);
    let above = i.sub(slot, i.only(one, zero));
    (one, i.add(i.multiply(share, i.right(states, SHARE_BITS)), above))
}

/// Takes two bits, of whose zeros the lower bytes have the slots.
#[inline(always)]
fn two_bits<I: Vectors>(i: I, states: I::Vector, slots: I::Vector) -> ([I::Mask; 2], I::Vector) {
    let (one, states) = bit(i, states, i.and(slots, i.number(SLOTS - 1)));
    let (two, states) = bit(i, states, i.and(i.right(slots, SHARE_BITS), i.number(SLOTS - 1)));
    ([one, two], states)
}

/// A byte for each bit.
#[inline(always)]
fn spread<I: Vectors, const V: usize>(i: I, halves: &Halves<I, V>, chunks: &mut [[u8; VALUES]]) {
    for (halves, chunks) in halves.iter().zip(chunks.chunks_mut(I::COUNT)) {
        let mut bits = [[0; LANE]; 2];
        i.store(halves[0], &mut bits[0]);
        i.store(halves[1], &mut bits[1]);
        for (lane, chunk) in chunks.iter_mut().enumerate() {
            i.spread(u64::from(bits[1][lane]) << 32 | u64::from(bits[0][lane]), chunk);
        }
    }
}

/// The states of so many vectors.
#[inline(always)]
fn states<I: Vectors, const V: usize>(i: I, stream: &Stream<'_>) -> [I::Vector; V] {
    let mut all = [i.number(0); V];
    for (vector, states) in all.iter_mut().zip(stream.states.chunks_exact(I::COUNT)) {
        *vector = i.load(states);
    }
    all
}

#[inline(always)]
fn keep<I: Vectors, const V: usize>(i: I, stream: &mut Stream<'_>, all: &[I::Vector; V]) {
    for (&vector, states) in all.iter().zip(stream.states.chunks_exact_mut(I::COUNT)) {
        i.store(vector, states);
    }
}

/// The symbols of a table: where their slots begin, and the last slot of each.
struct Symbols<'a, I: Vectors> {
    starts: &'a [u16],
    first: I::Vector,
    last: I::Vector,
}

impl<I: Vectors> Symbols<'_, I> {
    /// From where symbols begin, and the end of the last; at most sixteen.
    #[inline(always)]
    fn new(i: I, starts: &[u16]) -> Symbols<'_, I> {
        let (mut first, mut last) = ([0; LANE], [0; LANE]);
        for ((first, last), bounds) in first.iter_mut().zip(&mut last).zip(starts.windows(2)) {
            // A symbol without slots is never found.
            (*first, *last) = (bounds[0] as u8, bounds[1].wrapping_sub(1) as u8);
        }
        Symbols { starts, first: i.table(first), last: i.table(last) }
    }

    /// Takes a symbol.
    #[inline(always)]
    fn take(&self, i: I, states: I::Vector) -> (I::Vector, I::Vector) {
        let slot = i.and(states, i.number(SLOTS - 1));
        let mut symbol = i.number(0);
        for &start in &self.starts[1..self.starts.len() - 1] {
            symbol = i.add(symbol, i.only(i.reach(slot, i.number(start.into())), i.number(1)));
        }
        let (first, last) = (i.look_up(self.first, symbol), i.look_up(self.last, symbol));
        let share = i.add(i.sub(last, first), i.number(1));
        (symbol, i.add(i.multiply(share, i.right(states, SHARE_BITS)), i.sub(slot, first)))
    }
}

/// Pairs of symbols, one of each of so many states in turn. The tables tell where symbols begin, and the end of the last.
pub(crate) struct Pairs<'a, 'b> {
    pub(crate) stream: &'a mut Stream<'b>,
    pub(crate) tables: [&'a [u16]; 2],
    pub(crate) lanes: usize,
    pub(crate) pairs: &'a mut [[u8; 2]],
}

impl Job for Pairs<'_, '_> {
    type Result = ();

    #[inline(always)]
    fn run<I: Vectors>(self, i: I) {
        match self.lanes / I::COUNT {
            1 => self.take::<I, 1>(i),
            2 => self.take::<I, 2>(i),
            _ => self.take::<I, 4>(i),
        }
    }
}

impl Pairs<'_, '_> {
    #[inline(always)]
    fn take<I: Vectors, const V: usize>(self, i: I) {
        let Pairs { stream, tables: [one, two], lanes, pairs } = self;
        let (one, two) = (Symbols::new(i, one), Symbols::new(i, two));
        let mut all = states::<I, V>(i, stream);
        for pairs in pairs.chunks_exact_mut(lanes) {
            let mut round = stream.round();
            for (states, pairs) in all.iter_mut().zip(pairs.chunks_exact_mut(I::COUNT)) {
                let (first, left) = one.take(i, *states);
                let (second, left) = two.take(i, left);
                *states = i.refill(left, &mut round);
                i.store_halves(i.or(first, i.left(second, 8)), pairs);
            }
            stream.next += round.used;
        }
        keep(i, stream, &all);
    }
}

/// A 0 of which it is known how many slots it has, and a symbol of each of one or two tables, of each state in turn: if all are such, and no symbol is
/// the last of 16. Otherwise nothing is read.
pub(crate) struct Headers<'a, 'b, const N: usize> {
    pub(crate) stream: &'a mut Stream<'b>,
    pub(crate) zero: u32,
    pub(crate) tables: [&'a [u16]; N],
    pub(crate) lanes: usize,
}

impl<const N: usize> Job for Headers<'_, '_, N> {
    type Result = Option<[[u32; N]; LANES]>;

    #[inline(always)]
    fn run<I: Vectors>(self, i: I) -> Self::Result {
        let Headers { stream, zero, tables, lanes } = self;
        match lanes / I::COUNT {
            1 => take_headers::<I, 1, N>(i, stream, zero, tables),
            2 => take_headers::<I, 2, N>(i, stream, zero, tables),
            _ => take_headers::<I, 4, N>(i, stream, zero, tables),
        }
    }
}

#[inline(always)]
fn take_headers<I: Vectors, const V: usize, const N: usize>(
    i: I,
    stream: &mut Stream<'_>,
    zero: u32,
    tables: [&[u16]; N],
) -> Option<[[u32; N]; LANES]> {
    let one = Symbols::new(i, tables[0]);
    let other = Symbols::new(i, tables[N - 1]);
    let (mut all, mut after) = ([[0; N]; LANES], states::<I, V>(i, stream));
    let mut round = stream.round();
    for (states, all) in after.iter_mut().zip(all.chunks_exact_mut(I::COUNT)) {
        let (others, left) = bit(i, *states, i.number(zero));
        if i.any(i.either(others, i.small(left))) {
            return None;
        }
        let (symbols, left) = if N > 1 {
            two_symbols(i, [&one, &other], left, &mut round)
        } else {
            let (symbol, left) = one.take(i, left);
            ([symbol; 2], i.refill(left, &mut round))
        };
        *states = left;
        for (place, symbols) in symbols.into_iter().take(N).enumerate() {
            if i.any(i.reach(symbols, i.number(LANE as u32 - 1))) {
                return None;
            }
            let mut numbers = [0; LANE];
            i.store(symbols, &mut numbers);
            for (all, symbol) in all.iter_mut().zip(numbers) {
                all[place] = symbol;
            }
        }
    }
    stream.next += round.used;
    keep(i, stream, &after);
    Some(all)
}

/// Two symbols of each state, each refilled. A state that is refilled for the first is so large then that it is not for the second: whether it is for the
/// second is known of all others before any word is.
#[inline(always)]
fn two_symbols<I: Vectors>(
    i: I,
    [one, two]: [&Symbols<'_, I>; 2],
    states: I::Vector,
    round: &mut Round<'_>,
) -> ([I::Vector; 2], I::Vector) {
    let (first, states) = one.take(i, states);
    let early = i.small(states);
    let late = i.without(i.small(two.take(i, states).1), early);
    let words = i.words(i.either(early, late), round);
    let (second, states) = two.take(i, i.filled(states, early, words));
    ([first, second], i.filled(states, late, words))
}
