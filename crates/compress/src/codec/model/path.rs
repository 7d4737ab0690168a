//! From value to value through the fields of a chunk, step by step.
//!
//! A step inside a field takes a segment of units and a raw number: how many elements the next value is away. Where that is beyond the
//! field's end, the next steps go on into the fields behind it, whose elements are smaller: each takes the bits that were not needed
//! before.

use crate::codec::ans::{RAW_MAX, Stream};
use crate::codec::model::distance::DISTANCE_BITS;
use crate::codec::model::ground::{Element, Field, Ground, Walk};

/// How far a reader came.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Path {
    field: Field,
    number: usize,
    /// Number of the next element of the field; it may be beyond its end.
    rank: u32,
    /// Whether the next element has a value.
    pending: bool,
}

impl Path {
    pub(crate) fn new(walk: &Walk) -> Path {
        Path { field: walk.fields[0], ..Path::default() }
    }

    /// Takes a step, and returns where it ended and whether an element with a value is there. Without branches that nobody could predict; who goes
    /// on behind the last field finds elements of no class there.
    #[inline(always)]
    pub(crate) fn step(
        &mut self,
        (ground, walk): (&Ground, &Walk),
        stream: &mut Stream<'_>,
        lane: usize,
    ) -> (Element, bool) {
        let (octaves, state) = (self.field.octaves(), stream.state(lane));
        let inside = self.rank < self.field.len();
        let slot = ground.distances.by_slot[state as usize & (ground.distances.by_slot.len() - 1)];
        self.number = (self.number + usize::from(!inside)).min(walk.used);
        let next = walk.fields[self.number];
        self.pending = choose(inside, u32::from(!slot.skip()), self.pending.into()) != 0;
        let finer = octaves - next.octaves();
        let width =
            choose(inside, ground.low + slot.double() - octaves, finer) & 0_u32.wrapping_sub(self.pending.into());
        let ahead = self.rank.wrapping_add((slot.base() << ground.low) >> octaves);
        // Behind the last field everybody stands at its beginning, so that nobody is long on the way out of it.
        let there = 0_u32.wrapping_sub((self.number < walk.used).into());
        self.rank = choose(inside, ahead, self.rank.wrapping_sub(self.field.len()) << finer) & there;
        self.field = next;
        let mut state = choose(inside, slot.share() * (state >> DISTANCE_BITS) + slot.above(), state);
        if DISTANCE_BITS + ground.low + 1 > RAW_MAX && inside && DISTANCE_BITS + width > RAW_MAX {
            state = stream.refilled(state);
        }
        self.rank = self.rank.wrapping_add(state & ((1 << width) - 1));
        stream.refill(lane, state >> width);
        let found = self.pending && self.rank < self.field.len();
        let element = Element::new(self.field, self.rank);
        self.pending &= !found;
        self.rank = self.rank.wrapping_add(found.into());
        (element, found)
    }
}

/// One of two numbers.
#[inline(always)]
fn choose(first: bool, one: u32, other: u32) -> u32 {
    other ^ ((one ^ other) & 0_u32.wrapping_sub(first.into()))
}
