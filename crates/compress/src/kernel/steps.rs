//! Steps from value to value of all states of a code at once, written.

use crate::codec::{DISTANCE_BITS, Distances, Output, RAW_MAX, Slots, Step};
use crate::kernel::tables::LANE;
use crate::kernel::vectors::{Job, Vectors};

/// Writes rows of steps, the last row first. A row has a step for each state, the last state first; none has more bits than a state gives
/// before it is refilled.
pub(crate) struct Write<'a> {
    pub(crate) output: &'a mut Output,
    pub(crate) distances: &'a Distances,
    pub(crate) lanes: usize,
    pub(crate) rows: &'a [Step],
}

impl Job for Write<'_> {
    type Result = ();

    #[inline(always)]
    fn run<I: Vectors>(self, i: I) {
        match self.lanes / I::COUNT {
            1 => self.rows::<I, 1>(i),
            2 => self.rows::<I, 2>(i),
            _ => self.rows::<I, 4>(i),
        }
    }
}

impl Write<'_> {
    #[inline(always)]
    fn rows<I: Vectors, const V: usize>(self, i: I) {
        let Write { output, distances, lanes, rows } = self;
        let (segments, mut all) = (Segments::new(i, distances), states::<I, V>(i, output, lanes));
        for row in Step::numbers(rows).chunks_exact(lanes).rev() {
            for (states, steps) in all.iter_mut().zip(row.chunks_exact(I::COUNT)) {
                *states = write(i, *states, i.load(steps), &segments, output);
            }
        }
        keep(i, output, lanes, &all);
    }
}

/// The states, the last one first.
#[inline(always)]
pub(super) fn states<I: Vectors, const V: usize>(i: I, output: &Output, lanes: usize) -> [I::Vector; V] {
    let (mut reversed, mut all) = (output.states, [i.number(0); V]);
    reversed[..lanes].reverse();
    for (states, numbers) in all.iter_mut().zip(reversed.chunks_exact(I::COUNT)) {
        *states = i.load(numbers);
    }
    all
}

/// Puts such states back.
#[inline(always)]
pub(super) fn keep<I: Vectors, const V: usize>(i: I, output: &mut Output, lanes: usize, all: &[I::Vector; V]) {
    for (numbers, &states) in output.states.chunks_exact_mut(I::COUNT).zip(all) {
        i.store(states, numbers);
    }
    output.states[..lanes].reverse();
}

impl Step {
    fn numbers(steps: &[Step]) -> &[u32] {
        // SAFETY: a step is a number.
        unsafe { std::slice::from_raw_parts(steps.as_ptr().cast(), steps.len()) }
    }
}

/// By the number of a segment: its slots, where they begin, and `2^(32 + shift)` divided by how many they are, rounded up; the shift is the
/// largest for which that has 32 bits (of one there is none). A state is below `2^26` times the slots, which are fewer than 32: its quotient is
/// exact.
struct Segments<I: Vectors> {
    share: I::Vector,
    start: I::Vector,
    shift: I::Vector,
    reciprocal: I::Numbers,
}

impl<I: Vectors> Segments<I> {
    #[inline(always)]
    fn new(i: I, distances: &Distances) -> Segments<I> {
        let mut bytes = [[0; LANE]; 3];
        let mut reciprocals = [0; LANE];
        for (segment, &slots) in distances.slots.iter().enumerate() {
            let shift = shift(slots);
            (bytes[0][segment], bytes[1][segment], bytes[2][segment]) =
                (slots.share as u8, slots.start as u8, shift as u8);
            reciprocals[segment] = (1_u64 << (32 + shift)).div_ceil(slots.share.into()) as u32;
        }
        let [share, start, shift] = bytes.map(|bytes| i.table(bytes));
        Segments { share, start, shift, reciprocal: i.numbers(reciprocals) }
    }
}

fn shift(slots: Slots) -> u32 {
    slots.share.next_power_of_two().ilog2().saturating_sub(1)
}

/// Writes a step of each state.
#[inline(always)]
fn write<I: Vectors>(
    i: I,
    states: I::Vector,
    steps: I::Vector,
    segments: &Segments<I>,
    output: &mut Output,
) -> I::Vector {
    let (raw, segment) = (i.and(steps, i.number(0xffff)), i.right(steps, Step::SEGMENT));
    let width = i.and(i.right(steps, Step::WIDTH), i.number(0xff));
    let coded = i.reach(segment, i.number(1));
    let share = i.look_up(segments.share, segment);
    // Room for what comes.
    let all = i.add(width, i.only(coded, i.number(DISTANCE_BITS)));
    let full = i.reach(i.right_by(states, i.sub(i.number(u32::BITS), all)), share);
    output.place += i.pack_halves(full, states, &mut output.words[output.place..]);
    let states = i.choose(full, i.right(states, RAW_MAX), states);
    let states = i.or(i.left_by(states, width), raw);
    // `2^6 whole + rest + start`, where the rest is what `whole` times `share` leaves.
    let high = i.high(states, i.look_up_number(&segments.reciprocal, segment));
    let whole = i.right_by(high, i.look_up(segments.shift, segment));
    let whole = i.choose(i.reach(i.number(1), share), states, whole);
    let more = i.multiply(whole, i.sub(i.number(1 << DISTANCE_BITS), share));
    let more = i.add(more, i.look_up(segments.start, segment));
    i.add(states, i.only(coded, more))
}
