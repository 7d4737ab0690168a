//! Bits that are not equally probable, of all states of a code at once, written.

use crate::codec::{Output, RAW_MAX, SHARE_BITS, Slots};
use crate::kernel::bits::VALUES;
use crate::kernel::steps::{keep, states};
use crate::kernel::tables::LANE;
use crate::kernel::vectors::{Job, Vectors};

/// Slots of a bit by its kind, which is the number of a table with the bit in its lowest place.
pub(crate) type Kinds = [Slots; 4];

/// Writes the bits of a full chunk of each state, the last ones first: a state is made small enough for two of them at a time.
pub(crate) struct WriteBits<'a> {
    pub(crate) output: &'a mut Output,
    pub(crate) lanes: usize,
    /// The kinds of a chunk's bits, chunk by chunk, the last state's first.
    pub(crate) bits: &'a [u8],
    /// None has no slots, nor all.
    pub(crate) kinds: &'a Kinds,
}

impl Job for WriteBits<'_> {
    type Result = ();

    #[inline(always)]
    fn run<I: Vectors>(self, i: I) {
        match self.lanes / I::COUNT {
            1 => self.write::<I, 1>(i),
            2 => self.write::<I, 2>(i),
            _ => self.write::<I, 4>(i),
        }
    }
}

impl WriteBits<'_> {
    #[inline(always)]
    fn write<I: Vectors, const V: usize>(self, i: I) {
        let WriteBits { output, lanes, bits, kinds } = self;
        let (tables, mut all) = (Tables::new(i, kinds), states::<I, V>(i, output, lanes));
        let mut fours = [i.number(0); V];
        for pair in (0..VALUES / 2).rev() {
            let half = pair as u32 % 2;
            if half == 1 {
                fours = fours_of(i, bits, pair / 2);
            }
            for (states, &fours) in all.iter_mut().zip(&fours) {
                *states = tables.pair(i, *states, i.right(fours, 2 * SHARE_BITS * half), output);
            }
        }
        keep(i, output, lanes, &all);
    }
}

/// The kinds of values 4n to 4n + 3 of each chunk.
#[inline(always)]
fn fours_of<I: Vectors, const V: usize>(i: I, bits: &[u8], number: usize) -> [I::Vector; V] {
    let mut fours = [i.number(0); V];
    for (vector, fours) in fours.iter_mut().enumerate() {
        *fours = i.fours::<VALUES>(&bits[VALUES * I::COUNT * vector + 4 * number..]);
    }
    fours
}

/// By kind: the slots, where they begin, and `2^(32 + shift)` divided by how many they are, rounded down; the shift is the largest for which that has
/// 32 bits. A state's quotient is by one too small at most.
struct Tables<I: Vectors> {
    share: I::Vector,
    start: I::Vector,
    shift: I::Vector,
    reciprocal: I::Numbers,
}

impl<I: Vectors> Tables<I> {
    #[inline(always)]
    fn new(i: I, kinds: &Kinds) -> Tables<I> {
        let (mut bytes, mut reciprocals) = ([[0; LANE]; 3], [0; LANE]);
        for (kind, slots) in kinds.iter().enumerate() {
            let shift = slots.share.next_power_of_two().ilog2().saturating_sub(1);
            (bytes[0][kind], bytes[1][kind], bytes[2][kind]) = (slots.share as u8, slots.start as u8, shift as u8);
            let reciprocal = (1_u64 << (32 + shift)).checked_div(slots.share.into()).unwrap_or(0);
            reciprocals[kind] = reciprocal.min(u32::MAX.into()) as u32;
        }
        let [share, start, shift] = bytes.map(|bytes| i.table(bytes));
        Tables { share, start, shift, reciprocal: i.numbers(reciprocals) }
    }

    /// Writes two bits of each state, whose kinds are the two lowest bytes.
    #[inline(always)]
    fn pair(&self, i: I, states: I::Vector, kinds: I::Vector, output: &mut Output) -> I::Vector {
        let (one, two) = (i.and(kinds, i.number(3)), i.and(i.right(kinds, SHARE_BITS), i.number(3)));
        let (first, second) = (i.look_up(self.share, one), i.look_up(self.share, two));
        // Room for both.
        let upper = i.right(states, RAW_MAX);
        let full = i.reach(upper, i.multiply(first, second));
        output.place += i.pack_halves(full, states, &mut output.words[output.place..]);
        let states = self.put(i, i.choose(full, upper, states), (two, second));
        self.put(i, states, (one, first))
    }

    /// `2^8 whole + rest + start`, where the rest is what `whole` times `share` leaves.
    #[inline(always)]
    fn put(&self, i: I, states: I::Vector, (kind, share): (I::Vector, I::Vector)) -> I::Vector {
        let high = i.high(states, i.look_up_number(&self.reciprocal, kind));
        let whole = i.right_by(high, i.look_up(self.shift, kind));
        let rest = i.sub(states, i.multiply(whole, share));
        let whole = i.add(whole, i.only(i.reach(rest, share), i.number(1)));
        let more = i.multiply(whole, i.sub(i.number(1 << SHARE_BITS), share));
        i.add(i.add(states, more), i.look_up(self.start, kind))
    }
}
