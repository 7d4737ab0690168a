//! From value to value through the fields of a chunk, step by step.
//!
//! A step inside a field takes a segment of units and a raw number: how many elements the next value is away. Where that is beyond the
//! field's end, the next steps go on into the fields behind it, whose elements are smaller: each takes the bits that were not needed
//! before.

use crate::codec::ans::{RAW_MAX, Stream};
use crate::codec::model::distance::DISTANCE_BITS;
use crate::codec::model::ground::{Element, FIELDS, Field, Ground, Walk};

/// What a step takes: a segment of the table of distances by its number, or 0, and a raw number. As a number of 32 bits on the machines whose
/// vectors read it, from the lowest place on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C, align(4))]
pub(crate) struct Step {
    pub(crate) raw: u16,
    pub(crate) width: u8,
    pub(crate) segment: u8,
}

impl Step {
    fn new(segment: u8, raw: u32, width: u32) -> Step {
        Step { raw: raw as u16, width: width as u8, segment }
    }
}

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

/// Memory for [`plan`].
#[derive(Debug, Default)]
pub(crate) struct Targets {
    /// For each value its field and its place among all.
    found: Vec<(u8, u32)>,
    /// Places in the order of fields.
    sorted: Vec<u32>,
}

/// Where the elements of a field have their places: each takes `2^octaves` of them.
#[derive(Debug, Clone, Copy, Default)]
struct Spot {
    start: u32,
    columns: u16,
    octaves: u8,
    number: u8,
}

/// Shows the steps to all of some values, whose indices rise.
#[inline(always)]
pub(crate) fn plan(
    (ground, walk): (&Ground, &Walk),
    indices: &[u16],
    targets: &mut Targets,
    mut visit: impl FnMut(Step),
) {
    let starts = targets.sort(ground, walk, indices);
    let octaves_of = |number: usize| walk.fields[number].octaves();
    let (mut number, mut place) = (0, 0);
    let (mut end, mut octaves) = (starts[1], octaves_of(0));
    for &target in &targets.sorted {
        loop {
            if place >= end {
                visit(Step::default());
                number += 1;
                (end, octaves) = (starts[number + 1], octaves_of(number));
                continue;
            }
            let segment = ground.distances.segment((target - place) >> ground.low);
            let base = u32::from(segment.base) << ground.low;
            if segment.skip {
                visit(Step::new(segment.number, 0, 0));
                place += base;
                continue;
            }
            let width = ground.low + u32::from(segment.double) - octaves;
            visit(Step::new(segment.number, (target - place - base) >> octaves, width));
            break;
        }
        while target >= end {
            let before = octaves;
            number += 1;
            (end, octaves) = (starts[number + 1], octaves_of(number));
            let (rest, width) = ((target - starts[number]) >> octaves, before - octaves);
            visit(Step::new(0, rest & ((1 << width) - 1), width));
        }
        place = target + (1 << octaves);
    }
}

impl Targets {
    /// Finds the places of values among the elements of all fields, and sorts them. Returns where each field begins, and the end of the last.
    #[inline(always)]
    fn sort(&mut self, ground: &Ground, walk: &Walk, indices: &[u16]) -> [u32; FIELDS + 2] {
        let (mut starts, mut spots) = ([u32::MAX; FIELDS + 2], [Spot::default(); 64]);
        let (lines, columns) = ground.sides(walk);
        let mut end = 0;
        for (number, (&field, start)) in (0_u8..).zip(walk.fields[..walk.used].iter().zip(&mut starts)) {
            (*start, end) = (end, end + (field.len() << field.octaves()));
            let (octaves, wide) = (field.octaves() as u8, columns.count(field.column_class()) as u16);
            let pair = field.line_class() << 3 | field.column_class();
            spots[pair] = Spot { start: *start, columns: wide, octaves, number };
        }
        starts[walk.used] = end;
        let mut counts = [0_u16; FIELDS + 1];
        self.found.clear();
        self.found.extend(indices.iter().map(|&index| {
            let (line, column) = walk.line_and_column(index);
            let ((line, row), (class, rank)) = (lines.ranks[line], columns.ranks[column]);
            let Spot { start, columns, octaves, number } = spots[usize::from(line << 3 | class) & 63];
            counts[usize::from(number) + 1] += 1;
            (number, start + ((u32::from(row) * u32::from(columns) + u32::from(rank)) << octaves))
        }));
        (1..=FIELDS).for_each(|number| counts[number] += counts[number - 1]);
        self.sorted.resize(indices.len(), 0);
        for &(number, place) in &self.found {
            let count = &mut counts[usize::from(number)];
            self.sorted[usize::from(*count)] = place;
            *count += 1;
        }
        starts
    }
}
